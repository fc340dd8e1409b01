//! What a fuzz target feeds: a provider, its verification, and its parser past it.

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderMap, Method};
use stagedoor_model::{Timestamp, Unrecognized};
use stagedoor_testkit::samples;
use stagedoor_webhook::{Delivery, Provider, Source, reread};

use crate::door::{function_of, source};

pub struct Target {
    source: Source,
    provider: Box<dyn Provider>,
    at: Timestamp,
}

/// The bodies of a provider's samples.
pub fn corpus(provider: &str) -> Vec<Vec<u8>> {
    let all = samples::all().expect("events/ can be read");
    all.into_iter().filter(|sample| sample.provider == provider).map(|sample| sample.body).collect()
}

impl Target {
    pub fn of(provider: &str) -> Self {
        let source = source(provider, "a-secret");
        let built = stagedoor::functions::provider(function_of(provider), &source).expect("a provider");
        Self { source, provider: built, at: "2025-01-15T00:00:05Z".parse().expect("a time") }
    }

    /// Verifies the bytes as a stranger's delivery, and parses them as if they had been believed.
    pub fn take(&self, body: &[u8]) {
        for kind in ["application/json", "application/x-www-form-urlencoded"] {
            let mut headers = HeaderMap::new();
            headers.insert("content-type", kind.parse().expect("a header"));
            if let Ok(value) = http::HeaderValue::from_bytes(body.get(..40).unwrap_or(body)) {
                for name in [
                    "x-signature",
                    "webhook-signature",
                    "webhook-id",
                    "webhook-timestamp",
                    "x-api-key",
                    "x-hub-signature-256",
                    "x-viber-content-signature",
                ] {
                    headers.insert(name, value.clone());
                }
            }
            let tail = String::from_utf8_lossy(body.get(..20).unwrap_or(body)).into_owned();
            let delivery = Delivery {
                method: Method::POST,
                headers,
                query: String::new(),
                tail,
                body: bytes::Bytes::copy_from_slice(body),
                received_at: self.at,
            };
            _ = self.provider.handshake(&delivery);
            assert!(self.provider.verify(&delivery).is_err(), "a stranger was believed");
            let kept = Unrecognized {
                route: String::new(),
                reason: String::new(),
                headers: [("content-type", kind), ("x-event-type", "payed"), ("webhook-id", "m")]
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
                    .into(),
                body: STANDARD.encode(body),
            };
            for event in reread(self.provider.as_ref(), &self.source.name, &kept, self.at).into_iter().flatten() {
                _ = stagedoor_engine::record_of(&event);
                let text = serde_json::to_string(&event).expect("an event is JSON");
                let again: stagedoor_model::Event = serde_json::from_str(&text).expect("and reads back");
                assert_eq!(again, event);
            }
        }
    }
}
