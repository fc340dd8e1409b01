//! The tables of `hub.db`, step by step. A released step never changes.

use rusqlite::Connection;
use stagedoor_model::breakage;

use super::Sql;
use crate::steps::Step;

pub(super) const STEPS: &[Step] = &[
    Step { number: 1, make: |connection| connection.execute_batch(FIRST) },
    Step { number: 2, make: by_time_and_counted },
];

/// Files from before the steps have the number 0 or 1. They may have some of these tables or all of them.
const FIRST: &str = "
CREATE TABLE IF NOT EXISTS journal (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, person TEXT, unrecognized INTEGER NOT NULL,
    row TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS journal_person ON journal (person);
CREATE INDEX IF NOT EXISTS journal_unrecognized ON journal (seq) WHERE unrecognized;
CREATE TABLE IF NOT EXISTS people (
    id TEXT PRIMARY KEY, version INTEGER NOT NULL, doc TEXT NOT NULL, waiting INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS people_waiting ON people (waiting) WHERE waiting IS NOT NULL;
-- The delivery that changed somebody last.
CREATE TABLE IF NOT EXISTS traces (person TEXT PRIMARY KEY, trace TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS redirects (id TEXT PRIMARY KEY, target TEXT NOT NULL) STRICT, WITHOUT ROWID;
-- An identifier without a person belongs to a crowd.
CREATE TABLE IF NOT EXISTS identifiers (identifier TEXT PRIMARY KEY, person TEXT) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS identifiers_crowds ON identifiers (identifier) WHERE person IS NULL;
CREATE TABLE IF NOT EXISTS links (
    person TEXT PRIMARY KEY, doc TEXT NOT NULL, deals INTEGER NOT NULL, parked INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS links_parked ON links (person) WHERE parked > 0;
CREATE TABLE IF NOT EXISTS due (at TEXT PRIMARY KEY, person TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS audience (show TEXT, person TEXT, PRIMARY KEY (show, person)) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS leases (name TEXT PRIMARY KEY, owner TEXT NOT NULL, ends INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS tombstones (hash TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS cells (name TEXT PRIMARY KEY, value TEXT NOT NULL, version INTEGER NOT NULL) STRICT;
-- A clock that never stands and never goes back: milliseconds, where those who write know the time.
CREATE TABLE IF NOT EXISTS ticks (n INTEGER NOT NULL) STRICT;
INSERT INTO ticks SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM ticks);
-- Marks of those who wait: the last mark that came from outside, failed runs, and how long a failed run is not repeated.
CREATE TABLE IF NOT EXISTS marks (
    person TEXT PRIMARY KEY, n INTEGER NOT NULL DEFAULT 0, tries INTEGER NOT NULL DEFAULT 0,
    not_before INTEGER, since INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS marks_since ON marks (since) WHERE since IS NOT NULL;
-- What this version of the hub cannot read.
CREATE TABLE IF NOT EXISTS unreadable (
    kind TEXT, id TEXT, reason TEXT NOT NULL, since INTEGER NOT NULL, PRIMARY KEY (kind, id)
) STRICT, WITHOUT ROWID;
";

/// SQL for the milliseconds of a row's `folded_at`, rounded down; NULL if the row is no JSON.
fn folded_at(row: &str) -> String {
    let at = format!("json_extract({row}, '$.folded_at')");
    format!(
        "CASE WHEN json_valid({row}) THEN unixepoch(substr({at}, 1, 19)) * 1000 + CASE substr({at}, 20, 1) WHEN '.'
         THEN CAST(substr(rtrim(substr({at}, 21), 'Z') || '000', 1, 3) AS INTEGER) ELSE 0 END END"
    )
}

/// Fills `totals` with counted values, for a file without that table.
pub(super) fn fill_totals() -> String {
    format!("INSERT INTO totals {COUNTED};")
}

/// SQL that counts the one row of `totals`.
pub(super) const COUNTED: &str = "SELECT
    (SELECT count(*) FROM journal), (SELECT count(*) FROM journal WHERE unrecognized), (SELECT count(*) FROM people),
    (SELECT count(*) FROM people WHERE waiting IS NOT NULL), (SELECT coalesce(sum(deals), 0) FROM links),
    (SELECT count(*) FROM links WHERE parked > 0)";

pub(super) const TOTALS: &str = "CREATE TABLE IF NOT EXISTS totals (
    events INTEGER NOT NULL, unrecognized INTEGER NOT NULL, people INTEGER NOT NULL, waiting INTEGER NOT NULL,
    deals INTEGER NOT NULL, parked INTEGER NOT NULL
) STRICT;
";

/// Triggers that keep `totals` up to date. `INSERT OR REPLACE` fires no trigger for the replaced row, so a trigger
/// before the insert subtracts it.
const KEPT: &str = "
CREATE TRIGGER journal_replaced BEFORE INSERT ON journal WHEN EXISTS (SELECT 1 FROM journal WHERE id = new.id) BEGIN
    UPDATE totals SET events = events - 1,
        unrecognized = unrecognized - (SELECT unrecognized FROM journal WHERE id = new.id);
END;
CREATE TRIGGER journal_added AFTER INSERT ON journal BEGIN
    UPDATE totals SET events = events + 1, unrecognized = unrecognized + new.unrecognized;
END;
CREATE TRIGGER journal_gone AFTER DELETE ON journal BEGIN
    UPDATE totals SET events = events - 1, unrecognized = unrecognized - old.unrecognized;
END;
CREATE TRIGGER people_added AFTER INSERT ON people BEGIN
    UPDATE totals SET people = people + 1, waiting = waiting + (new.waiting IS NOT NULL);
END;
CREATE TRIGGER people_gone AFTER DELETE ON people BEGIN
    UPDATE totals SET people = people - 1, waiting = waiting - (old.waiting IS NOT NULL);
END;
CREATE TRIGGER people_waited AFTER UPDATE OF waiting ON people WHEN (old.waiting IS NULL) <> (new.waiting IS NULL) BEGIN
    UPDATE totals SET waiting = waiting + (new.waiting IS NOT NULL) - (old.waiting IS NOT NULL);
END;
CREATE TRIGGER links_replaced BEFORE INSERT ON links WHEN EXISTS (SELECT 1 FROM links WHERE person = new.person) BEGIN
    UPDATE totals SET deals = deals - (SELECT deals FROM links WHERE person = new.person),
        parked = parked - (SELECT parked > 0 FROM links WHERE person = new.person);
END;
CREATE TRIGGER links_added AFTER INSERT ON links BEGIN
    UPDATE totals SET deals = deals + new.deals, parked = parked + (new.parked > 0);
END;
CREATE TRIGGER links_gone AFTER DELETE ON links BEGIN
    UPDATE totals SET deals = deals - old.deals, parked = parked - (old.parked > 0);
END;
";

const LEADING_TO_PEOPLE: &str = "
CREATE INDEX redirects_target ON redirects (target);
CREATE INDEX identifiers_person ON identifiers (person) WHERE person IS NOT NULL;
CREATE INDEX audience_person ON audience (person);
";

/// Finds journal rows by time and people by everything that leads to them, and keeps frequent counts. The version
/// before this step can still write the file: triggers then do the new work.
fn by_time_and_counted(connection: &Connection) -> Sql<()> {
    // A file with number 1 may come from a version that did not have every table yet.
    connection.execute_batch(FIRST)?;
    let (of_row, of_new) = (folded_at("row"), folded_at("new.row"));
    connection.execute_batch(&format!(
        "ALTER TABLE journal ADD COLUMN folded_at INTEGER;
        UPDATE journal SET folded_at = {of_row};
        CREATE INDEX journal_folded ON journal (folded_at);
        CREATE TRIGGER journal_timed AFTER INSERT ON journal WHEN new.folded_at IS NULL BEGIN
            UPDATE journal SET folded_at = {of_new} WHERE seq = new.seq;
        END;"
    ))?;
    connection.execute_batch(TOTALS)?;
    connection.execute_batch(&fill_totals())?;
    connection.execute_batch(KEPT)?;
    if breakage::is_on("people-sought-everywhere") {
        return Ok(());
    }
    connection.execute_batch(LEADING_TO_PEOPLE)
}

/// Every table, for a file that is only read.
pub(super) fn tables() -> String {
    format!("{FIRST}{TOTALS}")
}
