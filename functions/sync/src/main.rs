//! `sync` as AWS runs it: an SQS batch with partial failures, then the CRM while the invocation has time. A tick of the
//! schedule goes on for those who wait.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use async_trait::async_trait;
use stagedoor_aws::{Consumer, Error, Reading, Setting, consume, setting};
use stagedoor_model::Event;
use stagedoor_ports::{Clock, SystemClock};
use stagedoor_sync::{Pace, Sync};

/// Left of an invocation when no new round is begun.
const RESERVE: Duration = Duration::from_secs(15);

#[tokio::main]
async fn main() -> Result<(), Error> {
    consume(build).await
}

async fn build() -> Result<Arc<dyn Consumer>, Error> {
    let Setting { config, store, clock, .. } = setting(Reading::Sync, &|_, _| Ok(())).await?;
    let store: Arc<dyn stagedoor_ports::Store> = Arc::new(store);
    // One process of many: its lease is its own.
    let owner = format!("lambda-{}-{}", std::process::id(), clock.now().as_nanosecond());
    let crm = stagedoor_crm::amocrm::from_config(&config, &store, &clock, &owner)?;
    let desks = stagedoor_shops::desks(config.sources.iter().map(|one| &one.source))?;
    let (catalog, policy) = (config.catalog.clone(), config.policy.clone());
    let sync = Sync { store, crm: Arc::new(crm), clock, desks, catalog, policy, owner };
    Ok(Arc::new(Syncing(sync)))
}

struct Syncing(Sync);

#[async_trait]
impl Consumer for Syncing {
    async fn handle(&self, events: Vec<Event>, left: Duration) -> BTreeSet<usize> {
        let began = SystemClock.now();
        let failed = self.0.handle(events).await;
        loop {
            match self.0.reconcile(Pace::Everything).await {
                Ok(round) if round.left > 0 && round.unavailable.is_none() => {}
                // Nobody waits, or the CRM cannot be used: the next batch or tick goes on.
                Ok(_) => break,
                Err(error) => {
                    tracing::error!(%error, "reconciling failed; the next batch or tick goes on");
                    break;
                }
            }
            let spent = SystemClock.now().duration_since(began).unsigned_abs();
            if spent + RESERVE >= left {
                break;
            }
        }
        failed
    }
}
