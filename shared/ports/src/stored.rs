//! The format of what is stored: what a later version wrote is not taken for what it seems to be.

mod document;

pub use document::Document;
use stagedoor_model::breakage;

use crate::unreadable_reason;

/// The format that this version writes, and the latest that it reads. It is that of people, of what is known of the CRM, of rows
/// of the journal and of messages in queues, on SQLite as on DynamoDB and SQS.
///
/// Raise it with a change that an earlier version would misread: another meaning of a field, or one without which it must not
/// act. Fields that it does not know are kept without that. Documents without a number are of format 1.
pub const FORMAT: u32 = 1;

/// The number is the first field, so that nothing else has to be read to know it.
const START: &str = "{\"format\":";

fn in_format(format: u32, json: String) -> String {
    match json.strip_prefix('{') {
        Some("}") if format > 1 => format!("{START}{format}}}"),
        Some(rest) if format > 1 => format!("{START}{format},{rest}"),
        _ => json,
    }
}

/// As JSON of this version's format.
///
/// # Errors
/// When the value has no JSON.
pub fn to_stored<T: Document>(value: &T) -> serde_json::Result<String> {
    value.text().map(|json| in_format(FORMAT, json))
}

fn format_of(text: &str) -> u32 {
    let Some(rest) = text.strip_prefix(START) else { return 1 };
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    // What is no number is of no format that this version knows.
    rest.get(..end).and_then(|digits| digits.parse().ok()).unwrap_or(u32::MAX)
}

/// Reads what `to_stored` wrote.
///
/// # Errors
/// Why it cannot be read, without the values in it: they may be personal data.
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
