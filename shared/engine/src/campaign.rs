//! Campaigns, their pools of promo codes, and which sale is whose.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use stagedoor_model::{Order, Timestamp};

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
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Attribution {
    pub campaign: String,
    pub by: By,
}

impl Attribution {
    /// By the code on the order, else by the tracked link that was opened last before it, else none.
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
            let last = [link.last_opened, link.first_opened].into_iter().flatten().find(before)?;
            Some((last, &link.campaign))
        });
        opened.max().map(|(_, campaign)| Self { campaign: campaign.clone(), by: By::Link })
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
