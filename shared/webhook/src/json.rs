//! Reads the JSON of a verified body as loosely as forms are read.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value, error::Category, map::Entry};
use stagedoor_model::breakage;

use crate::plain::plain;

/// Parses JSON, and also what is nearly JSON. An empty second field of the same name does not remove the first.
///
/// # Errors
/// When the text is no JSON.
pub fn parse_json(text: &[u8]) -> Result<Value, serde_json::Error> {
    let read = |text: &[u8]| serde_json::from_slice(text).map(|Loose(value)| value);
    read(text).or_else(|error| match error.classify() {
        Category::Syntax if !breakage::is_on("nearly-json-refused") => read(&plain(text)).map_err(|_| error),
        _ => Err(error),
    })
}

/// True for an empty list, object or text and for null. PHP and others write them for an absent value.
pub(crate) fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::String(text) => text.trim().is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

struct Loose(Value);

impl<'de> Deserialize<'de> for Loose {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Loose;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Loose, E> {
        Ok(Loose(Value::Bool(value)))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Loose, E> {
        Ok(Loose(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Loose, E> {
        Ok(Loose(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Loose, E> {
        Ok(Loose(Number::from_f64(value).map_or(Value::Null, Value::Number)))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Loose, E> {
        Ok(Loose(value.into()))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Loose, E> {
        Ok(Loose(Value::String(value)))
    }

    fn visit_unit<E: Error>(self) -> Result<Loose, E> {
        Ok(Loose(Value::Null))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Loose, A::Error> {
        let mut all = Vec::new();
        while let Some(Loose(item)) = items.next_element()? {
            all.push(item);
        }
        Ok(Loose(Value::Array(all)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Loose, A::Error> {
        let mut all = Map::new();
        while let Some((name, Loose(value))) = fields.next_entry::<String, Loose>()? {
            match all.entry(name) {
                Entry::Vacant(place) => _ = place.insert(value),
                Entry::Occupied(mut place) if !says_nothing(&value) || breakage::is_on("empty-duplicate-counts") => {
                    place.insert(value);
                }
                Entry::Occupied(_) => {}
            }
        }
        Ok(Loose(Value::Object(all)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn it_is_read_as_serde_json_does_but_for_a_second_field_that_is_empty() {
        for text in [r#"{"a":[1,-2,3.5,null,true,"x",{"b":{}}]}"#, "[]", "7", "\"text\"", "null"] {
            let plain: Value = serde_json::from_str(text).expect("JSON");
            assert_eq!(parse_json(text.as_bytes()).expect("JSON"), plain);
        }
        let twice = br#"{"phone":"8916","phone":"","name":"A","name":"B","utm":{"a":"1"},"utm":[],"x":"","x":null}"#;
        let expected = json!({ "phone": "8916", "name": "B", "utm": { "a": "1" }, "x": "" });
        assert_eq!(parse_json(twice).expect("JSON"), expected);
        assert!(parse_json(b"{").is_err() && parse_json("[".repeat(10_000).as_bytes()).is_err());
    }
}
