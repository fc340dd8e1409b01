//! Derives deals from the records of a person. A deal is the interest of one person in one show. It is never stored as
//! a fact.

mod order;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use stagedoor_model::{Company, Conversation, Fact, Money, Rung, Timestamp, Token, breakage};

use crate::{
    Attribution, Attributions, Catalog, Looks, Person, Show, ShowKey, Stage,
    money::{Settlements, owed},
    settlements,
};

/// The money of a deal in one currency. All sums are in minor units.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct DealSum {
    /// Money received, including what went back later.
    pub paid: i64,
    /// Money that went back. It is never more than `paid`.
    pub refunded: i64,
    /// The unpaid part of orders that are invoiced or paid in part.
    pub owed: i64,
    /// The sum of the unpaid orders, or else the latest cart. It counts only while nothing is paid or owed.
    pub asked: Option<i64>,
    /// True if an order fixes the sum in this currency, so that zero means "nothing left" and not "unknown".
    #[serde(skip)]
    pub is_settled: bool,
}

impl DealSum {
    /// Returns the money that was paid and did not go back, in minor units.
    pub fn kept(&self) -> i64 {
        self.paid - self.refunded
    }
}

/// The interest of one person in one show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Deal {
    /// The show that the person is interested in.
    pub show: Show,
    /// The stage that the deal has reached.
    pub stage: Stage,
    /// The time of the fact that made the stage.
    pub since: Timestamp,
    /// The sums by currency (ISO 4217). Sums of different currencies are never added.
    pub sums: BTreeMap<String, DealSum>,
    /// How many of its tickets are valid.
    pub live_tickets: usize,
    /// The numbers that the shop gave its orders.
    pub orders: BTreeSet<String>,
    /// Promo codes on its orders, and those issued for its show.
    pub promo_codes: BTreeSet<String>,
    /// Labels of its forms and UTM tags of its orders, by name.
    pub labels: BTreeMap<String, String>,
    /// The campaign that the latest order is attributed to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attribution: Option<Attribution>,
    /// The company of the latest collective order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub company: Option<Company>,
    /// The time of the last payment of an order that is neither cancelled nor refunded.
    #[serde(skip)]
    pub bought_at: Option<Timestamp>,
    /// The time of the last order that still waits for its money.
    #[serde(skip)]
    pub ordered_at: Option<Timestamp>,
    /// The orders that the deal is made of, as source and the shop's id.
    #[serde(skip)]
    pub made_of: BTreeSet<(String, String)>,
}

impl Deal {
    /// Returns what the deal is worth in one currency: money paid less refunds plus money owed, else the sum asked for.
    /// Returns `None` if nothing is known in that currency.
    pub fn worth(&self, currency: &str) -> Option<Money> {
        let sum = self.sums.get(currency)?;
        let has_moved = |sum: &DealSum| sum.paid > 0 || sum.owed > 0;
        let moved = match breakage::is_on("other-currency-hides-asked") {
            true => self.sums.values().any(has_moved),
            false => has_moved(sum),
        };
        let minor = match sum.asked.filter(|_| !moved) {
            Some(asked) => asked,
            None if moved || sum.is_settled && !breakage::is_on("nought-is-unknown") => sum.kept() + sum.owed,
            None => return None,
        };
        Some(Money { minor: owed(minor), currency: currency.to_owned() })
    }

    /// Returns what the deal is worth in each other currency. Zero sums are left out.
    pub fn worth_beside<'d>(&'d self, currency: &'d str) -> impl Iterator<Item = Money> + 'd {
        let others = self.sums.keys().filter(move |one| *one != currency);
        others.filter_map(|one| self.worth(one)).filter(|money| money.minor != 0)
    }
}

/// Returns all deals of a person, by show.
pub fn deals(person: &Person, catalog: &Catalog) -> BTreeMap<ShowKey, Deal> {
    deals_of(person, catalog, &settlements(person.records.values()))
}

/// Returns all deals of a person, from settlements that are already computed.
pub(crate) fn deals_of(person: &Person, catalog: &Catalog, money: &Settlements<'_>) -> BTreeMap<ShowKey, Deal> {
    let mut builders = BTreeMap::<ShowKey, DealBuilder>::new();
    let looks = Looks::of(person);
    let links = person.links().map(|link| (link.token.as_str(), &link.campaign)).collect();
    for record in person.records.values() {
        let source = record.source.as_str();
        match &record.fact {
            Fact::Submission(submission) if submission.quiet => {}
            Fact::Submission(submission) => {
                let show = catalog.show(source, submission.show.as_ref());
                let builder = builders.entry(show.key.clone()).or_insert_with(|| DealBuilder::new(show));
                builder.advance(submission.rung, submission.last);
                let cart = submission.amount.clone().map(|amount| (submission.last, amount));
                builder.cart = builder.cart.take().max(cart);
                builder.labels.extend(submission.labels.clone());
            }
            // Orders follow below, with their settlements.
            Fact::Order { .. } => {}
            Fact::Conversation(conversation) => add_talk(&mut builders, catalog, source, conversation, &links),
            Fact::Link(link) => {
                if let (Some(campaign), Some(at)) =
                    (catalog.campaigns.get(&link.campaign), looks.at(link).map(|(first, _)| first))
                {
                    advance(&mut builders, catalog.catalog_show(campaign.show.as_ref()), Rung::Interested, at);
                }
            }
            Fact::Promo(promo) => {
                if let Some(campaign) = catalog.campaigns.get(&promo.campaign) {
                    let builder = advance(
                        &mut builders,
                        catalog.catalog_show(campaign.show.as_ref()),
                        Rung::PromoIssued,
                        promo.issued_at,
                    );
                    builder.promo_codes.insert(promo.code.clone());
                }
            }
            Fact::CrmContact { .. }
            | Fact::CrmLead { .. }
            | Fact::MailMessage(_)
            | Fact::Consent(_)
            | Fact::Membership { .. }
            | Fact::Moved
            | Fact::HandedOn { .. }
            | Fact::Decided { .. } => {}
        }
    }
    let attributions = Attributions::of(person, catalog);
    for ((source, _), (order, settlement)) in &money.orders {
        let campaign = match breakage::is_on("each-order-looks-through-all") {
            true => Attribution::of(order, person, catalog),
            false => attributions.of_order(order),
        };
        order::add(&mut builders, catalog, source, order, settlement, campaign);
    }
    builders.into_iter().map(|(key, builder)| (key, builder.finish())).collect()
}

fn advance(builders: &mut BTreeMap<ShowKey, DealBuilder>, show: Show, rung: Rung, at: Timestamp) -> &mut DealBuilder {
    let builder = builders.entry(show.key.clone()).or_insert_with(|| DealBuilder::new(show));
    builder.advance(rung, at);
    builder
}

/// Adds a chat to the deals of the shows whose links it came through, else to the deal of the show of its source.
/// `links` maps the tokens of the person's personal links to their campaigns.
fn add_talk(
    builders: &mut BTreeMap<ShowKey, DealBuilder>,
    catalog: &Catalog,
    source: &str,
    conversation: &Conversation,
    links: &BTreeMap<&str, &String>,
) {
    let mut about = BTreeMap::<Option<&ShowKey>, Timestamp>::new();
    for (token, used) in &conversation.uses {
        let named = links.get(token.as_str()).and_then(|name| catalog.campaigns.get(*name));
        let numbered = || Token::parse(token)?.header().and_then(|header| catalog.campaign_numbered(header.campaign));
        if let Some(campaign) = named.or_else(numbered) {
            let at = about.entry(campaign.show.as_ref()).or_insert(used.at);
            *at = used.at.min(*at);
        }
    }
    if about.is_empty()
        && let Some(spoke_at) = conversation.spoke_at
    {
        about.insert(catalog.show_of_source.get(source), spoke_at);
    }
    for (show, at) in about {
        advance(builders, catalog.catalog_show(show), Rung::Talked, at);
    }
}

/// Collects the facts that make one deal.
struct DealBuilder {
    show: Show,
    /// True if the order that describes the show has live tickets, and the time of the latest change that it tells.
    rank: (bool, Option<Timestamp>),
    /// Every rung that was reached, with its time.
    submissions: Vec<(Rung, Timestamp)>,
    lost_at: Option<Timestamp>,
    refunded_at: Option<Timestamp>,
    /// The number of paid orders of which something still stands.
    standing: usize,
    /// The number of orders that wait for their money. `owing` counts those of them that are paid in part or belong to
    /// a company.
    open: usize,
    owing: usize,
    /// The time of the last payment of a standing order.
    bought_at: Option<Timestamp>,
    /// The time when the last open order was placed.
    ordered_at: Option<Timestamp>,
    /// The latest cart that names a sum.
    cart: Option<(Timestamp, Money)>,
    sums: BTreeMap<String, DealSum>,
    live: usize,
    orders: BTreeSet<String>,
    promo_codes: BTreeSet<String>,
    labels: BTreeMap<String, String>,
    attribution: Option<(Timestamp, Attribution)>,
    company: Option<(Timestamp, Company)>,
    made_of: BTreeSet<(String, String)>,
}

impl DealBuilder {
    fn new(show: Show) -> Self {
        Self {
            show,
            rank: (false, None),
            submissions: vec![],
            lost_at: None,
            refunded_at: None,
            standing: 0,
            open: 0,
            owing: 0,
            bought_at: None,
            ordered_at: None,
            cart: None,
            sums: BTreeMap::new(),
            live: 0,
            orders: BTreeSet::new(),
            promo_codes: BTreeSet::new(),
            labels: BTreeMap::new(),
            attribution: None,
            company: None,
            made_of: BTreeSet::new(),
        }
    }

    /// Of several orders for one show, the one with live tickets and the latest change describes it.
    fn know(&mut self, show: Show, is_live: bool) {
        let rank = (is_live, show.course.last().map(|change| change.changed_at));
        if rank <= self.rank {
            return;
        }
        if rank.1.is_some() || self.rank.1.is_some() {
            self.show = show;
        } else if show.starts_at.is_some() {
            // Neither tells of a change: the date is that of the live order, the rest stays as it was first described.
            let Show { starts_at, zone, announced, .. } = show;
            self.show = Show { starts_at, zone, announced, ..self.show.clone() };
        }
        self.rank = rank;
    }

    fn advance(&mut self, rung: Rung, at: Timestamp) {
        self.submissions.push((rung, at));
    }

    /// Returns the highest rung with its earliest time. With `after`, the time when everything was given back, only
    /// later rungs below `Paid` count.
    fn top(&self, after: Option<Timestamp>) -> Option<(Rung, Timestamp)> {
        let submissions =
            self.submissions.iter().filter(|(rung, at)| after.is_none_or(|after| *at > after && *rung < Rung::Paid));
        submissions.copied().max_by_key(|(rung, at)| (*rung, std::cmp::Reverse(*at)))
    }

    fn sum(&mut self, currency: &str) -> &mut DealSum {
        let key = if breakage::is_on("currencies-added") { "RUB" } else { currency };
        self.sums.entry(key.to_owned()).or_default()
    }

    fn finish(mut self) -> Deal {
        // Beside the ladder: everything was given back, or the only order was given up. A later submission puts the
        // deal back on the rung of that submission, because the money paid before is given back. An order that waits
        // for its money is not given up with another one. After a refund, only an order counts that is surely owed.
        let closes_open = breakage::is_on("open-order-lost");
        let aside = [(Stage::Refunded, self.refunded_at), (Stage::Lost, self.lost_at)]
            .into_iter()
            .filter_map(|(stage, at)| at.map(|at| (stage, at)))
            .max_by_key(|(_, at)| *at)
            .filter(|_| self.standing == 0);
        let waits = |stage: Stage| if stage == Stage::Lost { self.open > 0 } else { self.owing > 0 };
        let (over, aside) = (aside, aside.filter(|(stage, _)| closes_open || !waits(*stage)));
        let after = aside.map(|(_, at)| at).filter(|_| !breakage::is_on("refund-forgotten-by-touch"));
        let top = if over.is_some() && aside.is_none() { self.top(Some(Timestamp::MIN)) } else { self.top(after) };
        let (stage, since) = match (aside, top) {
            (Some(aside), None) => aside,
            (Some((stage, at)), Some((_, since))) if since <= at => (stage, at),
            (_, top) => {
                let (rung, since) = top.unwrap_or((Rung::Interested, Timestamp::default()));
                (Stage::Ladder(rung), since)
            }
        };
        // An order is more exact than the cart that it was made from.
        let is_ordered = |sum: &DealSum| sum.asked.is_some() || sum.is_settled || sum.paid > 0 || sum.owed > 0;
        if let Some((_, cart)) = self.cart.take().filter(|_| !self.sums.values().any(is_ordered)) {
            self.sum(&cart.currency).asked = Some(cart.minor);
        }
        Deal {
            stage,
            since,
            sums: self.sums,
            live_tickets: self.live,
            orders: self.orders,
            promo_codes: self.promo_codes,
            labels: self.labels,
            attribution: self.attribution.map(|(_, attribution)| attribution),
            company: self.company.map(|(_, company)| company),
            bought_at: self.bought_at,
            ordered_at: self.ordered_at,
            made_of: self.made_of,
            show: self.show,
        }
    }
}
