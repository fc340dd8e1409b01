//! A function as AWS runs it: what it needs from its environment, and the runtime around it.

use std::{collections::BTreeSet, sync::Arc};

use aws_config::BehaviorVersion;
use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent};
use aws_smithy_http_client::tls;
use axum::Router;
use lambda_runtime::{LambdaEvent, service_fn};
use stagedoor_config::{Config, LocalSecrets, variable};
use stagedoor_model::Event;
use stagedoor_ports::{Clock, SystemClock};
use stagedoor_webhook::{Build, Counters, Provider, Receiver, Source, table};

use crate::{DynamoStore, SqsQueue};

pub type Error = lambda_runtime::Error;

/// What a function finds around it.
pub struct Setting {
    pub config: Config,
    pub queue: SqsQueue,
    pub store: DynamoStore,
    pub clock: Arc<dyn Clock>,
}

/// Reads the environment: `STAGEDOOR_CONFIG` (a file), `STAGEDOOR_QUEUE_URL`, `STAGEDOOR_DEAD_LETTER_URL` (optional),
/// `STAGEDOOR_TABLES` (the tables' prefix). `STAGEDOOR_DEV_SECRETS=yes` lets `dev:` secrets in, for cargo-lambda.
///
/// # Errors
/// Every mistake of the config, or the variable that is missing.
pub async fn setting(function: &str, providers: &'static [(&'static str, Build)]) -> Result<Setting, Error> {
    tracing_subscriber::fmt().json().with_max_level(tracing::Level::INFO).with_current_span(false).init();
    let file = variable("STAGEDOOR_CONFIG")?;
    let text = std::fs::read_to_string(&file).map_err(|error| format!("cannot read {file}: {error}"))?;
    let secrets = LocalSecrets { allow_dev: variable("STAGEDOOR_DEV_SECRETS").is_ok_and(|said| said == "yes") };
    // A function answers for its own sources; those of others are checked by theirs.
    let check = |of: &str, source: &Source| if of == function { table(providers, source).map(drop) } else { Ok(()) };
    let config = match providers.is_empty() {
        true => stagedoor_config::load(&file, &text, &secrets, &check)?,
        false => stagedoor_config::load_for_receiving(&file, &text, &secrets, &check)?,
    };
    let aws = sdk().await;
    let dead_letters = variable("STAGEDOOR_DEAD_LETTER_URL").ok();
    Ok(Setting {
        config,
        queue: SqsQueue::new(&aws, &variable("STAGEDOOR_QUEUE_URL")?, dead_letters.as_deref()),
        store: DynamoStore::new(&aws, &variable("STAGEDOOR_TABLES").unwrap_or_else(|_| "stagedoor".into())),
        clock: Arc::new(SystemClock),
    })
}

/// The roots to which AWS's own endpoints chain (www.amazontrust.com/repository). Reading the machine's whole store would
/// take more of a cold start than all else.
const ROOTS: &str = include_str!("amazon_roots.pem");

async fn sdk() -> aws_config::SdkConfig {
    let defaults = aws_config::defaults(BehaviorVersion::latest());
    // Another endpoint may stand behind another authority.
    let elsewhere = variable("AWS_ENDPOINT_URL").is_ok_and(|url| url.starts_with("https://"));
    if elsewhere {
        return defaults.load().await;
    }
    let store = tls::TrustStore::empty().with_native_roots(false).with_pem_certificate(ROOTS.as_bytes().to_vec());
    let client = tls::TlsContext::builder().with_trust_store(store).build().map(|context| {
        let provider = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::AwsLc);
        aws_smithy_http_client::Builder::new().tls_provider(provider).tls_context(context).build_https()
    });
    match client {
        Ok(client) => defaults.http_client(client).load().await,
        Err(_) => defaults.load().await,
    }
}

type Sources = Vec<(Source, Box<dyn Provider>)>;

/// Runs a receiving function: its router behind an HTTP API or a function URL.
///
/// # Errors
/// When the environment or the config is wrong.
pub async fn http(
    function: &'static str,
    providers: &'static [(&'static str, Build)],
    router: fn(Receiver, Sources) -> Router,
) -> Result<(), Error> {
    let Setting { config, queue, clock, .. } = setting(function, providers).await?;
    let receiver = Receiver { queue: Arc::new(queue), clock, counters: Counters::default() };
    let sources = config.sources_of(function).into_iter();
    let sources =
        sources.map(|source| Ok((source.clone(), table(providers, &source)?))).collect::<Result<_, String>>()?;
    lambda_http::run(router(receiver, sources)).await
}

/// Runs the consumer of an SQS event source: `handle` answers with the places of the events that failed, and only those
/// come again. What is no event fails too, and wears out into the dead-letter queue.
///
/// # Errors
/// When the runtime cannot be reached.
pub async fn batch<F, W>(handle: F) -> Result<(), Error>
where
    F: Fn(Vec<Event>, std::time::Duration) -> W + Clone + Send + Sync + 'static,
    W: Future<Output = BTreeSet<usize>> + Send + 'static,
{
    let serve = service_fn(move |event: LambdaEvent<SqsEvent>| {
        let handle = handle.clone();
        async move {
            let left = event.context.deadline().duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap_or_default();
            let now = u64::try_from(SystemClock.now().as_millisecond()).unwrap_or(0);
            let left = left.saturating_sub(std::time::Duration::from_millis(now));
            let records = event.payload.records;
            let mut failures = Vec::new();
            let (mut ids, mut events) = (Vec::new(), Vec::new());
            for record in records {
                let id = record.message_id.unwrap_or_default();
                match record.body.as_deref().map(serde_json::from_str::<Event>) {
                    Some(Ok(event)) => {
                        ids.push(id);
                        events.push(event);
                    }
                    _ => {
                        tracing::error!(message = id, "a message that is no event");
                        failures.push(id);
                    }
                }
            }
            let failed = handle(events, left).await;
            failures.extend(failed.into_iter().filter_map(|index| ids.get(index).cloned()));
            let mut response = SqsBatchResponse::default();
            response.batch_item_failures = failures.into_iter().map(failure).collect();
            Ok::<_, Error>(response)
        }
    });
    lambda_runtime::run(serve).await
}

fn failure(id: String) -> BatchItemFailure {
    let mut failure = BatchItemFailure::default();
    failure.item_identifier = id;
    failure
}
