use std::{path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, params};
use stagedoor_model::{Event, Timestamp};
use stagedoor_ports::{Clock, DeadLetter, PortError, Queue, Receipt, Received, Result};

use crate::database::Database;

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    body TEXT NOT NULL,
    visible_at INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0,
    sent_at INTEGER NOT NULL DEFAULT 0
) STRICT;
-- No index by visibility: what is in somebody's hands is little, and it stands at the front.
DROP INDEX IF EXISTS messages_visible;
CREATE INDEX IF NOT EXISTS messages_worn ON messages (attempts) WHERE attempts >= 5;
CREATE TABLE IF NOT EXISTS dead_letters (id INTEGER PRIMARY KEY, body TEXT NOT NULL) STRICT;
";

/// Files of before have no such column.
const UPGRADE: &[(&str, &str)] = &[(
    "SELECT count(*) FROM pragma_table_info('messages') WHERE name = 'sent_at'",
    "ALTER TABLE messages ADD COLUMN sent_at INTEGER NOT NULL DEFAULT 0",
)];

/// How long a message stays in one hand at first, in milliseconds; each further attempt doubles it, so that a shop that
/// is down for half an hour makes no dead letter.
const VISIBILITY_MS: i64 = 60_000;
/// After this many attempts a message is a dead letter.
const MAX_ATTEMPTS: u32 = 5;

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
        Ok(Self { database: Database::open_upgraded(path, SCHEMA, UPGRADE)?, clock })
    }

    async fn insert(&self, events: Vec<Event>, visible_at: i64) -> Result<()> {
        if events.is_empty() {
            return Ok(());
        }
        let bodies: Vec<String> = events
            .iter()
            .map(serde_json::to_string)
            .collect::<std::result::Result<_, _>>()
            .map_err(|error| PortError::Fail(error.to_string()))?;
        let now = self.clock.now().as_millisecond();
        let insert = move |connection: &Connection| {
            let mut insert =
                connection.prepare_cached("INSERT INTO messages (body, sent_at, visible_at) VALUES (?1, ?2, ?3)")?;
            bodies.iter().try_for_each(|body| insert.execute(params![body, now, visible_at]).map(drop))
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
        self.insert(events, 0).await
    }

    async fn send_later(&self, events: Vec<Event>, delay: Duration) -> Result<()> {
        let delay = i64::try_from(delay.as_millis()).unwrap_or(0);
        self.insert(events, self.clock.now().as_millisecond().saturating_add(delay)).await
    }

    async fn receive(&self, max: usize) -> Result<Vec<Received>> {
        let now = self.clock.now().as_millisecond();
        let rows = self.database.write(move |connection| take(connection, now, max)).await?;
        let (mut batch, mut unreadable) = (Vec::with_capacity(rows.len()), Vec::new());
        for (id, body, attempts) in rows {
            match serde_json::from_str(&body) {
                Ok(event) => batch.push(Received { event, receipt: Receipt(id.to_string()), attempts }),
                Err(_) => unreadable.push(id),
            }
        }
        if !unreadable.is_empty() {
            tracing::error!(messages = ?unreadable, "messages that are no events go to the dead letters");
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

    async fn dead_letters(&self) -> Result<u64> {
        count(&self.database, "SELECT count(*) FROM dead_letters").await
    }

    async fn oldest(&self) -> Result<Option<Timestamp>> {
        let sql = "SELECT sent_at FROM messages WHERE sent_at > 0 ORDER BY id LIMIT 1";
        let at: Option<i64> =
            self.database.read(move |connection| connection.query_row(sql, [], |row| row.get(0)).optional()).await?;
        Ok(at.and_then(|at| Timestamp::from_millisecond(at).ok()))
    }

    async fn dead(&self, max: usize) -> Result<Vec<DeadLetter>> {
        self.database
            .read(move |connection| {
                let mut select = connection.prepare_cached("SELECT id, body FROM dead_letters ORDER BY id LIMIT ?1")?;
                let letter = |row: &rusqlite::Row<'_>| {
                    let (id, body): (i64, String) = (row.get(0)?, row.get(1)?);
                    Ok(DeadLetter { id: id.to_string(), event: serde_json::from_str(&body).ok(), bytes: body.len() })
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
    let worn = params![now, MAX_ATTEMPTS];
    let worn_out = "FROM messages WHERE attempts >= ?2 AND visible_at <= ?1";
    connection.prepare_cached(&format!("INSERT INTO dead_letters SELECT id, body {worn_out}"))?.execute(worn)?;
    connection.prepare_cached(&format!("DELETE {worn_out}"))?.execute(worn)?;
    let mut select = connection
        .prepare_cached("SELECT id, body, attempts + 1 FROM messages WHERE visible_at <= ?1 ORDER BY id LIMIT ?2")?;
    let rows: Vec<(i64, String, u32)> = select
        .query_map(params![now, max as i64], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<rusqlite::Result<_>>()?;
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
