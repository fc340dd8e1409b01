//! The money of an order: asked for, received, returned; and what only a manager can decide about it.

mod troubles;

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use serde::{Deserialize, Serialize};
use stagedoor_model::{
    Fact, Kind, Money, Order, OrderState, Payment, PaymentKind, Record, RecordKey, Refund, SourceName, Timestamp,
    breakage,
};
use stagedoor_texts::{Text, crm, tasks};
pub(crate) use troubles::elsewhere_of;
pub use troubles::{Trouble, troubles};

use crate::{order_numbers, records::PAYMENT_RECORD};

/// The payment state of an order, or of the orders of a deal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Payments {
    /// The order costs nothing.
    Free,
    Unpaid,
    /// The payment, or a part of it, did not come in time.
    Overdue,
    Partly,
    Paid,
    /// More came than the order costs.
    Over,
    Refunded,
}

impl Payments {
    /// Returns the state in words, for people.
    pub fn words(self) -> Text {
        match self {
            Self::Free => crm::payment_free(),
            Self::Unpaid => crm::payment_unpaid(),
            Self::Overdue => crm::payment_overdue(),
            Self::Partly => crm::payment_partly(),
            Self::Paid => crm::payment_paid(),
            Self::Over => crm::payment_over(),
            Self::Refunded => crm::payment_refunded(),
        }
    }
}

/// What came and what was returned in one currency, in minor units.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moved {
    pub received: i64,
    pub returned: i64,
}

/// The money of one order, in minor units of its currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    /// The order's total.
    pub asked: i64,
    pub received: i64,
    /// What was returned. It may exceed what came.
    pub returned: i64,
    /// What went to other orders of the shop. `received` does not include it.
    pub moved: i64,
    /// When the payments first reached the total.
    pub paid_at: Option<Timestamp>,
    /// When money was last returned.
    pub returned_at: Option<Timestamp>,
    pub due_at: Option<Timestamp>,
    pub cancelled: bool,
    /// Single payments, the earliest first.
    pub came: Vec<(Timestamp, i64)>,
    /// Single returns, the earliest first.
    pub went: Vec<(Timestamp, i64)>,
    /// Money in currencies other than the order's, by currency.
    pub elsewhere: BTreeMap<String, Moved>,
    /// What payers' banks claim back, by the provider's id of the dispute.
    pub disputed: BTreeMap<String, Money>,
    /// Tickets that were cancelled before payment, by id, with the time of the cancellation.
    pub never_paid: BTreeMap<String, Timestamp>,
}

impl Settlement {
    /// Computes the money of an order. A payment provider's report counts above the shop's, because the provider has
    /// the money. Without one, the shop's counts. Both may report the same refund, so the greater of the two sums
    /// counts.
    pub fn of<'p>(order: &Order, payments: impl Iterator<Item = (&'p String, &'p Payment)>) -> Self {
        let all: Vec<(&String, &Payment)> = payments.collect();
        let currency = order.total.currency.as_str();
        let of_kind = |kind: PaymentKind| {
            let own =
                all.iter().filter(move |(_, payment)| payment.kind == kind && payment.amount.currency == currency);
            own.map(|(id, payment)| (payment.at, owed(payment.amount.minor) - failed(&all, id, payment)))
        };
        let sorted = |kind: PaymentKind| {
            let mut list: Vec<(Timestamp, i64)> = of_kind(kind).filter(|(_, minor)| *minor != 0).collect();
            list.sort_unstable();
            list
        };
        let (came, went) = (sorted(PaymentKind::Received), sorted(PaymentKind::Returned));
        let sum = |all: &[(Timestamp, i64)]| all.iter().map(|(_, minor)| *minor).fold(0, i64::saturating_add);
        let told = sum(&came) > 0;
        let moved = moved_on(order);
        let received = if told { sum(&came) } else { owed(order.paid.minor) };
        let received = received.saturating_sub(moved).max(0);
        let asked = owed(order.total.minor);
        let paid_at = match told {
            true => came
                .iter()
                .scan(0_i64, |total, (at, minor)| {
                    *total = total.saturating_add(*minor);
                    Some((*at, *total))
                })
                .find(|(_, total)| *total >= asked)
                .map(|(at, _)| at),
            false => order.paid_at.filter(|_| order.paid.minor >= asked),
        };
        let by_shop = refunds_in(order, currency).map(|refund| owed(refund.amount.minor)).fold(0, i64::saturating_add);
        let provider = if breakage::is_on("provider-refund-ignored") { 0 } else { sum(&went) };
        // A return that was taken back names neither money nor tickets.
        let stands = |refund: &&Refund| refund.amount.minor != 0 || !refund.tickets.is_empty();
        let returned_at = refunds_in(order, currency).filter(stands).map(|refund| refund.at).max();
        let disputes = all.iter().filter(|(_, payment)| payment.kind == PaymentKind::Disputed);
        Self {
            asked,
            received,
            returned: provider.max(by_shop),
            moved,
            paid_at,
            returned_at: returned_at.max(went.last().map(|(at, _)| *at)),
            due_at: order.due_at,
            cancelled: order.state == OrderState::Cancelled,
            came,
            went,
            elsewhere: elsewhere(order, &all),
            disputed: disputes.map(|(id, payment)| ((*id).clone(), payment.amount.clone())).collect(),
            never_paid: BTreeMap::new(),
        }
    }

    /// Returns what came and was not returned; never below zero.
    pub fn kept(&self) -> i64 {
        self.received.saturating_sub(self.returned).max(0)
    }

    /// Returns what was kept, by currency.
    pub fn kept_by_currency<'s>(&'s self, order: &'s Order) -> impl Iterator<Item = (&'s str, i64)> {
        let others = self.elsewhere.iter();
        let others = others.map(|(currency, moved)| (currency.as_str(), (moved.received - moved.returned).max(0)));
        std::iter::once((order.total.currency.as_str(), self.kept())).chain(others)
    }

    /// Returns the payment state at `now`.
    pub fn state(&self, now: Timestamp) -> Payments {
        let kept = self.received.saturating_sub(self.returned);
        let late = self.due_at.is_some_and(|due| due <= now) && !self.cancelled;
        match () {
            () if self.received > 0 && kept <= 0 => Payments::Refunded,
            () if self.asked == 0 && self.received == 0 => Payments::Free,
            () if kept > self.asked && self.asked > 0 => Payments::Over,
            // Returned money does not make an order unpaid again.
            () if self.received >= self.asked => Payments::Paid,
            () if late => Payments::Overdue,
            () if self.received > 0 => Payments::Partly,
            () => Payments::Unpaid,
        }
    }

    /// Returns when an unpaid order becomes overdue: its state then changes without an event.
    pub fn turns_at(&self, now: Timestamp) -> Option<Timestamp> {
        self.due_at.filter(|due| *due > now && self.received < self.asked && !self.cancelled)
    }
}

/// Returns an amount as deals count it. A negative one, such as a credit note's, counts as 0: nobody paid it.
pub(crate) fn owed(minor: i64) -> i64 {
    if breakage::is_on("negative-price") { minor } else { minor.max(0) }
}

/// Returns the part of a return that failed. A provider that reports the sum of all returns repeats it without the
/// failed ones, so only later failures count.
fn failed(all: &[(&String, &Payment)], id: &str, returned: &Payment) -> i64 {
    let is_of = |failed: &str, id: &str| failed.strip_prefix(id).is_some_and(|rest| rest.starts_with("/failed/"));
    let returns = || all.iter().filter(|(_, payment)| payment.kind == PaymentKind::Returned);
    // A failure may have another payment id than the return. Then it belongs to the last return before it.
    let is_last = |failed: &str, failure: &Payment| {
        let before =
            returns().filter(|(_, one)| one.at <= failure.at && one.amount.currency == failure.amount.currency);
        !returns().any(|(id, _)| is_of(failed, id))
            && before.max_by_key(|(id, one)| (one.at, *id)).is_some_and(|(last, _)| *last == id)
            && !breakage::is_on("failure-by-another-id-unheard")
    };
    let own = all.iter().filter(|(failed, payment)| {
        payment.kind == PaymentKind::ReturnFailed
            && payment.at >= returned.at
            && (is_of(failed, id) || is_last(failed, payment))
    });
    let sum = own.map(|(_, payment)| payment.amount.minor).fold(0, i64::saturating_add);
    if returned.kind == PaymentKind::Returned { sum.clamp(0, owed(returned.amount.minor)) } else { 0 }
}

/// Returns what went from this order to others of the shop, in minor units of the order's currency.
fn moved_on(order: &Order) -> i64 {
    let own = order.refunds.values().filter(|refund| refund.amount.currency == order.total.currency);
    let moved = own.filter(|refund| refund.moved && !breakage::is_on("moved-money-is-refunded"));
    moved.map(|refund| owed(refund.amount.minor)).fold(0, i64::saturating_add)
}

/// Returns the shop's refunds in one currency.
pub(crate) fn refunds_in<'o>(order: &'o Order, currency: &'o str) -> impl Iterator<Item = &'o Refund> {
    order.returned().filter(move |refund| refund.amount.currency == currency)
}

fn elsewhere(order: &Order, all: &[(&String, &Payment)]) -> BTreeMap<String, Moved> {
    let own = &order.total.currency;
    let mut moved = BTreeMap::<String, Moved>::new();
    let moves = |payment: &Payment| matches!(payment.kind, PaymentKind::Received | PaymentKind::Returned);
    for (id, payment) in all.iter().filter(|(_, payment)| payment.amount.currency != *own && moves(payment)) {
        let minor = owed(payment.amount.minor) - failed(all, id, payment);
        let known = moved.entry(payment.amount.currency.clone()).or_default();
        match payment.kind {
            PaymentKind::Received => known.received = known.received.saturating_add(minor),
            PaymentKind::Returned => known.returned = known.returned.saturating_add(minor),
            PaymentKind::ReturnFailed | PaymentKind::Disputed => {}
        }
    }
    let mut by_shop = BTreeMap::<&str, i64>::new();
    for refund in order.returned().filter(|refund| refund.amount.currency != *own) {
        let sum = by_shop.entry(&refund.amount.currency).or_default();
        *sum = sum.saturating_add(owed(refund.amount.minor));
    }
    for (currency, minor) in by_shop {
        let known = moved.entry(currency.to_owned()).or_default();
        known.returned = known.returned.max(minor);
    }
    moved
}

/// Formats an amount for people with the decimal places of its currency: `5400.00 RUB`, `3000 JPY`.
pub fn words(money: &Money) -> String {
    let sign = if money.minor < 0 { "-" } else { "" };
    let major = money.with_minor(money.minor.saturating_abs());
    let (whole, beyond, currency) = (major.whole_major(), major.minor_beyond_whole(), &money.currency);
    match usize::try_from(money.decimals()).unwrap_or(2) {
        _ if breakage::is_on("every-currency-has-cents") => {
            format!("{sign}{whole}.{:02} {currency}", major.beyond_whole())
        }
        0 => format!("{sign}{whole} {currency}"),
        places => format!("{sign}{whole}.{beyond:0places$} {currency}"),
    }
}

/// The source of an order and the shop's id of it.
pub type OrderKey = (String, String);

/// A person's money: every order with its settlement, and money that matches no order.
#[derive(Debug, Clone, Default)]
pub struct Settlements<'r> {
    pub orders: BTreeMap<OrderKey, (Cow<'r, Order>, Settlement)>,
    /// Money whose order no shop has reported. It settles the order when that comes.
    pub unmatched: Vec<Trouble>,
}

/// Computes the money of every order of a person. Money reported by a payment's id goes to the order of that payment.
/// Money reported by an order's number goes to that order.
pub fn settlements<'r>(records: impl Iterator<Item = &'r Record>) -> Settlements<'r> {
    let (mut orders, mut beside) = (Vec::new(), Vec::new());
    let records: Vec<&Record> = records.filter(|record| matches!(record.fact, Fact::Order { .. })).collect();
    let named = order_numbers::orders(records.iter().copied());
    let mut numbered = BTreeMap::<&RecordKey, Vec<&Record>>::new();
    for record in records {
        match named.get(&record.key) {
            Some(order) => numbered.entry(order).or_default().push(record),
            None if record.key.0.starts_with(PAYMENT_RECORD) => beside.push((references(record), record)),
            None => orders.push((references(record), record)),
        }
    }
    let mut beside = Beside::of(beside);
    let mut all = Settlements::default();
    for (mut known, record) in orders {
        let mut payments: BTreeMap<&String, &Payment> = record.fact.payments().collect();
        for other in numbered.remove(&record.key).into_iter().flatten() {
            known.extend(references(other));
            payments.extend(other.fact.payments());
        }
        for other in beside.take(&record.source, known) {
            payments.extend(other.fact.payments());
        }
        match record.fact.order() {
            Some(order) => {
                let never_paid = record.fact.never_paid();
                let settlement = Settlement { never_paid, ..Settlement::of(&order, payments.into_iter()) };
                all.orders.insert((record.source.to_string(), order.id.clone()), (order, settlement));
            }
            None => all.unmatched.extend(unmatched(record, &payments)),
        }
    }
    for (_, record) in beside.all.iter().flatten() {
        all.unmatched.extend(unmatched(record, &record.fact.payments().collect()));
    }
    all
}

/// Money reported only by payment ids, until an order takes it.
struct Beside<'r> {
    all: Vec<Option<(BTreeSet<&'r str>, &'r Record)>>,
    /// The indices in `all` that name a payment, by its source and id.
    by_id: BTreeMap<(&'r SourceName, &'r str), Vec<usize>>,
}

impl<'r> Beside<'r> {
    fn of(all: Vec<(BTreeSet<&'r str>, &'r Record)>) -> Self {
        let mut by_id = BTreeMap::<_, Vec<usize>>::new();
        for (place, (ids, record)) in all.iter().enumerate() {
            ids.iter().for_each(|id| by_id.entry((&record.source, *id)).or_default().push(place));
        }
        Self { all: all.into_iter().map(Some).collect(), by_id }
    }

    /// Takes the records that share a payment with `known`. One message names the charge, another the payment intent,
    /// a third both.
    fn take(&mut self, source: &'r SourceName, mut known: BTreeSet<&'r str>) -> Vec<&'r Record> {
        let (mut taken, mut open) = (Vec::new(), BTreeSet::new());
        known.iter().for_each(|id| open.extend(self.by_id.remove(&(source, *id)).into_iter().flatten()));
        while let Some(place) = open.pop_first() {
            let Some((ids, record)) = self.all.get_mut(place).and_then(Option::take) else { continue };
            for id in ids.into_iter().filter(|id| known.insert(id)) {
                open.extend(self.by_id.remove(&(source, id)).into_iter().flatten());
            }
            taken.push(record);
        }
        taken
    }
}

/// Returns the ids of payments that a record names.
fn references(record: &Record) -> BTreeSet<&str> {
    let named = record.identifiers.iter().filter(|one| one.kind() == Kind::Payment).map(|one| one.value());
    named.chain(record.fact.payments().map(|(id, _)| id.as_str())).collect()
}

/// Returns the money of an order that no shop reported.
fn unmatched(record: &Record, payments: &BTreeMap<&String, &Payment>) -> Option<Trouble> {
    let moved = |(_, payment): &(&&String, &&Payment)| {
        matches!(payment.kind, PaymentKind::Received | PaymentKind::Returned) && payment.amount.minor != 0
    };
    let lines: Vec<Text> = payments.iter().filter(moved).map(|(_, payment)| told(payment)).collect();
    if lines.is_empty() {
        return None;
    }
    let (_, name) = record.key.0.split_once(':').unwrap_or_default();
    let key = format!("{}/{}", record.key.0, lines.len());
    let text = match record.key.0.starts_with(PAYMENT_RECORD) {
        true => tasks::money_of_payment(lines, name, record.source.as_str()),
        false => tasks::money_of_order(lines, name, record.source.as_str()),
    };
    Some(Trouble { key, text })
}

fn told(payment: &Payment) -> Text {
    let money = words(&payment.amount);
    if payment.kind == PaymentKind::Returned { tasks::went_back(money) } else { tasks::came(money) }
}

#[cfg(test)]
mod tests {
    use stagedoor_texts::Language;

    use super::{troubles::trouble, *};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).expect("in range")
    }

    fn order(total: i64, state: OrderState, company: bool) -> Order {
        let money = |minor| Money { minor, currency: "RUB".into() };
        let paid = state == OrderState::Paid;
        Order {
            revision: at(0),
            state,
            id: "1".into(),
            number: Some("70001".into()),
            placed_at: at(0),
            paid_at: paid.then(|| at(0)),
            paid: money(if paid { total } else { 0 }),
            total: money(total),
            tickets: vec![],
            refunds: BTreeMap::new(),
            promo_codes: vec![],
            utm: BTreeMap::new(),
            items: vec![],
            show: None,
            company: company.then(|| stagedoor_model::Company::read(Some("Сад"), None, None)).flatten(),
            due_at: company.then(|| at(100)),
            checks: BTreeMap::new(),
            refunds_as_of: None,
            earlier_starts: BTreeMap::new(),
            gone_refunds: None,
        }
    }

    fn settled(order: &Order, all: &[(i64, PaymentKind, i64)]) -> Settlement {
        let payment = |(index, (second, kind, minor)): (usize, &(i64, PaymentKind, i64))| {
            let amount = order.total.with_minor(*minor);
            (index.to_string(), Payment { at: at(*second), kind: *kind, amount })
        };
        let payments: BTreeMap<String, Payment> = all.iter().enumerate().map(payment).collect();
        Settlement::of(order, payments.iter())
    }

    use PaymentKind::{Received, Returned};

    #[test]
    fn an_amount_is_told_in_the_decimal_places_of_its_currency() {
        let told = |minor, currency: &str| words(&Money { minor, currency: currency.into() });
        assert_eq!(told(540_050, "RUB"), "5400.50 RUB");
        assert_eq!(told(30_125, "KWD"), "30.125 KWD");
        assert_eq!(told(-30_005, "KWD"), "-30.005 KWD");
        assert_eq!(told(3_000, "JPY"), "3000 JPY");
    }

    #[test]
    fn a_collective_order_is_unpaid_then_partly_paid_then_overdue_then_paid() {
        let order = order(540_000, OrderState::Placed, true);
        assert_eq!(settled(&order, &[]).state(at(50)), Payments::Unpaid);
        assert_eq!(settled(&order, &[]).turns_at(at(50)), Some(at(100)));
        let part = settled(&order, &[(10, Received, 200_000)]);
        assert_eq!((part.state(at(50)), part.state(at(100))), (Payments::Partly, Payments::Overdue));
        assert_eq!(trouble(&order, &part), None);
        let whole = settled(&order, &[(10, Received, 200_000), (20, Received, 340_000)]);
        assert_eq!((whole.state(at(500)), whole.paid_at), (Payments::Paid, Some(at(20))));
    }

    #[test]
    fn an_order_paid_twice_or_with_another_amount_is_a_managers() {
        let order = order(540_000, OrderState::Paid, false);
        let twice = settled(&order, &[(1, Received, 540_000), (2, Received, 540_000)]);
        assert_eq!(twice.state(at(5)), Payments::Over);
        let text = trouble(&order, &twice).expect("a trouble").text.to(Language::English);
        assert!(text.contains("paid twice: asked for 5400.00 RUB, received 10800.00 RUB in 2 payments"), "{text}");
        let little = trouble(&order, &settled(&order, &[(1, Received, 500_050)])).expect("a trouble").text;
        let little = little.to(Language::English);
        assert!(little.contains("too little: asked for 5400.00 RUB, received 5000.50 RUB"), "{little}");
        // The excess was returned: nothing is left to decide.
        let mended = settled(&order, &[(1, Received, 540_000), (2, Received, 540_000), (3, Returned, 540_000)]);
        assert_eq!((mended.state(at(5)), trouble(&order, &mended)), (Payments::Paid, None));
    }

    #[test]
    fn what_the_shop_alone_tells_is_believed_and_a_refund_told_twice_counts_once() {
        let mut order = order(540_000, OrderState::Paid, false);
        assert_eq!(settled(&order, &[]).state(at(5)), Payments::Paid);
        let refund = stagedoor_model::Refund {
            amount: order.total.clone(),
            at: at(3),
            tickets: Default::default(),
            moved: false,
        };
        order.refunds.insert("r1".into(), refund);
        let both = settled(&order, &[(1, Received, 540_000), (3, Returned, 540_000)]);
        assert_eq!((both.returned, both.state(at(5))), (540_000, Payments::Refunded));
    }
}
