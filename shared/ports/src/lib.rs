//! The ports: traits through which the logic reaches stores, queues, CRMs, channels and lists. Each error says whether
//! a retry may help.

mod away;
mod channel;
mod crm;
mod http;
mod list;
#[cfg(feature = "testing")]
pub mod memory;
mod queue;
mod shops;
mod sources;
mod store;
mod stored;
#[cfg(feature = "testing")]
pub mod testing;
mod withdrawals;

pub use channel::{Channel, Sending, Settled, Webhook};
pub use crm::{
    Capabilities, Changes, Crm, CrmError, CrmFound, CrmHealth, CrmLookup, CrmPage, CrmRows, CrmTotals, Deleted, Gone,
    HubDeal, InvoiceOwners, LATE_FOR, OfErased, SeenDeal, Struck, WriteOutcome, Writes,
};
pub use http::{HttpClient, HttpError};
pub use list::{Listed, MailingList};
pub use queue::{DeadLetter, Queue, Receipt, Received};
pub use shops::{Found, OrderApi, PullPage, SnsConfirmer};
pub use sources::{
    HeardSources, Silence, SilenceRule, SourceLife, last_heard, silent_sources, source_lives, sources_heard,
};
pub use store::{
    Admin, Claims, Commit, CrmStates, Dirty, DirtyPeople, Journal, JournalRow, KeyValue, KeyValues, Leases, Mark,
    Outcome, People, Postponed, READ_AGAIN, RecheckPage, Rechecks, Removal, Saved, SetAside, Store, Taken, Totals,
    Versioned, outdated, unreadable_reason, up_to,
};

#[cfg(feature = "testing")]
pub use stored::of_a_later_version;
pub use stored::{Document, FORMAT, from_stored, to_stored};
pub use withdrawals::{keep_withdrawals, read_withdrawals};

/// Why a port did not do what the caller asked.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// A later retry may help: a lock, a timeout, throttling.
    #[error("{0} (will be tried again)")]
    Retry(String),
    /// A retry does not help: the request itself or the configuration is wrong.
    #[error("{0}")]
    Fail(String),
}

/// The result of a port's method.
pub type Result<T> = std::result::Result<T, PortError>;

/// The only source of the present time for functions; the engine takes times as arguments.
pub trait Clock: Send + Sync {
    /// The present time.
    fn now(&self) -> stagedoor_model::Timestamp;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    fn now(&self) -> stagedoor_model::Timestamp {
        stagedoor_model::Timestamp::now()
    }
}
