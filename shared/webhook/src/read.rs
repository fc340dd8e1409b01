//! Reading loosely typed JSON: a field that is absent or of another type is simply not there.

use serde_json::Value;
use stagedoor_model::Timestamp;

/// A text that is not empty.
pub fn text(value: &Value, pointer: &str) -> Option<String> {
    value.pointer(pointer)?.as_str().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned)
}

/// An id, whether it came as a number or as a text.
pub fn id(value: &Value, pointer: &str) -> Option<String> {
    match value.pointer(pointer)? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

pub fn number(value: &Value, pointer: &str) -> Option<i64> {
    match value.pointer(pointer)? {
        // Mailgun's seconds have a fraction.
        Value::Number(number) => number.as_i64().or_else(|| number.as_f64().map(|float| float as i64)),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

pub fn is_true(value: &Value, pointer: &str) -> bool {
    value.pointer(pointer).and_then(Value::as_bool).unwrap_or(false)
}

pub fn list<'v>(value: &'v Value, pointer: &str) -> impl Iterator<Item = &'v Value> {
    value.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

/// A time that cannot be, or none at all, is that of the delivery.
pub fn second(value: &Value, pointer: &str, otherwise: Timestamp) -> Timestamp {
    number(value, pointer).and_then(|second| Timestamp::from_second(second).ok()).unwrap_or(otherwise)
}

pub fn millisecond(value: &Value, pointer: &str, otherwise: Timestamp) -> Timestamp {
    let number = number(value, pointer).and_then(|ms| Timestamp::from_millisecond(ms).ok());
    number.or_else(|| text(value, pointer)?.parse().ok()).unwrap_or(otherwise)
}
