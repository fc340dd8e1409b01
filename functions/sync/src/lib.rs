//! Consumer of the event queue. It folds events into people, and writes people to the CRM. Each step has a file.

mod answers;
mod asked;
mod backfill;
mod breaker;
mod cause;
mod changes;
mod claimants;
mod claims;
mod codes;
mod companies;
mod crm_change;
mod doubted;
mod enrol;
mod erase;
mod feed_second;
mod fold;
mod foreign_row;
mod gone;
mod handle;
mod hang;
mod hydrate;
mod invite;
mod joined;
mod lease;
mod lost_ids;
mod mailing;
mod merged;
mod misidentified;
mod moved_before;
mod notes_and_tasks;
mod outcome;
mod past;
mod pending;
mod placeholders;
mod poll_unsubscribes;
mod promo;
mod reasons;
mod reconcile;
mod replies;
mod restored;
mod retention;
mod rules;
mod run;
mod run_report;
mod segment;
mod settle;
mod shows;
mod size;
mod sns;
mod struck;
mod traces;
mod unheard_rows;
mod unsaved;
mod untangle;
mod withdrawn;
mod zones;

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::AtomicBool},
};

pub use backfill::Backfilled;
pub use breaker::Breakers;
pub use changes::Heard;
pub use erase::{Erased, ErasureKey, InCrm, UNREADABLE};
pub use invite::{Invited, Invitee};
pub use past::shows_of_past_configs;
pub use reasons::{WaitingReason, reasons_of_people, waiting_reasons};
pub use reconcile::FlushMode;
pub use retention::Retention;
pub use rules::rules_progress;
pub use run_report::RunReport;
pub use segment::why;
pub use shows::learn_changes;
use stagedoor_engine::{Catalog, Guards, Invoicing};
use stagedoor_model::{LinkKey, SourceName};
use stagedoor_ports::{Clock, Crm, MailingList, OrderApi, Queue, SnsConfirmer, Store};
pub use traces::Traces;
pub use zones::UNKNOWN_ZONES;

/// The ports and settings that the consumer works with. AWS and a laptop use the same.
#[derive(Clone)]
pub struct Sync {
    pub store: Arc<dyn Store>,
    pub crm: Arc<dyn Crm>,
    pub clock: Arc<dyn Clock>,
    /// Ticket systems that answer questions, by source.
    pub order_apis: BTreeMap<SourceName, Arc<dyn OrderApi>>,
    /// Confirms subscriptions at SNS. If absent, an operator confirms them.
    pub topics: Option<Arc<dyn SnsConfirmer>>,
    /// Shows and pipelines of the config.
    pub catalog: Catalog,
    pub guards: Guards,
    /// Accounts with mailing lists, by their name in the config.
    pub lists: BTreeMap<String, Arc<dyn MailingList>>,
    /// Key of the tombstones. If absent, people cannot be erased.
    pub erasure: Option<ErasureKey>,
    /// Parts that answering a chat needs. If absent, chats get no answers.
    pub conversation: Option<Talking>,
    /// Name of this process among the processes that share the store.
    pub owner: String,
    /// True if the CRM could not be used in the last run. Then a run takes more people: lists and messages of some
    /// people must not wait behind people who wait for the CRM.
    pub outage: Arc<AtomicBool>,
    /// State of the sources and mailing lists that do not answer.
    pub breakers: Breakers,
    /// Queue for events that wait for their source. If absent, such events count as failed and come again.
    pub events: Option<Arc<dyn Queue>>,
    /// Another CRM that gets the same people. It has its own lease, rate limit and rejected rows.
    pub second: Option<CrmAccount>,
    /// Namespace of this CRM's record ids. Empty for the first CRM, `SECOND_CRM` for the second.
    pub scope: &'static str,
}

/// The second CRM.
#[derive(Clone)]
pub struct CrmAccount {
    pub crm: Arc<dyn Crm>,
    pub invoicing: Option<Invoicing>,
    /// Currency of the prices in that account, as an ISO 4217 code. `None` means RUB.
    pub currency: Option<String>,
}

/// Parts that answering a chat needs.
#[derive(Clone)]
pub struct Talking {
    /// Queue of decisions to send.
    pub outbox: Arc<dyn Queue>,
    /// Queue of chat events. Answering a message makes events of its own.
    pub chats: Arc<dyn Queue>,
    pub links: LinkKey,
    /// Base of the hub's own links, without a slash at its end.
    pub public_url: String,
}
