//! Rows of the journal. A row that cannot be read is left out and set aside; the others are told.

use rusqlite::{Connection, OptionalExtension, Params};
use stagedoor_engine::PersonId;
use stagedoor_model::{EventId, Timestamp};
use stagedoor_ports::{JournalRow, Result};

use super::{Sql, read};
use crate::database::Database;

/// Rows that were read, and the ids and reasons of those that were not.
#[derive(Default)]
pub(super) struct Rows {
    pub rows: Vec<JournalRow>,
    pub unreadable: Vec<(String, String)>,
}

/// `sql` selects the row and its id.
fn select(connection: &Connection, sql: &str, params: impl Params) -> Sql<Rows> {
    select_where(connection, sql, params, |_| true)
}

fn select_where(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    wanted: impl Fn(&JournalRow) -> bool,
) -> Sql<Rows> {
    let mut select = connection.prepare_cached(sql)?;
    let mut rows = Rows::default();
    for found in select.query_map(params, |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))? {
        let (text, id) = found?;
        match read(&text) {
            Ok(row) if wanted(&row) => rows.rows.push(row),
            Ok(_) => {}
            Err(reason) => rows.unreadable.push((id, reason)),
        }
    }
    Ok(rows)
}

pub(super) fn latest(connection: &Connection, max: usize) -> Sql<Rows> {
    select(connection, "SELECT row, id FROM journal ORDER BY seq DESC LIMIT ?1", [max as i64])
}

pub(super) fn between(connection: &Connection, from: Timestamp, until: Timestamp) -> Sql<Rows> {
    let wanted = |row: &JournalRow| (from..until).contains(&row.folded_at);
    let mut rows = select_where(connection, "SELECT row, id FROM journal ORDER BY seq", [], wanted)?;
    rows.rows.sort_by_key(|row| row.folded_at);
    Ok(rows)
}

pub(super) fn of_person(connection: &Connection, person: PersonId) -> Sql<Rows> {
    let sql = "WITH RECURSIVE own (id) AS (VALUES (?1) UNION
               SELECT redirects.id FROM redirects JOIN own ON target = own.id)
               SELECT row, journal.id FROM journal WHERE person IN own ORDER BY seq DESC";
    select(connection, sql, [person.to_string()])
}

pub(super) fn unrecognized(connection: &Connection, max: usize) -> Sql<Rows> {
    select(connection, "SELECT row, id FROM journal WHERE unrecognized ORDER BY seq DESC LIMIT ?1", [max as i64])
}

pub(super) fn event(connection: &Connection, id: &EventId) -> Sql<Option<JournalRow>> {
    let sql = "SELECT row FROM journal WHERE id = ?1";
    let text: Option<String> = connection.query_row(sql, [id.as_str()], |row| row.get(0)).optional()?;
    text.map(|text| super::parsed(&text)).transpose()
}

/// Rows that are looked at in one transaction: others write between two.
const PART: i64 = 1_000;

/// Removes what is older. Rows stand in the order in which they were folded.
pub(super) async fn sweep(database: &Database, journal: Timestamp, kept: Option<Timestamp>) -> Result<u64> {
    let latest = kept.map_or(journal, |kept| kept.max(journal));
    let (mut after, mut removed) = (i64::MIN, 0);
    loop {
        let part = database.read(move |connection| {
            let sql = "SELECT seq, unrecognized, json_extract(row, '$.folded_at') FROM journal WHERE seq > ?1
                       ORDER BY seq LIMIT ?2";
            let mut select = connection.prepare_cached(sql)?;
            let rows = select.query_map([after, PART], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, bool>(1)?, row.get::<_, Option<String>>(2)?))
            })?;
            rows.collect::<Sql<Vec<_>>>()
        });
        let part = part.await?;
        let Some((last, ..)) = part.last() else { break };
        after = *last;
        let told = |at: &Option<String>| at.as_deref().and_then(|at| at.parse::<Timestamp>().ok());
        let is_over = part.last().and_then(|(.., at)| told(at)).is_some_and(|at| at >= latest);
        let old = part.iter().filter(|(_, is_kept, at)| {
            let end = if *is_kept { kept } else { Some(journal) };
            // A row without a time is looked at by a person.
            told(at).zip(end).is_some_and(|(at, end)| at < end)
        });
        let old: Vec<i64> = old.map(|(seq, ..)| *seq).collect();
        removed += old.len() as u64;
        database
            .write(move |connection| {
                old.iter().try_for_each(|seq| connection.execute("DELETE FROM journal WHERE seq = ?1", [seq]).map(drop))
            })
            .await?;
        if is_over {
            break;
        }
    }
    // The log of writes still has them until it is taken into the file.
    if removed > 0 {
        database.settle_log().await?;
    }
    Ok(removed)
}
