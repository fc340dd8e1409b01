//! What the receipt of an event says about it: bounds for the clocks of others, and a digest of what came.

use sha2::{Digest, Sha256};

use crate::{Body, Event, Order, Timestamp, breakage};

/// The earliest instant that anybody's clock is believed: 2000-01-01T00:00:00Z, in Unix seconds.
const FLOOR: i64 = 946_684_800;

/// Whether an instant is none: a clock that was never set, an empty field, or seconds where milliseconds belong.
pub fn is_no_date(told: Timestamp) -> bool {
    told.as_second() <= FLOOR && !breakage::is_on("no-date-is-a-date")
}

/// An instant as another's clock gave it. The receipt counts in the place of a later one, and of one that is no date.
fn bounded(told: Timestamp, received_at: Timestamp) -> Timestamp {
    if breakage::is_on("future-clock-believed") {
        return told;
    }
    if is_no_date(told) {
        return received_at;
    }
    let floor = Timestamp::from_second(FLOOR).unwrap_or(Timestamp::MIN);
    told.max(floor).min(received_at)
}

impl Event {
    /// Bounds every past instant of the event: none is later than its receipt, and one before 2000 is the receipt. One wrong
    /// clock would otherwise make a state that no later change can replace. `told_at` keeps what the clock gave.
    /// Instants to come, such as the start of a show, stay as they are.
    #[must_use]
    pub fn received_by(mut self, received_at: Timestamp) -> Self {
        let time = bounded(self.time, received_at);
        if time != self.time {
            self.told_at = Some(self.time);
            self.time = time;
        }
        self.received_at = self.body.holds_consent().then_some(received_at);
        self.body.bound(received_at);
        self
    }
}

impl Body {
    /// A digest of the normalised content: equal for two deliveries of one fact, different for two facts.
    pub fn digest(&self) -> String {
        let bytes = serde_json::to_vec(self).unwrap_or_default();
        let digest = hex::encode(Sha256::digest(bytes));
        digest.get(..24).unwrap_or(&digest).to_owned()
    }

    /// An order as its shop knew it when it was asked, where the shop tells no time of the last change. Earlier answers
    /// would otherwise be as late as this one.
    #[must_use]
    pub fn known_at(mut self, asked_at: Timestamp) -> Self {
        if let Body::OrderPlaced(body) | Body::OrderPaid(body) | Body::OrderCancelled(body) | Body::OrderRefunded(body) =
            &mut self
            && !breakage::is_on("revision-by-state-alone")
        {
            body.order.revision = body.order.revision.max(asked_at);
        }
        self
    }

    /// Whether it holds a word of a person about advertising.
    fn holds_consent(&self) -> bool {
        match self {
            Body::ConsentRecorded(_) => true,
            Body::FormSubmitted(form) | Body::CartAbandoned(form) | Body::QuestionnaireImported(form) => {
                !form.consents.is_empty()
            }
            _ => false,
        }
    }

    fn bound(&mut self, received_at: Timestamp) {
        match self {
            Body::OrderPlaced(body)
            | Body::OrderPaid(body)
            | Body::OrderCancelled(body)
            | Body::OrderRefunded(body) => body.order.bound(received_at),
            Body::RefundReported(body) => body.detail.at = bounded(body.detail.at, received_at),
            Body::PaymentReported(body) => body.detail.at = bounded(body.detail.at, received_at),
            Body::ContactChanged(body) => body.created_at = bounded(body.created_at, received_at),
            _ => {}
        }
    }
}

impl Order {
    fn bound(&mut self, received_at: Timestamp) {
        self.revision = bounded(self.revision, received_at);
        self.placed_at = bounded(self.placed_at, received_at);
        self.refunds_as_of = self.refunds_as_of.map(|at| bounded(at, received_at));
        self.paid_at = self.paid_at.map(|at| bounded(at, received_at));
        for refund in self.refunds.values_mut() {
            refund.at = bounded(refund.at, received_at);
        }
        for check in self.checks.values_mut() {
            check.told_at = bounded(check.told_at, received_at);
            check.checked_at = check.checked_at.map(|at| bounded(at, received_at));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::{EventId, Money, OrderBody, OrderState, SourceName};

    fn at(text: &str) -> Timestamp {
        text.parse().expect("an instant")
    }

    fn told(revision: &str, state: OrderState, received: &str) -> Event {
        let order = Order {
            revision: at(revision),
            state,
            id: "CK-1".into(),
            number: None,
            placed_at: at(revision),
            paid_at: (state == OrderState::Paid).then(|| at(revision)),
            paid: Money::zero("RUB").expect("a currency"),
            total: Money::zero("RUB").expect("a currency"),
            tickets: vec![],
            refunds: BTreeMap::new(),
            promo_codes: vec![],
            utm: BTreeMap::new(),
            items: vec![],
            company: None,
            show: None,
            due_at: None,
            checks: BTreeMap::new(),
            refunds_as_of: None,
            earlier_starts: BTreeMap::new(),
            gone_refunds: None,
        };
        let source = SourceName::new("theatre").expect("a name");
        let body = Body::of_order(OrderBody::new(BTreeSet::new(), None, order));
        Event::new(&source, EventId::derive(&source, &[revision]), at(revision), body).received_by(at(received))
    }

    fn order(event: &Event) -> Order {
        event.body.order().expect("an order").order.clone()
    }

    #[test]
    fn a_shops_clock_that_was_ten_years_ahead_once_does_not_freeze_its_order() {
        let wrong = told("2036-05-01T10:00:00Z", OrderState::Placed, "2026-05-01T10:00:01Z");
        let right = told("2026-05-01T10:05:00Z", OrderState::Paid, "2026-05-01T10:05:01Z");
        assert_eq!((wrong.time, wrong.told_at), (at("2026-05-01T10:00:01Z"), Some(at("2036-05-01T10:00:00Z"))));
        assert_eq!(right.told_at, None);
        for both in [order(&wrong).join(order(&right)), order(&right).join(order(&wrong))] {
            assert_eq!(both.state, OrderState::Paid);
        }
    }

    #[test]
    fn an_instant_before_the_floor_is_no_date_and_the_receipt_counts() {
        let event = told("1970-01-01T00:00:00Z", OrderState::Paid, "2026-05-01T10:00:00Z");
        assert_eq!(order(&event).paid_at, Some(at("2026-05-01T10:00:00Z")));
        assert_eq!((event.time, event.told_at), (at("2026-05-01T10:00:00Z"), Some(at("1970-01-01T00:00:00Z"))));
    }
}
