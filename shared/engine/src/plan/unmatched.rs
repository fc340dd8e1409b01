//! Money without a place: it matches no order, or its currency differs from the order's. The hub lists it for people
//! until it has a place.

use std::borrow::Cow;

use jiff::SignedDuration;
use stagedoor_model::{Fact, Order, Timestamp, breakage};
use stagedoor_texts::Language;

use super::{CrmState, Digest, Rejected};
use crate::{Person, Settlement, Settlements, Trouble, money::elsewhere_of, records::PAYMENT_RECORD, settlements};

/// How long listed money waits for its order. A shop may report an order after its payment.
const PATIENCE: SignedDuration = SignedDuration::from_mins(15);
/// How long a shop that cancelled an order may take to report that its money went back.
const RETURN: SignedDuration = SignedDuration::from_hours(72);

/// Returns true if a person's money is for an order that no shop reports. The task about it needs a contact. Money
/// that names no order may belong to another business, and is only listed.
pub(super) fn has_unmatched(person: &Person, link: &CrmState, now: Timestamp) -> bool {
    let names_order = |one: &Trouble| !one.key.starts_with(PAYMENT_RECORD);
    has_payments(person) && overdue(link, &settlements(person.records.values()), now).any(names_order)
}

/// Returns money whose order no shop reported in time. The time counts from listing: an old payment may arrive late.
pub(super) fn overdue<'m>(
    link: &'m CrmState,
    money: &'m Settlements<'_>,
    now: Timestamp,
) -> impl Iterator<Item = &'m Trouble> {
    let is_over = move |since: Timestamp| waits_until(since) <= now || breakage::is_on("unmatched-task-at-once");
    money.unmatched.iter().filter(move |one| link.unmatched.get(&one.key).is_some_and(|listed| is_over(listed.at)))
}

/// Returns when listed money becomes a manager's task if its order does not arrive before.
pub(super) fn next_overdue(link: &CrmState, money: &Settlements<'_>, now: Timestamp) -> Option<Timestamp> {
    let listed = money.unmatched.iter().filter_map(|one| link.unmatched.get(&one.key));
    listed.map(|one| waits_until(one.at)).filter(|until| *until > now).min()
}

fn waits_until(since: Timestamp) -> Timestamp {
    since.checked_add(PATIENCE).unwrap_or(Timestamp::MAX)
}

/// Returns until when a cancelled order waits for word of its money. Only the shop told of the payment, and a bank may
/// need days to take it back.
pub(super) fn waits_for_return(order: &Order, settlement: &Settlement) -> Option<Timestamp> {
    let is_kept = settlement.cancelled && settlement.came.is_empty() && settlement.received > settlement.returned;
    let until = order.revision.checked_add(RETURN).ok();
    until.filter(|_| is_kept && !breakage::is_on("return-awaited-by-nobody"))
}

fn has_payments(person: &Person) -> bool {
    let mut orders = person.records.values().filter(|record| matches!(record.fact, Fact::Order { .. }));
    orders.any(|record| record.fact.payments().next().is_some())
}

impl CrmState {
    /// Lists money without a place, with the time at which the hub first saw it. Removes money that has a place now.
    /// Returns true if the list changed.
    pub fn list_unmatched(&mut self, person: &Person, language: Language, now: Timestamp) -> bool {
        if self.unmatched.is_empty() && !has_payments(person) || breakage::is_on("unmatched-unseen") {
            return false;
        }
        let money = settlements(person.records.values());
        // Money that was returned in full needs no place.
        let is_kept =
            |one: &&(Cow<'_, Order>, Settlement)| one.1.elsewhere.values().any(|moved| moved.received > moved.returned);
        let elsewhere = money.orders.values().filter(is_kept);
        let elsewhere = elsewhere.flat_map(|(order, settlement)| elsewhere_of(order, settlement));
        let listed = money.unmatched.iter().cloned().chain(elsewhere).map(|one| {
            // If the clock was put back since, the money must not wait longer.
            let known = self.unmatched.get(&one.key).map(|known| Rejected { at: known.at.min(now), ..known.clone() });
            // The digest has no language, so that another language lists nothing anew.
            let digest = || Digest::of(&one.text.to(Language::default()));
            let new = || Rejected { digest: digest(), reason: one.text.to(language), at: now };
            (one.key.clone(), known.unwrap_or_else(new))
        });
        let listed = listed.collect();
        std::mem::replace(&mut self.unmatched, listed) != self.unmatched
    }

    /// Returns listed money that a manager has to place. Money that may still find its order is left out: the hub
    /// evaluates the person again when that time is over.
    pub fn unplaced(&self) -> Vec<&Rejected> {
        let waits = |one: &Rejected| self.turns_at.is_some_and(|at| at <= waits_until(one.at));
        self.unmatched.values().filter(|one| !waits(one)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shop_gets_time_to_tell_that_the_money_of_a_cancelled_order_went_back() {
        let revision = Timestamp::from_second(1_800_000_000).expect("in range");
        let shop = stagedoor_model::SourceName::new("shop").expect("a name");
        let order: Order = serde_json::from_value(serde_json::json!({
            "id": "1", "revision": revision, "placed_at": revision, "state": "cancelled", "paid_at": revision,
            "paid": { "minor": 1500, "currency": "RUB" }, "total": { "minor": 1500, "currency": "RUB" }, "tickets": [],
        }))
        .expect("an order");
        let fact = |order: Order| Fact::Order {
            order: Some(order),
            refunds: Default::default(),
            payments: Default::default(),
            tickets: Default::default(),
        };
        let key = stagedoor_model::RecordKey("order/shop:1".into());
        let record = stagedoor_model::Record::new(key, shop, revision, fact(order.clone()));
        let money = settlements(std::iter::once(&record));
        let (_, settlement) = money.orders.values().next().expect("its settlement");
        let kept = Settlement { cancelled: true, received: 1_500, returned: 0, ..settlement.clone() };
        assert_eq!(waits_for_return(&order, &kept), Some(revision + RETURN));
        assert_eq!(waits_for_return(&order, &Settlement { returned: 1_500, ..kept.clone() }), None);
        let came = vec![(revision, 1_500)];
        assert_eq!(waits_for_return(&order, &Settlement { came, ..kept }), None, "the provider told of it");
    }
}
