//! Removes every trace of a person except the tombstones.

use std::collections::BTreeSet;

use rusqlite::Connection;
use stagedoor_engine::{PersonId, cells_of_address};
use stagedoor_model::Identifier;

use super::Sql;

pub(super) fn erase(
    connection: &Connection,
    people: &BTreeSet<PersonId>,
    names: &BTreeSet<Identifier>,
    tombstones: &BTreeSet<String>,
) -> Sql<()> {
    for hash in tombstones {
        connection.execute("INSERT OR IGNORE INTO tombstones VALUES (?1)", [hash])?;
    }
    for name in names {
        connection.execute("DELETE FROM identifiers WHERE identifier = ?1", [name.to_string()])?;
        for key_value in cells_of_address(name) {
            connection.execute("DELETE FROM cells WHERE name = ?1", [key_value])?;
        }
    }
    for id in people.iter().map(ToString::to_string) {
        for sql in [
            "DELETE FROM identifiers WHERE person = ?1",
            "DELETE FROM journal WHERE person = ?1",
            "DELETE FROM links WHERE person = ?1",
            "DELETE FROM traces WHERE person = ?1",
            "DELETE FROM marks WHERE person = ?1",
            "DELETE FROM unreadable WHERE id = ?1",
            "DELETE FROM audience WHERE person = ?1",
            "DELETE FROM redirects WHERE id = ?1 OR target = ?1",
            "DELETE FROM people WHERE id = ?1",
        ] {
            connection.execute(sql, [&id])?;
        }
    }
    Ok(())
}

/// Those of these tombstones that exist.
pub(super) fn erased(connection: &Connection, tombstones: BTreeSet<String>) -> Sql<BTreeSet<String>> {
    let mut select = connection.prepare_cached("SELECT 1 FROM tombstones WHERE hash = ?1")?;
    let mut found = BTreeSet::new();
    for hash in tombstones {
        if select.exists([&hash])? {
            found.insert(hash);
        }
    }
    Ok(found)
}
