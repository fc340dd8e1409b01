//! The `links` function on AWS.

use stagedoor_aws::{Error, FunctionContext, Reading, setting};
use stagedoor_links::LinkResolver;
use stagedoor_model::LinkKey;
use stagedoor_webhook::Receiver;

#[tokio::main]
async fn main() -> Result<(), Error> {
    stagedoor_aws::pages("links", build).await
}

async fn build(counters: stagedoor_webhook::Counters) -> Result<axum::Router, Error> {
    let FunctionContext { config, queue, clock, .. } = setting(Reading::Receiving("links"), &|_, _| Ok(())).await?;
    let key = config.link_key.as_ref().ok_or("[hub] link_key is missing")?;
    let public_url = config.public_url.clone().ok_or("[hub] public_url is missing")?;
    let resolver =
        LinkResolver::new(LinkKey::new(&key.reveal()), &public_url, &config.catalog, config.sources_of("messaging"));
    let receiver = Receiver { queue: std::sync::Arc::new(queue), clock, counters };
    Ok(stagedoor_links::router(receiver, resolver)?)
}
