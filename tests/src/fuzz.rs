//! The code behind a fuzz target: a provider, its verification, and its parser without verification.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderMap, Method};
use stagedoor_model::{Timestamp, Unrecognized};
use stagedoor_testkit::samples;
use stagedoor_webhook::{Delivery, Form, Provider, Shape, Source, lenient, odd, parse_json, reread, scan};

use crate::{profile, profile::function_of, provider_harness::source};

pub struct Target {
    source: Source,
    provider: Box<dyn Provider>,
    /// The headers of the model, in lower case.
    headers: BTreeMap<String, String>,
    at: Timestamp,
}

/// The bodies of a provider's samples.
pub fn corpus(provider: &str) -> Vec<Vec<u8>> {
    let all = samples::all().expect("events/ can be read");
    all.into_iter().filter(|sample| sample.provider == provider).map(|sample| sample.body).collect()
}

impl Target {
    pub fn of(provider: &str) -> Self {
        let profile = profile::of(provider);
        let secret = profile.other_secret.as_deref().unwrap_or("a-secret");
        let source = source(provider, secret);
        let built = stagedoor::functions::provider(function_of(provider), &source).expect("a provider");
        let headers = profile::models().into_iter().find(|one| one.provider == provider).expect("a model").headers;
        let headers = headers.into_iter().map(|(name, value)| (name.to_lowercase(), value)).collect();
        Self { source, provider: built, headers, at: "2025-01-15T00:00:05Z".parse().expect("a time") }
    }

    /// Verifies the bytes as a stranger's delivery, and parses them as if verification had passed.
    pub fn take(&self, body: &[u8]) {
        for kind in ["application/json", "application/x-www-form-urlencoded"] {
            let mut headers = HeaderMap::new();
            headers.insert("content-type", kind.parse().expect("a header"));
            if let Ok(value) = http::HeaderValue::from_bytes(body.get(..40).unwrap_or(body)) {
                let others = ["webhook-id", "webhook-timestamp", "x-mailchimp-signature"].map(str::to_owned);
                for name in self.headers.keys().cloned().chain(others).filter(|name| name != "content-type") {
                    let name: http::HeaderName = name.parse().expect("a name");
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
                headers: {
                    let mut kept = self.headers.clone();
                    kept.insert("content-type".into(), kind.into());
                    kept
                },
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

/// Runs the readers that all providers share on arbitrary bytes.
pub fn read(body: &[u8]) {
    let shape =
        Shape { texts: &["name", "all/*/name"], numbers: &["id"], instants: &["at"], lists: &["all"], flags: &["is"] };
    if let Ok(value) = parse_json(body) {
        _ = lenient::<stagedoor_model::Event>(&value, &["time"]);
        _ = lenient::<BTreeMap<String, Vec<BTreeMap<String, u64>>>>(&value, &[]);
        _ = odd(&value, &shape);
    }
    _ = Form::parse(body);
    _ = scan::json_fields(body, ["id", "one/id", "all"]);
    _ = scan::json_field_any_case(body, "NAME");
    _ = scan::form_field_any_case(body, "name");
    _ = scan::without_fields(body, body.len().is_multiple_of(2), &["secret".to_owned(), "name".to_owned()]);
    let text = String::from_utf8_lossy(body);
    _ = stagedoor_model::Money::from_major(&text, "RUB");
    _ = stagedoor_model::Email::parse_all(&text);
}

/// Nearly valid inputs: a provider's samples with bytes changed, cut, doubled and mixed with each other, and noise.
pub struct Bender {
    state: u64,
    corpus: Vec<Vec<u8>>,
}

/// Byte sequences on which parsers often fail.
const STONES: [&[u8]; 20] = [
    b"\\ud83d",
    b"\\u0000",
    b"\xef\xbb\xbf",
    b"[]",
    b"{}",
    b"null",
    b"\"\"",
    b"-1e999",
    b"18446744073709551616",
    b"[[[[",
    b"a[][][]=",
    b"&",
    b"%",
    b"%ff",
    b"\xff\xfe",
    b"0001-01-01T00:00:00Z",
    b"9999-12-31T23:59:59Z",
    b"\xe2\x80\xae",
    b"{\"a\":",
    b"\\",
];

impl Bender {
    /// Inputs that depend only on the samples and the seed.
    pub fn new(corpus: Vec<Vec<u8>>, seed: u64) -> Self {
        Self { state: seed | 1, corpus }
    }

    /// Marsaglia's xorshift.
    fn below(&mut self, bound: usize) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        usize::try_from(self.state % (bound.max(1) as u64)).unwrap_or(0)
    }

    fn sample(&mut self) -> Vec<u8> {
        let at = self.below(self.corpus.len());
        self.corpus.get(at).cloned().unwrap_or_default()
    }

    pub fn body(&mut self) -> Vec<u8> {
        if self.below(16) == 0 {
            let length = self.below(200);
            return (0..length).map(|_| self.below(256) as u8).collect();
        }
        let mut body = self.sample();
        for _ in 0..=self.below(6) {
            let (at, length) = (self.below(body.len() + 1), self.below(24));
            let end = (at + length).min(body.len());
            match self.below(6) {
                0 => body.get_mut(at..end).into_iter().flatten().for_each(|byte| *byte = byte.wrapping_add(1)),
                1 => _ = body.drain(at..end),
                2 => {
                    let twice = body.get(at..end).unwrap_or_default().to_vec();
                    body.splice(at..at, twice);
                }
                3 => {
                    let stone = STONES.get(self.below(STONES.len())).copied().unwrap_or_default();
                    body.splice(at..end, stone.iter().copied());
                }
                4 => {
                    let other = self.sample();
                    let from = self.below(other.len() + 1);
                    let part = other.get(from..(from + length).min(other.len())).unwrap_or_default().to_vec();
                    body.splice(at..end, part);
                }
                _ => {
                    let byte = self.below(256) as u8;
                    if let Some(place) = body.get_mut(at) {
                        *place = byte;
                    }
                }
            }
        }
        body
    }
}
