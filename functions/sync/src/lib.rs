//! The queue's consumer: one file a step. Webhooks become people here, and people become rows in the CRM.

mod backfill;
mod erase;
mod fold;
mod hydrate;
mod outcome;
mod reconcile;
mod shows;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

pub use backfill::Backfilled;
pub use erase::{Erased, ErasureKey};
pub use reconcile::{Pace, Reconciled};
use stagedoor_engine::{Catalog, Policy};
use stagedoor_model::{Event, SourceName};
use stagedoor_ports::{Clock, Crm, OrderDesk, Store};

/// What the consumer works with. The same on AWS and on a laptop.
#[derive(Clone)]
pub struct Sync {
    pub store: Arc<dyn Store>,
    pub crm: Arc<dyn Crm>,
    pub clock: Arc<dyn Clock>,
    /// Ticket systems that can be asked back, by source.
    pub desks: BTreeMap<SourceName, Arc<dyn OrderDesk>>,
    /// Shows and pipelines as the config has them.
    pub catalog: Catalog,
    pub policy: Policy,
    /// Without it nobody can be erased.
    pub erasure: Option<ErasureKey>,
    /// This process among those that share the store.
    pub owner: String,
}

impl Sync {
    /// Hydrates, folds and saves a batch. The answer names the events that failed and should come again, by their
    /// place in `events`; all others are durable.
    pub async fn handle(&self, events: Vec<Event>) -> BTreeSet<usize> {
        let numbered = events.into_iter().enumerate().collect();
        let (ready, mut failed) = self.hydrate(numbered).await;
        failed.extend(self.fold(ready).await);
        failed
    }
}
