//! Which campaign a deal came from.

use crate::Campaign;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use stagedoor_model::{Fact, Order, Timestamp};

use crate::{By, Catalog, Looks, Person};

/// How long after a click on a tracked link a purchase is attributed to it, in seconds.
const WINDOW_SECONDS: i64 = 30 * 86_400;

/// The campaign that a sale is attributed to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Attribution {
    pub campaign: String,
    pub by: By,
}

/// All evidence that may attribute the sales of one person. It is collected once, and each order looks up its own time.
pub struct Attributions<'p> {
    catalog: &'p Catalog,
    /// Codes that the person received, in capitals, each with its rank among them and its campaign.
    codes: BTreeMap<String, (usize, &'p String)>,
    /// Visits to a link, each with its campaign. The earliest comes first. The next two fields hold clicks in letters
    /// and openings of letters in the same way.
    linked: Vec<(Timestamp, &'p String)>,
    clicked: Vec<(Timestamp, &'p String)>,
    seen: Vec<(Timestamp, &'p String)>,
}

impl<'p> Attributions<'p> {
    /// Collects the evidence that may attribute sales of a person.
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

    /// Returns the attribution of an order: by its code, else by the last tracked link opened before it. Else a clicked
    /// letter decides, and last an opened one.
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

impl Attribution {
    /// Returns the attribution of one order. For several orders of a person, [`Attributions`] collects the evidence
    /// once.
    pub fn of(order: &Order, person: &Person, catalog: &Catalog) -> Option<Self> {
        Attributions::of(person, catalog).of_order(order)
    }
}

impl Catalog {
    /// Returns the campaign with this number.
    pub fn campaign_numbered(&self, number: u16) -> Option<&Campaign> {
        self.campaigns.values().find(|campaign| campaign.number == number)
    }

    /// Returns the campaign whose pool holds this code. The code must be in capitals.
    pub fn campaign_of_code(&self, code: &str) -> Option<&Campaign> {
        let pool = self.pool_of_code.get(code)?;
        self.campaigns.values().find(|campaign| campaign.pool.as_ref() == Some(pool))
    }
}

/// Returns the last campaign at or before `at`, if its time is at most `window` seconds earlier.
fn latest<'p>(sorted: &[(Timestamp, &'p String)], at: Timestamp, window: i64) -> Option<&'p String> {
    let second = at.as_second();
    let after = sorted.partition_point(|(one, _)| one.as_second() <= second);
    let (last, campaign) = sorted.get(after.checked_sub(1)?)?;
    (second.saturating_sub(last.as_second()) <= window).then_some(*campaign)
}
