//! A row of a shop's answer is read on its own: one that cannot be read holds up nobody else.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::de::DeserializeOwned;
use serde_json::Value;
use stagedoor_model::{Body, SourceName, Timestamp, Unrecognized, breakage};
use stagedoor_ports::{PortError, Result};
use stagedoor_webhook::lenient;

/// Why a row cannot be understood. It holds no part of the row.
pub(crate) struct Odd(pub String);

/// Reads a row as the door reads a delivery: a number is read as a text, and an optional field that is odd loses only itself.
/// `essential` is as of `lenient`.
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

/// What is kept of a row that cannot be understood: why, and a notice that leads to it again when it is replayed. Whoever
/// asked dates it.
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

/// The id that a row tells, where it tells one.
pub(crate) fn id(row: &Value, field: &str) -> String {
    match row.get(field) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    }
}
