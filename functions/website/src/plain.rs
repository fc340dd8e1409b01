use serde_json::Value;

/// The text of a value. The texts of a list (`topic[]=a&topic[]=b`) are joined with commas.
pub fn plain(value: &Value) -> Option<String> {
    let together = |items: Vec<String>| Some(items.join(", ")).filter(|text| !text.is_empty());
    match value {
        Value::String(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
        Value::Number(number) => Some(number.to_string()),
        Value::Array(items) => together(items.iter().filter(|item| !item.is_array()).filter_map(plain).collect()),
        Value::Object(fields) if fields.keys().all(|key| key.parse::<usize>().is_ok()) => {
            together(fields.values().filter(|item| !item.is_object()).filter_map(plain).collect())
        }
        _ => None,
    }
}
