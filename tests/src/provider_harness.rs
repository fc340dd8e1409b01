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

/// The function that receives a provider's deliveries.
pub fn function_of(provider: &str) -> &'static str {
    match provider {
        "tilda" | "form" | "carrotquest" => "website",
        "amocrm" => "crm",
        "telegram" | "viber" | "vk" | "messenger" | "instagram" | "whatsapp" => "messaging",
        "unisender" | "sendpulse" | "sendgrid" | "mailgun" | "mailchimp" | "postmark" | "ses" | "smsc" | "twilio"
        | "gateway" => "mail",
        _ => "ticketing",
    }
}

/// The source options with which a provider's samples are received.
pub fn options_of(provider: &str) -> serde_json::Value {
    match provider {
        "pretix" => serde_json::json!({ "base_url": "http://127.0.0.1:1", "organizer": "stagedoor", "token": "t" }),
        "ticketscloud" => serde_json::json!({ "base_url": "http://127.0.0.1:1", "key": "k" }),
        "telegram" => serde_json::json!({ "bot": "stagedoor_tour_bot" }),
        "viber" => serde_json::json!({ "uri": "stagedoor", "name": "Тур 2027" }),
        "vk" => serde_json::json!({ "group": 191_949_777, "confirmation": "62dfc19d", "name": "stagedoor" }),
        "messenger" => serde_json::json!({ "verify_token": "check", "name": "stagedoor" }),
        "instagram" => serde_json::json!({ "verify_token": "check", "name": "stagedoor" }),
        "whatsapp" => {
            serde_json::json!({ "verify_token": "check", "phone_number_id": "106540352242922", "number": "15550783881" })
        }
        "ses" => serde_json::json!({ "topic": "arn:aws:sns:eu-central-1:123456789012:ses-feedback" }),
        "yookassa" => {
            serde_json::json!({ "shop_id": "1", "key": "k", "orders_of": "theatre", "base_url": "http://127.0.0.1:1" })
        }
        "stripe" => serde_json::json!({ "orders_of": "theatre" }),
        "twilio" => serde_json::json!({ "url": "https://hub.example.test/mail/twilio/main" }),
        _ => serde_json::json!({}),
    }
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
        options: options_of(provider),
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
        let router = match function {
            "website" => stagedoor_website::router(receiver, sources),
            "crm" => stagedoor_crm_hooks::router(receiver, sources),
            "mail" => stagedoor_mail::router(receiver, sources),
            "messaging" => stagedoor_messaging::router(receiver, sources),
            _ => stagedoor_ticketing::router(receiver, sources),
        };
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
