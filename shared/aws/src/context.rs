//! What a function finds around it: its environment, the config in its package, the secrets that are its business.

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

pub type Error = lambda_runtime::Error;

/// A function's own check of its sources.
pub type Check<'c> = &'c (dyn Fn(&str, &Source) -> Result<(), String> + Sync);

pub struct FunctionContext {
    pub config: Config,
    pub queue: SqsQueue,
    /// Where chats' events go, for those who answer or send.
    pub chats: SqsQueue,
    pub outbox: SqsQueue,
    pub store: DynamoStore,
    pub clock: Arc<dyn Clock>,
}

/// Reads the environment: `STAGEDOOR_CONFIG` (a file), `STAGEDOOR_QUEUE_URL` (those who send), `STAGEDOOR_CHATS_URL` and
/// `STAGEDOOR_OUTBOX_URL` (those who answer), `STAGEDOOR_DEAD_LETTER_URL` (optional), `STAGEDOOR_TABLES` (the tables'
/// prefix). `STAGEDOOR_DEV_SECRETS=yes` lets `dev:` secrets in, for cargo-lambda.
///
/// # Errors
/// Every mistake of the config, the variable that is missing, or that the Parameter Store cannot be asked.
pub async fn setting(reading: Reading, check: Check<'_>) -> Result<FunctionContext, Error> {
    let file = variable("STAGEDOOR_CONFIG")?;
    let text = std::fs::read_to_string(&file).map_err(|error| format!("cannot read {file}: {error}"))?;
    let aws = sdk().await;
    let mut config = read_config(&aws, reading, &file, &text, check).await?;
    let dead_letters = variable("STAGEDOOR_DEAD_LETTER_URL").ok();
    // Who only consumes is handed its messages and needs no address; nothing can be sent to an empty one.
    let queue = match reading {
        Reading::Sync | Reading::Outreach => variable("STAGEDOOR_QUEUE_URL").unwrap_or_default(),
        _ => variable("STAGEDOOR_QUEUE_URL")?,
    };
    // Only the deployment knows under which address the CRM reaches it.
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

/// The config with its secrets from the Parameter Store. It is read twice: the first time tells which are needed.
///
/// # Errors
/// Every mistake, or that the Parameter Store cannot be asked.
pub async fn read_config(
    aws: &SdkConfig,
    reading: Reading,
    file: &str,
    text: &str,
    check: Check<'_>,
) -> Result<Config, Error> {
    let wanted = Wanted::default();
    // A cold start does not read it twice for nothing.
    if text.contains("\"ssm:") {
        _ = load_for(reading, file, text, &wanted, &|_, _| Ok(()));
    }
    let local = LocalSecrets { allow_dev: variable("STAGEDOOR_DEV_SECRETS").is_ok_and(|said| said == "yes") };
    let secrets = Fetched::fetch(aws, &wanted.names(), local).await?;
    Ok(load_for(reading, file, text, &secrets, &check)?)
}

/// The roots to which AWS's own endpoints chain (www.amazontrust.com/repository). Reading the machine's whole store would
/// take more of a cold start than all else.
const ROOTS: &str = include_str!("amazon_roots.pem");

/// The SDK's own settings, from the environment. The SDK itself brings no client: its own one would build a second TLS.
pub async fn sdk() -> SdkConfig {
    // Another endpoint may stand behind another authority.
    let elsewhere = variable("AWS_ENDPOINT_URL").is_ok_and(|url| url.starts_with("https://"));
    let amazon = tls::TrustStore::empty().with_native_roots(false).with_pem_certificate(ROOTS.as_bytes().to_vec());
    let context = tls::TlsContext::builder().with_trust_store(amazon).build().ok().filter(|_| !elsewhere);
    let client = aws_smithy_http_client::Builder::new()
        .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring))
        .tls_context(context.unwrap_or_default())
        .build_https();
    aws_config::defaults(BehaviorVersion::latest()).http_client(client).load().await
}
