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

/// One page of the account's rows.
#[derive(Debug, Clone, Default)]
pub struct CrmPage {
    /// The contacts as events, each with its time.
    pub bodies: Vec<(Timestamp, Body)>,
    /// The deals that carry an id of the hub.
    pub deals: Vec<HubDeal>,
    /// The next page; `None` after the last one.
    pub next: Option<u32>,
}

/// A deal that carries an id of the hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubDeal {
    pub id: u64,
    /// The hub's own id, as stored in the deal.
    pub hub_id: String,
    /// The deal's contact. If it has several, the main one.
    pub contact: Option<u64>,
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

/// How long an abandoned call may still take effect in a CRM. A client that knows better says so in [`Capabilities::late_for`].
pub const LATE_FOR: SignedDuration = SignedDuration::from_secs(150);

/// Rows of one kind to write. A CRM answers with one outcome a row, in the order of the rows.
#[derive(Debug, Clone, Copy)]
pub enum Writes<'a> {
    /// Creates contacts.
    CreateContacts(&'a [ContactDraft]),
    /// Updates contacts by id.
    UpdateContacts(&'a [(u64, ContactDraft)]),
    /// Creates deals. The number before each deal is the id of its contact.
    CreateDeals(&'a [(u64, DealDraft)]),
    /// Updates deals by id.
    UpdateDeals(&'a [(u64, DealDraft)]),
    /// Finds, completes or creates companies. A company with a known id is not looked for. The time is the earliest at
    /// which a create without an answer may have made one of them.
    PutCompanies(&'a [(Option<u64>, CompanyDraft)], Option<Timestamp>),
    /// Creates invoices for their contact, deal and company. Refused by a CRM without invoices.
    CreateInvoices(&'a [(InvoiceOwners, InvoiceDraft)]),
    /// Updates payments, refunds and status of invoices by id. Their lines stay unchanged.
    UpdateInvoices(&'a [(u64, InvoiceDraft)]),
    /// Marks the first contact of each pair as a duplicate of the second, visibly for a manager.
    MarkDuplicates(&'a [(u64, u64)]),
    /// Repairs contacts of people who were split: removes values of others, and leaves each deal on its own contact.
    /// Repeating it changes nothing.
    PartContacts(&'a [Parting]),
    /// Adds a note to each of these contacts.
    AddNotes(&'a [(u64, String)]),
    /// Adds a task for a manager to each of these contacts, with the time by which it must be done.
    AddTasks(&'a [(u64, String, Timestamp)]),
}

impl Writes<'_> {
    /// The number of rows, and so of outcomes.
    pub fn len(&self) -> usize {
        match self {
            Self::CreateContacts(rows) => rows.len(),
            Self::UpdateContacts(rows) => rows.len(),
            Self::CreateDeals(rows) | Self::UpdateDeals(rows) => rows.len(),
            Self::PutCompanies(rows, _) => rows.len(),
            Self::CreateInvoices(rows) => rows.len(),
            Self::UpdateInvoices(rows) => rows.len(),
            Self::MarkDuplicates(rows) => rows.len(),
            Self::PartContacts(rows) => rows.len(),
            Self::AddNotes(rows) => rows.len(),
            Self::AddTasks(rows) => rows.len(),
        }
    }

    /// True without a row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The same outcome for every row.
    pub fn all(&self, outcome: &WriteOutcome) -> Vec<WriteOutcome> {
        vec![outcome.clone(); self.len()]
    }
}

/// What is looked for among the rows that the hub created. `since`: the earliest time of their creation.
#[derive(Debug, Clone, Copy)]
pub enum CrmLookup<'a> {
    /// Contacts by the hub's id in them.
    Contacts { people: &'a BTreeSet<PersonId>, since: Timestamp },
    /// Deals by the hub's id in them.
    Deals { deals: &'a BTreeSet<(PersonId, ShowKey)>, since: Timestamp },
    /// Companies by their keys.
    Companies { keys: &'a BTreeSet<String>, since: Timestamp },
    /// Invoices by their keys.
    Invoices { keys: &'a BTreeSet<String> },
    /// Notes of these contacts.
    Notes { contacts: &'a BTreeSet<u64>, since: Timestamp },
    /// Tasks of these contacts.
    Tasks { contacts: &'a BTreeSet<u64>, since: Timestamp },
}

/// The rows that a lookup found, by id. Only the part that was looked for is filled.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CrmFound {
    /// Several contacts may bear one id of the hub.
    pub contacts: BTreeMap<PersonId, BTreeSet<u64>>,
    /// Several deals may bear one id of the hub.
    pub deals: BTreeMap<(PersonId, ShowKey), BTreeSet<u64>>,
    /// Companies by their keys.
    pub companies: BTreeMap<String, BTreeSet<u64>>,
    /// Invoices by their keys.
    pub invoices: BTreeMap<String, u64>,
    /// Notes or tasks as (contact, text).
    pub texts: Vec<(u64, String)>,
}

/// The rows that a page lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrmRows {
    /// All contacts of the account.
    Contacts,
    /// Deals with the hub's id.
    Deals,
}

/// What a CRM can do. It does not change while a process runs.
#[derive(Debug, Clone, Copy)]
pub struct Capabilities {
    /// True if the CRM sends webhooks; otherwise `changes` is polled.
    pub has_webhooks: bool,
    /// True if the CRM has a call that deletes a contact.
    pub erases: bool,
    /// True if a batch costs one call, so that rows wait until a batch is full.
    pub in_bulk: bool,
    /// The largest number of rows in a bulk call.
    pub batch: usize,
    /// How many phones and e-mails a contact can hold; `None` without a limit. Values of the hub beyond it are left
    /// out.
    pub room: Option<(usize, usize)>,
    /// How long an abandoned call may still take effect. A create without an answer is repeated only after that.
    pub late_for: SignedDuration,
    /// The text as the CRM will store it. The search after a lost answer compares with it.
    pub stored_text: fn(&str) -> String,
}

impl Default for Capabilities {
    /// A CRM with webhooks that takes one row a call.
    fn default() -> Self {
        Self {
            has_webhooks: true,
            erases: false,
            in_bulk: true,
            batch: 1,
            room: None,
            late_for: LATE_FOR,
            stored_text: str::to_owned,
        }
    }
}

/// How the calls to a CRM go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CrmHealth {
    /// Why the last call failed; `None` after a call that worked. Needed because a bulk call returns outcomes of rows
    /// only.
    pub trouble: Option<String>,
    /// Calls since the start, for the metrics.
    pub calls: u64,
    /// Calls since the start that the CRM answered with a 4xx status.
    pub refused: u64,
}

/// A CRM with contacts and deals.
///
/// # Errors
/// [`CrmError`] when the call as a whole fails. Bulk calls report errors row by row; [`Crm::health`] has the reason.
#[async_trait]
pub trait Crm: Send + Sync {
    /// Creates missing fields and looks up the stages of pipelines. Cheap if nothing is missing.
    async fn set_up(&self) -> Result<(), CrmError>;
    /// Writes rows.
    async fn apply(&self, change: Writes<'_>) -> Vec<WriteOutcome>;
    /// Finds rows that the hub created, for example after a create call without an answer.
    async fn find(&self, lookup: CrmLookup<'_>) -> Result<CrmFound, CrmError>;
    /// Changes after `since`, by the CRM's clock. Only asked of a CRM without webhooks.
    async fn changes(&self, since: Timestamp) -> Result<Changes, CrmError>;
    /// The rows among these that the CRM no longer has. A row that the hub's user may not see is not deleted.
    async fn deleted(&self, contacts: &BTreeSet<u64>, deals: &BTreeSet<u64>) -> Result<Deleted, CrmError>;
    /// The present state of these contacts and deals. Rows that are missing or hidden are left out.
    async fn fetch(&self, contacts: &BTreeSet<u64>, deals: &BTreeSet<u64>) -> Result<Changes, CrmError>;
    /// A page of the account's rows. Pages count from 1.
    async fn page(&self, rows: CrmRows, page: u32) -> Result<CrmPage, CrmError>;
    /// All that the CRM now holds of these contacts and deals, with notes and tasks, in the CRM's own format.
    async fn export(&self, contacts: &BTreeSet<u64>, deals: &BTreeSet<u64>) -> Result<serde_json::Value, CrmError>;
    /// Deletes those of these rows that may be deleted. Returns all of them in order. Repeating it changes nothing.
    async fn strike(&self, rows: &[OfErased]) -> Vec<Struck>;
    /// The sums of these deals and invoices in the CRM.
    async fn totals(&self, deals: &BTreeSet<u64>, invoices: &BTreeSet<u64>) -> Result<CrmTotals, CrmError>;
    /// What the CRM can do.
    fn info(&self) -> Capabilities;
    /// How the calls go.
    fn health(&self) -> CrmHealth;
}
