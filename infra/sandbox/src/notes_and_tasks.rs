//! Notes and tasks. Sources: amocrm.ru/developers/content/crm_platform/events-and-notes and …/tasks-api.

use std::collections::BTreeMap;

use axum::{
    body::Bytes,
    extract::{Path, RawQuery, State},
    response::Response,
};
use http::StatusCode;
use serde_json::{Value, json};

use crate::{
    Sandbox, responses,
    rows::rows_of,
    state::{State as Account, USER},
    validate,
};

const MAX_ROWS: usize = 250;

const NOTE: [(&str, &str); 3] =
    [("/entity_id", "entity_id"), ("/note_type", "note_type"), ("/params/text", "params.text")];
const TASK: [(&str, &str); 2] = [("/text", "text"), ("/complete_till", "complete_till")];

pub async fn notes(State(sandbox): State<Sandbox>, Path(entity): Path<String>, query: RawQuery) -> Response {
    let rows = sandbox.state().all(&format!("{entity}/notes"));
    page(rows, "notes", query)
}

pub async fn tasks(State(sandbox): State<Sandbox>, query: RawQuery) -> Response {
    let rows = sandbox.state().all("tasks");
    page(rows, "tasks", query)
}

fn page(mut rows: Vec<Value>, entity: &str, RawQuery(query): RawQuery) -> Response {
    let query = query.unwrap_or_default();
    let pairs: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let wanted: Vec<u64> = pairs
        .iter()
        .filter(|(key, _)| key.starts_with("filter[entity_id]"))
        .filter_map(|(_, value)| value.parse().ok())
        .collect();
    // These filters work without the paid add-on.
    let id = |row: &Value| row.get("entity_id").and_then(Value::as_u64);
    rows.retain(|row| wanted.is_empty() || id(row).is_some_and(|id| wanted.contains(&id)));
    let number = |name: &str, otherwise: usize| {
        let found = pairs.iter().find(|(key, _)| key == name);
        found.and_then(|(_, value)| value.parse().ok()).unwrap_or(otherwise).max(1)
    };
    let (page, limit) = (number("page", 1), number("limit", 50).min(MAX_ROWS));
    let shown: Vec<Value> = rows.into_iter().skip((page - 1) * limit).take(limit).collect();
    match shown.is_empty() {
        true => responses::nothing(),
        false => responses::hal(StatusCode::OK, &json!({ "_page": page, "_embedded": { entity: shown } })),
    }
}

pub async fn add_notes(State(sandbox): State<Sandbox>, Path(entity): Path<String>, body: Bytes) -> Response {
    add(&sandbox, &body, "notes", &format!("{entity}/notes"), &NOTE, |state, row| {
        let id = row.get("entity_id").and_then(Value::as_u64);
        let known = id.is_some_and(|id| state.entities.get(&entity).is_some_and(|all| all.contains_key(&id)));
        (!known).then_some("entity_id")
    })
}

pub async fn add_tasks(State(sandbox): State<Sandbox>, body: Bytes) -> Response {
    add(&sandbox, &body, "tasks", "tasks", &TASK, |state, row| {
        // A task may have no subject.
        let id = row.get("entity_id").and_then(Value::as_u64)?;
        let entity = row.get("entity_type").and_then(Value::as_str).unwrap_or("");
        let known = state.entities.get(entity).is_some_and(|all| all.contains_key(&id));
        (!known).then_some("entity_id")
    })
}

fn add(
    sandbox: &Sandbox,
    body: &[u8],
    name: &str,
    shelf: &str,
    needed: &[(&str, &str)],
    unknown: impl Fn(&Account, &Value) -> Option<&'static str>,
) -> Response {
    let rows = match rows_of(body) {
        Ok(rows) => rows,
        Err(refusal) => return refusal,
    };
    let mut state = sandbox.state();
    let error = |code: &str, path: &str, detail: &str| json!({ "code": code, "path": path, "detail": detail });
    let errors: Vec<Value> = rows
        .iter()
        .enumerate()
        .filter_map(|(index, row)| {
            let missing = needed.iter().find(|(pointer, _)| row.pointer(pointer).is_none());
            let error = match missing {
                Some((_, path)) => error("FieldMissing", path, "This field is missing."),
                None if row.get("complete_till").is_some_and(|value| !value.is_i64() && !value.is_u64()) => {
                    error("InvalidType", "complete_till", "This value should be of type int.")
                }
                None => {
                    error("NotSupportedChoice", unknown(&state, row)?, "The value you selected is not a valid choice.")
                }
            };
            Some(json!({ "request_id": validate::request_id(row, index), "errors": [error] }))
        })
        .collect();
    if !errors.is_empty() {
        return responses::invalid(errors);
    }
    let (mut made, now) = (Vec::new(), state.now());
    for (index, row) in rows.iter().enumerate() {
        let id = state.id();
        let mut kept = row.as_object().cloned().unwrap_or_default();
        let own = BTreeMap::from([("id", id), ("created_at", now), ("updated_at", now), ("responsible_user_id", USER)]);
        kept.extend(own.into_iter().map(|(key, value)| (key.to_owned(), value.into())));
        kept.remove("request_id");
        made.push(
            json!({ "id": id, "entity_id": row.get("entity_id"), "request_id": validate::request_id(row, index) }),
        );
        state.entities.entry(shelf.to_owned()).or_default().insert(id, kept);
    }
    responses::hal(StatusCode::OK, &json!({ "_embedded": { name: made } }))
}
