//! The actions of payment providers, and their reports.

use serde_json::{Value, json};
use stagedoor_model::Timestamp;
use stagedoor_testkit::SignedRequest;

use crate::{
    act::{Actors, Habit},
    deliver,
    orders::{OrderFact, Provider, roubles},
};

/// The least amount that a partial refund leaves, in kopecks.
const LEAST: i64 = 10_000;

/// A charge at Stripe with its next refund. Stripe gives the sum of all refunds so far.
fn charge(fact: &OrderFact) -> Value {
    json!({
        "id": format!("ch_{}", fact.id), "object": "charge", "amount": fact.total(), "amount_refunded": fact.returned(),
        "currency": "rub", "payment_intent": format!("pi_{}", fact.id),
        "metadata": { "order_id": format!("o{}", fact.id) }, "refunded": fact.kept() == 0,
    })
}

impl Actors {
    /// The provider for the payments of the next order.
    pub fn provider(&mut self) -> Option<Provider> {
        let stripe = self.has(Habit::Stripe) || self.has(Habit::StripeRefund);
        match self.rng.below(5) {
            0 | 1 if stripe => Some(Provider::Stripe),
            2 if self.has(Habit::Yookassa) => Some(Provider::Yookassa),
            _ => None,
        }
    }

    /// A payment provider takes the money of an order, or refunds without a ticket. False if it did neither.
    pub fn by_provider(&mut self, index: usize) -> bool {
        let Some(fact) = self.story.world.orders.get(index).cloned() else { return false };
        match (fact.provider, fact.paid_at) {
            (None, _) => false,
            (_, None) => self.has(Habit::Stripe) && self.pay(index),
            _ => self.has(Habit::StripeRefund) && self.give_back(index),
        }
    }

    fn pay(&mut self, index: usize) -> bool {
        let (now, quiet) = (self.now(), self.rng.once_in(2));
        let Some(fact) = self.story.world.orders.get_mut(index) else { return false };
        (fact.paid_at, fact.updated_at) = (Some(now), now);
        // The provider informs some shops, and those report the payment.
        fact.shop_tells = !quiet;
        let fact = fact.clone();
        self.tell_order(&format!("pays at {:?}", fact.provider), &fact);
        self.send_payment(&fact, true);
        if !quiet {
            self.send_order(fact);
        }
        true
    }

    /// Refunds all of the money or a part.
    fn give_back(&mut self, index: usize) -> bool {
        let now = self.now();
        let part = self.has(Habit::PartialRefund) && !self.rng.once_in(3);
        let share = i64::try_from(self.rng.between(1, 99)).unwrap_or(50);
        let Some(fact) = self.story.world.orders.get_mut(index) else { return false };
        let kept = fact.kept();
        let amount = if part { (kept * share / 100).min(kept - LEAST) } else { kept };
        // Within one second Stripe's refunds cannot be told apart: its sums have no numbers.
        if amount <= 0 || fact.refunded_at() == Some(now) {
            return false;
        }
        fact.given_back.push(amount);
        fact.given_back_at = Some(now);
        let fact = fact.clone();
        self.tell_order(&format!("gets {} back from {:?} for", roubles(amount), fact.provider), &fact);
        self.send_refund(index);
        true
    }

    /// The last refund without a ticket fails, so that the money stays.
    pub fn fail_refund(&mut self) {
        let (now, id) = (self.now(), self.serial());
        let orders = self.story.world.orders.iter().enumerate();
        let can_fail = |fact: &OrderFact| {
            let told = fact.provider == Some(Provider::Stripe) && !fact.given_back.is_empty();
            told && fact.left() >= 0 && fact.refunded_at() != Some(now)
        };
        let failing: Vec<usize> = orders.filter(|(_, fact)| can_fail(fact)).map(|(index, _)| index).collect();
        let Some(index) = self.rng.pick(&failing).copied() else { return };
        let Some(fact) = self.story.world.orders.get_mut(index) else { return };
        let Some(amount) = fact.given_back.pop() else { return };
        (fact.given_back_at, fact.told_back) = (Some(now), fact.returned());
        let fact = fact.clone();
        self.tell_order(&format!("does not get the {} back for", roubles(amount)), &fact);
        let refund = json!({
            "id": format!("re_{id}"), "object": "refund", "amount": amount, "currency": "rub", "status": "failed",
            "charge": format!("ch_{}", fact.id), "payment_intent": format!("pi_{}", fact.id),
        });
        self.send(format!("pi_{}", fact.id), move |sent_at| deliver::stripe("refund.failed", &refund, now, sent_at));
    }

    /// The order's provider takes the money, and reports it if `told`.
    pub fn send_payment(&mut self, fact: &OrderFact, told: bool) {
        let (Some(provider), Some(at)) = (fact.provider, fact.paid_at) else { return };
        let order = format!("o{}", fact.id);
        match provider {
            Provider::Stripe => {
                let session = json!({
                    "id": format!("cs_{}", fact.id), "object": "checkout.session", "amount_total": fact.total(),
                    "currency": "rub", "client_reference_id": order, "payment_intent": format!("pi_{}", fact.id),
                    "payment_status": "paid", "status": "complete",
                });
                if told {
                    let kind = "checkout.session.completed";
                    self.send(order, move |sent_at| deliver::stripe(kind, &session, at, sent_at));
                }
            }
            Provider::Yookassa => {
                let id = format!("pay-{}", fact.id);
                self.shared.apis.payments.pay(&id, &order, &roubles(fact.total()), &at.to_string());
                if told {
                    self.point(format!("\"{id}\""), move |_| deliver::yookassa("payment.succeeded", &id));
                }
            }
        }
    }

    /// The order's provider reports refunds since its last report.
    pub fn send_refund(&mut self, index: usize) {
        let id = format!("ref-{}", self.serial());
        let Some(fact) = self.story.world.orders.get_mut(index) else { return };
        let (Some(provider), Some(at)) = (fact.provider, fact.refunded_at()) else { return };
        let amount = fact.returned() - fact.told_back;
        fact.told_back = fact.returned();
        if amount == 0 {
            return;
        }
        match provider {
            Provider::Stripe => {
                let (order, charge) = (format!("o{}", fact.id), charge(fact));
                self.send(order, move |sent_at| deliver::stripe("charge.refunded", &charge, at, sent_at));
            }
            Provider::Yookassa => {
                let payment = format!("pay-{}", fact.id);
                self.shared.apis.payments.refund(&id, &payment, &roubles(amount), &at.to_string());
                self.point(format!("\"{id}\""), move |_| deliver::yookassa("refund.succeeded", &id));
            }
        }
    }

    /// Sends a notification that only points to an object. Some are lost.
    pub fn point(&mut self, word: String, make: impl Fn(Timestamp) -> SignedRequest + Send + Sync + 'static) {
        match self.has(Habit::LostNotices) && self.rng.once_in(6) {
            true => self.story.tell(format!("the notification about {word} is lost")),
            false => self.send(word, make),
        }
    }
}
