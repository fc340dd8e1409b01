//! Changes of values that the CRM cannot hold, and the comparison of its answer with what was sent. The CRM accepts
//! nearly everything with success, and cuts, drops or replaces it (recorded: 03_create).

use rust_decimal::Decimal;
use serde_json::{Map, Value};

/// Lengths of stock fields in characters, from the columns in 8.4.0's schema. A custom text field has the length that
/// its creator chose, at most 255. A last name was cut to 80 (too_long_lastname).
const LENGTHS: [(&str, usize); 16] = [
    ("firstname", 40),
    ("lastname", 80),
    ("email", 100),
    ("secondaryemail", 100),
    ("phone", 50),
    ("mobile", 50),
    ("homephone", 50),
    ("otherphone", 50),
    ("potentialname", 120),
    ("accountname", 100),
    ("subject", 100),
    ("servicename", 100),
    ("commentcontent", 60_000),
    ("description", 60_000),
    ("bill_street", 250),
    ("comment", 500),
];
const CUSTOM: usize = 255;

/// Replacement for characters beyond U+FFFF. The database is utf8mb3, and would turn each of their bytes into a
/// question mark (emoji).
const INSTEAD: char = '□';

/// A text in the form in which the CRM can hold it. Angle brackets become look-alikes: a text with a script comes back
/// escaped throughout (markup), which would hide real changes.
pub(super) fn normalise_fields(field: &str, text: &str) -> String {
    let length = LENGTHS.iter().find(|(name, _)| *name == field).map_or(CUSTOM, |(_, length)| *length);
    let held = text.chars().map(|c| match c {
        '<' => '‹',
        '>' => '›',
        c if c as u32 > 0xFFFF => INSTEAD,
        c if c.is_control() && c != '\n' && c != '\t' => ' ',
        c => c,
    });
    held.take(length).collect::<String>().trim().to_owned()
}

/// Puts a text into a row in the form in which the CRM can hold it.
pub(super) fn put(row: &mut Map<String, Value>, field: &str, text: &str) {
    row.insert(field.to_owned(), normalise_fields(field, text).into());
}

/// Minor units as the CRM prints amounts: with a point, and without commas or spaces ("5 400,50" is read as 5).
pub(super) fn amount(minor: i64) -> String {
    let sign = if minor < 0 { "-" } else { "" };
    let whole = minor.unsigned_abs();
    format!("{sign}{}.{:02}", whole / 100, whole % 100)
}

/// An amount of the CRM in hundredths.
pub(super) fn minor(row: &Value, field: &str) -> i64 {
    let text = row.get(field).map(plain).unwrap_or_default();
    let amount = Decimal::from_str_exact(&text).unwrap_or_default() * Decimal::ONE_HUNDRED;
    i64::try_from(amount.round()).unwrap_or(0)
}

/// Names of fields whose value in the answer differs from the sent one. A field that is missing in the answer was
/// dropped.
pub(super) fn changed(sent: &Map<String, Value>, held: &Value) -> Vec<String> {
    let differs = |(field, value): &(&String, &Value)| {
        let is = held.get(field.as_str());
        !same(&plain(value), &is.map(plain).unwrap_or_default()) || (is.is_none() && !plain(value).is_empty())
    };
    sent.iter()
        .filter(|(field, _)| !matches!(field.as_str(), "id" | "LineItems" | "productid"))
        .filter(differs)
        .map(|(f, _)| f.clone())
        .collect()
}

/// A value as text. The CRM returns everything as text, and an empty value as `""` or `null` (recorded: the same empty
/// date is both).
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Bool(yes) => u8::from(*yes).to_string(),
        other => other.to_string(),
    }
}

fn same(sent: &str, held: &str) -> bool {
    let (sent, held) = (sent.trim(), held.trim());
    // A phone looks like a number, but is compared as text.
    let number = |text: &str| Decimal::from_str_exact(text).ok().filter(|_| !text.starts_with('+'));
    sent == held || number(sent).zip(number(held)).is_some_and(|(sent, held)| sent == held)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_the_database_cannot_hold_is_replaced_and_cut_before_it_is_sent() {
        assert_eq!(normalise_fields("lastname", " Раневская 🎉 "), "Раневская □");
        assert_eq!(normalise_fields("lastname", &"я".repeat(100)).chars().count(), 80);
        assert_eq!(normalise_fields("description", "<script>a</script>"), "‹script›a‹/script›");
    }

    #[test]
    fn amounts_have_a_point_and_two_places() {
        assert_eq!(amount(540_050), "5400.50");
        assert_eq!(amount(-5), "-0.05");
        assert_eq!(amount(7), "0.07");
    }

    #[test]
    fn what_came_back_as_something_else_is_named() {
        let sent = json!({ "lastname": "Л 🎉", "amount": "5400.00", "closingdate": "2026-11-30", "contact_id": "12x9",
            "mobile": "+79990000002", "emailoptout": true, "nosuch": "x", "email": "" });
        let held = json!({ "lastname": "Л ????", "amount": "5400.00000000", "closingdate": "", "contact_id": null,
            "mobile": "+79990000002", "emailoptout": "1", "email": null });
        let changed = changed(sent.as_object().expect("an object"), &held);
        assert_eq!(changed, ["closingdate", "contact_id", "lastname", "nosuch"]);
    }
}
