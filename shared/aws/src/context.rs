//! The context of a function on AWS: its environment, the config in its package, and the secrets that it needs.

use std::sync::Arc;

use aws_config::{BehaviorVersion, SdkConfig};
use aws_smithy_http_client::tls;
use stagedoor_config::{Config, LocalSecrets, Reading, load_for, variable};
use stagedoor_ports::{Clock, SystemClock};
use stagedoor_webhook::Source;

use crate::{
    DynamoStore, Retention, SqsQueue,
    secrets::{Fetched, Wanted},
};

/// Why a function cannot start.
pub type Error = lambda_runtime::Error;

/// A function's own check of its sources.
pub type Check<'c> = &'c (dyn Fn(&str, &Source) -> Result<(), String> + Sync);

/// Config, queues, store and clock of a function.
pub struct FunctionContext {
    pub config: Config,
    pub queue: SqsQueue,
    /// The queue for events of chats, for functions that answer or send.
    pub chats: SqsQueue,
    /// The queue for messages that the hub has decided to send.
    pub outbox: SqsQueue,
    pub store: DynamoStore,
    pub clock: Arc<dyn Clock>,
}

/// Reads the environment: `STAGEDOOR_CONFIG` (a file), `STAGEDOOR_QUEUE_URL` (functions that send events),
/// `STAGEDOOR_CHATS_URL` and `STAGEDOOR_OUTBOX_URL` (functions that answer), `STAGEDOOR_DEAD_LETTER_URL` (optional),
/// `STAGEDOOR_TABLES` (prefix of the tables). `STAGEDOOR_DEV_SECRETS=yes` allows `dev:` secrets, for cargo-lambda.
///
/// # Errors
/// All errors of the config, a missing variable, or a Parameter Store that does not answer.
pub async fn setting(reading: Reading, check: Check<'_>) -> Result<FunctionContext, Error> {
    let file = variable("STAGEDOOR_CONFIG")?;
    let text = std::fs::read_to_string(&file).map_err(|error| format!("cannot read {file}: {error}"))?;
    let aws = sdk().await;
    let mut config = read_config(&aws, reading, &file, &text, check).await?;
    let dead_letters = variable("STAGEDOOR_DEAD_LETTER_URL").ok();
    // A function that only consumes gets its messages from AWS and needs no address. Nothing can be sent to an empty
    // one.
    let queue = match reading {
        Reading::Sync | Reading::Outreach => variable("STAGEDOOR_QUEUE_URL").unwrap_or_default(),
        _ => variable("STAGEDOOR_QUEUE_URL")?,
    };
    // Only the deployment knows the address at which the CRM reaches it.
    config.public_url = variable("STAGEDOOR_PUBLIC_URL").ok().or(config.public_url);
    let store = DynamoStore::new(&aws, &variable("STAGEDOOR_TABLES").unwrap_or_else(|_| "stagedoor".into()));
    let retention = Retention { journal: config.retention.journal, kept: config.retention.unrecognized };
    Ok(FunctionContext {
        config,
        queue: SqsQueue::new(&aws, &queue, dead_letters.as_deref()),
        chats: SqsQueue::new(&aws, &variable("STAGEDOOR_CHATS_URL").unwrap_or_default(), None),
        outbox: SqsQueue::new(&aws, &variable("STAGEDOOR_OUTBOX_URL").unwrap_or_default(), None),
        store: store.keeping(retention),
        clock: Arc::new(SystemClock),
    })
}

/// Reads the config with its secrets from the Parameter Store. The first of two passes finds out which secrets are
/// needed.
///
/// # Errors
/// All errors of the config, or a Parameter Store that does not answer.
pub async fn read_config(
    aws: &SdkConfig,
    reading: Reading,
    file: &str,
    text: &str,
    check: Check<'_>,
) -> Result<Config, Error> {
    let wanted = Wanted::default();
    // Without such secrets a cold start needs no first pass.
    if text.contains("\"ssm:") {
        _ = load_for(reading, file, text, &wanted, &|_, _| Ok(()));
    }
    let local = LocalSecrets { allow_dev: variable("STAGEDOOR_DEV_SECRETS").is_ok_and(|said| said == "yes") };
    let secrets = Fetched::fetch(aws, &wanted.names(), local).await?;
    Ok(load_for(reading, file, text, &secrets, &check)?)
}

/// The root certificates of AWS's own endpoints (www.amazontrust.com/repository). To read the machine's whole store
/// would take more of a cold start than everything else.
const ROOTS: &str = include_str!("amazon_roots.pem");

/// The settings of the SDK from the environment. The HTTP client is our own, because the SDK's client would build a
/// second TLS library.
pub async fn sdk() -> SdkConfig {
    // Another endpoint may use another certificate authority.
    let elsewhere = variable("AWS_ENDPOINT_URL").is_ok_and(|url| url.starts_with("https://"));
    let amazon = tls::TrustStore::empty().with_native_roots(false).with_pem_certificate(ROOTS.as_bytes().to_vec());
    let context = tls::TlsContext::builder().with_trust_store(amazon).build().ok().filter(|_| !elsewhere);
    let client = aws_smithy_http_client::Builder::new()
        .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring))
        .tls_context(context.unwrap_or_default())
        .build_https();
    aws_config::defaults(BehaviorVersion::latest()).http_client(client).load().await
}
