//! Rows of the journal. A row that cannot be read is left out and set aside; the others are returned.

use std::collections::BTreeSet;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Params, params};
use stagedoor_engine::PersonId;
use stagedoor_model::{EventId, Timestamp, breakage};
use stagedoor_ports::{Journal, JournalRow, Result};

use super::{Sql, SqliteStore, read};
use crate::database::Database;

#[async_trait]
impl Journal for SqliteStore {
    async fn journaled(&self, ids: &[EventId]) -> Result<BTreeSet<EventId>> {
        let ids = ids.to_vec();
        self.database
            .read(move |connection| {
                let mut select = connection.prepare_cached("SELECT 1 FROM journal WHERE id = ?1")?;
                let mut found = BTreeSet::new();
                for id in ids {
                    if select.exists([id.as_str()])? {
                        found.insert(id);
                    }
                }
                Ok(found)
            })
            .await
    }

    async fn journal(&self, max: usize) -> Result<Vec<JournalRow>> {
        self.readable(self.database.read(move |connection| latest(connection, max)).await?).await
    }

    async fn journal_between(
        &self,
        from: Timestamp,
        until: Timestamp,
        max: usize,
    ) -> Result<(Vec<JournalRow>, Option<Timestamp>)> {
        let page = self.database.read(move |connection| between(connection, from, until, max)).await?;
        Ok((self.readable(page.0).await?, page.1))
    }

    async fn journal_of(&self, person: PersonId) -> Result<Vec<JournalRow>> {
        self.readable(self.database.read(move |connection| of_person(connection, person)).await?).await
    }

    async fn unrecognized(&self, max: usize) -> Result<Vec<JournalRow>> {
        self.readable(self.database.read(move |connection| unrecognized(connection, max)).await?).await
    }

    async fn event(&self, id: &EventId) -> Result<Option<JournalRow>> {
        let id = id.clone();
        self.database.read(move |connection| event(connection, &id)).await
    }

    async fn forget(&self, id: &EventId) -> Result<()> {
        let id = id.clone();
        self.database
            .write(move |connection| connection.execute("DELETE FROM journal WHERE id = ?1", [id.as_str()]).map(drop))
            .await
    }
}

/// Rows that were read, and (id, reason) of those that could not be.
#[derive(Default)]
pub(super) struct Rows {
    pub rows: Vec<JournalRow>,
    pub unreadable: Vec<(String, String)>,
}

/// Reads rows. `sql` selects the row and its id.
fn select(connection: &Connection, sql: &str, params: impl Params) -> Sql<Rows> {
    let mut select = connection.prepare_cached(sql)?;
    let mut rows = Rows::default();
    for found in select.query_map(params, |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))? {
        let (text, id) = found?;
        rows.add(&text, id, |_| true);
    }
    Ok(rows)
}

impl Rows {
    fn add(&mut self, text: &str, id: String, is_wanted: impl FnOnce(&JournalRow) -> bool) {
        match read(text) {
            Ok(row) if is_wanted(&row) => self.rows.push(row),
            Ok(_) => {}
            Err(reason) => self.unreadable.push((id, reason)),
        }
    }
}

fn latest(connection: &Connection, max: usize) -> Sql<Rows> {
    select(connection, "SELECT row, id FROM journal ORDER BY seq DESC LIMIT ?1", [max as i64])
}

/// About `max` rows, and the time at which the rest starts. Rows of one millisecond stay together, because the index
/// has no finer time.
fn between(connection: &Connection, from: Timestamp, until: Timestamp, max: usize) -> Sql<(Rows, Option<Timestamp>)> {
    let sql = match breakage::is_on("journal-read-whole") {
        true => "SELECT row, id, +folded_at FROM journal WHERE +folded_at >= ?1 AND +folded_at <= ?2 ORDER BY 3, seq",
        false => {
            "SELECT row, id, folded_at FROM journal WHERE folded_at >= ?1 AND folded_at <= ?2 ORDER BY folded_at, seq"
        }
    };
    let mut select = connection.prepare_cached(sql)?;
    let mut found = select.query([from.as_millisecond(), until.as_millisecond()])?;
    let (mut rows, mut seen, mut last, mut next) = (Rows::default(), 0, None, None);
    while let Some(row) = found.next()? {
        let at: i64 = row.get(2)?;
        if seen >= max && last != Some(at) {
            next = Timestamp::from_millisecond(at).ok();
            break;
        }
        (seen, last) = (seen + 1, Some(at));
        rows.add(row.get_ref(0)?.as_str()?, row.get(1)?, |row| (from..until).contains(&row.folded_at));
    }
    rows.rows.sort_by_key(|row| row.folded_at);
    Ok((rows, next.filter(|next| *next < until)))
}

fn of_person(connection: &Connection, person: PersonId) -> Sql<Rows> {
    let sql = "WITH RECURSIVE own (id) AS (VALUES (?1) UNION
               SELECT redirects.id FROM redirects JOIN own ON target = own.id)
               SELECT row, journal.id FROM journal WHERE person IN own ORDER BY seq DESC";
    select(connection, sql, [person.to_string()])
}

fn unrecognized(connection: &Connection, max: usize) -> Sql<Rows> {
    select(connection, "SELECT row, id FROM journal WHERE unrecognized ORDER BY seq DESC LIMIT ?1", [max as i64])
}

fn event(connection: &Connection, id: &EventId) -> Sql<Option<JournalRow>> {
    let sql = "SELECT row FROM journal WHERE id = ?1";
    let text: Option<String> = connection.query_row(sql, [id.as_str()], |row| row.get(0)).optional()?;
    text.map(|text| super::parsed(&text)).transpose()
}

/// Rows removed in one transaction. Others can write between two transactions.
const PART: i64 = 1_000;

/// Removes older rows. A row without a time stays for a person to look at.
pub(super) async fn sweep(database: &Database, journal: Timestamp, kept: Option<Timestamp>) -> Result<u64> {
    let ends = [(false, Some(journal)), (true, kept)];
    let mut removed = 0;
    for (is_kept, end) in ends.into_iter().filter_map(|(is_kept, end)| Some((is_kept, end?.as_millisecond()))) {
        let mut after = (i64::MIN, i64::MIN);
        loop {
            let part = database.read(move |connection| older(connection, after, end)).await?;
            let Some((at, seq, _)) = part.last() else { break };
            after = (*at, *seq);
            let old: Vec<i64> = part.iter().filter(|(.., kept)| *kept == is_kept).map(|(_, seq, _)| *seq).collect();
            removed += old.len() as u64;
            database
                .write(move |connection| {
                    let mut delete = connection.prepare_cached("DELETE FROM journal WHERE seq = ?1")?;
                    old.iter().try_for_each(|seq| delete.execute([seq]).map(drop))
                })
                .await?;
        }
    }
    // The write-ahead log holds them until it is moved into the file.
    if removed > 0 {
        database.settle_log().await?;
    }
    Ok(removed)
}

/// Time, number and kind of the next rows that were folded before `end`.
fn older(connection: &Connection, after: (i64, i64), end: i64) -> Sql<Vec<(i64, i64, bool)>> {
    let sql = "SELECT folded_at, seq, unrecognized FROM journal WHERE (folded_at, seq) > (?1, ?2) AND folded_at < ?3
               ORDER BY folded_at, seq LIMIT ?4";
    let mut select = connection.prepare_cached(sql)?;
    let rows =
        select.query_map(params![after.0, after.1, end, PART], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    rows.collect()
}
