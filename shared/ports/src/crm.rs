use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use async_trait::async_trait;
use jiff::SignedDuration;
use stagedoor_engine::{CompanyDraft, ContactDraft, DealDraft, InvoiceDraft, Parting, PersonId, ShowKey};
use stagedoor_model::{Body, Timestamp};

/// The result of one row of a bulk call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriteOutcome {
    /// The CRM has the row, with this id.
    Done(u64),
    /// The CRM refuses this row. The reason is for a manager.
    Refused(String),
    /// The call broke off. It may have taken effect.
    Unknown,
    /// The row was not sent, because the CRM is not available now.
    NotSent,
    /// The write did not happen: the row, or a row that it points at, is no longer in the CRM.
    Gone(Gone),
    /// The row was not sent, because something must first be put right in the CRM, such as a missing stage. The reason
    /// is for a manager. A later run tries again without help, and other rows go on.
    Held(String),
    /// The write did not happen: the row bears the hub's id of this other person. The CRM reused a number, or a manager
    /// merged rows.
    Misidentified(PersonId),
}

/// A row that is no longer in the CRM, because it was deleted or merged into another. The number is its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gone {
    Contact(u64),
    Deal(u64),
    Company(u64),
}

impl fmt::Display for Gone {
    /// Writes a sentence for a manager.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, id) = match self {
            Self::Contact(id) => ("contact", id),
            Self::Deal(id) => ("deal", id),
            Self::Company(id) => ("company", id),
        };
        write!(f, "the {kind} {id} is no longer in the CRM; somebody deleted or merged it there")
    }
}

impl WriteOutcome {
    /// Turns `Gone` into `Refused` with a sentence, for callers that cannot look for another row.
    #[must_use]
    pub fn or_refused(self) -> Self {
        match self {
            Self::Gone(gone) => Self::Refused(gone.to_string()),
            row => row,
        }
    }
}

/// A row in the CRM that holds data of an erased person. The number is the row's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum OfErased {
    /// The contact of the person.
    Contact(u64),
    /// A deal of the person.
    Deal(u64),
    /// An invoice of the person. Accounting keeps it, so it is only named.
    Invoice(u64),
    /// The contact of another person who typed an address of the erased one. It stays, and is only named.
    ClaimedIn(u64),
}

impl OfErased {
    /// The row's id, as the hub knows it.
    pub fn number(self) -> u64 {
        match self {
            Self::Contact(id) | Self::Deal(id) | Self::Invoice(id) | Self::ClaimedIn(id) => id,
        }
    }
}

/// The result of deleting such a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Struck {
    /// The row's id in the CRM's own form.
    pub id: String,
    /// True if the CRM no longer has the row.
    pub is_gone: bool,
}

/// Why a call to a CRM failed as a whole.
#[derive(Debug, thiserror::Error)]
pub enum CrmError {
    /// The CRM is down, throttles or blocks us. Nothing was done.
    #[error("the CRM cannot be used now: {0}")]
    Unavailable(String),
    /// The account's owner has to act: authorise again, pay, or lift a block.
    #[error("the CRM refuses us: {0}")]
    CredentialsRejected(String),
}

/// One page of the account's contacts, for the mirror.
#[derive(Debug, Clone)]
pub struct CrmPage {
    /// The contacts as events, each with its time.
    pub bodies: Vec<(Timestamp, Body)>,
    /// The next page; `None` after the last one.
    pub next: Option<u32>,
}

/// Changes in a CRM that sends no webhooks.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    pub contacts: Vec<(Timestamp, Body)>,
    pub deals: Vec<SeenDeal>,
    /// The time of the last change found, by the CRM's clock; `None` if there was none.
    pub until: Option<Timestamp>,
}

/// Rows known to the hub that the CRM certainly no longer has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Deleted {
    pub contacts: BTreeSet<u64>,
    pub deals: BTreeSet<u64>,
    /// The number of rows that exist, but that the hub's user may not see.
    pub hidden: usize,
}

/// A deal as the CRM has it now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenDeal {
    pub id: u64,
    pub changed_at: Timestamp,
    /// The name of the stage. Empty if the CRM reports the stage in another way.
    pub stage: String,
    /// The user who made the last change; `None` if it was the hub.
    pub by: Option<u64>,
    /// The hub's own id, as stored in the deal.
    pub hub_id: Option<String>,
    /// The deal's contact. `None` also if the CRM does not return it with the deal.
    pub contact: Option<u64>,
}

/// The sums of deals and invoices in the CRM, in minor units.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CrmTotals {
    pub deals: i64,
    pub invoiced: i64,
    /// Money received, less money paid back.
    pub received: i64,
}

/// The rows that an invoice belongs to, by id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvoiceOwners {
    pub contact: u64,
    pub deal: u64,
    pub company: Option<u64>,
}

/// How long an abandoned call may still take effect in a CRM. A client that knows better overrides [`Crm::late_for`].
pub const LATE_FOR: SignedDuration = SignedDuration::from_secs(150);

/// A CRM with contacts and deals. Bulk calls return one outcome a row, in the order of the input.
///
/// # Errors
/// [`CrmError`] when the call as a whole fails. Bulk calls report errors row by row; [`Crm::trouble`] has the reason.
#[async_trait]
pub trait Crm: Send + Sync {
    /// Creates missing fields and looks up the stages of pipelines. Cheap if nothing is missing.
    async fn set_up(&self) -> Result<(), CrmError>;
    /// Creates contacts.
    async fn create_contacts(&self, rows: &[ContactDraft]) -> Vec<WriteOutcome>;
    /// Updates contacts by id.
    async fn update_contacts(&self, rows: &[(u64, ContactDraft)]) -> Vec<WriteOutcome>;
    /// Creates deals. The number before each deal is the id of its contact.
    async fn create_deals(&self, rows: &[(u64, DealDraft)]) -> Vec<WriteOutcome>;
    /// Updates deals by id.
    async fn update_deals(&self, rows: &[(u64, DealDraft)]) -> Vec<WriteOutcome>;
    /// Finds, completes or creates companies. A company with a known id is not looked for. `since`: the earliest time
    /// at which a create without an answer may have made one of them.
    async fn put_companies(&self, rows: &[(Option<u64>, CompanyDraft)], since: Option<Timestamp>) -> Vec<WriteOutcome>;
    /// True if the CRM has invoices.
    fn invoices(&self) -> bool {
        false
    }
    /// Creates invoices for their contact, deal and company.
    async fn create_invoices(&self, rows: &[(InvoiceOwners, InvoiceDraft)]) -> Vec<WriteOutcome> {
        vec![WriteOutcome::Refused("this CRM holds no invoices".into()); rows.len()]
    }
    /// Updates payments, refunds and status of invoices by id. Their lines stay unchanged.
    async fn update_invoices(&self, rows: &[(u64, InvoiceDraft)]) -> Vec<WriteOutcome> {
        vec![WriteOutcome::Refused("this CRM holds no invoices".into()); rows.len()]
    }
    /// Finds invoices by their keys. Returns the ids of those that exist.
    async fn find_invoices(&self, keys: &BTreeSet<String>) -> Result<BTreeMap<String, u64>, CrmError> {
        _ = keys;
        Ok(BTreeMap::new())
    }
    /// True if the CRM sends webhooks; otherwise `changes` is polled.
    fn has_webhooks(&self) -> bool {
        true
    }
    /// How long an abandoned call may still take effect. A create without an answer is repeated only after that.
    fn late_for(&self) -> SignedDuration {
        LATE_FOR
    }
    /// Changes after `since`, by the CRM's clock. Only for a CRM without webhooks.
    async fn changes(&self, since: Timestamp) -> Result<Changes, CrmError> {
        _ = since;
        Ok(Changes::default())
    }
    /// The rows among these that the CRM no longer has. A row that the hub's user may not see is not deleted.
    async fn deleted(&self, contacts: &BTreeSet<u64>, deals: &BTreeSet<u64>) -> Result<Deleted, CrmError> {
        _ = (contacts, deals);
        Ok(Deleted::default())
    }
    /// The present state of these contacts and deals. Rows that are missing or hidden are left out.
    async fn fetch(&self, contacts: &BTreeSet<u64>, deals: &BTreeSet<u64>) -> Result<Changes, CrmError> {
        _ = (contacts, deals);
        Ok(Changes::default())
    }
    /// The text as the CRM will store it. The search after a lost answer compares with it.
    fn stored_text(&self, text: &str) -> String {
        text.to_owned()
    }
    /// Marks the first contact of each pair as a duplicate of the second, visibly for a manager.
    async fn mark_duplicates(&self, rows: &[(u64, u64)]) -> Vec<WriteOutcome>;
    /// Repairs contacts of people who were split: removes values of others, and leaves each deal on its own contact.
    /// Repeating it changes nothing.
    async fn part_contacts(&self, rows: &[Parting]) -> Vec<WriteOutcome>;
    /// Adds a note to each of these contacts.
    async fn add_notes(&self, rows: &[(u64, String)]) -> Vec<WriteOutcome>;
    /// Adds a task for a manager to each of these contacts, with the time by which it must be done.
    async fn add_tasks(&self, rows: &[(u64, String, Timestamp)]) -> Vec<WriteOutcome>;
    /// Notes that these contacts got since `since`, as (contact, text).
    async fn find_notes(&self, contacts: &BTreeSet<u64>, since: Timestamp) -> Result<Vec<(u64, String)>, CrmError>;
    /// Tasks that these contacts got since `since`, as (contact, text).
    async fn find_tasks(&self, contacts: &BTreeSet<u64>, since: Timestamp) -> Result<Vec<(u64, String)>, CrmError>;
    /// All contacts that the hub created since `since`, by the hub's id in them. Several contacts may bear one id.
    async fn find_contacts(
        &self,
        people: &BTreeSet<PersonId>,
        since: Timestamp,
    ) -> Result<BTreeMap<PersonId, BTreeSet<u64>>, CrmError>;
    /// All deals that the hub created since `since`, by the hub's id in them. Several deals may bear one id.
    async fn find_deals(
        &self,
        deals: &BTreeSet<(PersonId, ShowKey)>,
        since: Timestamp,
    ) -> Result<BTreeMap<(PersonId, ShowKey), BTreeSet<u64>>, CrmError>;
    /// Companies that the hub created since `since`, by their keys.
    async fn find_companies(
        &self,
        keys: &BTreeSet<String>,
        since: Timestamp,
    ) -> Result<BTreeMap<String, BTreeSet<u64>>, CrmError> {
        _ = (keys, since);
        Ok(BTreeMap::new())
    }
    /// The contacts of the account. Pages count from 1.
    async fn contacts(&self, page: u32) -> Result<CrmPage, CrmError>;
    /// Deals with the hub's id, as (deal, hub id), and the next page. Pages count from 1.
    async fn deals(&self, page: u32) -> Result<(Vec<(u64, String)>, Option<u32>), CrmError> {
        _ = page;
        Ok((vec![], None))
    }
    /// All that the CRM now holds of these contacts and deals, with notes and tasks, in the CRM's own format.
    async fn export(&self, contacts: &BTreeSet<u64>, deals: &BTreeSet<u64>) -> Result<serde_json::Value, CrmError>;
    /// True if the CRM has a call that deletes a contact.
    fn erases(&self) -> bool {
        false
    }
    /// Deletes those of these rows that may be deleted. Returns all of them in order. Repeating it changes nothing.
    async fn strike(&self, rows: &[OfErased]) -> Vec<Struck> {
        rows.iter().map(|row| Struck { id: row.number().to_string(), is_gone: false }).collect()
    }
    /// The sums of these deals and invoices in the CRM.
    async fn totals(&self, deals: &BTreeSet<u64>, invoices: &BTreeSet<u64>) -> Result<CrmTotals, CrmError> {
        _ = (deals, invoices);
        Err(CrmError::CredentialsRejected("this CRM is not asked for its sums".into()))
    }
    /// How many phones and e-mails a contact can hold; `None` without a limit. Values of the hub beyond it are left
    /// out.
    fn room(&self) -> Option<(usize, usize)> {
        None
    }
    /// The largest number of rows in a bulk call.
    fn batch(&self) -> usize;
    /// True if a batch costs one call, so that rows wait until a batch is full.
    fn in_bulk(&self) -> bool {
        true
    }
    /// Why the last call failed; `None` after a call that worked. Needed because a bulk call returns outcomes of rows
    /// only.
    fn trouble(&self) -> Option<String> {
        None
    }
    /// Calls since the start, for the metrics.
    fn calls(&self) -> u64;
    /// Calls since the start that the CRM answered with a 4xx status.
    fn refused(&self) -> u64 {
        0
    }
}
