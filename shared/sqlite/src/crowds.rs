//! Shared identifiers. Their rows have no person.

use std::collections::BTreeSet;

use rusqlite::Connection;
use stagedoor_model::Identifier;
use stagedoor_ports::Result;

use crate::{database::Database, sql::Sql};

pub(crate) fn lift(connection: &Connection, marks: &[Identifier]) -> Sql<()> {
    let sql = "DELETE FROM identifiers WHERE identifier = ?1 AND person IS NULL";
    marks.iter().try_for_each(|mark| connection.prepare_cached(sql)?.execute([mark.to_string()]).map(drop))
}

pub(crate) async fn all(database: &Database, max: usize) -> Result<BTreeSet<Identifier>> {
    database
        .read(move |connection| {
            let sql = "SELECT identifier FROM identifiers WHERE person IS NULL ORDER BY identifier LIMIT ?1";
            let mut select = connection.prepare_cached(sql)?;
            let rows = select.query_map([i64::try_from(max).unwrap_or(i64::MAX)], |row| row.get::<_, String>(0))?;
            let texts: Vec<String> = rows.collect::<Sql<_>>()?;
            Ok(texts.iter().filter_map(|text| text.parse().ok()).collect())
        })
        .await
}
