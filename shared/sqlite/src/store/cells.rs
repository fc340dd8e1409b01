//! Small named values.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, Row};
use stagedoor_ports::Cell;

use super::Sql;

fn named_cell(row: &Row<'_>) -> Sql<(String, Cell)> {
    Ok((row.get(0)?, Cell { value: row.get(1)?, version: row.get::<_, i64>(2)? as u64 }))
}

/// Those of these cells that exist.
pub(super) fn named(connection: &Connection, names: BTreeSet<String>) -> Sql<BTreeMap<String, Cell>> {
    let mut select = connection.prepare_cached("SELECT name, value, version FROM cells WHERE name = ?1")?;
    let mut found = BTreeMap::new();
    for name in names {
        found.extend(select.query_map([name], named_cell)?.collect::<Sql<Vec<_>>>()?);
    }
    Ok(found)
}

pub(super) fn beginning_with(connection: &Connection, prefix: String) -> Sql<BTreeMap<String, Cell>> {
    let sql = "SELECT name, value, version FROM cells WHERE substr(name, 1, length(?1)) = ?1";
    connection.prepare_cached(sql)?.query_map([prefix], named_cell)?.collect()
}
