//! Rows of a shop's answer. Each is read on its own, so an unreadable row does not delay the others.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::de::DeserializeOwned;
use serde_json::Value;
use stagedoor_model::{Body, SourceName, Timestamp, Unrecognized, breakage};
use stagedoor_ports::{PortError, Result};
use stagedoor_webhook::lenient;

/// Reason why a row cannot be read. It holds no part of the row.
pub(crate) struct Odd(pub String);

/// Reads a row as an endpoint reads a delivery. A number is read as a text, and an invalid optional field loses only
/// itself. For `essential` see `lenient`.
pub(crate) fn read<T: DeserializeOwned>(
    source: &SourceName,
    row: &Value,
    essential: &[&str],
) -> std::result::Result<T, Odd> {
    let (read, lost) = lenient(row, essential).map_err(|why| Odd(why.reason))?;
    if !lost.is_empty() {
        tracing::warn!(%source, lost = lost.join(", "), "fields of a shop's answer were left out");
    }
    Ok(read)
}

/// What is kept of an unreadable row: the reason, and a notice that leads to the row again in a replay. The caller sets
/// the date.
pub(crate) fn kept(source: &SourceName, what: &str, odd: Odd, notice: &Value) -> Result<(Body, Timestamp)> {
    if breakage::is_on("odd-row-stops-its-shop") {
        return Err(PortError::Retry("the shop's answer has another shape".into()));
    }
    tracing::warn!(%source, reason = odd.0, "{what} of a shop could not be understood");
    let body = STANDARD.encode(notice.to_string());
    let (route, reason) = (format!("ticketing/{source}"), format!("{what} as the shop has it: {}", odd.0));
    let kept = Unrecognized { route, reason, headers: BTreeMap::new(), body };
    Ok((Body::Unrecognized(kept), Timestamp::UNIX_EPOCH))
}

/// The id in a row. Empty if there is none.
pub(crate) fn id(row: &Value, field: &str) -> String {
    match row.get(field) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    }
}
