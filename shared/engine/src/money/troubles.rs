//! What only a manager can decide about the money of an order.

use stagedoor_model::{Money, Order, breakage};
use stagedoor_texts::{Text, tasks};

use super::{Settlement, words};

/// A problem with an order's money that a manager has to decide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// Key of this trouble with these figures. Other figures make another key.
    pub key: String,
    pub text: Text,
}

/// Returns everything about an order's money that waits for a manager.
pub fn troubles(order: &Order, settlement: &Settlement) -> Vec<Trouble> {
    let number = order.number.as_deref().unwrap_or(&order.id);
    let mut all: Vec<Trouble> = trouble(order, settlement).into_iter().chain(elsewhere_of(order, settlement)).collect();
    for (dispute, money) in &settlement.disputed {
        let text = tasks::dispute(words(money), number);
        all.push(Trouble { key: format!("{}/dispute/{dispute}", order.id), text });
    }
    all
}

/// Returns troubles about money that came for an order in other currencies than its own.
pub(crate) fn elsewhere_of(order: &Order, settlement: &Settlement) -> Vec<Trouble> {
    let number = order.number.as_deref().unwrap_or(&order.id);
    let mut all = Vec::new();
    for (currency, moved) in &settlement.elsewhere {
        let money = |minor: i64| words(&Money { minor, currency: currency.clone() });
        let (asked, received) = (words(&order.total), money(moved.received));
        let text = match moved.returned {
            ..=0 => tasks::other_currency(number, asked, received),
            returned => tasks::other_currency_returned(number, asked, received, money(returned)),
        };
        let key = format!("{}/{currency}/{}/{}", order.id, moved.received, moved.returned);
        all.push(Trouble { key, text });
    }
    all
}

/// Returns the trouble with the amount, if any. Only a collective order may be paid in parts.
pub(super) fn trouble(order: &Order, settlement: &Settlement) -> Option<Trouble> {
    let Settlement { asked, received, returned, cancelled, .. } = settlement;
    let money = |minor: i64| words(&order.total.with_minor(minor));
    let number = order.number.as_deref().unwrap_or(&order.id);
    let kept = received.saturating_sub(*returned);
    let count = settlement.came.len();
    let what = if kept < 0 && *received > 0 {
        tasks::more_back(money(*received))
    } else if *cancelled && kept > 0 && (!settlement.came.is_empty() || !breakage::is_on("shops-payment-kept-unsaid")) {
        tasks::cancelled_kept(money(kept))
    } else if kept > *asked && settlement.came.iter().filter(|(_, minor)| minor == asked).count() > 1 {
        tasks::paid_twice(money(*asked), money(*received), count)
    } else if kept > *asked {
        tasks::too_much(money(*asked), money(*received))
    } else if *received > 0 && received < asked && count > 0 && order.company.is_none() {
        tasks::too_little(money(*asked), money(*received))
    } else {
        return None;
    };
    let text = match *returned {
        ..=0 => tasks::order(number, what),
        returned => tasks::order_returned(number, what, money(returned)),
    };
    let key = format!("{}/{asked}/{received}/{returned}/{cancelled}", order.id);
    Some(Trouble { key, text })
}
