//! Finds out whether another process was faster.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension};
use stagedoor_model::breakage;
use stagedoor_ports::Commit;

use super::Sql;

pub(super) fn conflicts(connection: &Connection, commit: &Commit) -> Sql<bool> {
    let mut version = connection.prepare_cached("SELECT version FROM people WHERE id = ?1")?;
    let known = commit.people.iter().map(|(person, version)| (person.id, *version));
    let removed = commit.removed.iter().map(|removal| (removal.id, Some(removal.version)));
    for (id, expected) in known.chain(removed) {
        let found: Option<i64> = version.query_row([id.to_string()], |row| row.get(0)).optional()?;
        if found.map(|version| version as u64) != expected {
            return Ok(true);
        }
    }
    let mut owner = connection.prepare_cached("SELECT person FROM identifiers WHERE identifier = ?1")?;
    for (identifier, _, expected) in &commit.claims {
        let found: Option<Option<String>> = owner.query_row([identifier.to_string()], |row| row.get(0)).optional()?;
        let fits = match found {
            None => expected.is_none(),
            Some(None) => commit.lifted.contains(identifier),
            Some(Some(id)) => expected.map(|id| id.to_string()) == Some(id),
        };
        if !fits {
            return Ok(true);
        }
    }
    let named: BTreeSet<_> = commit.rows_of_others().map(|(id, _)| id).collect();
    let stored = "SELECT 1 FROM people WHERE id = ?1 UNION ALL SELECT 1 FROM redirects WHERE id = ?1";
    let mut stored = connection.prepare_cached(stored)?;
    for id in named {
        if !stored.exists([id.to_string()])? && !breakage::is_on("row-of-the-erased-stands") {
            return Ok(true);
        }
    }
    Ok(false)
}
