use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use stagedoor_engine::{CrmState, Person, PersonId};
use stagedoor_model::{Event, EventId, Identifier, Timestamp, TraceParent};

use crate::{PortError, Result};

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Folded,
    /// It is about no person, or about none that we know.
    Nobody,
    /// Kept for replay.
    Unrecognized,
    /// It changed a show.
    Show,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalRow {
    pub event: Event,
    pub folded_at: Timestamp,
    pub outcome: Outcome,
    pub person: Option<PersonId>,
    /// What a guard refused, in a sentence without values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Versioned<T> {
    pub value: T,
    pub version: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claims {
    pub owners: BTreeMap<Identifier, PersonId>,
    /// Identifiers of crowds: they name nobody.
    pub shared: BTreeSet<Identifier>,
}

/// Somebody who was joined into somebody else.
#[derive(Debug, Clone)]
pub struct Removal {
    pub id: PersonId,
    pub version: u64,
    pub into: PersonId,
}

/// All of it happens or nothing.
#[derive(Debug, Clone, Default)]
pub struct Commit {
    /// Rows about people who are not stored, because they were erased meanwhile, are a conflict.
    pub journal: Vec<JournalRow>,
    /// With the version that was loaded, `None` for somebody new. They become dirty.
    pub people: Vec<(Person, Option<u64>)>,
    pub removed: Vec<Removal>,
    /// With the owner that was resolved; another owner by now is a conflict.
    pub claims: Vec<(Identifier, PersonId, Option<PersonId>)>,
    pub released: Vec<Identifier>,
    pub shared_identifiers: Vec<Identifier>,
    /// Marks of crowds that are taken away. A mark that is neither here nor claimed stays for good.
    pub lifted: Vec<Identifier>,
    /// `<source>/<show id>` to the people interested in it, for those new to it.
    pub audience: Vec<(String, PersonId)>,
}

impl Commit {
    /// Rows about people whom the commit itself does not write.
    pub fn rows_of_others(&self) -> impl Iterator<Item = (PersonId, &JournalRow)> {
        let written = |id: &PersonId| self.people.iter().any(|(person, _)| person.id == *id);
        let rows = self.journal.iter().filter_map(|row| Some((row.person?, row)));
        rows.filter(move |(id, _)| !written(id))
    }

    /// The trace id of the last delivery in it.
    pub fn trace(&self) -> Option<&str> {
        self.journal.iter().rev().find_map(|row| row.event.traceparent.as_ref()).map(TraceParent::trace_id)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Saved {
    Done,
    /// Somebody else was faster: load and fold again.
    Conflict,
}

/// What `take_dirty` read of one person's marks. Only the store that made it reads it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mark(pub String);

/// A person as `take_dirty` handed them out. Marks that are made later are not part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    pub id: PersonId,
    pub version: u64,
    pub mark: Mark,
}

/// A person whose run failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Postponed {
    pub taken: Taken,
    /// Runs that failed, this one included.
    pub tries: u32,
    /// Sends them to the back of the queue; `take_dirty` leaves them out before this time. `None`: they keep their place.
    pub until: Option<Timestamp>,
}

/// Somebody whose CRM state may differ from what it should be.
#[derive(Debug, Clone)]
pub struct Dirty {
    pub person: Person,
    pub version: u64,
    pub mark: Mark,
    /// Runs that failed since this person was last as they should be.
    pub tries: u32,
    pub link: CrmState,
    /// The trace id of the delivery that changed them last, when that is known.
    pub trace: Option<String>,
}

impl Dirty {
    pub fn taken(&self) -> Taken {
        Taken { id: self.person.id, version: self.version, mark: self.mark.clone() }
    }
}

/// Something stored that this version of the hub cannot read. It is kept, left out of all work, and read again later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetAside {
    /// `person` (with what is known of the CRM) or `event`.
    pub kind: String,
    pub id: String,
    /// Without values: they may be personal data.
    pub reason: String,
    pub since: Timestamp,
}

/// After this time what could not be read is read again.
pub const READ_AGAIN: SignedDuration = SignedDuration::from_mins(10);

/// Some of those who are to be looked at again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecheckPage {
    /// By which it is struck off.
    pub key: String,
    pub people: BTreeSet<PersonId>,
}

/// A small named value: tokens, cursors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyValue {
    pub value: String,
    pub version: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    pub events: u64,
    pub people: u64,
    /// Deals that are in the CRM.
    pub deals: u64,
    /// People whose CRM state is not yet what it should be. DynamoDB counts 200,000; of more it is told that there are as many.
    pub waiting: u64,
    /// Since when the longest waiting of them waits.
    #[serde(default)]
    pub waiting_since: Option<Timestamp>,
    /// People with a row that the CRM refused.
    #[serde(rename = "parked")]
    pub rejected: u64,
    pub unrecognized: u64,
    /// Stored people and events that this version cannot read.
    #[serde(default)]
    pub unreadable: u64,
}

/// Bytes of one person's JSON that a file takes: each event reads and writes all of it.
const ROOM: usize = 16 << 20;

/// The hub's memory, in the domain's own operations.
#[async_trait]
pub trait Store: Send + Sync {
    /// Which of these events were folded already.
    async fn journaled(&self, ids: &[EventId]) -> Result<BTreeSet<EventId>>;
    async fn resolve(&self, identifiers: &BTreeSet<Identifier>) -> Result<Claims>;
    /// At most `max` identifiers that belong to crowds. May read every identifier there is: for commands only.
    async fn crowds(&self, max: usize) -> Result<BTreeSet<Identifier>>;
    /// Follows redirects. Ids that name nobody are left out, and so is who cannot be read (see `unreadable`).
    async fn load(&self, ids: &BTreeSet<PersonId>) -> Result<Vec<Versioned<Person>>>;
    /// True if a person or a link with this JSON can be stored. Stays a good deal below what makes a write fail.
    fn has_room(&self, json: &[u8]) -> bool {
        json.len() <= ROOM
    }
    /// Each commit on its own; the answers are in the order of the commits.
    async fn save(&self, commits: Vec<Commit>) -> Result<Vec<Saved>>;

    /// Those of `ids` that lead, redirects followed, to somebody who cannot be read.
    async fn unreadable(&self, ids: &BTreeSet<PersonId>) -> Result<BTreeSet<PersonId>>;
    /// What could not be read lately.
    async fn set_aside(&self, max: usize) -> Result<Vec<SetAside>>;
    /// What was set aside is read again at once: for the start of a process, which may be of another version.
    async fn read_again(&self) -> Result<()>;

    /// The longest waiting first, each with its link (that of people joined into it included). Who was postponed beyond `now`
    /// is left out, and so is who cannot be read: they are set aside for a while. `None` changes nothing and leaves nobody out
    /// who can be read.
    async fn claim_dirty(&self, max: usize, now: Option<Timestamp>) -> Result<Vec<Dirty>>;
    /// False only when nobody would be taken now; where many are put off, a store may be wrong for a second. Changes nothing, and
    /// is asked many times a second; a store that would have to read everybody who waits answers true.
    async fn may_be_dirty(&self, _now: Timestamp) -> Result<bool> {
        Ok(true)
    }
    async fn crm_states(&self, ids: &BTreeSet<PersonId>) -> Result<BTreeMap<PersonId, CrmState>>;
    /// Each from the revision that was read; it is kept with the next one.
    ///
    /// # Errors
    /// `Retry` when somebody else has written one meanwhile.
    async fn save_crm_states(&self, links: Vec<(PersonId, CrmState)>) -> Result<()>;
    /// No longer dirty, unless they changed or were marked since they were taken.
    async fn mark_clean(&self, people: Vec<Taken>) -> Result<()>;
    /// Still dirty after a failed run. A change or a mark since they were taken lets them be taken at once.
    async fn postpone(&self, people: Vec<Postponed>) -> Result<()>;
    /// Follows redirects.
    async fn mark_dirty(&self, people: BTreeSet<PersonId>) -> Result<()>;
    /// When somebody is to be looked at again though nothing happens to them: a moment in a segment's rule passes by then.
    /// Who is put down twice is looked at twice.
    async fn schedule_rechecks(&self, people: &BTreeMap<PersonId, Timestamp>) -> Result<()>;
    /// Those whose time has come, the longest ago first, in pages; at most some thousands of people.
    async fn due_rechecks(&self, until: Timestamp) -> Result<Vec<RecheckPage>>;
    async fn ack_rechecks(&self, pages: Vec<String>) -> Result<()>;
    /// Everybody, some `max` at a time, in no order that means anything; the second part of the answer goes on. For commands
    /// and for rules that were written anew, never on an event's way.
    async fn scan_people(&self, after: Option<String>, max: usize) -> Result<(BTreeSet<PersonId>, Option<String>)>;
    /// People with a row that the CRM refused.
    async fn rejected(&self, max: usize) -> Result<Vec<(PersonId, CrmState)>>;
    async fn audience(&self, show: &str) -> Result<BTreeSet<PersonId>>;

    /// True when `owner` now holds the lease: it was free, expired, or its own.
    async fn lease(&self, name: &str, owner: &str, now: Timestamp, until: Timestamp) -> Result<bool>;
    async fn release(&self, name: &str, owner: &str) -> Result<()>;
    async fn key_value(&self, name: &str) -> Result<Option<KeyValue>>;
    /// Those of these cells that exist.
    async fn key_values_of(&self, names: &BTreeSet<String>) -> Result<BTreeMap<String, KeyValue>>;
    /// False when the cell is at another version by now (`None`: does not exist yet).
    async fn compare_and_set(&self, name: &str, value: &str, expected: Option<u64>) -> Result<bool>;
    /// Every cell whose name begins so.
    async fn key_values(&self, prefix: &str) -> Result<BTreeMap<String, KeyValue>>;

    /// The latest first.
    async fn journal(&self, max: usize) -> Result<Vec<JournalRow>>;
    /// What was folded from `from` on and before `until`, the oldest first, about `max` rows; the second part of the
    /// answer is the `from` to go on with.
    async fn journal_between(
        &self,
        from: Timestamp,
        until: Timestamp,
        max: usize,
    ) -> Result<(Vec<JournalRow>, Option<Timestamp>)>;
    async fn journal_of(&self, person: PersonId) -> Result<Vec<JournalRow>>;
    async fn unrecognized(&self, max: usize) -> Result<Vec<JournalRow>>;
    async fn event(&self, id: &EventId) -> Result<Option<JournalRow>>;
    /// Forgets that an event was folded, so that a replay is folded again.
    async fn forget(&self, id: &EventId) -> Result<()>;
    /// Removes rows of the journal that were folded before `journal`, and deliveries that were kept before `kept`; the number
    /// of them. A store whose rows end by themselves removes none.
    async fn sweep(&self, journal: Timestamp, kept: Option<Timestamp>) -> Result<u64>;
    async fn totals(&self) -> Result<Totals>;

    /// Removes these people with their names, links and journal rows, and keeps `tombstones` instead.
    async fn erase(
        &self,
        people: &BTreeSet<PersonId>,
        names: &BTreeSet<Identifier>,
        tombstones: &BTreeSet<String>,
    ) -> Result<()>;
    /// Which of these tombstones there are.
    async fn erased(&self, tombstones: &BTreeSet<String>) -> Result<BTreeSet<String>>;
}

/// About `max` of these rows, which are in order; rows of one instant stay together.
pub fn up_to(mut rows: Vec<JournalRow>, max: usize) -> (Vec<JournalRow>, Option<Timestamp>) {
    let last = max.checked_sub(1).and_then(|last| rows.get(last)).map(|row| row.folded_at);
    let end = last.and_then(|last| rows.iter().position(|row| row.folded_at > last));
    let next = end.and_then(|end| rows.get(end)).map(|row| row.folded_at);
    rows.truncate(end.unwrap_or(rows.len()));
    (rows, next)
}

/// Why stored JSON cannot be read, without the values in it.
pub fn unreadable_reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let named = ["unknown field `", "missing field `", "unknown variant `"].iter().find_map(|start| {
        let rest = text.strip_prefix(start)?;
        Some(format!("{start}{}`", rest.split_once('`')?.0))
    });
    match (named, error.classify()) {
        (Some(named), _) => format!("{named} (column {})", error.column()),
        (None, serde_json::error::Category::Data) => format!("a value of another type at column {}", error.column()),
        (None, _) => format!("no valid JSON at column {}", error.column()),
    }
}

/// What a writer hears whose link is no longer the latest.
pub fn outdated() -> PortError {
    PortError::Retry("somebody else wrote what is known of the CRM".into())
}
