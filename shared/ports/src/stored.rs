//! The format of stored values. A value that a later version wrote is not misread as one of this version.

mod document;

pub use document::Document;
use stagedoor_model::breakage;

use crate::unreadable_reason;

/// The format that this version writes, and the latest that it reads. It covers people, CRM states, journal rows and
/// queued messages, in SQLite, DynamoDB and SQS.
///
/// Raise it with a change that an earlier version would misread. Examples are a new meaning of a field, or a field
/// without which it must not act. Other new fields need no new number, because an earlier version keeps unknown fields.
/// Documents without a number have format 1.
pub const FORMAT: u32 = 1;

/// The number is the first field, so that a reader needs nothing else to know it.
const START: &str = "{\"format\":";

fn in_format(format: u32, json: String) -> String {
    match json.strip_prefix('{') {
        Some("}") if format > 1 => format!("{START}{format}}}"),
        Some(rest) if format > 1 => format!("{START}{format},{rest}"),
        _ => json,
    }
}

/// Writes a value as JSON in the format of this version.
///
/// # Errors
/// When the value cannot be written as JSON.
pub fn to_stored<T: Document>(value: &T) -> serde_json::Result<String> {
    value.text().map(|json| in_format(FORMAT, json))
}

fn format_of(text: &str) -> u32 {
    let Some(rest) = text.strip_prefix(START) else { return 1 };
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    // Text that is no number means a format that this version does not know.
    rest.get(..end).and_then(|digits| digits.parse().ok()).unwrap_or(u32::MAX)
}

/// Reads what [`to_stored`] wrote.
///
/// # Errors
/// The reason, without values, because they may be personal data.
pub fn from_stored<T: Document>(text: &str) -> Result<T, String> {
    let format = format_of(text);
    if format > FORMAT && !breakage::is_on("later-format-read") {
        return Err(format!(
            "it is of format {format}, which a later version of Stagedoor wrote; this version reads format {FORMAT}"
        ));
    }
    T::parse(text).map_err(|error| unreadable_reason(&error))
}

/// What a later version would store, for tests.
#[cfg(feature = "testing")]
pub fn of_a_later_version(json: &str) -> String {
    in_format(FORMAT + 1, json.to_owned())
}
