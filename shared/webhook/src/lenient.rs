//! Reads JSON of a shape that others nearly keep: a number for a text, PHP's empty list for nothing. An odd field that could be
//! absent loses itself and nothing else.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use serde_path_to_error::Segment;
use stagedoor_model::breakage;

use crate::NotUnderstood;

/// Fields of one delivery that may be odd.
const MOST: usize = 32;

/// The value, and the names of the fields that were left out. `essential` are fields without which the rest would say something
/// else, such as refunds: nothing beneath them is left out.
///
/// # Errors
/// With the place of what has to be there, and is not or cannot be read.
pub fn lenient<T: DeserializeOwned>(value: &Value, essential: &[&str]) -> Result<(T, Vec<String>), NotUnderstood> {
    let (mut value, mut lost) = (value.clone(), Vec::new());
    for _ in 0..MOST {
        let error = match serde_path_to_error::deserialize(value.clone()) {
            Ok(read) => return Ok((read, lost)),
            Err(error) => error,
        };
        let path: Vec<Segment> = error.path().iter().cloned().collect();
        let told = error.inner().to_string();
        let missing = told.strip_prefix("missing field `").and_then(|rest| rest.split('`').next());
        let place = name(&path).into_iter().chain(missing.map(str::to_owned)).collect::<Vec<_>>().join(".");
        let shape = || NotUnderstood::new(format!("JSON of another shape: {place}"));
        let is_fixed = missing.is_some() || breakage::is_on("odd-field-loses-all");
        let (Some(last), false) = (path.last(), is_fixed) else { return Err(shape()) };
        let odd = at(&mut value, &path).ok_or_else(shape)?;
        if let Some(meant) = meant(odd, &told) {
            *odd = meant;
            continue;
        }
        // An empty list or object, and null, are PHP's and others' ways to say nothing.
        let says_nothing =
            odd.is_null() || odd.as_array().is_some_and(Vec::is_empty) || odd.as_object().is_some_and(Map::is_empty);
        let is_essential =
            path.iter().any(|one| matches!(one, Segment::Map { key } if essential.contains(&key.as_str())));
        if is_essential && !says_nothing {
            return Err(shape());
        }
        let around = path.get(..path.len() - 1).unwrap_or(&[]);
        match (at(&mut value, around).ok_or_else(shape)?, last) {
            (Value::Object(fields), Segment::Map { key }) => drop(fields.remove(key)),
            (Value::Array(items), Segment::Seq { index }) if *index < items.len() => drop(items.remove(*index)),
            _ => return Err(shape()),
        }
        if !says_nothing {
            lost.push(place);
        }
    }
    Err("JSON of another shape: too many odd fields".into())
}

fn at<'v>(value: &'v mut Value, path: &[Segment]) -> Option<&'v mut Value> {
    path.iter().try_fold(value, |place, segment| match segment {
        Segment::Map { key } => place.get_mut(key.as_str()),
        Segment::Seq { index } => place.get_mut(*index),
        _ => None,
    })
}

/// What was meant by a value of another type.
fn meant(value: &Value, told: &str) -> Option<Value> {
    let expects = |what: &str| told.contains(&format!("expected {what}"));
    match value {
        Value::Number(number) if expects("a string") => Some(Value::String(number.to_string())),
        Value::Number(number) if expects("a boolean") => number.as_i64().map(|number| Value::Bool(number != 0)),
        Value::String(text) if expects("a boolean") => match text.trim().to_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Some(Value::Bool(true)),
            "false" | "0" | "no" | "off" | "" => Some(Value::Bool(false)),
            _ => None,
        },
        Value::String(text) if expects("u") || expects("i") => text.trim().parse::<i64>().ok().map(Value::from),
        _ => None,
    }
}

/// The place in words, without what others wrote: a key that is no usual name is left out.
fn name(path: &[Segment]) -> Vec<String> {
    let usual = |key: &str| key.len() <= 40 && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    let part = |segment: &Segment| match segment {
        Segment::Map { key } if usual(key) => key.clone(),
        Segment::Seq { index } => index.to_string(),
        _ => "?".to_owned(),
    };
    path.iter().map(part).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    #[derive(Debug, PartialEq, serde::Deserialize)]
    struct Order {
        id: String,
        #[serde(default)]
        name: Option<String>,
        #[serde(default)]
        codes: Vec<String>,
        #[serde(default)]
        live: bool,
        #[serde(default)]
        count: u32,
        #[serde(default)]
        utm: BTreeMap<String, String>,
    }

    #[test]
    fn what_is_nearly_right_is_read_and_what_is_odd_loses_only_itself() {
        let odd = json!({ "id": 7, "name": { "first": "Анна" }, "codes": ["A", null, 5, {"x": 1}], "live": "1",
            "count": "12", "utm": [] });
        let (order, lost) = lenient::<Order>(&odd, &[]).expect("an order");
        let codes = vec!["A".to_owned(), "5".to_owned()];
        let expected = Order { id: "7".into(), name: None, codes, live: true, count: 12, utm: BTreeMap::new() };
        assert_eq!(order, expected);
        assert_eq!(lost, ["codes.2", "name"]);
    }

    #[test]
    fn what_has_to_be_there_is_named() {
        for (odd, place) in [(json!({}), "id"), (json!({ "id": {"Анна": 1} }), "id"), (json!("Анна"), "")] {
            let told = lenient::<Order>(&odd, &[]).expect_err("nothing");
            assert_eq!(told.reason, format!("JSON of another shape: {place}"));
        }
        let odd = json!({ "id": "7", "codes": [{"x": 1}] });
        assert_eq!(lenient::<Order>(&odd, &["codes"]).expect_err("nothing").reason, "JSON of another shape: codes.0");
        assert!(lenient::<Order>(&json!({ "id": "7", "codes": {} }), &["codes"]).is_ok());
    }
}
