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

/// One HTTP request as it came, its body inflated but otherwise untouched.
#[derive(Clone)]
pub struct Delivery {
    pub method: Method,
    pub headers: HeaderMap,
    pub query: String,
    /// What follows the source's name in the path, without slashes around it.
    pub tail: String,
    pub body: Bytes,
    pub received_at: Timestamp,
}

impl Delivery {
    /// `None` when the header is absent or not text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub fn is_form(&self) -> bool {
        self.header("content-type").is_some_and(|kind| kind.to_ascii_lowercase().starts_with("application/x-www-form"))
    }
}

/// A delivery that one of the checks in `signature` has let through.
pub struct VerifiedDelivery<'a> {
    delivery: &'a Delivery,
    /// As a parser can read it.
    body: Cow<'a, [u8]>,
    source: &'a SourceName,
}

/// Places of one millisecond's events. Odd ones are left to what is found out of the event before.
const PLACES: u64 = 64;

impl<'a> VerifiedDelivery<'a> {
    pub(crate) fn new(delivery: &'a Delivery, source: &'a SourceName, _: &Verified) -> Self {
        let kind = delivery.header("content-type").unwrap_or("");
        Self { delivery, body: readable(&delivery.body, kind, delivery.is_form()), source }
    }

    /// In UTF-8, whatever it was written in.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The body as JSON: one object, also where it is the only one of a list.
    ///
    /// # Errors
    /// When it is no JSON, or no object.
    pub fn object(&self) -> Result<Value, NotUnderstood> {
        match parse_json(self.body())? {
            Value::Array(mut items) if items.len() == 1 && items.iter().all(Value::is_object) => {
                Ok(items.pop().unwrap_or_default())
            }
            Value::Object(fields) => Ok(Value::Object(fields)),
            _ => Err("JSON of another shape: it is no object".into()),
        }
    }

    /// The body as JSON: a list of objects, also where the only one came without a list.
    ///
    /// # Errors
    /// When it is no JSON, or neither.
    pub fn list(&self) -> Result<Vec<Value>, NotUnderstood> {
        match parse_json(self.body())? {
            Value::Array(items) => Ok(items),
            one @ Value::Object(_) => Ok(vec![one]),
            _ => Err("JSON of another shape: it is no list".into()),
        }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.delivery.header(name)
    }

    pub fn is_form(&self) -> bool {
        self.delivery.is_form()
    }

    pub fn source(&self) -> &SourceName {
        self.source
    }

    /// For facts that bear no time of their own.
    pub fn received_at(&self) -> Timestamp {
        self.delivery.received_at
    }

    /// The order of the nth event of this delivery among those of one instant, for senders without a counter of their own.
    pub fn order(&self, n: usize) -> u64 {
        let received = u64::try_from(self.received_at().as_millisecond()).unwrap_or(0);
        received.saturating_mul(PLACES).saturating_add((n as u64).min(PLACES / 2 - 1) * 2)
    }

    /// An event of this source whose id is made of the provider's own ids. Its instants are bounded by the receipt.
    pub fn event(&self, parts: &[&str], time: Timestamp, body: Body) -> Event {
        Event::new(self.source, EventId::derive(self.source, parts), time, body).received_by(self.received_at())
    }

    /// An event that has neither an id nor, perhaps, a time of its own. A withdrawal without a time has its receipt in its id:
    /// the same bytes may say it again after a new consent. Providers repeat what was not answered, within hours. Such a
    /// repetition changes nothing while the withdrawal stands, and after a new consent the withdrawal counts.
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

    /// An event whose provider has no id for a single change: a clock of whole seconds gives two changes the same time.
    /// The content is a part of the id, as it was told.
    pub fn event_by_content(&self, parts: &[&str], time: Timestamp, body: Body) -> Event {
        let digest = if breakage::is_on("event-id-coarse") { String::new() } else { body.digest() };
        self.event(&[parts, &[digest.as_str()]].concat(), time, body)
    }

    /// The whole delivery as an event of its own, without the secrets that its body may show.
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
        // Of the body as it came, as before: a delivery that is repeated keeps its id.
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

/// Parses again what was verified and kept at `received_at`, after the parser has learned it.
///
/// # Errors
/// What the parser still does not understand.
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
