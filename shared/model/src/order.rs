use std::collections::{BTreeMap, BTreeSet};

#[cfg(feature = "schemas")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Company, Money, ShowRef, Timestamp, breakage};

/// Where an order stands. A refund is not a state: it is an amount and tickets that are no longer live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum OrderState {
    Placed,
    Paid,
    /// Cancelled, expired or deleted; money that was paid may still be in `refunds`.
    Cancelled,
}

/// A place at a show.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
pub struct Ticket {
    pub id: String,
    pub show: ShowRef,
    pub price: Money,
    /// False once cancelled or refunded.
    pub live: bool,
}

/// Something of an order that is no ticket: a programme, a mug.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
pub struct Item {
    pub id: String,
    pub title: String,
    pub quantity: u32,
    /// Of one.
    pub price: Money,
}

/// The direction of money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum PaymentKind {
    Received,
    Returned,
    /// A return that failed: the money stays. Its id is `<id of the return>/failed/<its own>`.
    ReturnFailed,
    /// The payer's bank asks for the money back: nothing has moved yet.
    Disputed,
}

/// Money that moved for an order, as whoever moved it tells: a payment provider, a bank.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
pub struct Payment {
    #[cfg_attr(feature = "schemas", schemars(with = "String"))]
    pub at: Timestamp,
    pub kind: PaymentKind,
    pub amount: Money,
}

/// Money that was paid back for an order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
pub struct Refund {
    pub amount: Money,
    #[cfg_attr(feature = "schemas", schemars(with = "String"))]
    pub at: Timestamp,
    /// Ids of the tickets given back; empty when only money was.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub tickets: BTreeSet<String>,
    /// True if the money went to another order of the shop, for example when one order became two. Nobody got it back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub moved: bool,
}

impl Refund {
    /// What it says, without its time.
    fn told(&self) -> (&Money, &BTreeSet<String>, bool) {
        (&self.amount, &self.tickets, self.moved)
    }
}

/// Whether a ticket was checked in at the door, as its shop last told.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
pub struct CheckIn {
    /// As of when this is known: of two tellings about one ticket the later stands.
    #[cfg_attr(feature = "schemas", schemars(with = "String"))]
    pub told_at: Timestamp,
    /// When the ticket's holder came in; `None` if the check-in was taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schemas", schemars(with = "Option<String>"))]
    pub checked_at: Option<Timestamp>,
}

/// The whole state of an order as its shop knew it at `revision`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
pub struct Order {
    /// When the shop last changed the order: of two states of one order the later wins.
    #[cfg_attr(feature = "schemas", schemars(with = "String"))]
    pub revision: Timestamp,
    pub state: OrderState,
    pub id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<String>,
    #[cfg_attr(feature = "schemas", schemars(with = "String"))]
    pub placed_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schemas", schemars(with = "Option<String>"))]
    pub paid_at: Option<Timestamp>,
    /// What the buyer paid in all, before refunds; zero while unpaid.
    pub paid: Money,
    /// What the order costs now.
    pub total: Money,
    pub tickets: Vec<Ticket>,
    /// By the shop's own id of the refund.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub refunds: BTreeMap<String, Refund>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub promo_codes: Vec<String>,
    /// Campaign marks: `utm_source` and the like.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub utm: BTreeMap<String, String>,
    /// What is in it beside tickets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<Item>,
    /// The show that an order without lines names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub show: Option<Box<ShowRef>>,
    /// For whom it was placed: one order, many seats, paid by invoice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub company: Option<Company>,
    /// Until when it has to be paid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schemas", schemars(with = "Option<String>"))]
    pub due_at: Option<Timestamp>,
    /// By the ticket's id. A shop may tell one ticket at a time, so it does not follow `revision`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub checks: BTreeMap<String, CheckIn>,
    /// As of when `refunds` are all that the order has: a later such statement stands in the place of an earlier one. `None`
    /// where the shop does not state them whole: then they add up, as do statements of one instant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schemas", schemars(with = "Option<String>"))]
    pub refunds_as_of: Option<Timestamp>,
    /// The starts of its shows that earlier states told, by the shop's id of the show. Empty in a single state.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", rename = "told_starts")]
    #[cfg_attr(feature = "schemas", schemars(skip))]
    pub earlier_starts: BTreeMap<String, EarlierStarts>,
    /// Refunds that the shop does not list any more. `None` in a single state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schemas", schemars(skip))]
    pub gone_refunds: Option<Box<GoneRefunds>>,
}

/// When refunds that a shop does not list any more were told first, by their ids. So one that it lists again is as old as
/// before.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GoneRefunds(pub BTreeMap<String, Timestamp>);

/// What earlier states of an order told of the start of one show.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EarlierStarts {
    /// The revision that told a start first, and this start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<(Timestamp, Timestamp)>,
    /// Other starts than the present one, each with the latest revision that told it. At most ten.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub others: BTreeMap<Timestamp, Timestamp>,
    /// True if one state told several starts, or all told more than `MOST`. Then no start is a move, and nothing else is
    /// kept: the shop's id names several performances, or the show has no date.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_of_several: bool,
}

impl EarlierStarts {
    /// The most starts of one show, with the present one.
    pub const MOST: usize = 10;

    /// What one state tells, by the shop's id of the show.
    fn of(order: &Order) -> BTreeMap<String, Self> {
        let mut all = BTreeMap::<String, Self>::new();
        // A shop may keep the date of then at a ticket that was given back.
        let live: BTreeSet<&str> =
            order.tickets.iter().filter(|one| one.live).map(|one| one.show.id.as_str()).collect();
        for ticket in order.tickets.iter().filter(|one| one.live || !live.contains(one.show.id.as_str())) {
            let Some(start) = ticket.show.starts_at else { continue };
            let own = all.entry(ticket.show.id.clone()).or_default();
            own.others.insert(start, order.revision);
            own.first = own.others.keys().next().map(|start| (order.revision, *start));
            own.is_of_several = own.others.len() > 1;
        }
        all
    }

    fn join(&mut self, other: Self) {
        self.first = self.first.into_iter().chain(other.first).min();
        for (start, told_at) in other.others {
            let known = self.others.entry(start).or_insert(told_at);
            *known = told_at.max(*known);
        }
        self.is_of_several |= other.is_of_several;
    }
}

/// What all states of an order together tell of one of its tickets.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TicketHistory {
    /// The ticket was live in an order that was paid in full.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub was_paid: bool,
    /// The ticket was in an order that waited for its money.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub was_unpaid: bool,
    /// The earliest revision that tells the ticket as cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancelled_at: Option<Timestamp>,
}

impl TicketHistory {
    /// What one state of an order tells of its tickets, by ticket id.
    pub fn of(order: &Order) -> BTreeMap<String, Self> {
        let is_paid = order.state == OrderState::Paid || order.paid.minor > 0 && order.paid.minor >= order.total.minor;
        let is_open = order.state == OrderState::Placed && !is_paid;
        let history = |ticket: &Ticket| Self {
            was_paid: is_paid && ticket.live,
            was_unpaid: is_open,
            cancelled_at: (!ticket.live).then_some(order.revision),
        };
        order.tickets.iter().map(|ticket| (ticket.id.clone(), history(ticket))).collect()
    }

    /// Both histories together: associative, commutative, idempotent.
    pub(crate) fn join(&mut self, other: &Self) {
        self.was_paid |= other.was_paid;
        self.was_unpaid |= other.was_unpaid;
        self.cancelled_at = self.cancelled_at.into_iter().chain(other.cancelled_at).min();
    }

    /// True if the ticket was told in an unpaid order and never live in a paid one.
    pub fn was_never_paid(&self) -> bool {
        self.was_unpaid && !self.was_paid
    }
}

impl Order {
    /// The refunds whose money went back to the buyer.
    pub fn returned(&self) -> impl Iterator<Item = &Refund> {
        self.refunds.values().filter(|refund| !refund.moved || breakage::is_on("moved-money-is-refunded"))
    }

    /// All that was paid back, in minor units.
    pub fn refunded_minor(&self) -> i64 {
        self.returned().map(|refund| refund.amount.minor).fold(0, i64::saturating_add)
    }

    /// Live, and not named by any refund.
    pub fn live_tickets(&self) -> impl Iterator<Item = &Ticket> {
        self.tickets.iter().filter(|ticket| {
            ticket.live
                && self.state != OrderState::Cancelled
                && !self.refunds.values().any(|refund| refund.tickets.contains(&ticket.id))
        })
    }

    /// When a ticket's holder came in, if they did.
    pub fn checked_at(&self, ticket: &str) -> Option<Timestamp> {
        self.checks.get(ticket)?.checked_at
    }

    /// Orders the states of one order. Clocks of whole seconds give two states one time: then the further one is later, the
    /// one with more tickets cancelled.
    fn lateness(&self) -> (Timestamp, OrderState, usize) {
        let cancelled = self.tickets.iter().filter(|ticket| !ticket.live).count();
        (self.revision, self.state, if breakage::is_on("cancelled-ticket-lives") { 0 } else { cancelled })
    }

    /// The refunds that stand. The later whole list replaces the earlier one. Lists of one instant add up, and so do refunds
    /// that are told one by one.
    fn joined_refunds(&self, other: &Self) -> (Option<Timestamp>, BTreeMap<String, Refund>) {
        let latest = self.refunds_as_of.max(other.refunds_as_of);
        let stands = |one: &&Self| one.refunds_as_of == latest || breakage::is_on("refund-stands-for-ever");
        let mut all = BTreeMap::<String, Refund>::new();
        for (id, refund) in [self, other].into_iter().filter(stands).flat_map(|one| &one.refunds) {
            match all.get(id) {
                Some(known) if known.told() >= refund.told() => {}
                _ => _ = all.insert(id.clone(), refund.clone()),
            }
        }
        (latest, all)
    }

    /// Gives each refund the time at which it was told first. A shop that tells no time of it gives it the time of each
    /// later edit of the order. Returns the times of the refunds that are not listed now.
    fn date_refunds(all: &mut BTreeMap<String, Refund>, states: [&Self; 2]) -> Option<Box<GoneRefunds>> {
        let mut first = BTreeMap::<String, Timestamp>::new();
        for one in states {
            let told = one.refunds.iter().map(|(id, refund)| (id, refund.at));
            let gone = one.gone_refunds.iter().flat_map(|gone| &gone.0);
            for (id, at) in told.chain(gone.map(|(id, at)| (id, *at))) {
                first.entry(id.clone()).and_modify(|known| *known = at.min(*known)).or_insert(at);
            }
        }
        for (id, refund) in all {
            let told = first.remove(id).filter(|_| !breakage::is_on("refund-grows-younger"));
            refund.at = told.unwrap_or(refund.at);
        }
        (!first.is_empty()).then(|| Box::new(GoneRefunds(first)))
    }

    /// The starts that both states and their earlier ones told. What the later state tells itself is left out.
    fn joined_starts(late: &Self, early: &Self) -> BTreeMap<String, EarlierStarts> {
        let stands = EarlierStarts::of(late);
        let told =
            [late.earlier_starts.clone(), early.earlier_starts.clone(), stands.clone(), EarlierStarts::of(early)];
        let mut all = BTreeMap::<String, EarlierStarts>::new();
        for (show, starts) in told.into_iter().flatten() {
            all.entry(show).or_default().join(starts);
        }
        for (show, starts) in &mut all {
            let own = stands.get(show);
            if starts.is_of_several || starts.others.len() > EarlierStarts::MOST {
                *starts = EarlierStarts { is_of_several: true, ..EarlierStarts::default() };
            }
            // Nothing that the state itself tells.
            starts.others.retain(|start, _| own.is_none_or(|own| !own.others.contains_key(start)));
            starts.first = starts.first.filter(|first| own.is_none_or(|own| own.first != Some(*first)));
            starts.is_of_several &= own.is_none_or(|own| !own.is_of_several);
        }
        all.retain(|_, starts| *starts != EarlierStarts::default());
        all
    }

    /// The starts that earlier states told of a show, by the shop's id. `None`: they told none, or the id names several
    /// performances.
    pub fn earlier_starts_of(&self, show: &str) -> Option<&EarlierStarts> {
        let earlier = self.earlier_starts.get(show).filter(|earlier| !earlier.is_of_several)?;
        let is_of_several = EarlierStarts::of(self).get(show).is_some_and(|own| own.is_of_several);
        (!is_of_several).then_some(earlier)
    }

    /// The later state, with the refunds and check-ins of both: associative, commutative, idempotent.
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        let (refunds_as_of, mut refunds) = self.joined_refunds(&other);
        let gone_refunds = Self::date_refunds(&mut refunds, [&self, &other]);
        let is_later = (self.lateness(), &self) >= (other.lateness(), &other);
        let (mut late, early) = if is_later { (self, other) } else { (other, self) };
        late.earlier_starts = Self::joined_starts(&late, &early);
        (late.refunds_as_of, late.refunds, late.gone_refunds) = (refunds_as_of, refunds, gone_refunds);
        for (id, check) in early.checks {
            match late.checks.get(&id) {
                Some(known) if *known >= check => {}
                _ => {
                    late.checks.insert(id, check);
                }
            }
        }
        late
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).expect("in range")
    }

    fn order(second: i64, refunds: &[(&str, i64)], is_whole: bool) -> Order {
        let money = |minor| Money { minor, currency: "RUB".into() };
        let refund = |(id, minor): &(&str, i64)| {
            ((*id).to_owned(), Refund { amount: money(*minor), at: at(second), tickets: BTreeSet::new(), moved: false })
        };
        Order {
            revision: at(second),
            state: OrderState::Paid,
            id: "1".into(),
            number: None,
            placed_at: at(0),
            paid_at: Some(at(0)),
            paid: money(300_000),
            total: money(300_000),
            tickets: vec![],
            refunds: refunds.iter().map(refund).collect(),
            promo_codes: vec![],
            utm: BTreeMap::new(),
            items: vec![],
            company: None,
            show: None,
            due_at: None,
            checks: BTreeMap::new(),
            refunds_as_of: is_whole.then(|| at(second)),
            earlier_starts: BTreeMap::new(),
            gone_refunds: None,
        }
    }

    #[test]
    fn states_join_to_the_same_in_every_order_whether_they_state_refunds_whole_or_not() {
        let all: Vec<Order> = (1..=3)
            .flat_map(|second| {
                let told: [&[(&str, i64)]; 5] = [&[], &[("a", 5)], &[("a", 3)], &[("b", 4)], &[("a", 3), ("b", 4)]];
                told.into_iter().flat_map(move |refunds| [true, false].map(|whole| order(second, refunds, whole)))
            })
            .collect();
        for a in &all {
            assert_eq!(a.clone().join(a.clone()), *a);
            for b in &all {
                let both = a.clone().join(b.clone());
                assert_eq!(both, b.clone().join(a.clone()));
                assert_eq!(both, both.clone().join(a.clone()));
                for c in &all {
                    assert_eq!(both.clone().join(c.clone()), a.clone().join(b.clone().join(c.clone())));
                }
            }
        }
    }

    #[test]
    fn starts_of_shows_join_to_the_same_in_every_order() {
        let told = |second: i64, starts: &[i64]| {
            let ticket = |(index, start): (usize, &i64)| {
                let show = crate::ShowRef { starts_at: Some(at(start * 1_000)), ..crate::ShowRef::id("gull") };
                Ticket { id: format!("t{index}"), show, price: Money { minor: 5, currency: "RUB".into() }, live: true }
            };
            Order { tickets: starts.iter().enumerate().map(ticket).collect(), ..order(second, &[], true) }
        };
        let starts: [&[i64]; 5] = [&[], &[1], &[2], &[1, 2], &[3]];
        let mut all: Vec<Order> = (1..=4).flat_map(|second| starts.map(|starts| told(second, starts))).collect();
        // As many starts as are kept, and more.
        let many = |starts: std::ops::RangeInclusive<i64>| {
            starts.map(|start| told(start, &[start])).reduce(Order::join).expect("an order")
        };
        all.extend([many(1..=10), many(1..=11), many(3..=12), told(12, &[]), told(13, &[11]), told(14, &[5, 6])]);
        for a in &all {
            assert_eq!(a.clone().join(a.clone()), *a);
            for b in &all {
                let both = a.clone().join(b.clone());
                assert_eq!(both, b.clone().join(a.clone()));
                assert_eq!(both, both.clone().join(a.clone()));
                for c in &all {
                    assert_eq!(both.clone().join(c.clone()), a.clone().join(b.clone().join(c.clone())));
                }
            }
        }
    }

    #[test]
    fn the_latest_whole_statement_of_refunds_stands_and_what_is_no_whole_one_adds_up() {
        let minor = |a: &Order, b: &Order| a.clone().join(b.clone()).refunded_minor();
        let (first, corrected) = (order(1, &[("a", 5)], true), order(2, &[("a", 3)], true));
        assert_eq!((minor(&first, &corrected), minor(&corrected, &first)), (3, 3));
        assert_eq!(minor(&first, &order(2, &[], true)), 0);
        assert_eq!(minor(&first, &order(2, &[], false)), 5, "it says nothing of refunds");
        assert_eq!(minor(&order(1, &[("a", 5)], false), &order(2, &[("b", 4)], false)), 9);
        assert_eq!(minor(&order(1, &[("a", 5)], true), &order(1, &[("b", 4)], true)), 9, "a clock of whole seconds");
    }

    #[test]
    fn a_refund_is_as_old_as_it_was_told_first_however_often_its_order_is_edited() {
        let refunded_at =
            |order: &Order| order.refunds.values().map(|refund| refund.at.as_second()).collect::<Vec<_>>();
        let told = [order(5, &[("a", 5)], true), order(9, &[], true), order(12, &[("a", 5)], true)];
        for turns in [[0, 1, 2], [2, 1, 0], [1, 0, 2], [0, 2, 1]] {
            let all = turns.into_iter().filter_map(|index| told.get(index)).cloned().reduce(Order::join);
            let first = order(5, &[("a", 5)], true);
            assert_eq!(all.as_ref().map(refunded_at), Some(refunded_at(&first)), "{turns:?}");
        }
    }

    #[test]
    fn fields_of_a_later_version_are_read_over_inside_what_is_stored() {
        let check = r#"{"told_at":"2026-11-28T10:00:00Z","gate":"north"}"#;
        let quiet = r#"{"from":"22:00","until":"09:00","zone":"Europe/Moscow","days":["sat"]}"#;
        let decided = r#"{"verdict":{"not_shared":"email:a@example.com"},"by":"anna","why":"a slip"}"#;
        assert!(serde_json::from_str::<CheckIn>(check).is_ok());
        assert!(serde_json::from_str::<crate::QuietHours>(quiet).is_ok());
        let read = serde_json::from_str::<crate::IdentityDecided>(decided);
        assert!(read.is_ok(), "{read:?}");
    }
}
