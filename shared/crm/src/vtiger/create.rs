//! Creating without a double, where there is no upsert, no bulk call and no answer that can be trusted to arrive: what
//! bears the hub's own id is adopted, and a create that was not answered is looked for before anything is made again.

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
    changes::missing,
    gone::OTHERWISE,
    normalise::{changed, plain},
    query::{self, IN},
    schema::{Module, STAGE},
    transport::{Failure, SERVER_ERROR, Transport},
    wire::Fields,
};

/// Calls of one batch that may fail one after the other before the rest is left for the next round.
const PATIENCE: u32 = 4;

/// What is to be created, and the hub's own id in it.
pub(super) struct New {
    pub key: String,
    pub fields: Fields,
}

pub(super) struct Maker<'t> {
    pub transport: &'t Transport,
    pub module: &'t Module,
    /// Fields that have to be as they were sent; others may be shorter.
    pub exact: &'static [&'static str],
    /// Fields that an answer tells before the CRM has counted them.
    pub late: &'static [&'static str],
    /// How long a call that was given up may still go on over there.
    pub grace: Duration,
    failed: AtomicU32,
}

impl<'t> Maker<'t> {
    pub fn new(transport: &'t Transport, module: &'t Module, exact: &'static [&'static str], grace: Duration) -> Self {
        Self { transport, module, exact, late: &[], grace, failed: AtomicU32::new(0) }
    }

    /// Ids in the CRM by the hub's own, the lowest where there are two.
    pub async fn find(&self, keys: &[String]) -> Result<BTreeMap<String, u64>, Failure> {
        let all = self.find_all(keys).await?;
        Ok(all.into_iter().filter_map(|(key, ids)| Some((key, ids.first().copied()?))).collect())
    }

    /// All ids in the CRM by the hub's own.
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

    /// Makes the rows, through all sessions at once. `Err` is a row that waits before anything was sent, with the reason.
    pub async fn create(&self, rows: Vec<Result<New, String>>) -> Vec<WriteOutcome> {
        self.create_or(rows, BTreeMap::new(), |_, number, fields| self.update(number, fields)).await
    }

    /// The same; `there` are rows that are known to be there under another key, and `update` changes the row at an index
    /// that is there already.
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

    /// For rows that were looked for in another way.
    pub async fn create_unlooked(&self, new: New) -> WriteOutcome {
        self.create_telling(new).await.0
    }

    /// With the CRM's answer, where it gave one.
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

    /// The outcome of a create that has no good answer; `None`: it is not there and may be tried once more. `last`: how many
    /// creates had been taken when its first try began, where there is no further one.
    async fn after(&self, new: &New, failure: Failure, last: Option<u64>) -> Option<WriteOutcome> {
        let is_server = failure == Failure::ServerError;
        let reason = match failure {
            // Duplicate prevention of an administrator's: code 0, and it does not say of what (07_duplicates).
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
                // It may still be under way there: looked for once it cannot be any more.
                tokio::time::sleep(self.grace).await;
                return match self.find(std::slice::from_ref(&new.key)).await {
                    Ok(found) => {
                        Some(found.get(&new.key).map_or(WriteOutcome::Unknown, |number| WriteOutcome::Done(*number)))
                    }
                    Err(_) => Some(WriteOutcome::Unknown),
                };
            }
        };
        // Answered, so it is over: it is there or it never will be.
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

    /// Makes a record equal to `fields` where it is not: writing what is there already would look like a change.
    pub async fn update(&self, number: u64, fields: Fields) -> WriteOutcome {
        let id = self.module.of(number);
        let held = match self.transport.get("retrieve", &[("id", &id)]).await {
            Ok(held) => held,
            Err(failure) => return self.refused_or_later(number, failure).await,
        };
        self.revise(number, fields, &held).await
    }

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
            // The same values written again change nothing.
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

    /// What an error of the server says of this row, after the row was tried twice.
    fn server_error(&self, operation: &str, row: &str, before: u64) -> WriteOutcome {
        let row = self.transport.write_failures.verdict(&self.kind(operation), row, before);
        self.failed.fetch_add(u32::from(row == WriteOutcome::NotSent), Ordering::Relaxed);
        row
    }

    /// What a failure says about an update of this record.
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

    /// A record of a module to which the hub's user has lost the right is answered as one that is gone.
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

    /// Looks at what came back against what was sent.
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

    /// A workflow moved the deal on while it was saved. The next look at what changed hears of the move.
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
        // Deleted, or out of sight: the code tells neither from the other (retrieve_deleted, limited_user_...).
        failure if failure.refused("ACCESS_DENIED") => {
            WriteOutcome::Refused("the record is gone, or the hub's user may not see it".into())
        }
        Failure::Refused { code, message } => {
            WriteOutcome::Refused(format!("the CRM will not have it: {message} ({code})"))
        }
        Failure::Broken(what) => WriteOutcome::Refused(what.to_owned()),
        // The same values written again change nothing.
        Failure::Lost | Failure::ServerError | Failure::Unavailable(_) | Failure::Denied(_) => WriteOutcome::NotSent,
    }
}
