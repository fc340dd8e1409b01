//! Finds optional fields with a value of the wrong type. A reader skips them, so the reason has to name them.

use serde_json::Value;
use stagedoor_model::{Timestamp, breakage};

use crate::json::says_nothing;

/// The optional fields of a provider's objects, as JSON pointers without the first slash. `*` stands for any item of a
/// list. Absent and empty fields are allowed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Shape {
    /// Fields with a text or a number.
    pub texts: &'static [&'static str],
    /// Fields with a number, also in quotation marks.
    pub numbers: &'static [&'static str],
    /// Fields with an instant as RFC 3339, or a number.
    pub instants: &'static [&'static str],
    /// Fields with a list, or an object in its place.
    pub lists: &'static [&'static str],
    /// Fields with yes or no, as a boolean, a number or a text.
    pub flags: &'static [&'static str],
}

/// The names of the fields whose value is of the wrong type.
pub fn odd(value: &Value, shape: &Shape) -> Vec<String> {
    type Fits = fn(&Value) -> bool;
    let kinds: [(&[&str], Fits); 5] = [
        (shape.texts, |it| it.is_string() || it.is_number()),
        (shape.numbers, is_number),
        (shape.instants, is_instant),
        (shape.lists, |it| it.is_array() || it.is_object()),
        (shape.flags, |it| it.is_boolean() || it.is_number() || it.is_string()),
    ];
    if breakage::is_on("odd-field-unnamed") {
        return vec![];
    }
    let fields = kinds.into_iter().flat_map(|(places, fits)| places.iter().map(move |place| (*place, fits)));
    let is_odd = |(place, fits): &(&str, Fits)| {
        let parts: Vec<&str> = place.split('/').collect();
        any(value, &parts, &|it| !says_nothing(it) && !fits(it))
    };
    fields.filter(is_odd).map(|(place, _)| place.replace('/', ".")).collect()
}

fn is_number(value: &Value) -> bool {
    value.is_number() || value.as_str().is_some_and(|text| text.trim().parse::<f64>().is_ok_and(f64::is_finite))
}

fn is_instant(value: &Value) -> bool {
    is_number(value) || value.as_str().is_some_and(|text| text.trim().parse::<Timestamp>().is_ok())
}

/// True if `holds` is true for any value at this place.
fn any(value: &Value, parts: &[&str], holds: &dyn Fn(&Value) -> bool) -> bool {
    match (parts.split_first(), value) {
        (None, _) => holds(value),
        (Some((&"*", rest)), Value::Array(items)) => items.iter().any(|item| any(item, rest, holds)),
        // An object with several kinds of content, each with a field of that name.
        (Some((&"*", rest)), Value::Object(fields)) => {
            let is_deeper = |item: &&Value| rest.is_empty() || item.is_object();
            fields.values().filter(is_deeper).any(|item| any(item, rest, holds))
        }
        // A text or a number as the parent cannot have the field, so it is odd itself.
        (Some((part, rest)), Value::Object(fields)) => fields.get(*part).is_some_and(|inner| any(inner, rest, holds)),
        (Some(_), Value::Array(items)) => !items.is_empty(),
        (Some(_), other) => !says_nothing(other),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_there_or_says_nothing_is_fine_and_what_is_of_another_kind_is_named() {
        let shape = Shape {
            texts: &["tag", "user/name", "files/*/id"],
            numbers: &["at"],
            instants: &["when"],
            lists: &["files"],
            flags: &["seen"],
        };
        for fine in [
            json!({}),
            json!({ "tag": 7, "user": null, "files": [], "at": " 12 ", "when": "2027-01-01T00:00:00Z", "seen": "1" }),
            json!({ "tag": [], "user": { "name": {} }, "files": { "1": { "id": "a" } }, "at": "", "seen": 0 }),
        ] {
            assert_eq!(odd(&fine, &shape), Vec::<String>::new(), "{fine}");
        }
        let strange = json!({ "tag": { "a": 1 }, "user": "Анна", "files": [{ "id": "a" }, { "id": [1] }], "at": "soon",
            "when": "soon", "seen": [1] });
        let mut named = odd(&strange, &shape);
        named.sort();
        assert_eq!(named, ["at", "files.*.id", "seen", "tag", "user.name", "when"]);
    }
}
