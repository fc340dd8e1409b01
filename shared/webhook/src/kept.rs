//! Deliveries that their provider did not understand: how they are kept, and how they are read again.

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use stagedoor_model::{Body, Event, EventId, SourceName, Timestamp, Unrecognized, breakage};

use crate::{
    Delivery, NotUnderstood, Provider, Secret, Verified, VerifiedDelivery,
    scan::{without_fields, without_texts},
};

impl VerifiedDelivery<'_> {
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
