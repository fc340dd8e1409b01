//! What became of an order's money: asked for, received, returned; and what about it only a manager can settle.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use stagedoor_model::{Money, Order, OrderState, Payment, PaymentKind, Record, Timestamp};

/// How an order, or the orders of a deal, stand with their money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Payments {
    /// Nothing is asked for.
    Free,
    Unpaid,
    /// Nothing, or not all, came in time.
    Overdue,
    Partly,
    Paid,
    /// More came than was asked for.
    Over,
    Refunded,
}

impl Payments {
    pub fn words(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Unpaid => "unpaid",
            Self::Overdue => "overdue",
            Self::Partly => "partly paid",
            Self::Paid => "paid",
            Self::Over => "overpaid",
            Self::Refunded => "refunded",
        }
    }
}

/// One order's money, in minor units of its currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    pub asked: i64,
    pub received: i64,
    pub returned: i64,
    /// When the last of what was asked for came.
    pub paid_at: Option<Timestamp>,
    pub due_at: Option<Timestamp>,
    pub cancelled: bool,
    /// Single payments that came, the earliest first.
    pub came: Vec<(Timestamp, i64)>,
    pub went: Vec<(Timestamp, i64)>,
}

impl Settlement {
    /// A payment provider's word stands above the shop's: it has the money. Where none is told, the shop's does. A refund may
    /// be told by both, so of the two sums the greater is what went back.
    pub fn of<'p>(order: &Order, payments: impl Iterator<Item = (&'p String, &'p Payment)>) -> Self {
        let (mut came, mut went) = (Vec::new(), Vec::new());
        for (_, payment) in payments.filter(|(_, payment)| payment.amount.currency == order.total.currency) {
            let list = if payment.kind == PaymentKind::Received { &mut came } else { &mut went };
            list.push((payment.at, payment.amount.minor));
        }
        came.sort_unstable();
        went.sort_unstable();
        let sum = |all: &[(Timestamp, i64)]| all.iter().map(|(_, minor)| *minor).fold(0, i64::saturating_add);
        let told = sum(&came) > 0;
        let received = if told { sum(&came) } else { order.paid.minor };
        let asked = order.total.minor;
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
        Self {
            asked,
            received,
            returned: sum(&went).max(order.refunded_minor()),
            paid_at,
            due_at: order.due_at,
            cancelled: order.state == OrderState::Cancelled,
            came,
            went,
        }
    }

    pub fn state(&self, now: Timestamp) -> Payments {
        let kept = self.received - self.returned;
        let late = self.due_at.is_some_and(|due| due <= now) && !self.cancelled;
        match () {
            () if self.received > 0 && kept <= 0 => Payments::Refunded,
            () if self.asked == 0 && self.received == 0 => Payments::Free,
            () if kept > self.asked && self.asked > 0 => Payments::Over,
            // What went back was asked for no more.
            () if self.received >= self.asked => Payments::Paid,
            () if late => Payments::Overdue,
            () if self.received > 0 => Payments::Partly,
            () => Payments::Unpaid,
        }
    }

    /// When it is to be looked at again: what is not paid becomes overdue by itself.
    pub fn turns_at(&self, now: Timestamp) -> Option<Timestamp> {
        self.due_at.filter(|due| *due > now && self.received < self.asked && !self.cancelled)
    }
}

/// Something about an order's money that a manager has to decide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// Names this trouble with these figures: other figures are another one.
    pub key: String,
    pub text: String,
}

/// A collective order may be paid in parts; of any other the amount has to be what was asked for.
pub fn trouble(order: &Order, settlement: &Settlement) -> Option<Trouble> {
    let Settlement { asked, received, returned, cancelled, .. } = settlement;
    let money = |minor: i64| words(&order.total.with_minor(minor));
    let number = order.number.as_deref().unwrap_or(&order.id);
    let kept = received - returned;
    let count = settlement.came.len();
    let what = if *cancelled && !settlement.came.is_empty() && kept > 0 {
        format!("was cancelled, and {} came for it and did not go back", money(kept))
    } else if kept > *asked && settlement.came.iter().filter(|(_, minor)| minor == asked).count() > 1 {
        format!("was paid twice: asked for {}, received {} in {count} payments", money(*asked), money(*received))
    } else if kept > *asked {
        format!("was paid with too much: asked for {}, received {}", money(*asked), money(*received))
    } else if *received > 0 && received < asked && count > 0 && order.company.is_none() {
        format!("was paid with too little: asked for {}, received {}", money(*asked), money(*received))
    } else {
        return None;
    };
    let back = if *returned > 0 { format!(", returned {}", money(*returned)) } else { String::new() };
    let text = format!("Order {number} {what}{back}. Decide what is to be returned or asked for.");
    Some(Trouble { key: format!("{}/{asked}/{received}/{returned}/{cancelled}", order.id), text })
}

/// An amount for people: `5400.00 RUB`.
pub fn words(money: &Money) -> String {
    let sign = if money.minor < 0 { "-" } else { "" };
    let major = money.with_minor(money.minor.saturating_abs());
    format!("{sign}{}.{:02} {}", major.whole_major(), major.beyond_whole(), money.currency)
}

/// Every order of a person with its money, by source and the shop's id.
pub fn settlements<'r>(records: impl Iterator<Item = &'r Record>) -> BTreeMap<(String, String), (Order, Settlement)> {
    let one = |record: &'r Record| {
        let order = record.fact.order()?;
        let settlement = Settlement::of(&order, record.fact.payments());
        Some(((record.source.to_string(), order.id.clone()), (order, settlement)))
    };
    records.filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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
            company: company.then(|| stagedoor_model::Company::read(Some("Сад"), None, None)).flatten(),
            due_at: company.then(|| at(100)),
            checks: BTreeMap::new(),
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
        let text = trouble(&order, &twice).expect("a trouble").text;
        assert!(text.contains("paid twice: asked for 5400.00 RUB, received 10800.00 RUB in 2 payments"), "{text}");
        let little = trouble(&order, &settled(&order, &[(1, Received, 500_050)])).expect("a trouble").text;
        assert!(little.contains("too little: asked for 5400.00 RUB, received 5000.50 RUB"), "{little}");
        // What was too much went back: nothing is left to decide.
        let mended = settled(&order, &[(1, Received, 540_000), (2, Received, 540_000), (3, Returned, 540_000)]);
        assert_eq!((mended.state(at(5)), trouble(&order, &mended)), (Payments::Paid, None));
    }

    #[test]
    fn what_the_shop_alone_tells_is_believed_and_a_refund_told_twice_counts_once() {
        let mut order = order(540_000, OrderState::Paid, false);
        assert_eq!(settled(&order, &[]).state(at(5)), Payments::Paid);
        let refund = stagedoor_model::Refund { amount: order.total.clone(), at: at(3), tickets: Default::default() };
        order.refunds.insert("r1".into(), refund);
        let both = settled(&order, &[(1, Received, 540_000), (3, Returned, 540_000)]);
        assert_eq!((both.returned, both.state(at(5))), (540_000, Payments::Refunded));
    }
}
