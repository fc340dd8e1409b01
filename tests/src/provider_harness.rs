//! One provider behind its real router, with a memory queue and a stopped clock.

use std::sync::Arc;

use axum::{Router, body::Body};
use base64::{Engine, engine::general_purpose::STANDARD};
use http::{Request, StatusCode};
use stagedoor_model::{Event, Region, SourceName, Timestamp, Unrecognized};
use stagedoor_ports::{Clock, Queue, memory::MemoryQueue};
use stagedoor_testkit::{SignedRequest, samples::Sample};
use stagedoor_webhook::{Counters, NotUnderstood, OneClient, Provider, Receiver, Secret, Source, reread};
use tower::ServiceExt;

use crate::profile::{self, function_of};

/// A clock that stands still at this time.
pub struct Stopped(pub Timestamp);

impl Clock for Stopped {
    fn now(&self) -> Timestamp {
        self.0
    }
}

pub struct ProviderHarness {
    pub path: String,
    router: Router,
    queue: Arc<MemoryQueue>,
}

/// The result of a delivery.
pub struct Outcome {
    pub status: StatusCode,
    pub answer: String,
    pub events: Vec<Event>,
}

pub fn source(provider: &str, secret: &str) -> Source {
    Source {
        name: SourceName::new(&format!("{provider}-test")).expect("a valid name"),
        provider: provider.to_owned(),
        secrets: vec![Secret::new(secret)],
        region: Region::new("RU").expect("a region"),
        currency: "RUB".into(),
        show: None,
        rate: 100_000,
        options: serde_json::Value::Object(profile::of(provider).options.clone()),
    }
}

type Built = (Source, Box<dyn Provider>);

/// The source of a sample, and the time of its receipt.
fn source_of(sample: &Sample) -> (Source, Timestamp) {
    let secret = sample.notes.get("secret").expect("a sample names its secret");
    let at = sample.notes.get("at").and_then(|at| at.parse().ok()).expect("a sample names its time");
    let mut source = source(&sample.provider, secret);
    // Some samples were recorded at another account.
    let own = sample.notes.get("options").and_then(|text| serde_json::from_str(text).ok());
    if let (Some(serde_json::Value::Object(own)), Some(options)) = (own, source.options.as_object_mut()) {
        options.extend(own);
    }
    (source, at)
}

impl ProviderHarness {
    pub fn of(sample: &Sample) -> Self {
        let (source, at) = source_of(sample);
        Self::open(source, at)
    }

    /// The events of a kept delivery with this body, at the source of a sample.
    pub fn read_kept(sample: &Sample, body: &serde_json::Value) -> Vec<Event> {
        let (source, at) = source_of(sample);
        let provider = stagedoor::functions::provider(function_of(&source.provider), &source).expect("a provider");
        let kept = Unrecognized {
            route: String::new(),
            reason: String::new(),
            headers: [("content-type".to_owned(), "application/json".to_owned())].into(),
            body: STANDARD.encode(body.to_string()),
        };
        reread(provider.as_ref(), &source.name, &kept, at).expect("it is understood")
    }

    /// The parser's result for this body in the place of a sample's, without verification.
    ///
    /// # Errors
    /// The kept body, and what the parser understood of it.
    pub fn parsed(sample: &Sample, body: &[u8]) -> Result<Vec<Event>, NotUnderstood> {
        let (source, at) = source_of(sample);
        let provider = stagedoor::functions::provider(function_of(&source.provider), &source).expect("a provider");
        let headers = sample.headers.iter().map(|(name, value)| (name.to_lowercase(), value.clone())).collect();
        let kept = Unrecognized { route: String::new(), reason: String::new(), headers, body: STANDARD.encode(body) };
        reread(provider.as_ref(), &source.name, &kept, at)
    }

    pub fn open(source: Source, at: Timestamp) -> Self {
        let queue = Arc::new(MemoryQueue::default());
        let receiver = Receiver { queue: queue.clone(), clock: Arc::new(Stopped(at)), counters: Counters::default() };
        let function = function_of(&source.provider);
        let provider = stagedoor::functions::provider(function, &source).expect("a provider");
        let path = format!("/{function}/{}", source.name);
        let sources: Vec<Built> = vec![(source, provider)];
        let router = stagedoor::functions::router_of(function, receiver, sources).expect("a function");
        Self { path, router, queue }
    }

    pub async fn take(&self, signed_request: &SignedRequest) -> Outcome {
        self.take_from(signed_request, None).await
    }

    /// Posts a delivery from a client whose address the listener knows.
    pub async fn take_from(&self, signed_request: &SignedRequest, client: Option<OneClient>) -> Outcome {
        let mut request = Request::post(&signed_request.path);
        if let (Some(client), Some(extensions)) = (client, request.extensions_mut()) {
            extensions.insert(client);
        }
        for (name, value) in &signed_request.headers {
            request = request.header(name, value);
        }
        self.ask(request.body(Body::from(signed_request.body.clone())).expect("a request")).await
    }

    pub async fn ask(&self, request: Request<Body>) -> Outcome {
        let response = self.router.clone().oneshot(request).await.expect("an answer");
        let status = response.status();
        let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.expect("a body");
        let received = self.queue.receive(1000).await.expect("a queue");
        let events = received.iter().map(|one| one.event.clone()).collect();
        self.queue.done(received.into_iter().map(|one| one.receipt).collect()).await.expect("a queue");
        Outcome { status, answer: String::from_utf8_lossy(&body).into_owned(), events }
    }
}
