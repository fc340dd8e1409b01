//! Functions under the Lambda runtime: around a router, or around a consumer of batches.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsMessage};
use axum::{
    Router,
    body::Body,
    http::{Request, StatusCode},
    response::{IntoResponse, Response},
};
use lambda_http::request::RequestContext;
use lambda_runtime::{LambdaEvent, service_fn};
use serde::Deserialize;
use stagedoor_config::Reading;
use stagedoor_model::Event;
use stagedoor_ports::{Clock, SystemClock, from_stored};
use stagedoor_webhook::{Build, ClientAddress, Counters, OneClient, Provider, Receiver, Source, table};

use crate::{
    context::{Error, FunctionContext, setting},
    metrics::emit,
};

/// How long a function that could not start waits before the next attempt, in milliseconds.
const AGAIN_MS: i64 = 5_000;

/// Starts the log: one JSON line an entry on the standard output.
pub fn start_logs() {
    tracing_subscriber::fmt().json().with_max_level(tracing::Level::INFO).with_current_span(false).init();
}

type Sources = Vec<(Source, Box<dyn Provider>)>;

type Building = Pin<Box<dyn Future<Output = Result<Router, Error>> + Send>>;

struct Endpoint {
    function: &'static str,
    build: Box<dyn Fn(Counters) -> Building + Send + Sync>,
    open: tokio::sync::Mutex<Option<Router>>,
    tried_at: Mutex<Option<i64>>,
    counters: Counters,
}

/// Runs a receiving function: its router behind an HTTP API or a function URL. With a wrong configuration it writes one
/// line to the log and answers 503, so that providers deliver again.
///
/// # Errors
/// When the runtime cannot be reached.
pub async fn http(
    function: &'static str,
    providers: &'static [(&'static str, Build)],
    router: fn(Receiver, Sources) -> Router,
) -> Result<(), Error> {
    pages(function, move |counters| receiving(function, providers, router, counters)).await
}

async fn receiving(
    function: &'static str,
    providers: &'static [(&'static str, Build)],
    router: fn(Receiver, Sources) -> Router,
    counters: Counters,
) -> Result<Router, Error> {
    let check = |of: &str, source: &Source| match of == function {
        true => table(providers, source).map(drop),
        // A function checks its own sources only; other functions check theirs.
        false => Ok(()),
    };
    let FunctionContext { config, queue, clock, .. } = setting(Reading::Receiving(function), &check).await?;
    let receiver = Receiver { queue: Arc::new(queue), clock, counters };
    let sources = config.sources_of(function).into_iter();
    let sources =
        sources.map(|source| Ok((source.clone(), table(providers, &source)?))).collect::<Result<_, String>>()?;
    Ok(router(receiver, sources))
}

/// Like [`http`], for any router.
///
/// # Errors
/// When the runtime cannot be reached.
pub async fn pages<B, W>(function: &'static str, build: B) -> Result<(), Error>
where
    B: Fn(Counters) -> W + Send + Sync + 'static,
    W: Future<Output = Result<Router, Error>> + Send + 'static,
{
    start_logs();
    let endpoint = Endpoint {
        function,
        build: Box::new(move |counters| Box::pin(build(counters))),
        open: tokio::sync::Mutex::default(),
        tried_at: Mutex::default(),
        counters: Counters::default(),
    };
    endpoint.open().await;
    let endpoint = Arc::new(endpoint);
    lambda_http::run(tower::service_fn(move |request: Request<lambda_http::Body>| {
        let endpoint = Arc::clone(&endpoint);
        async move { Ok::<_, Infallible>(endpoint.answer(request).await) }
    }))
    .await
}

impl Endpoint {
    async fn open(&self) -> Option<Router> {
        let mut open = self.open.lock().await;
        if open.is_none() && self.may_try() {
            match (self.build)(self.counters.clone()).await {
                Ok(router) => *open = Some(router),
                Err(error) => {
                    let error = error.to_string();
                    tracing::error!(
                        function = self.function,
                        error,
                        "wrong configuration: deliveries are answered 503"
                    );
                }
            }
        }
        open.clone()
    }

    fn may_try(&self) -> bool {
        let now = SystemClock.now().as_millisecond();
        let mut tried_at = self.tried_at.lock().unwrap_or_else(PoisonError::into_inner);
        let long_ago = tried_at.is_none_or(|at| (now - at).abs() >= AGAIN_MS);
        if long_ago {
            *tried_at = Some(now);
        }
        long_ago
    }

    async fn answer(&self, request: Request<lambda_http::Body>) -> Response {
        let Some(mut router) = self.open().await else {
            let headers = [("retry-after", "60"), ("content-type", "application/json")];
            return (StatusCode::SERVICE_UNAVAILABLE, headers, "{\"error\":\"not configured\"}").into_response();
        };
        let (client, one) = (client(&request), one_client(&request));
        let mut request = request.map(|body| match body {
            lambda_http::Body::Empty => Body::empty(),
            lambda_http::Body::Text(text) => Body::from(text),
            lambda_http::Body::Binary(bytes) => Body::from(bytes),
            _ => Body::empty(),
        });
        if let Some(one) = one {
            request.extensions_mut().insert(one);
        }
        let response = match tower::Service::call(&mut router, request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        emit(self.function, &figures(self.counters.take()), false);
        let status = response.status().as_u16();
        tracing::info!(function = self.function, client, status, "answered");
        response
    }
}

/// The first part of the client's address, from the gateway. The log must not hold whole addresses of people.
fn client(request: &Request<lambda_http::Body>) -> Option<String> {
    let context = request.extensions().get::<RequestContext>()?;
    let address = match context {
        RequestContext::ApiGatewayV2(context) => context.http.source_ip.as_deref()?,
        _ => return None,
    };
    Some(ClientAddress(address.parse().ok()?).cut().to_string())
}

/// The whole address of the client, to limit what unknown senders may send. It stays in memory.
fn one_client(request: &Request<lambda_http::Body>) -> Option<OneClient> {
    let RequestContext::ApiGatewayV2(context) = request.extensions().get::<RequestContext>()? else { return None };
    context.http.source_ip.as_deref()?.parse().ok().map(OneClient)
}

/// The counters of a receiving function under their names in CloudWatch.
fn figures(counted: BTreeMap<(String, String), u64>) -> Vec<(&'static str, f64, &'static str)> {
    let mut figures = BTreeMap::<&'static str, f64>::new();
    for ((_, outcome), count) in counted {
        let names: &[&'static str] = match outcome.as_str() {
            "accepted" => &["Accepted"],
            "unrecognized" => &["Unrecognized"],
            "queue_failed" => &["QueueFailed"],
            "clicked" => &["Clicked"],
            "robot" => &["Robots"],
            "MissingSignature" | "MalformedSignature" | "WrongSignature" | "OutsideReplayWindow" | "WrongOrigin" => {
                &["Refused", "BadSignature"]
            }
            _ => &["Refused"],
        };
        names.iter().for_each(|name| *figures.entry(name).or_default() += count as f64);
    }
    figures.into_iter().map(|(name, count)| (name, count, "Count")).collect()
}

/// A function that handles events from a queue, or the ticks of a schedule.
#[async_trait]
pub trait Consumer: Send + Sync {
    /// Handles events and returns the positions of those that failed. Only those come again. `left` is the remaining
    /// time of the invocation. A tick of the schedule brings no events.
    async fn handle(&self, events: Vec<Event>, left: Duration) -> BTreeSet<usize>;
}

/// An SQS batch, or a tick of the schedule, which has no records.
#[derive(Deserialize)]
struct Invocation {
    #[serde(default, rename = "Records")]
    records: Vec<SqsMessage>,
}

/// Runs the consumer of an SQS event source or of a schedule. A message that is no event fails until it becomes a dead
/// letter. With a wrong configuration the function writes one line to the log and fails the invocation, so that its
/// messages stay.
///
/// # Errors
/// When the runtime cannot be reached.
pub async fn consume<B, W>(build: B) -> Result<(), Error>
where
    B: Fn() -> W + Send + Sync + 'static,
    W: Future<Output = Result<Arc<dyn Consumer>, Error>> + Send + 'static,
{
    start_logs();
    let built = tokio::sync::Mutex::new(None);
    let shared = Arc::new((build, built));
    lambda_runtime::run(service_fn(move |invocation: LambdaEvent<Invocation>| {
        let shared = Arc::clone(&shared);
        async move {
            let mut built = shared.1.lock().await;
            let consumer: Arc<dyn Consumer> = match &*built {
                Some(consumer) => Arc::clone(consumer),
                None => {
                    let made = (shared.0)().await.inspect_err(|error| {
                        let error = error.to_string();
                        tracing::error!(error, "wrong configuration: the messages stay in the queue");
                    })?;
                    Arc::clone(built.insert(made))
                }
            };
            drop(built);
            Ok::<_, Error>(consumed(consumer.as_ref(), invocation).await)
        }
    }))
    .await
}

async fn consumed(consumer: &dyn Consumer, invocation: LambdaEvent<Invocation>) -> SqsBatchResponse {
    let left = invocation.context.deadline().duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap_or_default();
    let now = u64::try_from(SystemClock.now().as_millisecond()).unwrap_or(0);
    let left = left.saturating_sub(Duration::from_millis(now));
    let mut failures = Vec::new();
    let (mut ids, mut events) = (Vec::new(), Vec::new());
    for record in invocation.payload.records {
        let id = record.message_id.unwrap_or_default();
        match from_stored::<Event>(record.body.as_deref().unwrap_or("")) {
            Ok(event) => {
                ids.push(id);
                events.push(event);
            }
            Err(reason) => {
                tracing::error!(message = id, reason, "a message that cannot be read");
                failures.push(id);
            }
        }
    }
    let failed = consumer.handle(events, left).await;
    failures.extend(failed.into_iter().filter_map(|index| ids.get(index).cloned()));
    let mut response = SqsBatchResponse::default();
    response.batch_item_failures = failures.into_iter().map(failure).collect();
    response
}

fn failure(id: String) -> BatchItemFailure {
    let mut failure = BatchItemFailure::default();
    failure.item_identifier = id;
    failure
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_holds_the_first_part_of_an_address_only() {
        let of = |address: &str| {
            let http = serde_json::json!({ "method": "POST", "path": "/website/x", "protocol": "HTTP/1.1",
                "sourceIp": address, "userAgent": "u" });
            let context = serde_json::json!({ "accountId": "1", "apiId": "a", "domainName": "d", "domainPrefix": "d",
                "http": http, "requestId": "r", "routeKey": "$default", "stage": "$default",
                "time": "12/Mar/2027:19:03:58 +0000", "timeEpoch": 1_583_348_638_390_u64 });
            let event = serde_json::json!({ "version": "2.0", "routeKey": "$default", "rawPath": "/website/x",
                "rawQueryString": "", "headers": {}, "requestContext": context, "isBase64Encoded": false });
            client(&lambda_http::request::from_str(&event.to_string()).expect("a request"))
        };
        assert_eq!(of("192.0.2.77").as_deref(), Some("192.0.2.0"));
        assert_eq!(of("2001:db8:1:2::9").as_deref(), Some("2001:db8:1::"));
        assert_eq!(of("nonsense"), None);
    }
}
