use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use async_trait::async_trait;
use jiff::SignedDuration;
use stagedoor_engine::{CompanyDraft, ContactDraft, DealDraft, InvoiceDraft, Parting, PersonId, ShowKey};
use stagedoor_model::{Body, Timestamp};

/// What became of one row of a bulk call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriteOutcome {
    Done(u64),
    /// The CRM will not have this row; the reason is for a manager's eyes.
    Refused(String),
    /// The call broke off; whether it took effect is unknown.
    Unknown,
    /// Not sent: the CRM cannot be used just now.
    NotSent,
    /// Not done, because the row itself or a row that it points at is not in the CRM any more.
    Gone(Gone),
    /// Not sent: something that concerns this row and its like has to be put right in the CRM first, such as a stage that
    /// is missing. The reason is for a manager's eyes. It is tried again by itself, and others go on.
    Held(String),
    /// Not written: the row bears the hub's id of this other person. A number was used again, or a manager merged rows.
    Misidentified(PersonId),
}

/// A row that was in the CRM and is not there any more: somebody deleted it, or merged it into another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gone {
    Contact(u64),
    Deal(u64),
    Company(u64),
}

impl fmt::Display for Gone {
    /// A sentence for a manager.
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
    /// For callers that cannot look for another row: what is gone is refused, in words.
    #[must_use]
    pub fn or_refused(self) -> Self {
        match self {
            Self::Gone(gone) => Self::Refused(gone.to_string()),
            row => row,
        }
    }
}

/// A row that tells of somebody who is erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum OfErased {
    Contact(u64),
    Deal(u64),
    /// It is kept for the accounts, and only named.
    Invoice(u64),
    /// A contact of somebody else who typed an address of theirs. It stays, and is named.
    ClaimedIn(u64),
}

impl OfErased {
    /// As the hub knows it.
    pub fn number(self) -> u64 {
        match self {
            Self::Contact(id) | Self::Deal(id) | Self::Invoice(id) | Self::ClaimedIn(id) => id,
        }
    }
}

/// What became of such a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Struck {
    /// As the CRM itself names it.
    pub id: String,
    pub is_gone: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum CrmError {
    /// Down, throttled or blocked: nothing was done.
    #[error("the CRM cannot be used now: {0}")]
    Unavailable(String),
    /// The account's owner has to act: authorise again, pay, lift a block.
    #[error("the CRM refuses us: {0}")]
    CredentialsRejected(String),
}

/// One page of the account's own rows, for the mirror.
#[derive(Debug, Clone)]
pub struct CrmPage {
    pub bodies: Vec<(Timestamp, Body)>,
    pub next: Option<u32>,
}

/// What changed in a CRM that tells nothing by itself.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    pub contacts: Vec<(Timestamp, Body)>,
    pub deals: Vec<SeenDeal>,
    /// The last change that was seen, by its clock; `None` where there was none.
    pub until: Option<Timestamp>,
}

/// Which of the rows that the hub knows are gone for sure.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Deleted {
    pub contacts: BTreeSet<u64>,
    pub deals: BTreeSet<u64>,
    /// Rows that are there, and that the hub's user may not see.
    pub hidden: usize,
}

/// A deal as it stands there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenDeal {
    pub id: u64,
    pub changed_at: Timestamp,
    /// By its name; empty where the CRM tells it in another way.
    pub stage: String,
    /// The user who changed it last; `None` for the hub itself.
    pub by: Option<u64>,
    /// The hub's own id in it.
    pub hub_id: Option<String>,
    /// The contact that it hangs on; `None` also where the CRM does not tell it with the deal.
    pub contact: Option<u64>,
}

/// What deals and invoices come to in the CRM, in minor units.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CrmTotals {
    pub deals: i64,
    pub invoiced: i64,
    /// What came and did not go back.
    pub received: i64,
}

/// What an invoice hangs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvoiceOwners {
    pub contact: u64,
    pub deal: u64,
    pub company: Option<u64>,
}

/// How long a call that was given up may still take effect in a CRM, where its client knows no better.
pub const LATE_FOR: SignedDuration = SignedDuration::from_secs(150);

/// A CRM that holds contacts and deals. Bulk calls answer row by row, in the order of their input.
#[async_trait]
pub trait Crm: Send + Sync {
    /// Makes what the hub needs: fields, pipelines' stages looked up. Cheap when nothing is missing.
    async fn set_up(&self) -> Result<(), CrmError>;
    async fn create_contacts(&self, rows: &[ContactDraft]) -> Vec<WriteOutcome>;
    async fn update_contacts(&self, rows: &[(u64, ContactDraft)]) -> Vec<WriteOutcome>;
    /// Each deal belongs to the contact before it.
    async fn create_deals(&self, rows: &[(u64, DealDraft)]) -> Vec<WriteOutcome>;
    async fn update_deals(&self, rows: &[(u64, DealDraft)]) -> Vec<WriteOutcome>;
    /// Finds, fills up or makes these companies; one whose id is known is not looked for. `since`: from when on one of them may
    /// have been made without an answer.
    async fn put_companies(&self, rows: &[(Option<u64>, CompanyDraft)], since: Option<Timestamp>) -> Vec<WriteOutcome>;
    /// Whether it holds invoices at all.
    fn invoices(&self) -> bool {
        false
    }
    async fn create_invoices(&self, rows: &[(InvoiceOwners, InvoiceDraft)]) -> Vec<WriteOutcome> {
        vec![WriteOutcome::Refused("this CRM holds no invoices".into()); rows.len()]
    }
    /// What came, what went and how it stands; its lines stay.
    async fn update_invoices(&self, rows: &[(u64, InvoiceDraft)]) -> Vec<WriteOutcome> {
        vec![WriteOutcome::Refused("this CRM holds no invoices".into()); rows.len()]
    }
    /// By their keys.
    async fn find_invoices(&self, keys: &BTreeSet<String>) -> Result<BTreeMap<String, u64>, CrmError> {
        _ = keys;
        Ok(BTreeMap::new())
    }
    /// Whether it tells of changes itself, by webhooks.
    fn has_webhooks(&self) -> bool {
        true
    }
    /// How long a call that was given up may still take effect there. A create without an answer is made anew only after that.
    fn late_for(&self) -> SignedDuration {
        LATE_FOR
    }
    /// What changed since then, by its own clock; for one that tells nothing by itself.
    async fn changes(&self, since: Timestamp) -> Result<Changes, CrmError> {
        _ = since;
        Ok(Changes::default())
    }
    /// Which of these contacts and deals are no longer there. A row that the hub's user may not see is not missing.
    async fn deleted(&self, contacts: &BTreeSet<u64>, deals: &BTreeSet<u64>) -> Result<Deleted, CrmError> {
        _ = (contacts, deals);
        Ok(Deleted::default())
    }
    /// These contacts and deals as they are now. Rows that are not there, or out of sight, are left out.
    async fn fetch(&self, contacts: &BTreeSet<u64>, deals: &BTreeSet<u64>) -> Result<Changes, CrmError> {
        _ = (contacts, deals);
        Ok(Changes::default())
    }
    /// A text as it will hold it: what is looked for after a lost answer.
    fn stored_text(&self, text: &str) -> String {
        text.to_owned()
    }
    /// Marks the first as a duplicate of the second, in a way that a manager sees.
    async fn mark_duplicates(&self, rows: &[(u64, u64)]) -> Vec<WriteOutcome>;
    /// Puts contacts of parted people in order: what is somebody else's is taken out of them, and their deals hang on them
    /// alone. Doing it twice changes nothing.
    async fn part_contacts(&self, rows: &[Parting]) -> Vec<WriteOutcome>;
    /// A note on each of these contacts.
    async fn add_notes(&self, rows: &[(u64, String)]) -> Vec<WriteOutcome>;
    /// A task for a manager at each of these contacts, to be done until then.
    async fn add_tasks(&self, rows: &[(u64, String, Timestamp)]) -> Vec<WriteOutcome>;
    /// Notes that these contacts got since `since`: the contact and the text.
    async fn find_notes(&self, contacts: &BTreeSet<u64>, since: Timestamp) -> Result<Vec<(u64, String)>, CrmError>;
    async fn find_tasks(&self, contacts: &BTreeSet<u64>, since: Timestamp) -> Result<Vec<(u64, String)>, CrmError>;
    /// All contacts that the hub itself created since `since`, by the hub's own id in them. Several contacts may bear one id.
    async fn find_contacts(
        &self,
        people: &BTreeSet<PersonId>,
        since: Timestamp,
    ) -> Result<BTreeMap<PersonId, BTreeSet<u64>>, CrmError>;
    /// The same for deals.
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
    /// The account's contacts, page by page from 1.
    async fn contacts(&self, page: u32) -> Result<CrmPage, CrmError>;
    /// Deals that bear the hub's own id, with it, page by page from 1; the second part is the next page.
    async fn deals(&self, page: u32) -> Result<(Vec<(u64, String)>, Option<u32>), CrmError> {
        _ = page;
        Ok((vec![], None))
    }
    /// What it holds of these contacts and deals now, with notes and tasks, in its own words.
    async fn export(&self, contacts: &BTreeSet<u64>, deals: &BTreeSet<u64>) -> Result<serde_json::Value, CrmError>;
    /// Whether it has a call that deletes a contact.
    fn erases(&self) -> bool {
        false
    }
    /// Deletes what may go of these rows and names all of them, in their order. Doing it twice changes nothing.
    async fn strike(&self, rows: &[OfErased]) -> Vec<Struck> {
        rows.iter().map(|row| Struck { id: row.number().to_string(), is_gone: false }).collect()
    }
    /// What these deals and invoices come to there.
    async fn totals(&self, deals: &BTreeSet<u64>, invoices: &BTreeSet<u64>) -> Result<CrmTotals, CrmError> {
        _ = (deals, invoices);
        Err(CrmError::CredentialsRejected("this CRM is not asked for its sums".into()))
    }
    /// How many phones and e-mails a contact has room for; `None` without a limit. The hub's values that find no room are
    /// left out.
    fn room(&self) -> Option<(usize, usize)> {
        None
    }
    /// Rows a bulk call takes at most.
    fn batch(&self) -> usize;
    /// Whether a batch costs one call, so that rows wait for company.
    fn in_bulk(&self) -> bool {
        true
    }
    /// Why the last call could not be carried out; `None` once one was. A bulk call answers its rows only.
    fn trouble(&self) -> Option<String> {
        None
    }
    /// Calls made since the start, for the figures.
    fn calls(&self) -> u64;
    /// Calls that it answered with an error of the 400s, since the start.
    fn refused(&self) -> u64 {
        0
    }
}
