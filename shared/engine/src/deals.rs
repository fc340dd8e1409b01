//! A deal is one person's interest in one show. It is derived from the person's records, never stored as a fact.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use stagedoor_model::{Company, Fact, Money, Order, OrderState, Rung, Talk, Timestamp, Token, breakage};

use crate::{Attribution, Catalog, GOODS, Person, Settlement, Show, ShowKey};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    Interested,
    Talked,
    PromoIssued,
    Cart,
    Paid,
    Attended,
    Refunded,
    Lost,
}

impl Stage {
    pub const ALL: [Stage; 8] = [
        Stage::Interested,
        Stage::Talked,
        Stage::PromoIssued,
        Stage::Cart,
        Stage::Paid,
        Stage::Attended,
        Stage::Refunded,
        Stage::Lost,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Stage::Interested => "interested",
            Stage::Talked => "talked",
            Stage::PromoIssued => "promo_issued",
            Stage::Cart => "cart",
            Stage::Paid => "paid",
            Stage::Attended => "attended",
            Stage::Refunded => "refunded",
            Stage::Lost => "lost",
        }
    }
}

impl From<Rung> for Stage {
    fn from(rung: Rung) -> Self {
        match rung {
            Rung::Interested => Stage::Interested,
            Rung::Talked => Stage::Talked,
            Rung::PromoIssued => Stage::PromoIssued,
            Rung::Cart => Stage::Cart,
            Rung::Paid => Stage::Paid,
            Rung::Attended => Stage::Attended,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Deal {
    pub show: Show,
    pub stage: Stage,
    /// When the fact that made the stage happened.
    pub since: Timestamp,
    /// What the deal is worth: paid less refunded, else what is asked for.
    pub worth: Option<Money>,
    pub paid_minor: i64,
    pub refunded_minor: i64,
    pub live_tickets: usize,
    /// Shop's numbers of the orders.
    pub orders: BTreeSet<String>,
    pub promo_codes: BTreeSet<String>,
    pub labels: BTreeMap<String, String>,
    /// The campaign that the latest order is owed to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attribution: Option<Attribution>,
    /// Whose the latest collective order is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub company: Option<Company>,
    /// The orders it is made of: source and the shop's id.
    #[serde(skip)]
    pub made_of: BTreeSet<(String, String)>,
}

/// Every deal of a person, by show.
pub fn deals(person: &Person, catalog: &Catalog) -> BTreeMap<ShowKey, Deal> {
    let mut sketches = BTreeMap::<ShowKey, Sketch>::new();
    for record in person.records.values() {
        let source = record.source.as_str();
        match &record.fact {
            Fact::Touch(touch) if touch.quiet => {}
            Fact::Touch(touch) => {
                let show = catalog.show(source, touch.show.as_ref());
                let sketch = sketches.entry(show.key.clone()).or_insert_with(|| Sketch::new(show));
                sketch.climb(touch.rung.into(), touch.last);
                sketch.asked = sketch.asked.take().or_else(|| touch.amount.clone());
                sketch.labels.extend(touch.labels.clone());
            }
            fact @ Fact::Order { .. } => {
                if let Some(order) = fact.order() {
                    let owed = Attribution::of(&order, person, catalog);
                    let order = settled(order, fact);
                    add_order(&mut sketches, catalog, source, &order, owed);
                }
            }
            Fact::Talk(talk) => add_talk(&mut sketches, catalog, source, talk, person),
            Fact::Link(link) => {
                if let (Some(campaign), Some(at)) = (catalog.campaigns.get(&link.campaign), link.first_opened) {
                    climb(&mut sketches, catalog.house_show(campaign.show.as_ref()), Stage::Interested, at);
                }
            }
            Fact::Promo(promo) => {
                if let Some(campaign) = catalog.campaigns.get(&promo.campaign) {
                    let sketch = climb(
                        &mut sketches,
                        catalog.house_show(campaign.show.as_ref()),
                        Stage::PromoIssued,
                        promo.issued_at,
                    );
                    sketch.promo_codes.insert(promo.code.clone());
                }
            }
            Fact::CrmContact { .. }
            | Fact::CrmLead { .. }
            | Fact::Letter(_)
            | Fact::Consent(_)
            | Fact::Membership { .. }
            | Fact::Moved
            | Fact::HandedOn { .. }
            | Fact::Decided { .. } => {}
        }
    }
    sketches.into_iter().map(|(key, sketch)| (key, sketch.finish())).collect()
}

/// The order as its money says that it stands: a payment settles what the shop still calls placed.
fn settled(mut order: Order, fact: &Fact) -> Order {
    if fact.payments().next().is_none() {
        return order;
    }
    let settlement = Settlement::of(&order, fact.payments());
    if order.state == OrderState::Placed && settlement.paid_at.is_some() {
        order.state = OrderState::Paid;
    }
    // What is paid in part is worth what was asked for.
    if order.state != OrderState::Placed {
        order.paid = order.total.with_minor(settlement.received);
        order.paid_at = order.paid_at.or(settlement.paid_at);
    }
    order
}

fn climb(sketches: &mut BTreeMap<ShowKey, Sketch>, show: Show, stage: Stage, at: Timestamp) -> &mut Sketch {
    let sketch = sketches.entry(show.key.clone()).or_insert_with(|| Sketch::new(show));
    sketch.climb(stage, at);
    sketch
}

/// A chat is about the shows of the links that it came through, else about its source's.
fn add_talk(sketches: &mut BTreeMap<ShowKey, Sketch>, catalog: &Catalog, source: &str, talk: &Talk, person: &Person) {
    let mut about = BTreeMap::<Option<&ShowKey>, Timestamp>::new();
    for (token, used) in &talk.uses {
        let own = person.links().find(|link| link.token.as_str() == token).map(|link| &link.campaign);
        let named = own.and_then(|name| catalog.campaigns.get(name));
        let numbered = || Token::parse(token)?.header().and_then(|header| catalog.campaign_numbered(header.campaign));
        if let Some(campaign) = named.or_else(numbered) {
            let at = about.entry(campaign.show.as_ref()).or_insert(used.at);
            *at = used.at.min(*at);
        }
    }
    if about.is_empty()
        && let Some(spoke_at) = talk.spoke_at
    {
        about.insert(catalog.show_of_source.get(source), spoke_at);
    }
    for (show, at) in about {
        climb(sketches, catalog.house_show(show), Stage::Talked, at);
    }
}

struct Sketch {
    show: Show,
    /// The highest rung with its earliest time.
    top: Option<(Stage, Timestamp)>,
    last_touch: Option<Timestamp>,
    lost_at: Option<Timestamp>,
    refunded_at: Option<Timestamp>,
    asked: Option<Money>,
    /// What collective orders that are not yet paid are about: each is owed, whatever else was bought.
    owed: i64,
    money: Option<Money>,
    paid: i64,
    refunded: i64,
    live: usize,
    orders: BTreeSet<String>,
    promo_codes: BTreeSet<String>,
    labels: BTreeMap<String, String>,
    attribution: Option<(Timestamp, Attribution)>,
    company: Option<(Timestamp, Company)>,
    made_of: BTreeSet<(String, String)>,
}

impl Sketch {
    fn new(show: Show) -> Self {
        Self {
            show,
            top: None,
            last_touch: None,
            lost_at: None,
            refunded_at: None,
            asked: None,
            owed: 0,
            money: None,
            paid: 0,
            refunded: 0,
            live: 0,
            orders: BTreeSet::new(),
            promo_codes: BTreeSet::new(),
            labels: BTreeMap::new(),
            attribution: None,
            company: None,
            made_of: BTreeSet::new(),
        }
    }

    fn climb(&mut self, stage: Stage, at: Timestamp) {
        self.last_touch = self.last_touch.max(Some(at));
        self.top = match self.top {
            Some((top, since)) if top > stage || (top == stage && since <= at) => Some((top, since)),
            _ => Some((stage, at)),
        };
    }

    fn finish(self) -> Deal {
        let (top, since) = self.top.unwrap_or((Stage::Interested, Timestamp::default()));
        // Aside from the ladder: all tickets given back, or the only order let go; a later touch puts it back.
        let aside = [(Stage::Refunded, self.refunded_at), (Stage::Lost, self.lost_at)]
            .into_iter()
            .filter_map(|(stage, at)| at.map(|at| (stage, at)))
            .max_by_key(|(_, at)| *at)
            .filter(|(_, at)| self.live == 0 && self.last_touch.is_none_or(|touch| touch <= *at));
        let (stage, since) = aside.unwrap_or((top, since));
        let paid = self.money.as_ref().map(|money| money.with_minor(self.paid - self.refunded + self.owed));
        Deal {
            stage,
            since,
            worth: if self.paid > 0 || self.owed > 0 { paid } else { self.asked },
            paid_minor: self.paid,
            refunded_minor: self.refunded,
            live_tickets: self.live,
            orders: self.orders,
            promo_codes: self.promo_codes,
            labels: self.labels,
            attribution: self.attribution.map(|(_, attribution)| attribution),
            company: self.company.map(|(_, company)| company),
            made_of: self.made_of,
            show: self.show,
        }
    }
}

fn add_order(
    sketches: &mut BTreeMap<ShowKey, Sketch>,
    catalog: &Catalog,
    source: &str,
    order: &Order,
    owed: Option<Attribution>,
) {
    let goods: i64 = order.items.iter().map(|item| item.price.minor.saturating_mul(item.quantity.into())).sum();
    let whole: i64 = order.tickets.iter().map(|ticket| ticket.price.minor).sum::<i64>() + goods;
    let mut shares = BTreeMap::<ShowKey, (Show, i64, BTreeSet<&str>)>::new();
    for ticket in &order.tickets {
        let show = catalog.show(source, Some(&ticket.show));
        let share = shares.entry(show.key.clone()).or_insert_with(|| (show, 0, BTreeSet::new()));
        share.1 += ticket.price.minor;
        share.2.insert(&ticket.id);
    }
    if !order.items.is_empty() {
        let show = catalog.goods();
        shares.insert(show.key.clone(), (show, goods, BTreeSet::new()));
    }
    if shares.is_empty() {
        // Of an order without lines only its source says what it may be for.
        let show = catalog.house_show(catalog.show_of_source.get(source));
        shares.insert(show.key.clone(), (show, 0, BTreeSet::new()));
    }
    let refunded_at = order.refunds.values().map(|refund| refund.at).max();
    let last = shares.len();
    let (mut paid_left, mut total_left) = (order.paid.minor, order.total.minor);
    for (index, (key, (show, part, tickets))) in shares.into_iter().enumerate() {
        let rest = index + 1 == last;
        let paid = if rest { paid_left } else { share(order.paid.minor, part, whole, last) };
        let total = if rest { total_left } else { share(order.total.minor, part, whole, last) };
        (paid_left, total_left) = (paid_left - paid, total_left - total);
        let refunded: i64 = order
            .refunds
            .values()
            .map(|refund| {
                let here = refund.tickets.iter().filter(|id| tickets.contains(id.as_str())).count();
                match refund.tickets.len() {
                    0 => share(refund.amount.minor, part, whole, last),
                    all => share(refund.amount.minor, here as i64, all as i64, last),
                }
            })
            .sum();
        let live = match show.key.0 == GOODS {
            // Goods are not given back one by one.
            true => usize::from(refunded < paid) * order.items.len(),
            false => order.live_tickets().filter(|ticket| tickets.contains(ticket.id.as_str())).count(),
        };
        let sketch = sketches.entry(key).or_insert_with(|| Sketch::new(show));
        sketch.orders.insert(order.number.clone().unwrap_or_else(|| order.id.clone()));
        sketch.made_of.insert((source.to_owned(), order.id.clone()));
        let company = order.company.clone().map(|company| (order.placed_at, company));
        sketch.company = sketch.company.take().max(company);
        sketch.promo_codes.extend(order.promo_codes.iter().cloned());
        sketch.labels.extend(order.utm.clone());
        sketch.attribution =
            sketch.attribution.take().max(owed.clone().map(|attribution| (order.placed_at, attribution)));
        sketch.money = Some(order.paid.clone());
        sketch.paid += paid;
        sketch.refunded += refunded;
        sketch.climb(Stage::Cart, order.placed_at);
        // Only a check-in says that somebody came; the date of the show does not.
        let seated = order.live_tickets().filter(|ticket| tickets.contains(ticket.id.as_str()));
        if let Some(at) = seated.filter_map(|ticket| order.checked_at(&ticket.id)).min()
            && !breakage::is_on("checkin-ignored")
        {
            sketch.climb(Stage::Attended, at);
        }
        match (order.state, order.paid_at) {
            (OrderState::Placed, _) if order.company.is_some() => sketch.owed += total,
            (OrderState::Placed, _) => sketch.asked = Some(order.total.with_minor(total)),
            (OrderState::Cancelled, None) => sketch.lost_at = sketch.lost_at.max(Some(order.revision)),
            (_, paid_at) => {
                let paid_at = paid_at.unwrap_or(order.revision);
                sketch.climb(Stage::Paid, paid_at);
                if live == 0 {
                    let at = refunded_at.unwrap_or(order.revision).max(paid_at);
                    sketch.refunded_at = sketch.refunded_at.max(Some(at));
                }
            }
        }
        if order.state != OrderState::Cancelled && order.state != OrderState::Placed {
            sketch.live += live;
        }
    }
}

fn share(amount: i64, part: i64, whole: i64, ways: usize) -> i64 {
    let exact = match whole {
        0 => i128::from(amount) / (ways.max(1) as i128),
        _ => i128::from(amount) * i128::from(part) / i128::from(whole),
    };
    i64::try_from(exact).unwrap_or(amount)
}
