mod conflict;
mod erase;
mod journal;
mod key_values;
mod steps;
mod waiting;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row, params, types::Type};

use stagedoor_engine::{CrmState, Person, PersonId};
use stagedoor_model::{Identifier, Timestamp, breakage};
use stagedoor_ports::{
    Admin, Claims, Clock, Commit, CrmStates, Dirty, DirtyPeople, Document, JournalRow, KeyValue, KeyValues, Leases,
    Outcome, People, Postponed, RecheckPage, Rechecks, Result, Saved, SetAside, SystemClock, Taken, Totals, Versioned,
    from_stored, to_stored,
};

use crate::{
    crowds,
    database::Database,
    long_looks::LongLooks,
    rechecks,
    sql::{Sql, person_id},
};

/// The hub's memory in one file.
#[derive(Clone)]
pub struct SqliteStore {
    database: Database,
    long_looks: LongLooks,
}

impl SqliteStore {
    /// Opens or creates the file.
    ///
    /// # Errors
    /// When the file cannot be opened or is no database.
    pub fn open(path: &Path) -> Result<Self> {
        Ok(Self { database: Database::open(path, steps::STEPS)?, long_looks: LongLooks::default() })
    }

    /// True if an earlier version wrote the file, so that opening would upgrade it.
    ///
    /// # Errors
    /// When the file cannot be opened or is no database.
    pub fn is_behind(path: &Path) -> Result<bool> {
        crate::steps::is_behind(path, steps::STEPS)
    }

    /// Opens the file of a running or stopped hub for reading only. Every write is an error.
    ///
    /// # Errors
    /// When the file does not exist or is no database.
    pub fn open_read_only(path: &Path) -> Result<Self> {
        let database = Database::open_read_only(path, &steps::tables(), &steps::fill_totals())?;
        Ok(Self { database, long_looks: LongLooks::default() })
    }

    /// The rows that can be read. The others are set aside.
    async fn readable(&self, rows: journal::Rows) -> Result<Vec<JournalRow>> {
        let (rows, unreadable) = (rows.rows, rows.unreadable);
        if !unreadable.is_empty() {
            let now = SystemClock.now();
            self.database
                .write(move |connection| {
                    let note = |(id, reason): &(String, String)| {
                        waiting::note_unreadable(connection, "event", id, reason, now)
                    };
                    unreadable.iter().try_for_each(note)
                })
                .await?;
        }
        Ok(rows)
    }
}

fn totals() -> &'static str {
    match breakage::is_on("totals-counted") {
        true => steps::COUNTED,
        false => "SELECT events, unrecognized, people, waiting, deals, parked FROM totals",
    }
}

fn json<T: Document>(value: &T) -> Sql<String> {
    to_stored(value).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}

fn parsed<T: Document>(text: &str) -> Sql<T> {
    read(text).map_err(|reason| rusqlite::Error::FromSqlConversionFailure(0, Type::Text, reason.into()))
}

/// Reads a document. The error gives the reason without values.
fn read<T: Document>(text: &str) -> std::result::Result<T, String> {
    from_stored(text)
}

fn follow(connection: &Connection, id: &str) -> Sql<String> {
    let mut current = id.to_owned();
    for _ in 0..16 {
        let sql = "SELECT target FROM redirects WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM people WHERE id = ?1)";
        match connection.prepare_cached(sql)?.query_row([&current], |row| row.get(0)).optional()? {
            Some(next) => current = next,
            None => break,
        }
    }
    Ok(current)
}

fn apply(connection: &Connection, commit: &Commit) -> Sql<()> {
    let mut journal = connection.prepare_cached(
        "INSERT OR REPLACE INTO journal (id, person, unrecognized, row, folded_at) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    for row in &commit.journal {
        let unrecognized = row.outcome == Outcome::Unrecognized;
        let person = row.person.map(|id| id.to_string());
        let at = row.folded_at.as_millisecond();
        journal.execute(params![row.event.id.as_str(), person, unrecognized, json(row)?, at])?;
    }
    for removal in &commit.removed {
        connection.execute("DELETE FROM people WHERE id = ?1", [removal.id.to_string()])?;
        connection.execute("DELETE FROM marks WHERE person = ?1", [removal.id.to_string()])?;
        let sql = "INSERT OR REPLACE INTO redirects VALUES (?1, ?2)";
        connection.execute(sql, [removal.id.to_string(), removal.into.to_string()])?;
    }
    if !commit.people.is_empty() {
        let at = commit.journal.iter().map(|row| row.folded_at.as_millisecond()).max();
        connection.prepare_cached("UPDATE ticks SET n = max(n + 1, ?1)")?.execute([at.unwrap_or(0)])?;
    }
    let mut put = connection.prepare_cached(
        "INSERT INTO people VALUES (?1, ?2, ?3, (SELECT n FROM ticks)) ON CONFLICT (id) DO UPDATE SET
         version = excluded.version, doc = excluded.doc,
         waiting = min(coalesce(waiting, excluded.waiting), excluded.waiting)",
    )?;
    let mut news = connection.prepare_cached("UPDATE marks SET not_before = NULL WHERE person = ?1")?;
    for (person, version) in &commit.people {
        let id = person.id.to_string();
        put.execute(params![id, version.unwrap_or(0) as i64 + 1, json(person)?])?;
        if version.is_some() {
            news.execute([id])?;
        }
    }
    if let Some(trace) = commit.trace() {
        let mut put = connection.prepare_cached("INSERT OR REPLACE INTO traces VALUES (?1, ?2)")?;
        for (person, _) in &commit.people {
            put.execute(params![person.id.to_string(), trace])?;
        }
    }
    for identifier in &commit.released {
        connection
            .prepare_cached("DELETE FROM identifiers WHERE identifier = ?1 AND person IS NOT NULL")?
            .execute([identifier.to_string()])?;
    }
    crowds::lift(connection, &commit.lifted)?;
    let mut name = connection.prepare_cached("INSERT OR REPLACE INTO identifiers VALUES (?1, ?2)")?;
    for identifier in &commit.shared_identifiers {
        name.execute(params![identifier.to_string(), None::<String>])?;
    }
    for (identifier, person, expected) in &commit.claims {
        if expected.as_ref() != Some(person) {
            name.execute(params![identifier.to_string(), person.to_string()])?;
        }
    }
    let mut audience = connection.prepare_cached("INSERT OR IGNORE INTO audience VALUES (?1, ?2)")?;
    commit.audience.iter().try_for_each(|(show, person)| audience.execute(params![show, person.to_string()]).map(drop))
}

#[async_trait]
impl People for SqliteStore {
    async fn resolve(&self, identifiers: &BTreeSet<Identifier>) -> Result<Claims> {
        let identifiers = identifiers.clone();
        self.database
            .read(move |connection| {
                let mut select = connection.prepare_cached("SELECT person FROM identifiers WHERE identifier = ?1")?;
                let mut claims = Claims::default();
                for identifier in identifiers {
                    let found: Option<Option<String>> =
                        select.query_row([identifier.to_string()], |row| row.get(0)).optional()?;
                    match found {
                        Some(Some(id)) => _ = claims.owners.insert(identifier, person_id(&id)?),
                        Some(None) => _ = claims.shared.insert(identifier),
                        None => {}
                    }
                }
                Ok(claims)
            })
            .await
    }

    async fn load(&self, ids: &BTreeSet<PersonId>) -> Result<Vec<Versioned<Person>>> {
        let ids = ids.clone();
        self.database
            .read(move |connection| {
                let mut select = connection.prepare_cached("SELECT doc, version FROM people WHERE id = ?1")?;
                let mut people = BTreeMap::new();
                for id in ids {
                    let id = follow(connection, &id.to_string())?;
                    let row: Option<(String, i64)> =
                        select.query_row([id], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
                    let Some((doc, version)) = row else { continue };
                    match read::<Person>(&doc) {
                        Ok(value) => _ = people.insert(value.id, Versioned { value, version: version as u64 }),
                        Err(reason) => tracing::warn!(reason, "a stored person cannot be read"),
                    }
                }
                Ok(people.into_values().collect())
            })
            .await
    }

    async fn save(&self, commits: Vec<Commit>) -> Result<Vec<Saved>> {
        self.database
            .write(move |connection| {
                commits
                    .iter()
                    .map(|commit| {
                        if conflict::conflicts(connection, commit)? {
                            return Ok(Saved::Conflict);
                        }
                        apply(connection, commit).map(|()| Saved::Done)
                    })
                    .collect()
            })
            .await
    }

    async fn unreadable(&self, ids: &BTreeSet<PersonId>) -> Result<BTreeSet<PersonId>> {
        let ids = ids.clone();
        self.database.read(move |connection| waiting::unreadable(connection, &ids)).await
    }

    async fn audience(&self, show: &str) -> Result<BTreeSet<PersonId>> {
        let show = show.to_owned();
        self.database
            .read(move |connection| {
                let mut select = connection.prepare("SELECT person FROM audience WHERE show = ?1")?;
                let ids: Vec<String> = select.query_map([show], |row| row.get(0))?.collect::<Sql<_>>()?;
                ids.iter().map(|id| person_id(&follow(connection, id)?)).collect()
            })
            .await
    }

    async fn scan_people(&self, after: Option<String>, max: usize) -> Result<(BTreeSet<PersonId>, Option<String>)> {
        rechecks::everybody(&self.database, after, max).await
    }

    async fn erase(
        &self,
        people: &BTreeSet<PersonId>,
        names: &BTreeSet<Identifier>,
        tombstones: &BTreeSet<String>,
    ) -> Result<()> {
        let (people, names, tombstones) = (people.clone(), names.clone(), tombstones.clone());
        self.database.write(move |connection| erase::erase(connection, &people, &names, &tombstones)).await?;
        // The person is already erased. A long write of another process only delays the rewrite.
        if let Err(error) = self.database.rewrite_if_small().await {
            tracing::warn!(%error, "the file is not written anew now; pieces of what was erased may stand in unused bytes");
        }
        // The write-ahead log holds them until it is moved into the file.
        self.database.settle_log().await?;
        self.database.remove_copies()
    }

    async fn erased(&self, tombstones: &BTreeSet<String>) -> Result<BTreeSet<String>> {
        let tombstones = tombstones.clone();
        self.database.read(move |connection| erase::erased(connection, tombstones)).await
    }
}

#[async_trait]
impl DirtyPeople for SqliteStore {
    async fn claim_dirty(&self, max: usize, now: Option<Timestamp>) -> Result<Vec<Dirty>> {
        let mut taken = self.database.read(move |connection| waiting::take(connection, max, now)).await?;
        let dirty = std::mem::take(&mut taken.dirty);
        if let Some(now) = now
            && !(taken.unreadable.is_empty() && taken.readable_again.is_empty())
        {
            self.database.write(move |connection| waiting::set_aside(connection, &taken, now)).await?;
        }
        Ok(dirty)
    }

    async fn may_be_dirty(&self, now: Timestamp) -> Result<bool> {
        match self.database.look(move |connection| waiting::is_any(connection, now)).await? {
            Some(is_any) => Ok(is_any),
            None if !self.long_looks.is_due() => Ok(false),
            None => {
                let is_any = self.database.read(move |connection| waiting::is_any_of_all(connection, now)).await?;
                self.long_looks.found(is_any);
                Ok(is_any)
            }
        }
    }

    async fn mark_clean(&self, people: Vec<Taken>) -> Result<()> {
        self.database.write(move |connection| waiting::settle(connection, &people)).await
    }

    async fn postpone(&self, people: Vec<Postponed>) -> Result<()> {
        self.database.write(move |connection| waiting::postpone(connection, &people)).await
    }

    async fn mark_dirty(&self, people: BTreeSet<PersonId>) -> Result<()> {
        self.database.write(move |connection| waiting::mark(connection, &people)).await
    }
}

#[async_trait]
impl CrmStates for SqliteStore {
    async fn crm_states(&self, ids: &BTreeSet<PersonId>) -> Result<BTreeMap<PersonId, CrmState>> {
        let ids = ids.clone();
        self.database.read(move |connection| waiting::links(connection, &ids)).await
    }

    async fn save_crm_states(&self, links: Vec<(PersonId, CrmState)>) -> Result<()> {
        let written = self
            .database
            .write(move |connection| {
                for (id, link) in &links {
                    // A state that cannot be read is not overwritten.
                    let known = waiting::link_of(connection, &id.to_string())?;
                    if known.map_or(Some(0), |known| Some(known.ok()?.revision)) != Some(link.revision) {
                        return Ok(false);
                    }
                }
                let mut put = connection.prepare_cached("INSERT OR REPLACE INTO links VALUES (?1, ?2, ?3, ?4)")?;
                for (id, mut link) in links {
                    link.revision += 1;
                    let deals = link.deals.values().filter(|deal| deal.id.is_some()).count() as i64;
                    put.execute(params![id.to_string(), json(&link)?, deals, link.rejected().len() as i64])?;
                }
                Ok(true)
            })
            .await?;
        if written { Ok(()) } else { Err(stagedoor_ports::outdated()) }
    }

    async fn rejected(&self, max: usize) -> Result<Vec<(PersonId, CrmState)>> {
        self.database
            .read(move |connection| {
                let mut select = connection.prepare("SELECT person FROM links WHERE parked > 0 LIMIT ?1")?;
                let ids = select.query_map([max as i64], |row| person_id(&row.get::<_, String>(0)?))?;
                let ids = ids.collect::<Sql<_>>()?;
                Ok(waiting::links(connection, &ids)?.into_iter().collect())
            })
            .await
    }
}

#[async_trait]
impl Rechecks for SqliteStore {
    async fn schedule_rechecks(&self, people: &BTreeMap<PersonId, Timestamp>) -> Result<()> {
        rechecks::put(&self.database, people).await
    }

    async fn due_rechecks(&self, until: Timestamp) -> Result<Vec<RecheckPage>> {
        rechecks::until(&self.database, until).await
    }

    async fn ack_rechecks(&self, pages: Vec<String>) -> Result<()> {
        rechecks::strike(&self.database, pages).await
    }
}

#[async_trait]
impl KeyValues for SqliteStore {
    async fn key_value(&self, name: &str) -> Result<Option<KeyValue>> {
        Ok(self.key_values_of(&BTreeSet::from([name.to_owned()])).await?.remove(name))
    }

    async fn key_values_of(&self, names: &BTreeSet<String>) -> Result<BTreeMap<String, KeyValue>> {
        let names = names.clone();
        self.database.read(move |connection| key_values::named(connection, names)).await
    }

    async fn compare_and_set(&self, name: &str, value: &str, expected: Option<u64>) -> Result<bool> {
        let (name, value) = (name.to_owned(), value.to_owned());
        self.database
            .write(move |connection| {
                let rows = match expected {
                    None => connection.execute("INSERT OR IGNORE INTO cells VALUES (?1, ?2, 1)", [name, value])?,
                    Some(version) => connection.execute(
                        "UPDATE cells SET value = ?2, version = version + 1 WHERE name = ?1 AND version = ?3",
                        params![name, value, version as i64],
                    )?,
                };
                Ok(rows == 1)
            })
            .await
    }

    async fn key_values(&self, prefix: &str) -> Result<BTreeMap<String, KeyValue>> {
        let prefix = prefix.to_owned();
        self.database.read(move |connection| key_values::beginning_with(connection, &prefix)).await
    }
}

#[async_trait]
impl Leases for SqliteStore {
    async fn lease(&self, name: &str, owner: &str, now: Timestamp, until: Timestamp) -> Result<bool> {
        let (name, owner) = (name.to_owned(), owner.to_owned());
        self.database
            .write(move |connection| {
                let sql = "INSERT INTO leases VALUES (?1, ?2, ?3) ON CONFLICT (name) DO UPDATE SET
                           owner = excluded.owner, ends = excluded.ends WHERE owner = excluded.owner OR ends <= ?4";
                let rows =
                    connection.execute(sql, params![name, owner, until.as_millisecond(), now.as_millisecond()])?;
                Ok(rows == 1)
            })
            .await
    }

    async fn release(&self, name: &str, owner: &str) -> Result<()> {
        let (name, owner) = (name.to_owned(), owner.to_owned());
        let sql = "DELETE FROM leases WHERE name = ?1 AND owner = ?2";
        self.database.write(move |connection| connection.execute(sql, [name, owner]).map(drop)).await
    }
}

#[async_trait]
impl Admin for SqliteStore {
    async fn crowds(&self, max: usize) -> Result<BTreeSet<Identifier>> {
        crowds::all(&self.database, max).await
    }

    async fn set_aside(&self, max: usize) -> Result<Vec<SetAside>> {
        self.database.read(move |connection| waiting::all_set_aside(connection, max)).await
    }

    async fn read_again(&self) -> Result<()> {
        self.database.write(waiting::read_again).await
    }

    async fn sweep(&self, journal: Timestamp, kept: Option<Timestamp>) -> Result<u64> {
        journal::sweep(&self.database, journal, kept).await
    }

    async fn totals(&self) -> Result<Totals> {
        self.database
            .read(move |connection| {
                let count = |row: &Row<'_>, at| row.get::<_, i64>(at).map(|n| n as u64);
                let kept = connection.prepare_cached(totals())?.query_row([], |row| {
                    Ok(Totals {
                        events: count(row, 0)?,
                        unrecognized: count(row, 1)?,
                        people: count(row, 2)?,
                        waiting: count(row, 3)?,
                        deals: count(row, 4)?,
                        rejected: count(row, 5)?,
                        ..Totals::default()
                    })
                })?;
                let unreadable = "SELECT count(*) FROM unreadable";
                let unreadable = connection.query_row(unreadable, [], |row| count(row, 0))?;
                Ok(Totals { waiting_since: waiting::since(connection)?, unreadable, ..kept })
            })
            .await
    }
}
