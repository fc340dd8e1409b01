//! The queue's consumer: one file a step. Webhooks become people here, and people become rows in the CRM.

mod answers;
mod asked;
mod backfill;
mod breaker;
mod changes;
mod claimants;
mod claims;
mod codes;
mod companies;
mod doubted;
mod enrol;
mod erase;
mod fold;
mod gone;
mod hang;
mod hydrate;
mod invite;
mod joined;
mod lease;
mod mailing;
mod merged;
mod misidentified;
mod moved_before;
mod notes_and_tasks;
mod outcome;
mod past;
mod pending;
mod poll_unsubscribes;
mod promo;
mod reason_words;
mod reasons;
mod reconcile;
mod replies;
mod restored;
mod retention;
mod rules;
mod run;
mod segment;
mod settle;
mod shows;
mod size;
mod sns;
mod struck;
mod traces;
mod unheard_rows;
mod untangle;
mod withdrawn;
mod zones;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

pub use backfill::Backfilled;
pub use breaker::Breakers;
pub use changes::Heard;
pub use erase::{Erased, ErasureKey, InCrm, UNREADABLE};
use futures_util::{StreamExt, stream::FuturesUnordered};
pub use invite::{Invited, Invitee};
pub use past::shows_of_past_configs;
pub use reasons::{WaitingReason, reasons_of_people, waiting_reasons};
pub use reconcile::{FlushMode, RunReport};
pub use retention::Retention;
pub use rules::rules_progress;
pub use segment::why;
pub use shows::learn_changes;
use stagedoor_engine::{Catalog, Guards, Invoicing};
use stagedoor_model::{Event, LinkKey, SourceName};
use stagedoor_ports::{Clock, Crm, MailingList, OrderApi, Queue, SnsConfirmer, Store};
use tokio::time::Instant;
pub use zones::UNKNOWN_ZONES;

/// Left of an invocation for folding what sources answered.
const FOLDING: Duration = Duration::from_secs(20);

/// What the consumer works with. The same on AWS and on a laptop.
#[derive(Clone)]
pub struct Sync {
    pub store: Arc<dyn Store>,
    pub crm: Arc<dyn Crm>,
    pub clock: Arc<dyn Clock>,
    /// Ticket systems that can be asked back, by source.
    pub order_apis: BTreeMap<SourceName, Arc<dyn OrderApi>>,
    /// Without it an operator takes topics' offers.
    pub topics: Option<Arc<dyn SnsConfirmer>>,
    /// Shows and pipelines as the config has them.
    pub catalog: Catalog,
    pub guards: Guards,
    /// Accounts with mailing lists, by their name in the config.
    pub lists: BTreeMap<String, Arc<dyn MailingList>>,
    /// Without it nobody can be erased.
    pub erasure: Option<ErasureKey>,
    /// Without it nobody is answered.
    pub conversation: Option<Talking>,
    /// This process among those that share the store.
    pub owner: String,
    /// Whether the CRM could not be used in the last round: then more people are looked at, so that nobody waits for their lists and
    /// letters behind those who wait for the CRM.
    pub outage: Arc<AtomicBool>,
    /// Sources and mailing lists that do not answer.
    pub breakers: Breakers,
    /// Where events go that wait for their source; without it they come again as failed.
    pub events: Option<Arc<dyn Queue>>,
    /// Another CRM that is fed from the same people, with a lease, a rate and parked rows of its own.
    pub second: Option<CrmAccount>,
    /// Of the numbers of the CRM: none for the first, `SECOND_CRM` for the second.
    pub scope: &'static str,
}

/// The second CRM.
#[derive(Clone)]
pub struct CrmAccount {
    pub crm: Arc<dyn Crm>,
    pub invoicing: Option<Invoicing>,
    /// ISO 4217: in which that account holds prices. `None`: RUB.
    pub currency: Option<String>,
}

/// What answering takes.
#[derive(Clone)]
pub struct Talking {
    /// Where decisions to send go.
    pub outbox: Arc<dyn Queue>,
    /// Where chats' events go: what answering itself finds out is an event too.
    pub chats: Arc<dyn Queue>,
    pub links: LinkKey,
    /// Without a slash at its end.
    pub public_url: String,
}

impl Sync {
    /// Hydrates, folds and saves a batch, and decides what chats in it are answered. The answer names the events that failed
    /// and should come again, by their place in `events`; all others are durable.
    pub async fn handle(&self, events: Vec<Event>) -> BTreeSet<usize> {
        self.handle_within(events, None).await
    }

    /// The same within a time; sources get less of it than their budget when there is less. What needs no source comes first,
    /// and each source's events are folded as soon as it has answered.
    pub async fn handle_within(&self, events: Vec<Event>, left: Option<Duration>) -> BTreeSet<usize> {
        let deadline = left.map(|left| Instant::now() + left.saturating_sub(FOLDING).max(left / 5));
        let (pointing, ready): (Vec<_>, Vec<_>) =
            events.into_iter().enumerate().partition(|(_, event)| hydrate::needs_source(event));
        let mut failed = self.fold_and_answer(ready).await;
        let asked = hydrate::by_source(pointing);
        let mut asking: FuturesUnordered<_> =
            asked.into_iter().map(|(source, events)| self.hydrate(source, events, deadline)).collect();
        while let Some(hydrated) = asking.next().await {
            failed.extend(hydrated.failed);
            if let Some((events, after)) = hydrated.deferred {
                failed.extend(self.defer(events, after).await);
            }
            failed.extend(self.fold_and_answer(hydrated.ready).await);
        }
        failed
    }

    /// Gives the lease back after something that may have held it was dropped.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn let_go(&self) -> stagedoor_ports::Result<()> {
        if self.lease().await? { self.release().await } else { Ok(()) }
    }

    /// Whether a source has to be asked before the event can be folded.
    pub fn needs_source(event: &Event) -> bool {
        hydrate::needs_source(event)
    }

    async fn fold_and_answer(&self, mut ready: Vec<(usize, Event)>) -> BTreeSet<usize> {
        if ready.is_empty() {
            return BTreeSet::new();
        }
        let mut failed = self.take_offers(&ready).await;
        ready.retain(|(index, _)| !failed.contains(index));
        let heard: Vec<(usize, Event)> = ready.iter().filter(|(_, event)| replies::asks(event)).cloned().collect();
        failed.extend(self.fold(ready).await);
        // Also those that were folded before: a crash may have come between hearing and answering.
        let heard = heard.into_iter().filter(|(index, _)| !failed.contains(index)).collect();
        failed.extend(self.answer(heard).await);
        failed
    }
}
