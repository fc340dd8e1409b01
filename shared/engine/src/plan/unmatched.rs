//! Money without a place: it matches no order, or came in another currency than its order. It is listed for people until it
//! has a place.

use stagedoor_model::{Fact, Order, Timestamp, breakage};

use super::{Digest, Link, Parked};
use crate::{Person, Settlement, Trouble, money::elsewhere_of, records::PAYMENT_RECORD, settlements};

/// Whether somebody's money is for an order that no shop tells of: the task about it needs a contact. Money that names no order
/// may be of another business, and is only listed.
pub(super) fn has_unmatched(person: &Person, now: Timestamp) -> bool {
    let names_order = |one: &Trouble| !one.key.starts_with(PAYMENT_RECORD);
    has_payments(person) && settlements(person.records.values()).unmatched_by(now).any(names_order)
}

fn has_payments(person: &Person) -> bool {
    let mut orders = person.records.values().filter(|record| matches!(record.fact, Fact::Order { .. }));
    orders.any(|record| record.fact.payments().next().is_some())
}

impl Link {
    /// Lists money without a place, and takes off the list what has one by now. Returns whether the list changed.
    pub fn list_unmatched(&mut self, person: &Person, now: Timestamp) -> bool {
        if self.unmatched.is_empty() && !has_payments(person) || breakage::is_on("unmatched-unseen") {
            return false;
        }
        let money = settlements(person.records.values());
        // What went back whole has no place to find.
        let is_kept =
            |one: &&(Order, Settlement)| one.1.elsewhere.values().any(|moved| moved.received > moved.returned);
        let elsewhere = money.orders.values().filter(is_kept);
        let elsewhere = elsewhere.flat_map(|(order, settlement)| elsewhere_of(order, settlement));
        let listed = money.unmatched_by(now).cloned().chain(elsewhere).map(|one| {
            let new = || Parked { digest: Digest::of(&one.text), reason: one.text.clone(), at: now };
            (one.key.clone(), self.unmatched.get(&one.key).cloned().unwrap_or_else(new))
        });
        let listed = listed.collect();
        std::mem::replace(&mut self.unmatched, listed) != self.unmatched
    }
}
