//! Checks rows one by one, with the original's codes and dotted paths. One bad row fails the whole batch.

use serde_json::{Map, Value, json};

use crate::state::State;

const CHOICE: (&str, &str) = ("NotSupportedChoice", "The value you selected is not a valid choice.");
const MISSING: (&str, &str) = ("FieldMissing", "This field is missing.");

pub fn kind(name: &str) -> (&'static str, String) {
    ("InvalidType", format!("This value should be of type {name}."))
}

/// The row's `request_id`, or its index as a string.
pub fn request_id(row: &Value, index: usize) -> String {
    row.get("request_id").and_then(Value::as_str).map_or_else(|| index.to_string(), str::to_owned)
}

pub struct Errors(Vec<Value>);

impl Errors {
    fn add(&mut self, path: &str, (code, detail): (&str, &str)) {
        self.0.push(json!({ "code": code, "path": path, "detail": detail }));
    }

    fn of_type(&mut self, path: &str, name: &str) {
        let (code, detail) = kind(name);
        self.add(path, (code, &detail));
    }
}

/// The errors of one row, as an entry of `validation-errors`. `None` if the row is valid.
pub fn row(state: &State, entity: &str, row: &Value, index: usize, update: bool) -> Option<Value> {
    let mut errors = Errors(Vec::new());
    match row.as_object() {
        Some(object) => fields(state, entity, object, update, &mut errors),
        None => errors.of_type("", "object"),
    }
    (!errors.0.is_empty()).then(|| json!({ "request_id": request_id(row, index), "errors": errors.0 }))
}

fn fields(state: &State, entity: &str, row: &Map<String, Value>, update: bool, errors: &mut Errors) {
    if update {
        match row.get("id").map(Value::as_u64) {
            None => errors.add("id", MISSING),
            Some(None) => errors.of_type("id", "int"),
            Some(Some(id)) => {
                if !state.entities.get(entity).is_some_and(|all| all.contains_key(&id)) {
                    errors.add("id", CHOICE);
                }
            }
        }
    }
    for name in ["name", "first_name", "last_name"] {
        if row.get(name).is_some_and(|value| !value.is_string()) {
            errors.of_type(name, "string");
        }
    }
    for name in [
        "price",
        "responsible_user_id",
        "created_by",
        "updated_by",
        "created_at",
        "updated_at",
        "pipeline_id",
        "status_id",
    ] {
        if row.get(name).is_some_and(|value| !value.is_i64() && !value.is_u64()) {
            errors.of_type(name, "int");
        }
    }
    stage(state, row, errors);
    custom_fields(state, entity, row, errors);
    let contacts = row.get("_embedded").and_then(|embedded| embedded.get("contacts")).and_then(Value::as_array);
    for (n, contact) in contacts.into_iter().flatten().enumerate() {
        let known = contact
            .get("id")
            .and_then(Value::as_u64)
            .map(|id| state.entities.get("contacts").is_some_and(|all| all.contains_key(&id)));
        if known == Some(false) {
            errors.add(&format!("_embedded.contacts.{n}.id"), CHOICE);
        }
    }
    let companies = row.get("_embedded").and_then(|embedded| embedded.get("companies")).and_then(Value::as_array);
    for (n, company) in companies.into_iter().flatten().enumerate() {
        let id = company.get("id").and_then(Value::as_u64);
        if !id.is_some_and(|id| state.entities.get("companies").is_some_and(|all| all.contains_key(&id))) {
            errors.add(&format!("_embedded.companies.{n}.id"), CHOICE);
        }
    }
}

fn stage(state: &State, row: &Map<String, Value>, errors: &mut Errors) {
    let number = |key: &str| row.get(key).and_then(Value::as_u64);
    let pipeline = number("pipeline_id").map(|id| (id, state.pipelines.iter().find(|pipeline| pipeline.id == id)));
    if let Some((_, None)) = pipeline {
        errors.add("pipeline_id", CHOICE);
    }
    if let Some(status) = number("status_id") {
        let within = |pipeline: &crate::state::Pipeline| pipeline.statuses.iter().any(|known| known.id == status);
        let fits = match pipeline {
            Some((_, Some(pipeline))) => within(pipeline),
            Some((_, None)) => true,
            None => state.pipelines.iter().any(within),
        };
        if !fits {
            errors.add("status_id", CHOICE);
        }
    }
}

fn custom_fields(state: &State, entity: &str, row: &Map<String, Value>, errors: &mut Errors) {
    let Some(given) = row.get("custom_fields_values").filter(|value| !value.is_null()) else { return };
    let Some(given) = given.as_array() else { return errors.of_type("custom_fields_values", "array") };
    let known = state.fields.get(entity).map_or(&[][..], Vec::as_slice);
    for (n, value) in given.iter().enumerate() {
        let at = format!("custom_fields_values.{n}");
        let by_id = value.get("field_id").and_then(Value::as_u64);
        let by_code = value.get("field_code").and_then(Value::as_str);
        let field = known.iter().find(|field| match by_id {
            Some(id) => field.id == id,
            None => by_code.is_some() && field.code.as_deref() == by_code,
        });
        let Some(field) = field else {
            errors.add(&format!("{at}.{}", if by_id.is_some() { "field_id" } else { "field_code" }), CHOICE);
            continue;
        };
        let Some(values) = value.get("values").filter(|values| !values.is_null()) else {
            errors.add(&format!("{at}.values"), MISSING);
            continue;
        };
        for (k, value) in values.as_array().into_iter().flatten().enumerate() {
            let at = format!("{at}.values.{k}");
            one_value(&field.kind, field.code.as_deref(), value, &at, errors);
        }
    }
}

fn one_value(field: &str, code: Option<&str>, given: &Value, at: &str, errors: &mut Errors) {
    let value = given.get("value").unwrap_or(&Value::Null);
    let path = format!("{at}.value");
    match field {
        "text" | "textarea" | "url" | "multitext" | "tracking_data" if !value.is_string() => {
            errors.of_type(&path, "string")
        }
        "numeric" if !value.is_number() && value.as_str().is_none_or(|text| text.parse::<f64>().is_err()) => {
            errors.of_type(&path, "numeric");
        }
        "date" | "date_time" if !value.is_i64() && !value.is_u64() && !value.is_string() => {
            errors.of_type(&path, "int")
        }
        "checkbox" if !value.is_boolean() => errors.of_type(&path, "bool"),
        _ => {}
    }
    let codes: &[&str] = match code {
        Some("PHONE") => &["WORK", "WORKDD", "MOB", "FAX", "HOME", "OTHER"],
        Some("EMAIL") => &["WORK", "PRIV", "OTHER"],
        _ => return,
    };
    if given.get("enum_code").and_then(Value::as_str).is_some_and(|code| !codes.contains(&code)) {
        errors.add(&format!("{at}.enum_code"), CHOICE);
    }
}
