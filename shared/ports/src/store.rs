use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use stagedoor_engine::{CrmState, Person, PersonId};
use stagedoor_model::{Event, EventId, Identifier, Timestamp, TraceParent};

use crate::{PortError, Result};

/// What the fold did with an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The event is about a person. It may leave the person unchanged.
    Folded,
    /// The event is about no person, or about none that the hub knows. Also an event that was only journalled, because
    /// its person is too large to store.
    Nobody,
    /// The provider did not understand the delivery. The journal keeps it for a replay.
    Unrecognized,
    /// The event changed a show.
    Show,
}

/// A row of the journal: an event that was folded, and the outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalRow {
    pub event: Event,
    pub folded_at: Timestamp,
    pub outcome: Outcome,
    pub person: Option<PersonId>,
    /// What a guard refused, as a sentence without values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// A stored value with the version that a write must name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Versioned<T> {
    pub value: T,
    pub version: u64,
}

/// The owners of identifiers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claims {
    pub owners: BTreeMap<Identifier, PersonId>,
    /// Shared identifiers. They name no person.
    pub shared: BTreeSet<Identifier>,
}

/// A person who was joined into another.
#[derive(Debug, Clone)]
pub struct Removal {
    pub id: PersonId,
    pub version: u64,
    pub into: PersonId,
}

/// A change of the store that happens as a whole or not at all.
#[derive(Debug, Clone, Default)]
pub struct Commit {
    /// Rows about people who are not stored, for example erased in the meantime, are a conflict.
    pub journal: Vec<JournalRow>,
    /// People with the version that was loaded; `None` for a new person. Saving makes them dirty.
    pub people: Vec<(Person, Option<u64>)>,
    pub removed: Vec<Removal>,
    /// Identifiers with their new owner and the owner that was resolved. Another owner by now is a conflict.
    pub claims: Vec<(Identifier, PersonId, Option<PersonId>)>,
    /// Identifiers that no longer have an owner.
    pub released: Vec<Identifier>,
    /// Identifiers that become shared, and lose their owner.
    pub shared_identifiers: Vec<Identifier>,
    /// Identifiers that are no longer shared. An identifier that is shared and not listed here stays shared.
    pub lifted: Vec<Identifier>,
    /// People who are new to a show, with the show as `<source>/<show id>`.
    pub audience: Vec<(String, PersonId)>,
}

impl Commit {
    /// Journal rows about people whom the commit itself does not write.
    pub fn rows_of_others(&self) -> impl Iterator<Item = (PersonId, &JournalRow)> {
        let written = |id: &PersonId| self.people.iter().any(|(person, _)| person.id == *id);
        let rows = self.journal.iter().filter_map(|row| Some((row.person?, row)));
        rows.filter(move |(id, _)| !written(id))
    }

    /// The trace id of the last delivery in the commit.
    pub fn trace(&self) -> Option<&str> {
        self.journal.iter().rev().find_map(|row| row.event.traceparent.as_ref()).map(TraceParent::trace_id)
    }
}

/// The result of one commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Saved {
    Done,
    /// Another process was faster. The caller loads and folds again.
    Conflict,
}

/// The marks of one person as `claim_dirty` read them. Only the store that made the value can read it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mark(pub String);

/// A person as `claim_dirty` handed them out. Later marks are not part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    pub id: PersonId,
    pub version: u64,
    pub mark: Mark,
}

/// A person whose sync run failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Postponed {
    pub taken: Taken,
    /// Failed runs, this one included.
    pub tries: u32,
    /// Moves the person to the back of the queue; `claim_dirty` leaves them out before this time. `None`: the person
    /// keeps the place.
    pub until: Option<Timestamp>,
}

/// A person whose CRM rows may differ from what they should be.
#[derive(Debug, Clone)]
pub struct Dirty {
    pub person: Person,
    pub version: u64,
    pub mark: Mark,
    /// Failed runs since the CRM rows were last as they should be.
    pub tries: u32,
    /// What the hub knows of the person's rows in the CRM.
    pub link: CrmState,
    /// The trace id of the delivery that last changed the person, if known.
    pub trace: Option<String>,
}

impl Dirty {
    /// The person as they were handed out, for `mark_clean` and `postpone`.
    pub fn taken(&self) -> Taken {
        Taken { id: self.person.id, version: self.version, mark: self.mark.clone() }
    }
}

/// A stored value that this version of the hub cannot read. The store keeps it, leaves it out of all work, and reads it
/// again later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetAside {
    /// `person` (including the CRM state) or `event`.
    pub kind: String,
    pub id: String,
    /// The reason without values, because they may be personal data.
    pub reason: String,
    pub since: Timestamp,
}

/// An unreadable value is read again after this time.
pub const READ_AGAIN: SignedDuration = SignedDuration::from_mins(10);

/// Some of the people whose recheck is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecheckPage {
    /// The key that `ack_rechecks` takes.
    pub key: String,
    pub people: BTreeSet<PersonId>,
}

/// A small named value, such as a token or a cursor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyValue {
    pub value: String,
    pub version: u64,
}

/// Counts over the whole store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    pub events: u64,
    pub people: u64,
    /// Deals that are in the CRM.
    pub deals: u64,
    /// People whose CRM rows are not yet as they should be. DynamoDB counts up to 200,000 and reports that number for
    /// more.
    pub waiting: u64,
    /// The time since which the longest waiting of them waits.
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

/// Bytes of one person's JSON that a database file takes. Each event reads and writes all of them.
const ROOM: usize = 16 << 20;

/// The journal: every event that was folded, with the outcome.
///
/// # Errors
/// `Retry` for a lock, a time-out or throttling; `Fail` otherwise (see [`PortError`]).
#[async_trait]
pub trait Journal: Send + Sync {
    /// Those of these events that are already folded.
    async fn journaled(&self, ids: &[EventId]) -> Result<BTreeSet<EventId>>;
    /// At most `max` rows of the journal, the latest first.
    async fn journal(&self, max: usize) -> Result<Vec<JournalRow>>;
    /// Rows folded in `from..until`, the oldest first, about `max` of them. The second part of the answer is the next
    /// `from`.
    async fn journal_between(
        &self,
        from: Timestamp,
        until: Timestamp,
        max: usize,
    ) -> Result<(Vec<JournalRow>, Option<Timestamp>)>;
    /// All rows about a person, the latest first.
    async fn journal_of(&self, person: PersonId) -> Result<Vec<JournalRow>>;
    /// At most `max` deliveries that their provider did not understand, the latest first.
    async fn unrecognized(&self, max: usize) -> Result<Vec<JournalRow>>;
    /// The journal row of an event.
    async fn event(&self, id: &EventId) -> Result<Option<JournalRow>>;
    /// Removes the journal row of an event, so that a replay folds it again.
    async fn forget(&self, id: &EventId) -> Result<()>;
}

/// People, and the identifiers that name them.
///
/// # Errors
/// `Retry` for a lock, a time-out or throttling; `Fail` otherwise (see [`PortError`]).
#[async_trait]
pub trait People: Send + Sync {
    /// True if a person or a CRM state with this JSON can be stored. The limit is well below the size at which a write
    /// fails.
    fn has_room(&self, json: &[u8]) -> bool {
        json.len() <= ROOM
    }
    /// The owners of these identifiers, and those that are shared.
    async fn resolve(&self, identifiers: &BTreeSet<Identifier>) -> Result<Claims>;
    /// Loads people and follows redirects. Unknown ids are left out, and so are people who cannot be read (see
    /// `unreadable`).
    async fn load(&self, ids: &BTreeSet<PersonId>) -> Result<Vec<Versioned<Person>>>;
    /// Saves each commit on its own. The answers are in the order of the commits.
    async fn save(&self, commits: Vec<Commit>) -> Result<Vec<Saved>>;
    /// Those of `ids` that lead to a person who cannot be read. Follows redirects.
    async fn unreadable(&self, ids: &BTreeSet<PersonId>) -> Result<BTreeSet<PersonId>>;
    /// The people interested in a show, named as `<source>/<show id>`.
    async fn audience(&self, show: &str) -> Result<BTreeSet<PersonId>>;
    /// All people, at most `max` at a time, in no particular order. The second part of the answer is the next `after`.
    ///
    /// For commands and for changed rules only, never on the way of an event.
    async fn scan_people(&self, after: Option<String>, max: usize) -> Result<(BTreeSet<PersonId>, Option<String>)>;
    /// Removes these people with their identifiers, CRM states and journal rows, and stores `tombstones` instead.
    async fn erase(
        &self,
        people: &BTreeSet<PersonId>,
        names: &BTreeSet<Identifier>,
        tombstones: &BTreeSet<String>,
    ) -> Result<()>;
    /// Those of these tombstones that exist.
    async fn erased(&self, tombstones: &BTreeSet<String>) -> Result<BTreeSet<String>>;
}

/// People whose CRM rows may differ from what they should be.
///
/// # Errors
/// `Retry` for a lock, a time-out or throttling; `Fail` otherwise (see [`PortError`]).
#[async_trait]
pub trait DirtyPeople: Send + Sync {
    /// Takes at most `max` dirty people, the longest waiting first. Each comes with the CRM state, including that of
    /// people joined into them.
    ///
    /// People postponed beyond `now` are left out. Unreadable people are left out and set aside for a while. `None` for
    /// `now` changes nothing and returns everybody who can be read.
    async fn claim_dirty(&self, max: usize, now: Option<Timestamp>) -> Result<Vec<Dirty>>;
    /// False only if `claim_dirty` would return nobody now. If many people are postponed, a store may be wrong for a
    /// second.
    ///
    /// Changes nothing, and callers ask many times a second. A store that would have to read all waiting people answers
    /// true.
    async fn may_be_dirty(&self, _now: Timestamp) -> Result<bool> {
        Ok(true)
    }
    /// Marks people as no longer dirty, unless they changed or were marked since they were taken.
    async fn mark_clean(&self, people: Vec<Taken>) -> Result<()>;
    /// Keeps people dirty after a failed run. If they changed or were marked since they were taken, they can be taken
    /// at once.
    async fn postpone(&self, people: Vec<Postponed>) -> Result<()>;
    /// Marks people as dirty. Follows redirects.
    async fn mark_dirty(&self, people: BTreeSet<PersonId>) -> Result<()>;
}

/// What the hub knows of people's rows in the CRM.
///
/// # Errors
/// `Retry` for a lock, a time-out or throttling; `Fail` otherwise (see [`PortError`]).
#[async_trait]
pub trait CrmStates: Send + Sync {
    /// What the hub knows of these people's rows in the CRM.
    async fn crm_states(&self, ids: &BTreeSet<PersonId>) -> Result<BTreeMap<PersonId, CrmState>>;
    /// Saves each CRM state if its revision is still the stored one, and stores the next revision.
    ///
    /// # Errors
    /// `Retry` if another process has written one of them in the meantime.
    async fn save_crm_states(&self, links: Vec<(PersonId, CrmState)>) -> Result<()>;
    /// At most `max` people with a row that the CRM refused.
    async fn rejected(&self, max: usize) -> Result<Vec<(PersonId, CrmState)>>;
}

/// People to evaluate again at a later time.
///
/// # Errors
/// `Retry` for a lock, a time-out or throttling; `Fail` otherwise (see [`PortError`]).
#[async_trait]
pub trait Rechecks: Send + Sync {
    /// Schedules a re-evaluation at these times, for example for a segment rule with `age(...)`. Duplicates are
    /// allowed.
    async fn schedule_rechecks(&self, people: &BTreeMap<PersonId, Timestamp>) -> Result<()>;
    /// Pages of people whose recheck is due, the oldest first; at most some thousands of people.
    async fn due_rechecks(&self, until: Timestamp) -> Result<Vec<RecheckPage>>;
    /// Removes pages of rechecks that are done, by their keys.
    async fn ack_rechecks(&self, pages: Vec<String>) -> Result<()>;
}

/// Small named values, such as tokens and cursors.
///
/// # Errors
/// `Retry` for a lock, a time-out or throttling; `Fail` otherwise (see [`PortError`]).
#[async_trait]
pub trait KeyValues: Send + Sync {
    /// The value with this name.
    async fn key_value(&self, name: &str) -> Result<Option<KeyValue>>;
    /// Those of these values that exist.
    async fn key_values_of(&self, names: &BTreeSet<String>) -> Result<BTreeMap<String, KeyValue>>;
    /// Writes the value if its version is still `expected`; `None`: if it does not exist yet. False if it was not
    /// written.
    async fn compare_and_set(&self, name: &str, value: &str, expected: Option<u64>) -> Result<bool>;
    /// All values whose names start with `prefix`.
    async fn key_values(&self, prefix: &str) -> Result<BTreeMap<String, KeyValue>>;
}

/// Leases: one process at a time does what a lease is about.
///
/// # Errors
/// `Retry` for a lock, a time-out or throttling; `Fail` otherwise (see [`PortError`]).
#[async_trait]
pub trait Leases: Send + Sync {
    /// Takes the lease until `until`. True if `owner` now holds it: it was free, expired, or its own.
    async fn lease(&self, name: &str, owner: &str, now: Timestamp, until: Timestamp) -> Result<bool>;
    /// Gives up the lease, if `owner` holds it.
    async fn release(&self, name: &str, owner: &str) -> Result<()>;
}

/// What commands, reports and the start of a process need of the whole store.
///
/// # Errors
/// `Retry` for a lock, a time-out or throttling; `Fail` otherwise (see [`PortError`]).
#[async_trait]
pub trait Admin: Send + Sync {
    /// At most `max` shared identifiers. May read every identifier in the store: for commands only.
    async fn crowds(&self, max: usize) -> Result<BTreeSet<Identifier>>;
    /// At most `max` values that could not be read lately.
    async fn set_aside(&self, max: usize) -> Result<Vec<SetAside>>;
    /// Ends the waiting time of values that were set aside. A process calls it at its start, because it may be of
    /// another version.
    async fn read_again(&self) -> Result<()>;
    /// Removes rows folded before `journal`, and deliveries kept before `kept`. Returns their number. A store whose
    /// rows expire by themselves removes none.
    async fn sweep(&self, journal: Timestamp, kept: Option<Timestamp>) -> Result<u64>;
    /// Counts over the whole store.
    async fn totals(&self) -> Result<Totals>;
}

/// The hub's memory, as operations of the domain: all of its parts. What needs one part asks for that part.
pub trait Store: Journal + People + DirtyPeople + CrmStates + Rechecks + KeyValues + Leases + Admin {}

impl<T: Journal + People + DirtyPeople + CrmStates + Rechecks + KeyValues + Leases + Admin + ?Sized> Store for T {}

/// The first rows, about `max`, of rows in order of time, and the time at which the rest starts. Rows of one instant
/// stay together.
pub fn up_to(mut rows: Vec<JournalRow>, max: usize) -> (Vec<JournalRow>, Option<Timestamp>) {
    let last = max.checked_sub(1).and_then(|last| rows.get(last)).map(|row| row.folded_at);
    let end = last.and_then(|last| rows.iter().position(|row| row.folded_at > last));
    let next = end.and_then(|end| rows.get(end)).map(|row| row.folded_at);
    rows.truncate(end.unwrap_or(rows.len()));
    (rows, next)
}

/// Why stored JSON cannot be read, without its values.
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

/// The error of a writer whose CRM state is no longer the latest.
pub fn outdated() -> PortError {
    PortError::Retry("somebody else wrote what is known of the CRM".into())
}
