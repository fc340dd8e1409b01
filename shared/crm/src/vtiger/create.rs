//! Creation of records without duplicates. The CRM has no upsert and no bulk call, and an answer may be lost. So the
//! hub adopts a record that carries its id, and after a lost answer it searches before it creates again.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use futures_util::{StreamExt, stream};
use serde_json::Value;
use stagedoor_model::breakage;
use stagedoor_ports::{Gone, WriteOutcome};

use crate::vtiger::{
    missing::missing,
    normalise::{changed, plain},
    query::{self, IN},
    schema::{Module, STAGE},
    transport::{Failure, SERVER_ERROR, Transport},
    wire::Fields,
};

/// Number of consecutive failures in one batch after which the rest is left for the next sync run.
const PATIENCE: u32 = 4;

/// Part of the reason for a row whose stored values differ from the sent ones.
pub(super) const OTHERWISE: &str = "the CRM said yes and holds something else";

/// A record to create, and the hub's own id in it.
pub(super) struct New {
    pub key: String,
    pub fields: Fields,
}

pub(super) struct Maker<'t> {
    pub transport: &'t Transport,
    pub module: &'t Module,
    /// Fields that must be as they were sent. Other fields may be shortened.
    pub exact: &'static [&'static str],
    /// Fields whose value in an answer is older than the CRM's own calculation.
    pub late: &'static [&'static str],
    /// How long a call that timed out may still run in the CRM.
    pub grace: Duration,
    failed: AtomicU32,
}

impl<'t> Maker<'t> {
    pub fn new(transport: &'t Transport, module: &'t Module, exact: &'static [&'static str], grace: Duration) -> Self {
        Self { transport, module, exact, late: &[], grace, failed: AtomicU32::new(0) }
    }

    /// Ids in the CRM by the hub's own id. The lowest one if there are several.
    pub async fn find(&self, keys: &[String]) -> Result<BTreeMap<String, u64>, Failure> {
        let all = self.find_all(keys).await?;
        Ok(all.into_iter().filter_map(|(key, ids)| Some((key, ids.first().copied()?))).collect())
    }

    /// All ids in the CRM by the hub's own id.
    pub async fn find_all(&self, keys: &[String]) -> Result<BTreeMap<String, BTreeSet<u64>>, Failure> {
        let field = self.module.key()?;
        let mut found = BTreeMap::<String, BTreeSet<u64>>::new();
        for chunk in keys.chunks(IN) {
            let list = query::list(chunk.iter().map(String::as_str));
            if list.is_empty() {
                continue;
            }
            let (columns, condition) = (format!("id,{field}"), format!("{field} in ({list})"));
            for row in query::all(self.transport, &columns, self.module.name, &condition).await? {
                let key = row.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
                if let Some(number) = query::id(&row).and_then(|id| query::number(&id)) {
                    found.entry(key).or_default().insert(number);
                }
            }
        }
        Ok(found)
    }

    /// Creates the rows through all sessions at once. `Err` is a row that waits before anything is sent, with the
    /// reason.
    pub async fn create(&self, rows: Vec<Result<New, String>>) -> Vec<WriteOutcome> {
        self.create_or(rows, BTreeMap::new(), |_, number, fields| self.update(number, fields)).await
    }

    /// Creates the rows, or updates those that exist. `there` holds rows that are known under another key. `update`
    /// changes the existing row at an index.
    pub async fn create_or<F, W>(
        &self,
        rows: Vec<Result<New, String>>,
        there: BTreeMap<String, u64>,
        update: F,
    ) -> Vec<WriteOutcome>
    where
        F: Fn(usize, u64, Fields) -> W,
        W: Future<Output = WriteOutcome>,
    {
        let keys: Vec<String> = rows.iter().filter_map(|row| Some(row.as_ref().ok()?.key.clone())).collect();
        let known = match self.find(&keys).await {
            Ok(known) => known,
            Err(failure) => {
                tracing::warn!(?failure, "what may be there already could not be looked up");
                return rows.iter().map(|_| WriteOutcome::NotSent).collect();
            }
        };
        let known: BTreeMap<String, u64> = there.into_iter().chain(known).collect();
        let (known, update) = (&known, &update);
        let making = rows.into_iter().enumerate().map(|(index, row)| async move {
            match row {
                Err(reason) => WriteOutcome::Held(reason),
                Ok(new) => match known.get(&new.key) {
                    Some(number) => update(index, *number, new.fields).await,
                    None => self.create_unlooked(new).await,
                },
            }
        });
        stream::iter(making).buffered(self.transport.sessions() * 2).collect().await
    }

    /// Creates a row for which the caller has already searched in another way.
    pub async fn create_unlooked(&self, new: New) -> WriteOutcome {
        self.create_telling(new).await.0
    }

    /// Creates a row and returns the CRM's answer, if it gave one.
    pub async fn create_telling(&self, new: New) -> (WriteOutcome, Option<Value>) {
        if self.failed.load(Ordering::Relaxed) >= PATIENCE {
            return (WriteOutcome::NotSent, None);
        }
        let before = self.taken("create");
        for last in [false, true] {
            match self.post("create", &new.fields).await {
                Ok(held) => {
                    self.note_taken("create", &new.key);
                    return (self.held(&new.fields, &held), Some(held));
                }
                Err(failure) => {
                    if let Some(row) = self.after(&new, failure, last.then_some(before)).await {
                        return (row, None);
                    }
                }
            }
        }
        (WriteOutcome::Unknown, None)
    }

    /// The outcome of a create call without a good answer. `None` means that the record is not there and the call may
    /// be repeated once. `last` is given for the final attempt: the number of creates that had succeeded when the first
    /// attempt began.
    async fn after(&self, new: &New, failure: Failure, last: Option<u64>) -> Option<WriteOutcome> {
        let is_server = failure == Failure::ServerError;
        let reason = match failure {
            // An administrator's duplicate prevention: code 0, without the name of the duplicate (07_duplicates).
            Failure::Refused { code, message } => {
                return Some(WriteOutcome::Refused(format!("the CRM will not have it: {message} ({code})")));
            }
            Failure::Unavailable(_) | Failure::Denied(_) => {
                self.failed.fetch_add(1, Ordering::Relaxed);
                return Some(WriteOutcome::NotSent);
            }
            Failure::Broken(what) => what,
            Failure::ServerError => SERVER_ERROR,
            Failure::Lost => {
                self.failed.fetch_add(1, Ordering::Relaxed);
                // The call may still run in the CRM. The search starts when that is no longer possible.
                tokio::time::sleep(self.grace).await;
                return match self.find(std::slice::from_ref(&new.key)).await {
                    Ok(found) => {
                        Some(found.get(&new.key).map_or(WriteOutcome::Unknown, |number| WriteOutcome::Done(*number)))
                    }
                    Err(_) => Some(WriteOutcome::Unknown),
                };
            }
        };
        // The CRM answered, so the call is over: the record is there now or will never be.
        match self.find(std::slice::from_ref(&new.key)).await {
            Ok(found) => match found.get(&new.key) {
                Some(number) => Some(WriteOutcome::Done(*number)),
                None => last.map(|before| match is_server {
                    true => self.server_error("create", &new.key, before),
                    false => WriteOutcome::Refused(format!("{reason}, twice, for this row alone")),
                }),
            },
            Err(_) => {
                self.failed.fetch_add(1, Ordering::Relaxed);
                Some(WriteOutcome::Unknown)
            }
        }
    }

    /// Makes a record equal to `fields`. Equal values are not written, because the write would look like a change.
    pub async fn update(&self, number: u64, fields: Fields) -> WriteOutcome {
        let id = self.module.of(number);
        let held = match self.transport.get("retrieve", &[("id", &id)]).await {
            Ok(held) => held,
            Err(failure) => return self.refused_or_later(number, failure).await,
        };
        self.revise(number, fields, &held).await
    }

    /// Writes the fields whose values differ from the present record, and checks the answer.
    pub async fn revise(&self, number: u64, fields: Fields, held: &Value) -> WriteOutcome {
        let stale = changed(&fields, held);
        let mut row: Fields = fields.into_iter().filter(|(field, _)| stale.contains(field)).collect();
        row.retain(|field, _| self.module.has(field));
        if row.is_empty() {
            return WriteOutcome::Done(number);
        }
        if self.failed.load(Ordering::Relaxed) >= PATIENCE {
            return WriteOutcome::NotSent;
        }
        let (sent, id, before) = (row.clone(), self.module.of(number), self.taken("revise"));
        row.insert("id".into(), id.clone().into());
        let mut answer = self.post("revise", &row).await;
        if answer == Err(Failure::ServerError) {
            // A repeated write of the same values changes nothing.
            answer = self.post("revise", &row).await;
        }
        match answer {
            Ok(held) => {
                self.note_taken("revise", &id);
                self.held(&sent, &held)
            }
            Err(Failure::ServerError) => self.server_error("revise", &id, before),
            Err(failure) => self.refused_or_later(number, failure).await,
        }
    }

    fn kind(&self, operation: &str) -> String {
        format!("{operation} {}", self.module.name)
    }

    fn taken(&self, operation: &str) -> u64 {
        self.transport.write_failures.count(&self.kind(operation))
    }

    fn note_taken(&self, operation: &str, row: &str) {
        self.failed.store(0, Ordering::Relaxed);
        self.transport.write_failures.taken(&self.kind(operation), row);
    }

    /// The outcome of a server error for this row, after two attempts.
    fn server_error(&self, operation: &str, row: &str, before: u64) -> WriteOutcome {
        let row = self.transport.write_failures.verdict(&self.kind(operation), row, before);
        self.failed.fetch_add(u32::from(row == WriteOutcome::NotSent), Ordering::Relaxed);
        row
    }

    /// The outcome of a failed update of this record.
    pub async fn refused_or_later(&self, number: u64, failure: Failure) -> WriteOutcome {
        let gone = match self.module.name {
            "Contacts" => Some(Gone::Contact(number)),
            "Potentials" => Some(Gone::Deal(number)),
            "Accounts" => Some(Gone::Company(number)),
            _ => None,
        };
        match (gone, failure) {
            (Some(gone), failure) if failure.refused("ACCESS_DENIED") => {
                self.gone_or_out_of_sight(number, gone, failure).await
            }
            (_, failure) => refused_or_later(failure),
        }
    }

    /// Tells a deleted record from one that the hub's user may no longer see. The CRM answers the same for both.
    async fn gone_or_out_of_sight(&self, number: u64, gone: Gone, failure: Failure) -> WriteOutcome {
        if breakage::is_on("lost-right-is-deletion") && failure.is_gone() {
            return WriteOutcome::Gone(gone);
        }
        match missing(self.transport, self.module, &BTreeSet::from([number])).await {
            Ok(missing) if missing.contains(&number) && failure.is_gone() => WriteOutcome::Gone(gone),
            Ok(_) => WriteOutcome::Held(format!(
                "the hub's user may not read or write {} {number}: give it the right, or the record another owner",
                self.module.name
            )),
            Err(Failure::Denied(reason)) => WriteOutcome::Held(reason),
            Err(_) => WriteOutcome::NotSent,
        }
    }

    async fn post(&self, operation: &str, row: &Fields) -> Result<Value, Failure> {
        let element = Value::Object(row.clone()).to_string();
        match operation {
            "create" => {
                self.transport.post(operation, &[("elementType", self.module.name), ("element", &element)]).await
            }
            _ => self.transport.post(operation, &[("element", &element)]).await,
        }
    }

    /// Compares the CRM's answer with what was sent.
    fn held(&self, sent: &Fields, held: &Value) -> WriteOutcome {
        let Some(number) = query::id(held).and_then(|id| query::number(&id)) else {
            return WriteOutcome::Refused("the CRM answered success without an id".into());
        };
        let mut changed = changed(sent, held);
        changed.retain(|field| !self.late.contains(&field.as_str()));
        let wrong = changed.iter().filter(|field| self.must(field) && !self.is_moved_on(field, held));
        let wrong: Vec<&String> = wrong.collect();
        if !wrong.is_empty() {
            let names = wrong.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
            return WriteOutcome::Refused(format!(
                "{} {}: {OTHERWISE} in {names}",
                self.module.name,
                self.module.of(number)
            ));
        }
        if !changed.is_empty() {
            tracing::warn!(
                module = self.module.name,
                number,
                fields = changed.join(","),
                "the CRM changed what was sent"
            );
        }
        WriteOutcome::Done(number)
    }

    /// True if a workflow moved the deal to another stage during the save. The next poll of changes reports the move.
    fn is_moved_on(&self, field: &str, held: &Value) -> bool {
        let stage = held.get(STAGE).map(plain).unwrap_or_default();
        !breakage::is_on("workflow-is-refusal")
            && field == STAGE
            && self.module.name == "Potentials"
            && self.module.has_stage(&stage)
    }

    fn must(&self, field: &str) -> bool {
        self.exact.contains(&field) || self.module.own("id") == Some(field)
    }
}

fn refused_or_later(failure: Failure) -> WriteOutcome {
    match failure {
        // The record is deleted or hidden. The code is the same for both (retrieve_deleted, limited_user_...).
        failure if failure.refused("ACCESS_DENIED") => {
            WriteOutcome::Refused("the record is gone, or the hub's user may not see it".into())
        }
        Failure::Refused { code, message } => {
            WriteOutcome::Refused(format!("the CRM will not have it: {message} ({code})"))
        }
        Failure::Broken(what) => WriteOutcome::Refused(what.to_owned()),
        // A repeated write of the same values changes nothing.
        Failure::Lost | Failure::ServerError | Failure::Unavailable(_) | Failure::Denied(_) => WriteOutcome::NotSent,
    }
}
