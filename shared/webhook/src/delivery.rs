use std::borrow::Cow;

use serde_json::Value;
use stagedoor_model::{Body, Decision, Event, EventId, SourceName, Timestamp, breakage};

use crate::{Delivery, NotUnderstood, Verified, parse_json, text::readable};

/// A delivery that passed one of the checks in [`crate::signature`].
pub struct VerifiedDelivery<'a> {
    pub(crate) delivery: &'a Delivery,
    /// The body in the form that a parser can read.
    body: Cow<'a, [u8]>,
    pub(crate) source: &'a SourceName,
}

/// Positions for events within one millisecond. Odd ones are free for events that are derived from the one before.
const PLACES: u64 = 64;

impl<'a> VerifiedDelivery<'a> {
    pub(crate) fn new(delivery: &'a Delivery, source: &'a SourceName, _: &Verified) -> Self {
        let kind = delivery.header("content-type").unwrap_or("");
        Self { delivery, body: readable(&delivery.body, kind, delivery.is_form()), source }
    }

    /// The body in UTF-8, whatever its original charset.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The body as one JSON object. A list with one object counts as that object.
    ///
    /// # Errors
    /// When the body is neither.
    pub fn object(&self) -> Result<Value, NotUnderstood> {
        match parse_json(self.body())? {
            Value::Array(mut items) if items.len() == 1 && items.iter().all(Value::is_object) => {
                Ok(items.pop().unwrap_or_default())
            }
            Value::Object(fields) => Ok(Value::Object(fields)),
            _ => Err("JSON of another shape: it is no object".into()),
        }
    }

    /// The body as a JSON list. A single object counts as a list of one.
    ///
    /// # Errors
    /// When the body is neither.
    pub fn list(&self) -> Result<Vec<Value>, NotUnderstood> {
        match parse_json(self.body())? {
            Value::Array(items) => Ok(items),
            one @ Value::Object(_) => Ok(vec![one]),
            _ => Err("JSON of another shape: it is no list".into()),
        }
    }

    /// The value of a header; `None` if it is absent or not text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.delivery.header(name)
    }

    /// True if the content type is a form.
    pub fn is_form(&self) -> bool {
        self.delivery.is_form()
    }

    /// The name of the source.
    pub fn source(&self) -> &SourceName {
        self.source
    }

    /// The time of receipt, for facts without a time.
    pub fn received_at(&self) -> Timestamp {
        self.delivery.received_at
    }

    /// The position of this delivery's nth event among the events of one instant, for senders without a counter.
    pub fn order(&self, n: usize) -> u64 {
        let received = u64::try_from(self.received_at().as_millisecond()).unwrap_or(0);
        received.saturating_mul(PLACES).saturating_add((n as u64).min(PLACES / 2 - 1) * 2)
    }

    /// An event of this source whose id is derived from the provider's ids. The receipt bounds its times.
    pub fn event(&self, parts: &[&str], time: Timestamp, body: Body) -> Event {
        Event::new(self.source, EventId::derive(self.source, parts), time, body).received_by(self.received_at())
    }

    /// An event without an id, and perhaps without a time (`told_at`).
    ///
    /// A withdrawal without a time has its receipt in its id, because the same bytes may repeat it after a new consent.
    /// Providers repeat an unanswered delivery within hours. Such a repetition changes nothing while the withdrawal
    /// stands; after a new consent the withdrawal counts.
    pub fn event_told_at(&self, parts: &[&str], told_at: Option<Timestamp>, body: Body) -> Event {
        let at = told_at.unwrap_or_else(|| self.received_at());
        let withdraws = match &body {
            Body::ConsentRecorded(said) => said.decision == Decision::Withdrawn,
            Body::ChatStopped(_) => true,
            _ => false,
        };
        if told_at.is_some() || !withdraws || breakage::is_on("untimed-withdrawal-counts-once") {
            return self.event(parts, at, body);
        }
        let received = self.received_at().as_millisecond().to_string();
        self.event(&[parts, &["received", &received]].concat(), at, body)
    }

    /// An event of a provider that has no id for a single change. The content is a part of the id, because a clock of
    /// whole seconds gives two changes the same time.
    pub fn event_by_content(&self, parts: &[&str], time: Timestamp, body: Body) -> Event {
        let digest = if breakage::is_on("event-id-coarse") { String::new() } else { body.digest() };
        self.event(&[parts, &[digest.as_str()]].concat(), time, body)
    }
}
