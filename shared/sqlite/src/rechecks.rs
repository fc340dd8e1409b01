//! Scheduled rechecks, and the scan over all people.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::params;
use stagedoor_engine::PersonId;
use stagedoor_model::Timestamp;
use stagedoor_ports::{RecheckPage, Result};

use crate::{
    database::Database,
    sql::{Sql, person_id},
};

pub(crate) async fn put(database: &Database, people: &BTreeMap<PersonId, Timestamp>) -> Result<()> {
    let key = |id: &PersonId, at: &Timestamp| format!("{:020}#{id}", at.as_millisecond());
    let rows: Vec<(String, String)> = people.iter().map(|(id, at)| (key(id, at), id.to_string())).collect();
    database
        .write(move |connection| {
            let mut put = connection.prepare_cached("INSERT OR IGNORE INTO due VALUES (?1, ?2)")?;
            rows.iter().try_for_each(|(at, person)| put.execute([at, person]).map(drop))
        })
        .await
}

pub(crate) async fn until(database: &Database, until: Timestamp) -> Result<Vec<RecheckPage>> {
    let last = format!("{:020}#~", until.as_millisecond());
    database
        .read(move |connection| {
            let sql = "SELECT at, person FROM due WHERE at < ?1 ORDER BY at LIMIT 2000";
            let mut select = connection.prepare_cached(sql)?;
            let rows = select.query_map([last], |row| {
                let people = BTreeSet::from([person_id(&row.get::<_, String>(1)?)?]);
                Ok(RecheckPage { key: row.get(0)?, people })
            })?;
            rows.collect()
        })
        .await
}

pub(crate) async fn strike(database: &Database, pages: Vec<String>) -> Result<()> {
    database
        .write(move |connection| {
            let mut strike = connection.prepare_cached("DELETE FROM due WHERE at = ?1")?;
            pages.iter().try_for_each(|key| strike.execute([key]).map(drop))
        })
        .await
}

pub(crate) async fn everybody(
    database: &Database,
    after: Option<String>,
    max: usize,
) -> Result<(BTreeSet<PersonId>, Option<String>)> {
    database
        .read(move |connection| {
            let sql = "SELECT id FROM people WHERE id > ?1 ORDER BY id LIMIT ?2";
            let mut select = connection.prepare_cached(sql)?;
            let rows = select.query_map(params![after.unwrap_or_default(), max as i64], |row| row.get(0))?;
            let ids: Vec<String> = rows.collect::<Sql<_>>()?;
            let next = ids.last().filter(|_| ids.len() == max).cloned();
            Ok((ids.iter().map(|id| person_id(id)).collect::<Sql<_>>()?, next))
        })
        .await
}
