//! VTQL, as far as the hub uses it. It has no parentheses, requires a semicolon, doubles apostrophes, and returns at
//! most 100 rows (recorded: 05_query). An empty literal is an error, so the hub never sends one.

use serde_json::Value;

use crate::vtiger::transport::{Failure, Transport};

/// Number of rows in one answer, even if more are requested (limit_over_100_is_capped).
pub(super) const PAGE: usize = 100;
/// Number of values in one list, because the query is part of the URL.
pub(super) const IN: usize = 40;

/// A literal. A backslash is no escape, and an apostrophe is doubled (apostrophe_doubled, backslash_end).
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

pub(super) fn list<'t>(values: impl Iterator<Item = &'t str>) -> String {
    values.filter(|value| !value.is_empty()).map(literal).collect::<Vec<_>>().join(",")
}

/// Reads every row, page by page in the order of ids. A row that is created in the meantime shifts no page.
pub(super) async fn all(
    transport: &Transport,
    columns: &str,
    module: &str,
    condition: &str,
) -> Result<Vec<Value>, Failure> {
    let mut rows: Vec<Value> = Vec::new();
    loop {
        let after = rows.last().and_then(id).map(|id| format!(" and id > {}", literal(&id))).unwrap_or_default();
        let query = format!("select {columns} from {module} where {condition}{after} order by id limit 0,{PAGE};");
        let page = page(transport, &query).await?;
        let full = page.len() == PAGE;
        rows.extend(page);
        if !full {
            return Ok(rows);
        }
    }
}

pub(super) async fn page(transport: &Transport, query: &str) -> Result<Vec<Value>, Failure> {
    match transport.get("query", &[("query", query)]).await? {
        Value::Array(rows) => Ok(rows),
        _ => Err(Failure::Unavailable("a query was answered without rows".to_owned())),
    }
}

pub(super) fn id(row: &Value) -> Option<String> {
    row.get("id").and_then(Value::as_str).map(str::to_owned)
}

/// The number after the module's prefix: 34 for `12x34`.
pub(super) fn number(id: &str) -> Option<u64> {
    id.split_once('x').and_then(|(_, number)| number.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_apostrophe_is_doubled_and_a_backslash_left_alone() {
        assert_eq!(literal("O'Brien\\"), "'O''Brien\\'");
        assert_eq!(list(["a", "", "b'c"].into_iter()), "'a','b''c'");
    }

    #[test]
    fn an_id_is_a_number_behind_its_prefix() {
        assert_eq!(number("12x34"), Some(34));
        assert_eq!(number("34"), None);
    }
}
