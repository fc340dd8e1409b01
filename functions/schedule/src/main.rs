//! `schedule` as AWS runs it: every tick pulls what no webhook told.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use async_trait::async_trait;
use stagedoor_aws::{Consumer, Error, Reading, Setting, consume, setting};
use stagedoor_model::Event;
use stagedoor_schedule::Schedule;

#[tokio::main]
async fn main() -> Result<(), Error> {
    consume(build).await
}

async fn build() -> Result<Arc<dyn Consumer>, Error> {
    let Setting { config, store, queue, clock, .. } = setting(Reading::Schedule, &|_, _| Ok(())).await?;
    let desks = stagedoor_shops::desks(config.sources.iter().map(|one| &one.source))?;
    Ok(Arc::new(Pulling(Schedule { store: Arc::new(store), queue: Arc::new(queue), clock, desks })))
}

struct Pulling(Schedule);

#[async_trait]
impl Consumer for Pulling {
    async fn handle(&self, _: Vec<Event>, _: Duration) -> BTreeSet<usize> {
        self.0.pull_all().await;
        BTreeSet::new()
    }
}
