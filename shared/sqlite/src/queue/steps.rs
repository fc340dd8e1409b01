//! The tables of a queue's file, step by step. A released step never changes.

use rusqlite::Connection;

use super::postponed;
use crate::steps::Step;

pub(super) const STEPS: &[Step] = &[Step { number: 1, make: first }, Step { number: 2, make: postponed_apart }];

/// Files from before the steps have the number 0 or 1. They may have some of these tables or all of them.
fn first(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(
        "CREATE TABLE IF NOT EXISTS messages (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            body TEXT NOT NULL,
            visible_at INTEGER NOT NULL DEFAULT 0,
            attempts INTEGER NOT NULL DEFAULT 0,
            sent_at INTEGER NOT NULL DEFAULT 0
        ) STRICT;
        -- No index by visibility: what is in somebody's hands is little, and it stands at the front.
        DROP INDEX IF EXISTS messages_visible;
        CREATE INDEX IF NOT EXISTS messages_worn ON messages (attempts) WHERE attempts >= 5;
        CREATE TABLE IF NOT EXISTS dead_letters (id INTEGER PRIMARY KEY, body TEXT NOT NULL) STRICT;",
    )?;
    let column = "SELECT count(*) FROM pragma_table_info('messages') WHERE name = 'sent_at'";
    match connection.query_row(column, [], |row| row.get::<_, i64>(0))? {
        0 => connection.execute_batch("ALTER TABLE messages ADD COLUMN sent_at INTEGER NOT NULL DEFAULT 0"),
        _ => Ok(()),
    }
}

/// Gives postponed messages ids of their own, in the order of their time. The version before this step can still write
/// the file.
fn postponed_apart(connection: &Connection) -> rusqlite::Result<()> {
    first(connection)?;
    postponed::set_apart(connection)
}
