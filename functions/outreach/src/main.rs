//! `outreach` as AWS runs it: an SQS batch with partial failures.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use async_trait::async_trait;
use stagedoor_aws::{Consumer, Error, FunctionContext, Reading, consume, emit, setting};
use stagedoor_model::Event;
use stagedoor_outreach::{Outreach, RateLimit, WebhookCheck};

/// Concurrent invocations, as the template sets them (`MaximumConcurrency`).
const INVOCATIONS: u32 = 2;

#[tokio::main]
async fn main() -> Result<(), Error> {
    consume(build).await
}

async fn build() -> Result<Arc<dyn Consumer>, Error> {
    let FunctionContext { config, store, chats, outbox, clock, .. } =
        setting(Reading::Outreach, &|_, _| Ok(())).await?;
    let channels = stagedoor_channels::channels(&config)?;
    let (outbox, chats) = (Arc::new(outbox), Arc::new(chats));
    let policy = config.catalog.sending_policy();
    let pace = Arc::new(RateLimit::among(INVOCATIONS));
    let check = WebhookCheck::new(config.public_url.as_deref());
    Ok(Arc::new(Sending(Outreach { store: Arc::new(store), outbox, chats, clock, channels, policy, pace }, check)))
}

struct Sending(Outreach, WebhookCheck);

#[async_trait]
impl Consumer for Sending {
    async fn handle(&self, events: Vec<Event>, _: Duration) -> BTreeSet<usize> {
        let taken = events.len();
        let failed = self.0.handle(events).await;
        self.1.look(&self.0.channels).await;
        let count = |name, value: usize| (name, value as f64, "Count");
        emit(
            "outreach",
            &[count("MessagesHandled", taken - failed.len()), count("MessagesFailed", failed.len())],
            false,
        );
        failed
    }
}
