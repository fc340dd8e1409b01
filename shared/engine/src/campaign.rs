//! Campaigns, their pools of promo codes, and which sale is whose.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use stagedoor_model::{Fact, Order, Timestamp};

use crate::{Catalog, Localised, Person, ShowKey};

/// How long after a click a purchase is still the click's.
const WINDOW_SECONDS: i64 = 30 * 86_400;

/// Something that people are written to about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Campaign {
    pub name: String,
    /// Below 1024; what tokens carry.
    pub number: u16,
    pub show: Option<ShowKey>,
    /// Sources of messengers, in the order of the page's buttons.
    pub channels: Vec<String>,
    /// The ticket shop's page: the only place that a link of this campaign leads to.
    pub shop: Option<String>,
    pub pool: Option<String>,
    /// Links made for it are valid until then.
    pub ends_at: Timestamp,
    /// With `{link}` and perhaps `{name}`.
    pub sms: Option<Localised>,
    pub title: Localised,
    pub words: Localised,
}

/// Promo codes that were given to the shop beforehand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    pub name: String,
    pub codes: Vec<String>,
    /// Everybody gets the first code.
    pub shared: bool,
    pub expires_at: Option<Timestamp>,
}

/// By what a sale is known to be a campaign's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    Code,
    Link,
    /// A click in a letter not long before.
    Click,
    /// A letter that was opened not long before.
    View,
}

/// How long before an order a letter may have been clicked or opened, and what else is counted, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Windows {
    pub click: i64,
    pub view: i64,
    /// How long after a mailing began purchases are counted as its effect, against those who were held out.
    pub effect: i64,
}

impl Default for Windows {
    fn default() -> Self {
        Self { click: 7 * 86_400, view: 86_400, effect: 7 * 86_400 }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Attribution {
    pub campaign: String,
    pub by: By,
}

impl Attribution {
    /// By the code on the order, else by the tracked link that was opened last before it, else by a letter that was clicked,
    /// else by one that was opened, else none.
    pub fn of(order: &Order, person: &Person, catalog: &Catalog) -> Option<Self> {
        let codes: BTreeSet<String> = order.promo_codes.iter().map(|code| code.trim().to_uppercase()).collect();
        let own = person.promos().find(|promo| codes.contains(&promo.code.to_uppercase()));
        let known = codes.iter().find_map(|code| catalog.campaign_of_code(code));
        if let Some(campaign) = own.map(|promo| promo.campaign.clone()).or_else(|| known.map(|one| one.name.clone())) {
            return Some(Self { campaign, by: By::Code });
        }
        let before = |at: &Timestamp| {
            let gap = order.placed_at.as_second() - at.as_second();
            (0..=WINDOW_SECONDS).contains(&gap)
        };
        let opened = person.links().filter_map(|link| {
            let (first, last) = person.looks(link)?;
            let last = [last, first].into_iter().find(before)?;
            Some((last, &link.campaign))
        });
        let linked = opened.max().map(|(_, campaign)| Self { campaign: campaign.clone(), by: By::Link });
        linked.or_else(|| Self::by_letter(order, person, catalog.windows))
    }

    fn by_letter(order: &Order, person: &Person, windows: Windows) -> Option<Self> {
        let letters = || {
            person.records.values().filter_map(|record| match &record.fact {
                Fact::Letter(letter) => Some((letter.campaign.as_ref()?, letter)),
                _ => None,
            })
        };
        let within = |at: &Timestamp, window: i64| {
            (0..=window).contains(&order.placed_at.as_second().saturating_sub(at.as_second()))
        };
        let clicked = letters().filter_map(|(campaign, letter)| {
            let first = letter.clicked_at()?;
            let own = letter.clicks.iter().filter(|at| **at >= first && within(at, windows.click));
            Some((*own.max()?, campaign))
        });
        let seen = letters().filter_map(|(campaign, letter)| {
            let opened = [letter.opened_at, letter.last_opened_at].into_iter().flatten();
            Some((opened.filter(|at| within(at, windows.view)).max()?, campaign))
        });
        let by = |by: By| move |(_, campaign): (Timestamp, &String)| Self { campaign: campaign.clone(), by };
        clicked.max().map(by(By::Click)).or_else(|| seen.max().map(by(By::View)))
    }
}

impl Catalog {
    pub fn campaign_numbered(&self, number: u16) -> Option<&Campaign> {
        self.campaigns.values().find(|campaign| campaign.number == number)
    }

    /// The campaign whose pool holds this code, in capitals.
    pub fn campaign_of_code(&self, code: &str) -> Option<&Campaign> {
        let pool = self.pool_of_code.get(code)?;
        self.campaigns.values().find(|campaign| campaign.pool.as_ref() == Some(pool))
    }
}
