//! What a fuzz target feeds: a provider, its verification, and its parser past it.

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderMap, Method};
use stagedoor_model::{Timestamp, Unrecognized};
use stagedoor_testkit::samples;
use stagedoor_webhook::{Delivery, Provider, Source, reread};

use crate::door::{function_of, source};

/// A certificate under which no sample is signed.
const CERTIFICATE: &str = concat!(
    "MIIDGTCCAgGgAwIBAgIUSFPtIVUuo7EXmcuIPlDleVoBmKkwDQYJKoZIhvcNAQELBQAwHDEaMBgGA1UEAwwRc25zLmFtYXpvbmF3cy5jb20wHh",
    "cNMjYxMTI1MDgzNTU4WhcNMzYxMTIyMDgzNTU4WjAcMRowGAYDVQQDDBFzbnMuYW1hem9uYXdzLmNvbTCCASIwDQYJKoZIhvcNAQEBBQADggEP",
    "ADCCAQoCggEBALPuSvkX7csq6nWBzbeiIqTUzd1SQxiyS2JJBRi9AloDW6+asm5pE3i/S2jGdPx6VkXzPoqTxeYRQP9yMc5xYoB7ipsmMWDGD5",
    "qwEOeDAYhEMLxWq3b7AU8mJrc51BHY/cnub/QYYeINxJTOvjCKUmVDNW37OTncoEuhYqmot93gXcn50UnTJphiMeUVkqtSGuG36oPDtGyGvyHR",
    "hSwfSQYfuMh0C0znvwETUBWJwrc8f3FlW8bDb21Y/JCqh73sopUKBpGubsT6kPe6Ma5glJrn8VxUjft8ddpJAKeJ9Ex+66SVF0Ssax8nJFsEb5",
    "ajJXw3refJhLOqlEvF70t3b/sCAwEAAaNTMFEwHQYDVR0OBBYEFGSWpBNqB2Y97AImcX00owbayvWbMB8GA1UdIwQYMBaAFGSWpBNqB2Y97AIm",
    "cX00owbayvWbMA8GA1UdEwEB/wQFMAMBAf8wDQYJKoZIhvcNAQELBQADggEBABz4BkBLsSyfAEIy/kYb5jfpa+RB/FbLhK4BBIPPKLcOBAtSXj",
    "kRzcXc1Jb+EuVAxN2QYiMfmNc9YCfVDVgdXOMNrOocRFEwMVJrRAXKln6mYORjEYFJwfAmcSonpwyelHDd27An0/eeWnYxRqMVlaC17Fi1F/Si",
    "tIwJlTSOd/BMDUfMLvrUfhzIpNBpJ7AbSTTFPgxoba88w5ln/3HmTpsnO8LASRaHmUBoCCTmNlm2EcW2Ty41kPXbwyKQXBTW+5nPlPsbrFeHtu",
    "8c1xSSIip80U3ImauH+JctI5LPiR/WeiJ7dV00l87XZPVc3FckPpeb/r1ukLoKhqvSiPLny8U=",
);

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
        let source = source(provider, if provider == "ses" { CERTIFICATE } else { "a-secret" });
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
                    "x-twilio-signature",
                    "x-twilio-email-event-webhook-signature",
                    "x-twilio-email-event-webhook-timestamp",
                    "x-mailchimp-signature",
                    "authorization",
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
