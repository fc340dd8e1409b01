mod postponed;
mod steps;

use std::{path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use rusqlite::{Connection, params};
use stagedoor_model::{Event, Timestamp, breakage};
use stagedoor_ports::{Clock, DeadLetter, PortError, Queue, Receipt, Received, Result, from_stored, to_stored};

use self::steps::STEPS;
use crate::database::Database;

/// How long a message stays in one hand at first, in milliseconds; each further attempt doubles it, so that a shop that
/// is down for half an hour makes no dead letter.
const VISIBILITY_MS: i64 = 60_000;

/// A durable queue in one file.
#[derive(Clone)]
pub struct SqliteQueue {
    database: Database,
    clock: Arc<dyn Clock>,
}

impl SqliteQueue {
    /// # Errors
    /// When the file cannot be opened or is no database.
    pub fn open(path: &Path, clock: Arc<dyn Clock>) -> Result<Self> {
        Ok(Self { database: Database::open(path, STEPS)?, clock })
    }

    async fn insert(&self, events: Vec<Event>, until: Option<i64>) -> Result<()> {
        if events.is_empty() {
            return Ok(());
        }
        let bodies: Vec<String> = events
            .iter()
            .map(to_stored)
            .collect::<std::result::Result<_, _>>()
            .map_err(|error| PortError::Fail(error.to_string()))?;
        let now = self.clock.now().as_millisecond();
        let insert = move |connection: &Connection| match until {
            Some(until) => bodies.iter().try_for_each(|body| postponed::insert(connection, body, now, until)),
            None => {
                let mut insert = connection.prepare_cached("INSERT INTO messages (body, sent_at) VALUES (?1, ?2)")?;
                bodies.iter().try_for_each(|body| insert.execute(params![body, now]).map(drop))
            }
        };
        match events.len() {
            1 => self.database.write_one(insert).await,
            _ => self.database.write(insert).await,
        }
    }
}

#[async_trait]
impl Queue for SqliteQueue {
    async fn send(&self, events: Vec<Event>) -> Result<()> {
        self.insert(events, None).await
    }

    async fn send_later(&self, events: Vec<Event>, delay: Duration) -> Result<()> {
        let delay = i64::try_from(delay.as_millis()).unwrap_or(0);
        self.insert(events, Some(self.clock.now().as_millisecond().saturating_add(delay))).await
    }

    async fn receive(&self, max: usize) -> Result<Vec<Received>> {
        let now = self.clock.now().as_millisecond();
        // A look costs no transaction, and most looks find nothing.
        let is_any = breakage::is_on("idle-queue-writes")
            || self.database.look(move |connection| postponed::is_any_ready(connection, now)).await?;
        if !is_any {
            return Ok(vec![]);
        }
        let rows = self.database.write(move |connection| take(connection, now, max)).await?;
        let (mut batch, mut unreadable) = (Vec::with_capacity(rows.len()), Vec::new());
        for (id, body, attempts) in rows {
            match from_stored(&body) {
                Ok(event) => batch.push(Received { event, receipt: Receipt(id.to_string()), attempts }),
                Err(reason) => {
                    tracing::error!(message = id, reason, "a message that cannot be read goes to the dead letters");
                    unreadable.push(id);
                }
            }
        }
        if !unreadable.is_empty() {
            self.database.write(move |connection| unreadable.iter().try_for_each(|id| bury(connection, *id))).await?;
        }
        Ok(batch)
    }

    async fn done(&self, receipts: Vec<Receipt>) -> Result<()> {
        self.database
            .write(move |connection| {
                let mut delete = connection.prepare_cached("DELETE FROM messages WHERE id = ?1")?;
                receipts.iter().try_for_each(|receipt| delete.execute([&receipt.0]).map(drop))
            })
            .await
    }

    async fn give_back(&self, receipts: Vec<Receipt>) -> Result<()> {
        self.database
            .write(move |connection| {
                let mut show = connection.prepare_cached("UPDATE messages SET visible_at = 0 WHERE id = ?1")?;
                receipts.iter().try_for_each(|receipt| show.execute([&receipt.0]).map(drop))
            })
            .await
    }

    async fn depth(&self) -> Result<u64> {
        count(&self.database, "SELECT count(*) FROM messages").await
    }

    async fn is_empty(&self) -> Result<bool> {
        self.database
            .look(|connection| connection.prepare_cached("SELECT 1 FROM messages LIMIT 1")?.exists([]))
            .await
            .map(|any| !any)
    }

    async fn dead_letters(&self) -> Result<u64> {
        count(&self.database, "SELECT count(*) FROM dead_letters").await
    }

    async fn oldest(&self) -> Result<Option<Timestamp>> {
        let at = self.database.read(postponed::oldest).await?;
        Ok(at.and_then(|at| Timestamp::from_millisecond(at).ok()))
    }

    async fn dead(&self, max: usize) -> Result<Vec<DeadLetter>> {
        self.database
            .read(move |connection| {
                let mut select = connection.prepare_cached("SELECT id, body FROM dead_letters ORDER BY id LIMIT ?1")?;
                let letter = |row: &rusqlite::Row<'_>| {
                    let (id, body): (i64, String) = (row.get(0)?, row.get(1)?);
                    Ok(DeadLetter { id: id.to_string(), event: from_stored(&body).ok(), bytes: body.len() })
                };
                select.query_map([max as i64], letter)?.collect()
            })
            .await
    }

    async fn drop_those(&self, are_meant: &(dyn for<'t> Fn(&'t str) -> bool + Send + Sync)) -> Result<u64> {
        let mut dropped = 0;
        for (select, delete) in [
            ("SELECT id, body FROM messages WHERE id > ?1 ORDER BY id LIMIT 500", "DELETE FROM messages WHERE id = ?1"),
            (
                "SELECT id, body FROM dead_letters WHERE id > ?1 ORDER BY id LIMIT 500",
                "DELETE FROM dead_letters WHERE id = ?1",
            ),
        ] {
            let mut after = i64::MIN;
            loop {
                let page = self.database.read(move |connection| {
                    let mut select = connection.prepare_cached(select)?;
                    select
                        .query_map([after], |row| Ok((row.get(0)?, row.get(1)?)))?
                        .collect::<rusqlite::Result<Vec<(i64, String)>>>()
                });
                let page = page.await?;
                let Some((last, _)) = page.last() else { break };
                after = *last;
                let meant: Vec<i64> = page.iter().filter(|(_, body)| are_meant(body)).map(|(id, _)| *id).collect();
                dropped += meant.len() as u64;
                self.database
                    .write(move |connection| meant.iter().try_for_each(|id| connection.execute(delete, [id]).map(drop)))
                    .await?;
            }
        }
        // The log of writes still has them until it is taken into the file.
        self.database.settle_log().await?;
        self.database.remove_copies()?;
        Ok(dropped)
    }

    async fn redrive(&self) -> Result<u64> {
        self.database
            .write(|connection| {
                let moved =
                    connection.execute("INSERT INTO messages (body) SELECT body FROM dead_letters ORDER BY id", [])?;
                connection.execute("DELETE FROM dead_letters", [])?;
                Ok(moved as u64)
            })
            .await
    }
}

fn take(connection: &Connection, now: i64, max: usize) -> rusqlite::Result<Vec<(i64, String, u32)>> {
    let worn_out = "FROM messages WHERE attempts >= 5 AND visible_at <= ?1";
    connection.prepare_cached(&format!("INSERT INTO dead_letters SELECT id, body {worn_out}"))?.execute([now])?;
    connection.prepare_cached(&format!("DELETE {worn_out}"))?.execute([now])?;
    let rows = postponed::ready(connection, now, max)?;
    let mut hide = connection.prepare_cached("UPDATE messages SET visible_at = ?2, attempts = ?3 WHERE id = ?1")?;
    for (id, _, attempts) in &rows {
        let patience = VISIBILITY_MS << attempts.saturating_sub(1).min(6);
        hide.execute(params![id, now + patience, attempts])?;
    }
    Ok(rows)
}

/// What an older or newer hub wrote and this one cannot read must hold up nobody.
fn bury(connection: &Connection, id: i64) -> rusqlite::Result<()> {
    connection.execute("INSERT OR REPLACE INTO dead_letters SELECT id, body FROM messages WHERE id = ?1", [id])?;
    connection.execute("DELETE FROM messages WHERE id = ?1", [id]).map(drop)
}

async fn count(database: &Database, sql: &'static str) -> Result<u64> {
    database.read(move |connection| connection.query_row(sql, [], |row| row.get::<_, i64>(0))).await.map(|n| n as u64)
}
