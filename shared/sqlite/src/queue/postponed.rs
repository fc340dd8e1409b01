//! Postponed messages. `receive` passes none of them, however many there are.
//!
//! Their ids are negative and ordered by time: milliseconds times about a million, from far below zero. So they need no
//! index, which every message would have to maintain, and an earlier version still finds them.

use rusqlite::{Connection, OptionalExtension, params};
use stagedoor_model::breakage;

/// The number of ids for one millisecond.
const ONE: i64 = 1 << 20;
/// The id of a message postponed until 1970: the lowest.
const FIRST: i64 = -(1 << 62);
/// The last time whose id is below zero, in the year 2109.
const LAST_MS: i64 = (1 << 42) - 2;

/// The lowest id of messages postponed until this millisecond.
fn id_of(until: i64) -> i64 {
    FIRST + until.clamp(0, LAST_MS) * ONE
}

/// SQL for the next free id from `?1` on and before `?2`.
const FREE: &str = "coalesce((SELECT max(id) + 1 FROM messages WHERE id >= ?1 AND id < ?2), ?1)";

/// Postpones a message. `row` is the row that the message comes from. If that row is gone, the message was dropped and
/// is not stored.
pub(super) fn insert(
    connection: &Connection,
    body: &str,
    now: i64,
    until: i64,
    row: Option<i64>,
) -> rusqlite::Result<()> {
    if breakage::is_on("postponed-in-the-way") {
        let sql = "INSERT INTO messages (body, sent_at, visible_at) VALUES (?1, ?2, ?3)";
        return connection.prepare_cached(sql)?.execute(params![body, now, until]).map(drop);
    }
    let row = row.filter(|_| !breakage::is_on("dropped-in-hand-comes-back"));
    let sql = format!(
        "INSERT INTO messages (id, body, sent_at, visible_at) SELECT {FREE}, ?3, ?4, ?5
         WHERE ?6 IS NULL OR EXISTS (SELECT 1 FROM messages WHERE id = ?6)"
    );
    let ids = [id_of(until), id_of(until) + ONE];
    connection.prepare_cached(&sql)?.execute(params![ids[0], ids[1], body, now, until, row]).map(drop)
}

/// A message as it is handed out: id, body, and number of attempts, this one included.
pub(super) type Row = (i64, String, u32);

/// Messages to hand out. Postponed ones come first, because they are older. They get at most half of the room while
/// there are new ones. Otherwise messages that are postponed again and again, such as held advertising, would delay all
/// others.
pub(super) fn ready(connection: &Connection, now: i64, max: usize) -> rusqlite::Result<Vec<Row>> {
    let mut rows = Vec::<Row>::new();
    let half = if breakage::is_on("put-off-before-all") { max } else { max.div_ceil(2) };
    for (range, room, from) in [(PUT_OFF, half, 0), (FRESH, max, 0), (PUT_OFF, max, half)] {
        let left = room.saturating_sub(rows.len()) as i64;
        let sql = format!(
            "SELECT id, body, attempts + 1 FROM messages WHERE {range} AND visible_at <= ?1 ORDER BY id LIMIT ?3 OFFSET ?4"
        );
        let mut select = connection.prepare_cached(&sql)?;
        let found = select
            .query_map([now, id_of(now) + ONE, left, from as i64], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        rows.extend(found.collect::<rusqlite::Result<Vec<_>>>()?);
    }
    Ok(rows)
}

/// Postponed until a time that has come. `?2` is the first id of the future.
const PUT_OFF: &str = "id < ?2";
/// Never postponed. `?2` is below zero.
const FRESH: &str = "id > max(?2, 0)";

/// Rows that a short look passes at each end.
const LOOK: i64 = 256;

/// True if a short look finds a message to hand out or to give up. It passes the first and the last new messages, and
/// postponed ones whose time has come.
///
/// `None`: more messages are in hand than it passes.
pub(super) fn is_soon_ready(connection: &Connection, now: i64) -> rusqlite::Result<Option<bool>> {
    let mut is_all = true;
    let most = if breakage::is_on("idle-looks-without-end") { i64::MAX } else { LOOK };
    for (range, order) in [(PUT_OFF, "ASC"), (FRESH, "ASC"), (FRESH, "DESC")] {
        let sql = format!("SELECT visible_at FROM messages WHERE {range} ORDER BY id {order} LIMIT ?3");
        let mut select = connection.prepare_cached(&sql)?;
        let mut rows = select.query([now, id_of(now) + ONE, most])?;
        let mut passed = 0;
        while let Some(row) = rows.next()? {
            if row.get::<_, i64>(0)? <= now {
                return Ok(Some(true));
            }
            passed += 1;
        }
        is_all &= passed < LOOK;
    }
    Ok(is_all.then_some(false))
}

/// Like [`is_soon_ready`], over all messages.
pub(super) fn is_any_ready(connection: &Connection, now: i64) -> rusqlite::Result<bool> {
    for range in [PUT_OFF, FRESH] {
        let sql = format!("SELECT 1 FROM messages WHERE {range} AND visible_at <= ?1 LIMIT 1");
        if connection.prepare_cached(&sql)?.exists([now, id_of(now) + ONE])? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The time since which the oldest message is there, in milliseconds.
pub(super) fn oldest(connection: &Connection) -> rusqlite::Result<Option<i64>> {
    let mut times = Vec::<i64>::new();
    for range in ["id < 0", "id > 0"] {
        let sql = format!("SELECT sent_at FROM messages WHERE {range} AND sent_at > 0 ORDER BY id LIMIT 1");
        times.extend(connection.prepare_cached(&sql)?.query_row([], |row| row.get::<_, i64>(0)).optional()?);
    }
    Ok(times.into_iter().min())
}

/// Gives new ids to messages that an earlier version postponed.
pub(super) fn set_apart(connection: &Connection) -> rusqlite::Result<()> {
    let sql = "SELECT id, visible_at FROM messages WHERE id > 0 AND attempts = 0 AND visible_at > 0";
    let found = connection
        .prepare(sql)?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<Vec<(i64, i64)>>>()?;
    let mut set = connection.prepare(&format!("UPDATE messages SET id = {FREE} WHERE id = ?3"))?;
    found.iter().try_for_each(|(id, until)| set.execute([id_of(*until), id_of(*until) + ONE, *id]).map(drop))
}
