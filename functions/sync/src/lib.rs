//! The queue's consumer: one file a step. Webhooks become people here, and people become rows in the CRM.

mod backfill;
mod changes;
mod claims;
mod companies;
mod enrol;
mod erase;
mod fold;
mod gone;
mod hydrate;
mod intents;
mod invite;
mod leavers;
mod mailing;
mod outcome;
mod promo;
mod reconcile;
mod remarks;
mod replies;
mod round;
mod segment;
mod settle;
mod shows;
mod topics;
mod zones;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, atomic::AtomicBool},
};

pub use backfill::Backfilled;
pub use changes::Heard;
pub use erase::{Erased, ErasureKey};
pub use invite::{Invited, Invitee};
pub use reconcile::{Pace, Reconciled};
pub use segment::why;
use stagedoor_engine::{Catalog, Invoicing, Policy};
use stagedoor_model::{Event, LinkKey, SourceName};
use stagedoor_ports::{Clock, Crm, MailingList, OrderDesk, Queue, Store, Topics};
pub use zones::UNKNOWN_ZONES;

/// What the consumer works with. The same on AWS and on a laptop.
#[derive(Clone)]
pub struct Sync {
    pub store: Arc<dyn Store>,
    pub crm: Arc<dyn Crm>,
    pub clock: Arc<dyn Clock>,
    /// Ticket systems that can be asked back, by source.
    pub desks: BTreeMap<SourceName, Arc<dyn OrderDesk>>,
    /// Without it an operator takes topics' offers.
    pub topics: Option<Arc<dyn Topics>>,
    /// Shows and pipelines as the config has them.
    pub catalog: Catalog,
    pub policy: Policy,
    /// Accounts with mailing lists, by their name in the config.
    pub lists: BTreeMap<String, Arc<dyn MailingList>>,
    /// Without it nobody can be erased.
    pub erasure: Option<ErasureKey>,
    /// Without it nobody is answered.
    pub talk: Option<Talking>,
    /// This process among those that share the store.
    pub owner: String,
    /// Whether the CRM could not be used in the last round: then more people are looked at, so that nobody waits for their lists and
    /// letters behind those who wait for the CRM.
    pub outage: Arc<AtomicBool>,
    /// Another CRM that is fed from the same people, with a lease, a rate and parked rows of its own.
    pub second: Option<Second>,
    /// Of the numbers of the CRM: none for the first, `SECOND_CRM` for the second.
    pub scope: &'static str,
}

/// The second CRM.
#[derive(Clone)]
pub struct Second {
    pub crm: Arc<dyn Crm>,
    pub invoicing: Option<Invoicing>,
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
        let numbered = events.into_iter().enumerate().collect();
        let (mut ready, mut failed) = self.hydrate(numbered).await;
        let untaken = self.take_offers(&ready).await;
        ready.retain(|(index, _)| !untaken.contains(index));
        failed.extend(untaken);
        let heard: Vec<(usize, Event)> = ready.iter().filter(|(_, event)| replies::asks(event)).cloned().collect();
        failed.extend(self.fold(ready).await);
        // Also those that were folded before: a crash may have come between hearing and answering.
        let heard = heard.into_iter().filter(|(index, _)| !failed.contains(index)).collect();
        failed.extend(self.answer(heard).await);
        failed
    }
}
