//! Campaigns, their pools of promo codes, and which sale is whose.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use stagedoor_model::{Fact, Order, Timestamp};

use crate::{Catalog, Localised, Looks, Person, ShowKey};

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

/// All that sales of one person may be owed to, found once: each order looks up its own time.
pub struct Attributions<'p> {
    catalog: &'p Catalog,
    /// Codes that they were given, in capitals, each with its place among theirs and its campaign.
    codes: BTreeMap<String, (usize, &'p String)>,
    /// When they looked at a link, clicked in a letter or opened one, and of which campaign. The earliest first.
    linked: Vec<(Timestamp, &'p String)>,
    clicked: Vec<(Timestamp, &'p String)>,
    seen: Vec<(Timestamp, &'p String)>,
}

impl<'p> Attributions<'p> {
    /// Collects what sales of a person may be owed to.
    pub fn of(person: &'p Person, catalog: &'p Catalog) -> Self {
        let mut codes = BTreeMap::new();
        for (place, promo) in person.promos().enumerate() {
            codes.entry(promo.code.to_uppercase()).or_insert((place, &promo.campaign));
        }
        let looks = Looks::of(person);
        let linked = person.links().filter_map(|link| Some((looks.at(link)?, &link.campaign)));
        let linked = linked.flat_map(|((first, last), campaign)| [(first, campaign), (last, campaign)]);
        let letters = || {
            person.records.values().filter_map(|record| match &record.fact {
                Fact::MailMessage(letter) => Some((letter.campaign.as_ref()?, letter)),
                _ => None,
            })
        };
        let clicked = letters().flat_map(|(campaign, letter)| {
            let first = letter.clicked_at();
            let own = letter.clicks.iter().filter(move |at| first.is_some_and(|first| **at >= first));
            own.map(move |at| (*at, campaign))
        });
        let seen = letters().flat_map(|(campaign, letter)| {
            let opened = [letter.opened_at, letter.last_opened_at].into_iter().flatten();
            opened.map(move |at| (at, campaign))
        });
        let (mut linked, mut clicked) = (linked.collect::<Vec<_>>(), clicked.collect::<Vec<_>>());
        let mut seen: Vec<_> = seen.collect();
        [&mut linked, &mut clicked, &mut seen].into_iter().for_each(|all| all.sort_unstable());
        Self { catalog, codes, linked, clicked, seen }
    }

    /// By the code on the order, else by the tracked link that was opened last before it, else by a letter that was clicked,
    /// else by one that was opened, else none.
    pub fn of_order(&self, order: &Order) -> Option<Attribution> {
        let owed = |(campaign, by): (&String, By)| Attribution { campaign: campaign.clone(), by };
        let codes: BTreeSet<String> = order.promo_codes.iter().map(|code| code.trim().to_uppercase()).collect();
        let own = codes.iter().filter_map(|code| self.codes.get(code)).min().map(|(_, campaign)| *campaign);
        let known = || codes.iter().find_map(|code| self.catalog.campaign_of_code(code)).map(|one| &one.name);
        let coded = own.or_else(known).map(|campaign| (campaign, By::Code));
        let (windows, at) = (self.catalog.windows, order.placed_at);
        let linked = || Some((latest(&self.linked, at, WINDOW_SECONDS)?, By::Link));
        let clicked = || Some((latest(&self.clicked, at, windows.click)?, By::Click));
        let seen = || Some((latest(&self.seen, at, windows.view)?, By::View));
        coded.or_else(linked).or_else(clicked).or_else(seen).map(owed)
    }
}

/// The last of what happened, if that is no more than so many seconds before `at`.
fn latest<'p>(sorted: &[(Timestamp, &'p String)], at: Timestamp, window: i64) -> Option<&'p String> {
    let second = at.as_second();
    let after = sorted.partition_point(|(one, _)| one.as_second() <= second);
    let (last, campaign) = sorted.get(after.checked_sub(1)?)?;
    (second.saturating_sub(last.as_second()) <= window).then_some(*campaign)
}

impl Attribution {
    /// What one order is owed to. For several orders of a person, [`Attributions`] finds it at once.
    pub fn of(order: &Order, person: &Person, catalog: &Catalog) -> Option<Self> {
        Attributions::of(person, catalog).of_order(order)
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
