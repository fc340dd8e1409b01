//! Reads JSON that nearly has the expected shape: a number for a text, or PHP's empty list for nothing. If an optional
//! field is odd, only that field is left out.

use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::Segment;
use stagedoor_model::breakage;

use crate::{NotUnderstood, json::says_nothing};

/// The largest number of kinds of oddity in one delivery. A kind that all rows of a list share counts once.
const MOST: usize = 64;

/// Reads a value, and returns it with the names of the fields that were left out.
///
/// `essential` names fields without which the rest would mean something else, such as refunds. Nothing below them is
/// left out. `tickets[]` names a list whose items are essential, though optional fields in them are not: no item is
/// left out.
///
/// # Errors
/// The place of a required field that is absent or cannot be read.
pub fn lenient<T: DeserializeOwned>(value: &Value, essential: &[&str]) -> Result<(T, Vec<String>), NotUnderstood> {
    let (mut value, mut lost) = (value.clone(), Vec::<String>::new());
    for _ in 0..MOST {
        let error = match serde_path_to_error::deserialize(&value) {
            Ok(read) => return Ok((read, lost)),
            Err(error) => error,
        };
        let path: Vec<Segment> = error.path().iter().cloned().collect();
        let told = error.inner().to_string();
        let missing = told.strip_prefix("missing field `").and_then(|rest| rest.split('`').next());
        let place = name(&path).into_iter().chain(missing.map(str::to_owned)).collect::<Vec<_>>().join(".");
        // A missing field may have been left out before because of its shape.
        let first = lost.iter().find(|one| one.strip_prefix(&place).is_some_and(|rest| rest.starts_with('.')));
        let shape = || NotUnderstood::new(format!("JSON of another shape: {}", first.unwrap_or(&place)));
        let Some((last, around)) = path.split_last() else { return Err(shape()) };
        // An item of a list is not removed because a field is missing in it.
        let is_fixed = missing.is_some() && !matches!(last, Segment::Map { .. });
        if is_fixed || breakage::is_on("odd-field-loses-all") {
            return Err(shape());
        }
        let odd = at(&mut value, &path).ok_or_else(shape)?;
        if let Some(meant) = meant(odd, &told) {
            *odd = meant;
            each(&mut value, &path, &mut |place| {
                if let Some(meant) = self::meant(place, &told).filter(|_| !breakage::is_on("oddity-of-one-row")) {
                    *place = meant;
                }
            });
            continue;
        }
        let is_nothing = says_nothing(odd);
        let is_essential =
            path.iter().any(|one| matches!(one, Segment::Map { key } if essential.contains(&key.as_str())));
        if is_essential && !is_nothing || is_essential_item(&path, essential) {
            return Err(shape());
        }
        match (at(&mut value, around).ok_or_else(shape)?, last) {
            (Value::Object(fields), Segment::Map { key }) => drop(fields.remove(key)),
            (Value::Array(items), Segment::Seq { index }) if *index < items.len() => drop(items.remove(*index)),
            _ => return Err(shape()),
        }
        if is_nothing {
            // All rows leave the field empty in the same way.
            if let Segment::Map { key } = last {
                each(&mut value, around, &mut |row| match row {
                    Value::Object(fields) if fields.get(key).is_some_and(says_nothing) => drop(fields.remove(key)),
                    _ => {}
                });
            }
        } else {
            lost.push(place);
        }
    }
    Err("JSON of another shape: too many odd fields".into())
}

/// An empty item of an essential list may have been a full one, so it is essential, too.
fn is_essential_item(path: &[Segment], essential: &[&str]) -> bool {
    let [.., Segment::Map { key }, Segment::Seq { .. }] = path else { return false };
    let is_named = |field: &&str| field.strip_suffix("[]").unwrap_or(field) == key;
    essential.iter().any(is_named) && !breakage::is_on("odd-ticket-left-out")
}

fn at<'v>(value: &'v mut Value, path: &[Segment]) -> Option<&'v mut Value> {
    path.iter().try_fold(value, |place, segment| match segment {
        Segment::Map { key } => place.get_mut(key.as_str()),
        Segment::Seq { index } => place.get_mut(*index),
        _ => None,
    })
}

/// Calls `change` at every place of this path, in all rows of the lists on the way.
fn each(value: &mut Value, path: &[Segment], change: &mut dyn FnMut(&mut Value)) {
    match path.split_first() {
        None => change(value),
        Some((Segment::Map { key }, rest)) => {
            if let Some(inner) = value.get_mut(key.as_str()) {
                each(inner, rest, change);
            }
        }
        Some((Segment::Seq { .. }, rest)) => {
            value.as_array_mut().into_iter().flatten().for_each(|item| each(item, rest, change));
        }
        Some(_) => {}
    }
}

/// The value of the expected type that the sender meant.
fn meant(value: &Value, told: &str) -> Option<Value> {
    let expects = |what: &str| told.contains(&format!("expected {what}"));
    let expects_number = ["u8", "u16", "u32", "u64", "i32", "i64", "usize"].iter().any(|kind| expects(kind));
    match value {
        Value::Number(number) if expects("a string") => Some(Value::String(number.to_string())),
        Value::Number(number) if expects("a boolean") => number.as_i64().map(|number| Value::Bool(number != 0)),
        // A whole number that became a float on its way.
        Value::Number(number) if expects_number => number
            .as_f64()
            .filter(|float| float.fract() == 0.0 && float.abs() < 1e15)
            .map(|float| (float as i64).into()),
        Value::String(text) if expects("a boolean") => match text.trim().to_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Some(Value::Bool(true)),
            "false" | "0" | "no" | "off" | "" => Some(Value::Bool(false)),
            _ => None,
        },
        Value::String(text) if expects_number => {
            let text = text.trim();
            text.parse::<u64>().map(Value::from).or_else(|_| text.parse::<i64>().map(Value::from)).ok()
        }
        // A list of PHP that lost an item, or that counts from one.
        Value::Object(fields) if expects("a sequence") => {
            let is_list = !fields.is_empty() && fields.keys().all(|key| key.bytes().all(|byte| byte.is_ascii_digit()));
            let mut items: Vec<(&String, &Value)> = fields.iter().collect();
            items.sort_by_key(|(key, _)| (key.len(), *key));
            is_list.then(|| Value::Array(items.into_iter().map(|(_, item)| item.clone()).collect()))
        }
        _ => None,
    }
}

/// The place in words. Unusual keys are left out, because the sender may have written personal data there.
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

    #[derive(Debug, Default, PartialEq, serde::Deserialize)]
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
        #[serde(default)]
        rows: Vec<Row>,
        #[serde(default)]
        user: Option<Row>,
    }

    #[derive(Debug, Default, PartialEq, serde::Deserialize)]
    struct Row {
        id: String,
        #[serde(default)]
        note: Option<String>,
    }

    #[test]
    fn what_is_nearly_right_is_read_and_what_is_odd_loses_only_itself() {
        let odd = json!({ "id": 7, "name": { "first": "Анна" }, "codes": ["A", null, 5, {"x": 1}], "live": "1",
            "count": "12", "utm": [], "user": { "id": ["x"] } });
        let (order, lost) = lenient::<Order>(&odd, &[]).expect("an order");
        let codes = vec!["A".to_owned(), "5".to_owned()];
        let expected = Order { id: "7".into(), codes, live: true, count: 12, ..Order::default() };
        assert_eq!(order, expected);
        assert_eq!(lost, ["codes.2", "name", "user.id"]);
        let floats = json!({ "id": 1, "count": 12.0, "codes": { "1": "A", "3": "B" } });
        let (order, lost) = lenient::<Order>(&floats, &[]).expect("an order");
        assert_eq!((order.count, order.codes.len()), (12, 2));
        assert!(lost.is_empty());
    }

    #[test]
    fn what_all_rows_do_is_one_oddity() {
        let rows: Vec<_> = (0..500).map(|n| json!({ "id": n, "note": [] })).collect();
        let (order, lost) = lenient::<Order>(&json!({ "id": 1, "rows": rows }), &["rows"]).expect("an order");
        assert_eq!((order.rows.len(), lost.len()), (500, 0));
    }

    #[test]
    fn an_item_that_is_essential_is_never_left_out() {
        for odd in [json!(null), json!([]), json!("2"), json!({}), json!([{ "id": 2 }])] {
            for essential in ["rows[]", "rows"] {
                let told = json!({ "id": 1, "rows": [{ "id": 1 }, odd] });
                assert!(lenient::<Order>(&told, &[essential]).is_err(), "{odd}");
            }
        }
        let told = json!({ "id": 1, "rows": [{ "id": 1, "note": { "x": 1 } }] });
        let (order, lost) = lenient::<Order>(&told, &["rows[]"]).expect("an order");
        assert_eq!((order.rows.len(), lost), (1, vec!["rows.0.note".to_owned()]));
    }

    #[test]
    fn what_has_to_be_there_is_named() {
        for (odd, place) in [
            (json!({}), "id"),
            (json!({ "id": {"Анна": 1} }), "id"),
            (json!("Анна"), ""),
            (json!({ "id": 1, "rows": [{ "id": 1 }, { "note": "x" }] }), "rows.1.id"),
        ] {
            let told = lenient::<Order>(&odd, &[]).expect_err("nothing");
            assert_eq!(told.reason, format!("JSON of another shape: {place}"));
        }
        let odd = json!({ "id": "7", "codes": [{"x": 1}] });
        assert_eq!(lenient::<Order>(&odd, &["codes"]).expect_err("nothing").reason, "JSON of another shape: codes.0");
        assert!(lenient::<Order>(&json!({ "id": "7", "codes": {} }), &["codes"]).is_ok());
    }
}
