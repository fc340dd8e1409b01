//! `sync` as AWS runs it: an SQS batch with partial failures, then the CRM while the invocation has time.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use stagedoor_aws::{Error, Setting, batch, setting};
use stagedoor_model::Event;
use stagedoor_ports::{Clock, SystemClock};
use stagedoor_sync::{Pace, Sync};

/// Left of an invocation when no new round is begun.
const RESERVE: Duration = Duration::from_secs(15);

#[tokio::main]
async fn main() -> Result<(), Error> {
    let Setting { config, store, clock, .. } = setting("sync", &[]).await?;
    let store: Arc<dyn stagedoor_ports::Store> = Arc::new(store);
    // One process of many: its lease is its own.
    let owner = format!("lambda-{}-{}", std::process::id(), clock.now().as_nanosecond());
    let crm = stagedoor_crm::amocrm::from_config(&config, &store, &clock, &owner)?;
    let sources = config.sources.iter();
    let desks =
        sources.filter_map(|one| Some(stagedoor_shops::desk(&one.source)?.map(|desk| (one.source.name.clone(), desk))));
    let desks = desks.collect::<Result<_, String>>()?;
    let (catalog, policy) = (config.catalog.clone(), config.policy.clone());
    let sync = Sync { store, crm: Arc::new(crm), clock, desks, catalog, policy, owner };
    batch(move |events, left| work(sync.clone(), events, left)).await
}

async fn work(sync: Sync, events: Vec<Event>, left: Duration) -> BTreeSet<usize> {
    let began = SystemClock.now();
    let failed = sync.handle(events).await;
    loop {
        match sync.reconcile(Pace::Everything).await {
            Ok(round) if round.left > 0 && round.unavailable.is_none() => {}
            // Nobody waits, or the CRM cannot be used: the next batch goes on.
            Ok(_) => break,
            Err(error) => {
                tracing::error!(%error, "reconciling failed; the next batch goes on");
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
