//! Small named values.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, Row};
use stagedoor_model::breakage;
use stagedoor_ports::KeyValue;

use super::Sql;

fn named_cell(row: &Row<'_>) -> Sql<(String, KeyValue)> {
    Ok((row.get(0)?, KeyValue { value: row.get(1)?, version: row.get::<_, i64>(2)? as u64 }))
}

/// Those of these values that exist.
pub(super) fn named(connection: &Connection, names: BTreeSet<String>) -> Sql<BTreeMap<String, KeyValue>> {
    let mut select = connection.prepare_cached("SELECT name, value, version FROM cells WHERE name = ?1")?;
    let mut found = BTreeMap::new();
    for name in names {
        found.extend(select.query_map([name], named_cell)?.collect::<Sql<Vec<_>>>()?);
    }
    Ok(found)
}

/// Values in the order of their names, from the prefix on.
const FROM: &str = "SELECT name, value, version FROM cells WHERE name >= ?1 ORDER BY name";
/// The earlier query, which reads every value.
const ALL: &str = "SELECT name, value, version FROM cells WHERE substr(name, 1, length(?1)) = ?1";

fn from_prefix() -> &'static str {
    if breakage::is_on("cells-read-whole") { ALL } else { FROM }
}

/// All values whose names start with `prefix`. Reads one more than that.
pub(super) fn beginning_with(connection: &Connection, prefix: &str) -> Sql<BTreeMap<String, KeyValue>> {
    let mut select = connection.prepare_cached(from_prefix())?;
    let found = select.query_map([prefix], named_cell)?;
    found.take_while(|key_value| key_value.as_ref().map_or(true, |(name, _)| name.starts_with(prefix))).collect()
}
