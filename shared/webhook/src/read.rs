//! Reads loosely typed JSON. A field of another type counts as absent. `pointer` is a JSON pointer (RFC 6901).

use serde_json::{Map, Value};
use stagedoor_model::{Timestamp, breakage};

use crate::json::says_nothing;

/// True for an empty list, object or text and for null. PHP and others write them for an absent value.
pub fn is_nothing(value: &Value) -> bool {
    says_nothing(value)
}

/// A text that is not empty. A number counts as a text.
pub fn text(value: &Value, pointer: &str) -> Option<String> {
    match value.pointer(pointer)? {
        Value::String(text) => Some(text.trim()).filter(|text| !text.is_empty()).map(str::to_owned),
        Value::Number(number) if !breakage::is_on("number-is-no-text") => Some(number.to_string()),
        _ => None,
    }
}

/// An id, as a number or a text.
pub fn id(value: &Value, pointer: &str) -> Option<String> {
    match value.pointer(pointer)? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// A whole number, also as a text. A fraction is cut off.
pub fn number(value: &Value, pointer: &str) -> Option<i64> {
    match value.pointer(pointer)? {
        // Mailgun's seconds have a fraction.
        Value::Number(number) => number.as_i64().or_else(|| number.as_f64().map(|float| float as i64)),
        Value::String(text) => float_or_whole(text.trim()),
        _ => None,
    }
}

fn float_or_whole(text: &str) -> Option<i64> {
    let float = || text.parse::<f64>().ok().filter(|float| float.is_finite());
    text.parse().ok().or_else(|| Some(float()? as i64))
}

/// What a box of a form says: yes or no. `None` for anything else, because consent is never guessed.
pub fn yes_or_no(value: &Value) -> Option<bool> {
    let said = match value {
        Value::Bool(said) => return Some(*said),
        Value::String(text) => text.trim().to_lowercase(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    match said.as_str() {
        "true" | "1" | "1.0" | "yes" | "y" | "on" | "ok" | "given" | "checked" | "agree" | "agreed" | "да"
        | "согласен" | "согласна" => Some(true),
        "false"
        | "0"
        | "0.0"
        | "no"
        | "n"
        | "off"
        | "unchecked"
        | "withdrawn"
        | "нет"
        | "отказ"
        | "не согласен"
        | "не согласна" => Some(false),
        _ => None,
    }
}

/// True for `true`, 1, and the texts `true`, `1` and `yes`.
pub fn is_true(value: &Value, pointer: &str) -> bool {
    match value.pointer(pointer) {
        Some(Value::Bool(is_so)) => *is_so,
        Some(Value::Number(number)) => number.as_i64() == Some(1),
        Some(Value::String(text)) => matches!(text.trim().to_lowercase().as_str(), "true" | "1" | "yes"),
        _ => false,
    }
}

/// The items of a list. PHP writes a list with gaps as an object, and some senders leave out the list around a single
/// object.
pub fn list<'v>(value: &'v Value, pointer: &str) -> impl Iterator<Item = &'v Value> {
    let (mut items, mut fields, mut one): (&[Value], Option<&Map<String, Value>>, _) = (&[], None, None);
    match value.pointer(pointer) {
        Some(Value::Array(all)) => items = all,
        Some(Value::Object(all)) if all.keys().all(|key| key.bytes().all(|byte| byte.is_ascii_digit())) => {
            fields = Some(all);
        }
        Some(single @ Value::Object(_)) => one = Some(single),
        _ => {}
    }
    items.iter().chain(fields.into_iter().flat_map(Map::values)).chain(one)
}

/// True if there is a list with this name, or an object in its place.
pub fn has_list(value: &Value, pointer: &str) -> bool {
    value.pointer(pointer).is_some_and(|it| it.is_array() || it.is_object())
}

/// A time in seconds or milliseconds. An absent or impossible time becomes `otherwise`.
pub fn second(value: &Value, pointer: &str, otherwise: Timestamp) -> Timestamp {
    told_second(value, pointer).unwrap_or(otherwise)
}

/// A time in seconds or milliseconds; `None` if no time can be read.
pub fn told_second(value: &Value, pointer: &str) -> Option<Timestamp> {
    number(value, pointer).and_then(instant)
}

/// Reads seconds or milliseconds, because some senders use the one where their documentation has the other. Present
/// seconds read as milliseconds would be in 1970; milliseconds read as seconds would be in the year 33658 or later.
fn instant(number: i64) -> Option<Timestamp> {
    match number.unsigned_abs() < MILLISECONDS {
        true => Timestamp::from_second(number).ok(),
        false => Timestamp::from_millisecond(number).ok(),
    }
}

/// The smallest number that is read as milliseconds: the 3rd of March 1973, or the year 5138 in seconds.
const MILLISECONDS: u64 = 100_000_000_000;

/// A time in milliseconds or seconds, or a text of RFC 3339; `None` if no time can be read.
pub fn told_millisecond(value: &Value, pointer: &str) -> Option<Timestamp> {
    let read =
        |ms| if breakage::is_on("seconds-are-1970") { Timestamp::from_millisecond(ms).ok() } else { instant(ms) };
    let number = number(value, pointer).and_then(read);
    number.or_else(|| text(value, pointer)?.parse().ok())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_instant_is_read_whether_it_comes_in_seconds_or_milliseconds() {
        let (now, at) = (Timestamp::UNIX_EPOCH, Timestamp::from_second(1_800_000_000).expect("in range"));
        for told in [json!(1_800_000_000), json!("1800000000"), json!(1_800_000_000_000_i64)] {
            let update = json!({ "timestamp": told });
            assert_eq!(told_millisecond(&update, "/timestamp").unwrap_or(now), at, "{told}");
            assert_eq!(second(&update, "/timestamp", now), at, "{told}");
        }
    }
}
