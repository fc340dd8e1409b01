use std::{
    collections::BTreeMap,
    num::NonZeroU32,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::{
    Router,
    extract::{Path, Request, State},
    response::{IntoResponse, Response},
    routing::any,
};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use http::{HeaderMap, Method, StatusCode};
use stagedoor_model::{Event, SourceName, Timestamp, TraceParent, breakage};
use stagedoor_ports::{Clock, Queue};

use crate::{
    Answer, ClientAddress, ClientLimit, Delivery, OneClient, Provider, Reject, Secret, Source, VerifiedDelivery,
    beacon, body, form::is_within,
};

/// Counts of deliveries by source and outcome, since the start.
#[derive(Clone, Default)]
pub struct Counters(Arc<Mutex<Counted>>);

#[derive(Default)]
struct Counted {
    outcomes: BTreeMap<(String, String), u64>,
    accepted_at: BTreeMap<String, Timestamp>,
}

impl Counters {
    /// Counts one delivery of this source with this outcome.
    pub fn count(&self, source: &str, outcome: &str) {
        *self.counted().outcomes.entry((source.to_owned(), outcome.to_owned())).or_default() += 1;
    }

    /// Returns the counts since the last call and resets them, for a caller that passes them on.
    pub fn take(&self) -> BTreeMap<(String, String), u64> {
        std::mem::take(&mut self.counted().outcomes)
    }

    /// The counts, without a reset.
    pub fn all(&self) -> BTreeMap<(String, String), u64> {
        self.counted().outcomes.clone()
    }

    /// Counts an accepted delivery of this source, received at `at`.
    pub fn accept(&self, source: &str, at: Timestamp) {
        let mut counted = self.counted();
        *counted.outcomes.entry((source.to_owned(), "accepted".to_owned())).or_default() += 1;
        counted.accepted_at.insert(source.to_owned(), at);
    }

    /// The time of each source's last accepted delivery since the start.
    pub fn last_accepted(&self) -> BTreeMap<String, Timestamp> {
        self.counted().accepted_at.clone()
    }

    fn counted(&self) -> MutexGuard<'_, Counted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All that a receiving function uses of the outside: a queue to write to, a clock, and counters.
#[derive(Clone)]
pub struct Receiver {
    pub queue: Arc<dyn Queue>,
    pub clock: Arc<dyn Clock>,
    pub counters: Counters,
}

/// One source behind the router.
struct Endpoint {
    source: SourceName,
    secrets: Vec<Secret>,
    provider: Box<dyn Provider>,
    limit: DefaultDirectRateLimiter,
    /// A limit by client, if anybody can send to the source.
    strangers: Option<ClientLimit>,
}

/// All that the router of a receiving function holds.
struct ReceiveState {
    function: &'static str,
    /// A counter that distinguishes deliveries within one tick of the clock.
    deliveries: AtomicU64,
    endpoints: BTreeMap<String, Endpoint>,
    receiver: Receiver,
    refusals: ClientLimit,
}

/// The router of one receiving function: `/<function>/<source>` and the paths below it.
pub fn router(function: &'static str, receiver: Receiver, sources: Vec<(Source, Box<dyn Provider>)>) -> Router {
    let endpoints = sources
        .into_iter()
        .map(|(source, provider)| {
            let rate = NonZeroU32::new(source.rate).unwrap_or(NonZeroU32::MIN);
            let limit = RateLimiter::direct(Quota::per_second(rate));
            let strangers = provider.strangers_per_hour().map(ClientLimit::strangers);
            let (name, secrets) = (source.name.as_str().to_owned(), source.secrets);
            (name, Endpoint { source: source.name, secrets, provider, limit, strangers })
        })
        .collect();
    let state = Arc::new(ReceiveState {
        function,
        deliveries: AtomicU64::new(0),
        endpoints,
        receiver,
        refusals: ClientLimit::refusals(),
    });
    Router::new()
        .route(&format!("/{function}/{{source}}"), any(plain))
        .route(&format!("/{function}/{{source}}/"), any(plain))
        .route(&format!("/{function}/{{source}}/{{*tail}}"), any(with_tail))
        .with_state(state)
}

async fn plain(State(state): State<Arc<ReceiveState>>, Path(source): Path<String>, request: Request) -> Response {
    state.receive(&source, "", request).await
}

async fn with_tail(
    State(state): State<Arc<ReceiveState>>,
    Path((source, tail)): Path<(String, String)>,
    request: Request,
) -> Response {
    state.receive(&source, &tail, request).await
}

impl ReceiveState {
    async fn receive(&self, source: &str, tail: &str, request: Request) -> Response {
        let client = request.extensions().get::<ClientAddress>().copied();
        let Some(endpoint) = self.endpoints.get(source) else {
            // The name is a stranger's text, so it is neither logged nor counted under itself.
            self.receiver.counters.count("?", "unknown_source");
            return refusal(self.weighed(Reject::UnknownSource, client));
        };
        let trace = self.trace(source, request.headers());
        match self.admit(endpoint, tail, request, &trace).await {
            Ok(response) => response,
            Err(reject) => {
                self.receiver.counters.count(source, &format!("{reject:?}"));
                let trace = trace.trace_id();
                let told = self.weighed(reject, client);
                match told == reject {
                    true => {
                        tracing::warn!(source, function = self.function, trace, reason = %reject, "delivery refused")
                    }
                    // A flood must not fill the log.
                    false => {
                        tracing::debug!(source, function = self.function, trace, reason = %reject, "delivery refused")
                    }
                }
                refusal(told)
            }
        }
    }

    /// The refusal that a client gets: the reason, or that it was refused too often. It locks no one out, because a
    /// verified delivery is accepted from any address.
    fn weighed(&self, reject: Reject, client: Option<ClientAddress>) -> Reject {
        let by_address = !matches!(reject, Reject::TooMany | Reject::TooManyOfOne | Reject::Busy);
        match client.filter(|_| by_address && !breakage::is_on("refusals-unlimited")) {
            Some(client) if !self.refusals.admits(client) => Reject::RefusedOften,
            _ => reject,
        }
    }

    /// The trace of the caller or of AWS, or a new one.
    fn trace(&self, source: &str, headers: &HeaderMap) -> TraceParent {
        let header = |name| headers.get(name).and_then(|value: &http::HeaderValue| value.to_str().ok());
        let theirs = header("traceparent").and_then(TraceParent::parse);
        theirs.or_else(|| header("x-amzn-trace-id").and_then(TraceParent::of_xray)).unwrap_or_else(|| {
            let number = self.deliveries.fetch_add(1, Ordering::Relaxed);
            let at = self.receiver.clock.now().as_nanosecond();
            TraceParent::derived(&[source.as_bytes(), &at.to_be_bytes(), &number.to_be_bytes()])
        })
    }

    async fn admit(
        &self,
        endpoint: &Endpoint,
        tail: &str,
        request: Request,
        trace: &TraceParent,
    ) -> Result<Response, Reject> {
        if breakage::is_on("rate-before-proof") {
            endpoint.limit.check().map_err(|_| Reject::TooMany)?;
        }
        let (parts, http_body) = request.into_parts();
        let client = parts.extensions.get::<OneClient>().copied();
        let mut delivery = Delivery {
            method: parts.method,
            query: parts.uri.query().unwrap_or("").to_owned(),
            tail: tail.trim_matches('/').to_owned(),
            headers: parts.headers,
            body: bytes::Bytes::new(),
            received_at: self.receiver.clock.now(),
        };
        if delivery.method == Method::POST {
            let late = breakage::is_on("body-before-proof") || breakage::is_on("inflated-before-proof");
            if let Err(reject) = if late { Ok(()) } else { head(endpoint, &delivery) } {
                body::discard(&delivery.headers, http_body).await;
                return Err(reject);
            }
            let raw = body::read(&delivery.headers, http_body).await?;
            if raw.is_empty() {
                return Err(Reject::EmptyBody);
            }
            if !breakage::is_on("inflated-before-proof") {
                head(endpoint, &delivery)?;
            }
            delivery.body = body::inflated(&delivery.headers, raw)?;
            if delivery.body.is_empty() {
                return Err(Reject::EmptyBody);
            }
            if endpoint.provider.takes_beacons() {
                beacon::unfold(&mut delivery, endpoint.provider.max_fields())?;
            }
            if delivery.is_form()
                && !is_within(&delivery.body, endpoint.provider.max_fields())
                && !breakage::is_on("form-unbounded")
            {
                return Err(Reject::UnreadableBody);
            }
        }
        if let Some(answer) = endpoint.provider.handshake(&delivery) {
            return Ok(spoken(answer));
        }
        if delivery.method != Method::POST {
            return Err(Reject::WrongMethod);
        }
        let verified = endpoint.provider.verify(&delivery)?;
        // If anybody can send, one client must not use up the rate of the others.
        if let (Some(strangers), Some(client)) = (&endpoint.strangers, client)
            && !strangers.admits_stranger(client)
            && !breakage::is_on("strangers-unlimited")
        {
            return Err(Reject::TooManyOfOne);
        }
        // Unverified deliveries must not use up the rate of verified ones.
        if !breakage::is_on("rate-before-proof") {
            endpoint.limit.check().map_err(|_| Reject::TooMany)?;
        }
        let trusted = VerifiedDelivery::new(&delivery, &endpoint.source, &verified);
        let (mut events, strange) = self.understand(endpoint, &trusted, trace);
        events.iter_mut().for_each(|event| event.traceparent = Some(trace.clone()));
        let said = strange.filter(|_| endpoint.provider.says_what_is_strange());
        Ok(self.enqueue(endpoint, &delivery, events, trace.trace_id(), said).await)
    }

    /// The events of the delivery, and the reason if a part of it was not understood and the delivery is kept.
    fn understand(
        &self,
        endpoint: &Endpoint,
        trusted: &VerifiedDelivery,
        trace: &TraceParent,
    ) -> (Vec<Event>, Option<String>) {
        let mut why = match endpoint.provider.parse(trusted) {
            Ok(events) => return (events, None),
            Err(why) => why,
        };
        let source = endpoint.source.as_str();
        let trace = trace.trace_id();
        tracing::warn!(source, function = self.function, trace, reason = %why, "delivery kept as unrecognized");
        self.receiver.counters.count(source, "unrecognized");
        let route = format!("{}/{source}", self.function);
        let mut events = std::mem::take(&mut why.beside);
        events.push(trusted.unrecognized(route, &why, endpoint.provider.as_ref(), &endpoint.secrets));
        (events, Some(why.reason))
    }

    async fn enqueue(
        &self,
        endpoint: &Endpoint,
        delivery: &Delivery,
        events: Vec<Event>,
        trace: &str,
        strange: Option<String>,
    ) -> Response {
        let source = endpoint.source.as_str();
        let ids: Vec<String> = match tracing::enabled!(tracing::Level::INFO) {
            true => events.iter().map(|event| event.id.to_string()).collect(),
            false => vec![],
        };
        match self.receiver.queue.send(events).await {
            Ok(()) => {
                tracing::info!(source, function = self.function, trace, events = ?ids, "delivery accepted");
                self.receiver.counters.accept(source, delivery.received_at);
                let mut answer = endpoint.provider.answer(delivery);
                if let Some(reason) = strange {
                    let said = serde_json::json!({ "ok": true, "understood": false, "reason": reason });
                    answer.body = said.to_string();
                }
                spoken(answer)
            }
            Err(error) => {
                tracing::error!(source, function = self.function, trace, %error, "the queue did not take the delivery");
                self.receiver.counters.count(source, "queue_failed");
                let retry = [("retry-after", "5")];
                (StatusCode::SERVICE_UNAVAILABLE, retry, "{\"error\":\"try again\"}").into_response()
            }
        }
    }
}

/// Refuses what can be refused before the body is received.
fn head(endpoint: &Endpoint, delivery: &Delivery) -> Result<(), Reject> {
    let kind = delivery.header("content-type").unwrap_or("");
    if !(endpoint.provider.accepts().takes(kind) || endpoint.provider.takes_beacons() && beacon::is_beacon(kind)) {
        return Err(Reject::WrongContentType);
    }
    endpoint.provider.verify_head(delivery)
}

fn refusal(reject: Reject) -> Response {
    let body = serde_json::json!({ "error": reject.to_string() }).to_string();
    let mut response = (reject.status(), [("content-type", "application/json")], body).into_response();
    if let Some(seconds) = reject.retry_after() {
        response.headers_mut().insert(http::header::RETRY_AFTER, seconds.into());
    }
    response
}

fn spoken(answer: Answer) -> Response {
    let mut response = (answer.status, answer.body).into_response();
    for (name, value) in answer.headers {
        if let Ok(value) = value.parse() {
            response.headers_mut().insert(name, value);
        }
    }
    response
}
