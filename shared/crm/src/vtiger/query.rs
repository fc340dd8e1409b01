//! VTQL, as far as the hub asks: it knows no parentheses, wants a semicolon, doubles an apostrophe, and answers at most a
//! hundred rows (recorded: 05_query). An empty literal is an error there, so nothing empty is asked for.

use serde_json::Value;

use crate::vtiger::transport::{Failure, Transport};

/// Rows of one answer, also where more are asked for (limit_over_100_is_capped).
pub(super) const PAGE: usize = 100;
/// Values in one list: the query travels in a URL.
pub(super) const IN: usize = 40;

/// A literal. A backslash is no escape there, an apostrophe is doubled (apostrophe_doubled, backslash_end).
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

pub(super) fn list<'t>(values: impl Iterator<Item = &'t str>) -> String {
    values.filter(|value| !value.is_empty()).map(literal).collect::<Vec<_>>().join(",")
}

/// Every row, page by page in the order of ids: a row that is made meanwhile shifts no page.
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

/// The number behind the module's prefix: `12x34` is 34.
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
