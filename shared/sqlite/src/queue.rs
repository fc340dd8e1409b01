mod postponed;
mod steps;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use rusqlite::{Connection, params};
use stagedoor_model::{Event, EventId, Timestamp, breakage};
use stagedoor_ports::{Clock, DeadLetter, PortError, Queue, Receipt, Received, Result, from_stored, to_stored};

use self::steps::STEPS;
use crate::{database::Database, long_looks::LongLooks, steps::is_behind};

/// How long a message stays hidden after the first attempt, in milliseconds. Each further attempt doubles it, so that a
/// shop that is down for half an hour causes no dead letter.
const VISIBILITY_MS: i64 = 60_000;

/// A durable queue in one file.
#[derive(Clone)]
pub struct SqliteQueue {
    database: Database,
    clock: Arc<dyn Clock>,
    /// Rows of messages that were handed out and are not done.
    in_hand: Arc<Mutex<BTreeMap<EventId, i64>>>,
    long_looks: LongLooks,
}

impl SqliteQueue {
    /// Opens or creates the file.
    ///
    /// # Errors
    /// When the file cannot be opened or is no database.
    pub fn open(path: &Path, clock: Arc<dyn Clock>) -> Result<Self> {
        Ok(Self {
            database: Database::open(path, STEPS)?,
            clock,
            in_hand: Arc::default(),
            long_looks: LongLooks::default(),
        })
    }

    /// True if an earlier version wrote the file, so that opening would upgrade it.
    ///
    /// # Errors
    /// When the file cannot be opened or is no database.
    pub fn is_behind(path: &Path) -> Result<bool> {
        is_behind(path, STEPS)
    }

    fn in_hand(&self) -> MutexGuard<'_, BTreeMap<EventId, i64>> {
        self.in_hand.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn left_hand(&self, receipts: &[Receipt]) {
        let rows: BTreeSet<i64> = receipts.iter().filter_map(|receipt| receipt.0.parse().ok()).collect();
        self.in_hand().retain(|_, row| !rows.contains(row));
    }

    /// True if there is a message to hand out. A message in the middle of many that are in hand is found within a
    /// second.
    async fn is_any_ready(&self, now: i64) -> Result<bool> {
        match self.database.look(move |connection| postponed::is_soon_ready(connection, now)).await? {
            Some(is_any) => Ok(is_any),
            None if !self.long_looks.is_due() => Ok(false),
            None => {
                let is_any = self.database.read(move |connection| postponed::is_any_ready(connection, now)).await?;
                self.long_looks.found(is_any);
                Ok(is_any)
            }
        }
    }

    /// Makes messages visible again, and subtracts `unused` from their attempts.
    async fn back(&self, receipts: Vec<Receipt>, unused: i64) -> Result<()> {
        self.left_hand(&receipts);
        self.database
            .write(move |connection| {
                let sql = "UPDATE messages SET visible_at = 0, attempts = max(attempts - ?2, 0) WHERE id = ?1";
                let mut show = connection.prepare_cached(sql)?;
                receipts.iter().try_for_each(|receipt| show.execute(params![receipt.0, unused]).map(drop))
            })
            .await
    }
}

fn stored(events: &[Event]) -> Result<Vec<String>> {
    let bodies = events.iter().map(to_stored).collect::<std::result::Result<_, _>>();
    bodies.map_err(|error| PortError::Fail(error.to_string()))
}

#[async_trait]
impl Queue for SqliteQueue {
    async fn send(&self, events: Vec<Event>) -> Result<()> {
        let (bodies, now) = (stored(&events)?, self.clock.now().as_millisecond());
        let insert = move |connection: &Connection| {
            let mut insert = connection.prepare_cached("INSERT INTO messages (body, sent_at) VALUES (?1, ?2)")?;
            bodies.iter().try_for_each(|body| insert.execute(params![body, now]).map(drop))
        };
        match events.len() {
            0 => Ok(()),
            1 => self.database.write_one(insert).await,
            _ => self.database.write(insert).await,
        }
    }

    /// Does not store a message in hand whose row was dropped in the meantime, because its person was erased.
    async fn send_later(&self, events: Vec<Event>, delay: Duration) -> Result<()> {
        let (bodies, now) = (stored(&events)?, self.clock.now().as_millisecond());
        let until = now.saturating_add(i64::try_from(delay.as_millis()).unwrap_or(0));
        let rows: Vec<Option<i64>> = {
            let in_hand = self.in_hand();
            events.iter().map(|event| in_hand.get(&event.id).copied()).collect()
        };
        let insert = move |connection: &Connection| {
            let mut all = bodies.iter().zip(&rows);
            all.try_for_each(|(body, row)| postponed::insert(connection, body, now, until, *row))
        };
        match events.len() {
            0 => Ok(()),
            1 => self.database.write_one(insert).await,
            _ => self.database.write(insert).await,
        }
    }

    async fn receive(&self, max: usize) -> Result<Vec<Received>> {
        let now = self.clock.now().as_millisecond();
        // This check needs no transaction, and it mostly finds nothing.
        if !breakage::is_on("idle-queue-writes") && !self.is_any_ready(now).await? {
            return Ok(vec![]);
        }
        let (rows, worn_out) = self.database.write(move |connection| take(connection, now, max)).await?;
        if !worn_out.is_empty() {
            self.in_hand().retain(|_, row| !worn_out.contains(row));
        }
        let (mut batch, mut unreadable) = (Vec::with_capacity(rows.len()), Vec::new());
        for (id, body, attempts) in rows {
            match from_stored::<Event>(&body) {
                Ok(event) => {
                    self.in_hand().insert(event.id.clone(), id);
                    batch.push(Received { event, receipt: Receipt(id.to_string()), attempts });
                }
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
        self.left_hand(&receipts);
        self.database
            .write(move |connection| {
                let mut delete = connection.prepare_cached("DELETE FROM messages WHERE id = ?1")?;
                receipts.iter().try_for_each(|receipt| delete.execute([&receipt.0]).map(drop))
            })
            .await
    }

    async fn give_back(&self, receipts: Vec<Receipt>) -> Result<()> {
        self.back(receipts, 0).await
    }

    async fn give_back_unused(&self, receipts: Vec<Receipt>) -> Result<()> {
        self.back(receipts, i64::from(!breakage::is_on("given-back-unused-is-an-attempt"))).await
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
        // A running hub moves messages at the same time. The loop ends after a full pass that finds nothing.
        loop {
            let (mut found, mut removed) = (0, 0);
            for (table, from, to) in PARTS {
                let (meant, gone) = self.drop_part(table, from, to, are_meant).await?;
                (found, removed) = (found + meant, removed + gone);
            }
            dropped += removed as u64;
            if found == 0 || breakage::is_on("dropped-in-one-pass") {
                break;
            }
        }
        if dropped > 0
            && let Err(error) = self.database.rewrite_if_small().await
        {
            tracing::warn!(%error, "the queue's file is not rewritten now");
        }
        // The write-ahead log holds them until it is moved into the file.
        self.database.settle_log().await?;
        self.database.remove_copies()?;
        Ok(dropped)
    }

    /// Removes no copy of the file, because it removes nothing from the file.
    async fn look_through(&self, look: &(dyn for<'t> Fn(&'t str) + Send + Sync)) -> Result<()> {
        let shown = |text: &str| {
            look(text);
            false
        };
        for (table, from, to) in PARTS {
            self.drop_part(table, from, to, &shown).await?;
        }
        if breakage::is_on("list-drops-copies") { self.database.remove_copies() } else { Ok(()) }
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

/// The way of a message: first new, then postponed any number of times, then a dead letter.
const PARTS: [(&str, i64, i64); 3] =
    [("messages", 0, i64::MAX), ("messages", i64::MIN, 0), ("dead_letters", i64::MIN, i64::MAX)];

impl SqliteQueue {
    /// Drops messages with ids in (`after`, `to`]. Returns how many were meant, and how many of those were still there.
    async fn drop_part(
        &self,
        table: &'static str,
        mut after: i64,
        to: i64,
        are_meant: &(dyn for<'t> Fn(&'t str) -> bool + Send + Sync),
    ) -> Result<(usize, usize)> {
        let (mut found, mut removed) = (0, 0);
        loop {
            let page = self.database.read(move |connection| {
                let sql = format!("SELECT id, body FROM {table} WHERE id > ?1 AND id <= ?2 ORDER BY id LIMIT 500");
                let mut select = connection.prepare_cached(&sql)?;
                let rows = select.query_map([after, to], |row| Ok((row.get(0)?, row.get(1)?)))?;
                rows.collect::<rusqlite::Result<Vec<(i64, String)>>>()
            });
            let page = page.await?;
            let Some((last, _)) = page.last() else { return Ok((found, removed)) };
            after = *last;
            let meant: Vec<i64> = page.iter().filter(|(_, body)| are_meant(body)).map(|(id, _)| *id).collect();
            if meant.is_empty() {
                continue;
            }
            found += meant.len();
            let delete = move |connection: &Connection| {
                let mut delete = connection.prepare_cached(&format!("DELETE FROM {table} WHERE id = ?1"))?;
                meant.iter().try_fold(0, |gone, id| Ok(gone + delete.execute([id])?))
            };
            removed += self.database.write(delete).await?;
        }
    }
}

/// The messages that are handed out, and the rows of those that were handed out too often.
type Taken = (Vec<postponed::Row>, BTreeSet<i64>);

fn take(connection: &Connection, now: i64, max: usize) -> rusqlite::Result<Taken> {
    let worn_out = "FROM messages WHERE attempts >= 5 AND visible_at <= ?1";
    connection.prepare_cached(&format!("INSERT INTO dead_letters SELECT id, body {worn_out}"))?.execute([now])?;
    let mut delete = connection.prepare_cached(&format!("DELETE {worn_out} RETURNING id"))?;
    let given_up = delete.query_map([now], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    let rows = postponed::ready(connection, now, max)?;
    let mut hide = connection.prepare_cached("UPDATE messages SET visible_at = ?2, attempts = ?3 WHERE id = ?1")?;
    for (id, _, attempts) in &rows {
        let patience = VISIBILITY_MS << attempts.saturating_sub(1).min(6);
        hide.execute(params![id, now + patience, attempts])?;
    }
    Ok((rows, given_up))
}

/// Moves a message that this version cannot read to the dead letters, so that it delays no others.
fn bury(connection: &Connection, id: i64) -> rusqlite::Result<()> {
    connection.execute("INSERT OR REPLACE INTO dead_letters SELECT id, body FROM messages WHERE id = ?1", [id])?;
    connection.execute("DELETE FROM messages WHERE id = ?1", [id]).map(drop)
}

async fn count(database: &Database, sql: &'static str) -> Result<u64> {
    database.read(move |connection| connection.query_row(sql, [], |row| row.get::<_, i64>(0))).await.map(|n| n as u64)
}
