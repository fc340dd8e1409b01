use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::Value;
use stagedoor_model::{Body, Decision, Event, EventId, SourceName, Timestamp, Unrecognized, breakage};

use crate::{
    NotUnderstood, Provider, Secret, Verified, parse_json,
    scan::{without_fields, without_texts},
    text::readable,
};

/// One HTTP request as it came. Only the body is decompressed.
#[derive(Clone)]
pub struct Delivery {
    pub method: Method,
    pub headers: HeaderMap,
    pub query: String,
    /// The path after the source's name, without slashes around it.
    pub tail: String,
    pub body: Bytes,
    pub received_at: Timestamp,
}

impl Delivery {
    /// The value of a header; `None` if it is absent or not text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// True if the content type is a form.
    pub fn is_form(&self) -> bool {
        self.header("content-type").is_some_and(|kind| kind.to_ascii_lowercase().starts_with("application/x-www-form"))
    }
}

/// A delivery that passed one of the checks in [`crate::signature`].
pub struct VerifiedDelivery<'a> {
    delivery: &'a Delivery,
    /// The body in the form that a parser can read.
    body: Cow<'a, [u8]>,
    source: &'a SourceName,
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

    /// The whole delivery as one event, without the secrets that its body may contain.
    pub(crate) fn unrecognized(
        &self,
        route: String,
        why: &NotUnderstood,
        provider: &dyn Provider,
        secrets: &[Secret],
    ) -> Event {
        let headers = provider
            .kept_headers()
            .iter()
            .filter_map(|name| self.header(name).map(|value| ((*name).to_owned(), value.to_owned())))
            .collect();
        // The id comes from the original body, so a repeated delivery keeps its id.
        let id = EventId::derive(self.source, &["unrecognized", &STANDARD.encode(&self.delivery.body)]);
        let names = if breakage::is_on("secret-kept") { vec![] } else { provider.secret_fields() };
        let body = without_fields(&self.delivery.body, self.is_form(), &names);
        let secrets: Vec<String> = secrets.iter().map(Secret::reveal).collect();
        let texts = match breakage::is_on("secret-kept") || breakage::is_on("secret-kept-elsewhere") {
            true => vec![],
            false => secrets.iter().map(String::as_str).collect(),
        };
        let body = STANDARD.encode(without_texts(body, self.is_form(), &texts));
        let kept = Unrecognized { route, reason: why.reason.clone(), headers, body };
        Event::new(self.source, id, self.received_at(), Body::Unrecognized(kept))
    }
}

/// Parses a kept delivery again, after the parser has learned its format. It was verified when it came, at
/// `received_at`.
///
/// # Errors
/// When the parser still does not understand it.
pub fn reread(
    provider: &dyn Provider,
    source: &SourceName,
    kept: &Unrecognized,
    received_at: Timestamp,
) -> Result<Vec<Event>, NotUnderstood> {
    let body = STANDARD.decode(&kept.body).map_err(|_| NotUnderstood::from("the kept body is damaged"))?;
    let mut headers = HeaderMap::new();
    for (name, value) in &kept.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            headers.insert(name, value);
        }
    }
    let (query, tail) = (String::new(), String::new());
    let delivery = Delivery { method: Method::POST, headers, query, tail, body: body.into(), received_at };
    provider.parse(&VerifiedDelivery::new(&delivery, source, &Verified::before()))
}
