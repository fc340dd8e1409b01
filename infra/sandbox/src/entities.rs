//! Contacts, leads and companies: lists, creation, change, links and notes.

use std::collections::BTreeMap;

use axum::{
    body::Bytes,
    extract::{Path, Query, RawQuery, State},
    response::Response,
};
use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::{
    Sandbox, hooks, links, responses, robots,
    rows::{MAX_ROWS, change_quietly, insert, refused, rows_of},
    state::State as Account,
    validate,
};

const MAX_COMPLEX: usize = 50;

fn is_entity(entity: &str) -> bool {
    matches!(entity, "contacts" | "leads" | "companies")
}

pub async fn list(State(sandbox): State<Sandbox>, Path(entity): Path<String>, RawQuery(query): RawQuery) -> Response {
    if !is_entity(&entity) {
        return responses::not_found().await;
    }
    let query: BTreeMap<String, String> =
        url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect();
    let number =
        |key: &str, default: usize| query.get(key).and_then(|text| text.parse().ok()).unwrap_or(default).max(1);
    let (page, limit) = (number("page", 1), number("limit", 50).min(MAX_ROWS));
    let state = sandbox.state();
    let mut rows: Vec<&Map<String, Value>> =
        state.entities.get(&entity).into_iter().flat_map(BTreeMap::values).collect();
    if let Some(words) = query.get("query").filter(|words| !words.is_empty()) {
        let words = words.to_lowercase();
        rows.retain(|row| says(row, &words));
    }
    // Without the paid add-on, amoCRM ignores filters and returns all rows.
    if state.seed.filters {
        let wanted: Vec<u64> =
            query.iter().filter(|(key, _)| key.starts_with("filter[id]")).filter_map(|(_, v)| v.parse().ok()).collect();
        rows.retain(|row| {
            wanted.is_empty() || row.get("id").and_then(Value::as_u64).is_some_and(|id| wanted.contains(&id))
        });
    }
    for key in ["id", "updated_at", "created_at"] {
        match query.get(&format!("order[{key}]")).map(String::as_str) {
            Some("desc") => rows.sort_by_key(|row| std::cmp::Reverse(row.get(key).and_then(Value::as_u64))),
            Some(_) => rows.sort_by_key(|row| row.get(key).and_then(Value::as_u64)),
            None => {}
        }
    }
    let with = query.get("with").map_or("", String::as_str);
    let shown: Vec<Value> =
        rows.iter().skip((page - 1) * limit).take(limit).map(|row| with_parts(&state, &entity, row, with)).collect();
    if shown.is_empty() {
        return responses::nothing();
    }
    let path = format!("{}/api/v4/{entity}?limit={limit}", state.host());
    let mut links = Map::from_iter([("self".to_owned(), json!({ "href": format!("{path}&page={page}") }))]);
    if rows.len() > page * limit {
        links.insert("next".into(), json!({ "href": format!("{path}&page={}", page + 1) }));
    }
    responses::hal(StatusCode::OK, &json!({ "_page": page, "_links": links, "_embedded": { entity: shown } }))
}

fn says(row: &Map<String, Value>, words: &str) -> bool {
    fn any(value: &Value, words: &str) -> bool {
        match value {
            Value::String(text) => text.to_lowercase().contains(words),
            Value::Array(items) => items.iter().any(|item| any(item, words)),
            Value::Object(map) => {
                map.get("value").is_some_and(|v| any(v, words)) || map.get("values").is_some_and(|v| any(v, words))
            }
            _ => false,
        }
    }
    ["name", "custom_fields_values"].iter().any(|key| row.get(*key).is_some_and(|value| any(value, words)))
}

/// A row with its parts. A lead's contacts and a contact's leads come only if `with` asks for them. Unknown names in
/// `with` are ignored.
fn with_parts(state: &Account, entity: &str, row: &Map<String, Value>, with: &str) -> Value {
    let mut row = row.clone();
    let asked = |name: &str| with.split(',').any(|part| part.trim() == name);
    let id = row.get("id").and_then(Value::as_u64).unwrap_or(0);
    if let Some(embedded) = row.get_mut("_embedded").and_then(Value::as_object_mut) {
        for other in ["contacts", "companies"] {
            // Rows in the bin are not shown.
            if let Some(all) = embedded.get_mut(other).and_then(Value::as_array_mut) {
                all.retain(|one| one.get("id").and_then(Value::as_u64).is_some_and(|id| state.there(other, id)));
            }
        }
        if !asked("contacts") {
            embedded.remove("contacts");
        }
        if entity == "contacts" && asked("leads") {
            embedded
                .insert("leads".into(), links::leads_of(state, id).into_iter().map(|id| json!({ "id": id })).collect());
        }
    }
    Value::Object(row)
}

pub async fn one(
    State(sandbox): State<Sandbox>,
    Path((entity, id)): Path<(String, u64)>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    let state = sandbox.state();
    let with = query.get("with").map_or("", String::as_str);
    match state.entities.get(&entity).and_then(|all| all.get(&id)) {
        Some(row) => responses::hal(StatusCode::OK, &with_parts(&state, &entity, row, with)),
        // amoCRM answers a missing id with 204, not with 404.
        None => responses::nothing(),
    }
}

pub async fn create(State(sandbox): State<Sandbox>, Path(entity): Path<String>, body: Bytes) -> Response {
    if !is_entity(&entity) {
        return responses::not_found().await;
    }
    let rows = match rows_of(&body) {
        Ok(rows) => rows,
        Err(refusal) => return refusal,
    };
    add(&sandbox, &entity, &rows)
}

pub fn add(sandbox: &Sandbox, entity: &str, rows: &[Value]) -> Response {
    let mut state = sandbox.state();
    if let Some(refusal) = refused(&state, entity, rows, false) {
        return refusal;
    }
    let host = state.host();
    let mut sent = Vec::new();
    let mut made = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        let id = insert(&mut state, entity, row);
        sent.extend(hooks::change(&state, entity, id, "add"));
        let link = json!({ "self": { "href": format!("{host}/api/v4/{entity}/{id}") } });
        made.push(json!({ "id": id, "request_id": validate::request_id(row, index), "_links": link }));
    }
    sandbox.hooks.send(&mut state, sent);
    let ids: Vec<u64> = made.iter().filter_map(|row| row.get("id")?.as_u64()).collect();
    drop(state);
    if entity == "leads" {
        robots::stir(sandbox, &ids);
    }
    let links = json!({ "self": { "href": format!("{host}/api/v4/{entity}") } });
    responses::hal(StatusCode::OK, &json!({ "_links": links, "_embedded": { entity: made } }))
}

pub async fn update(State(sandbox): State<Sandbox>, Path(entity): Path<String>, body: Bytes) -> Response {
    match rows_of(&body) {
        Ok(rows) if is_entity(&entity) => change(&sandbox, &entity, &rows),
        Ok(_) => responses::not_found().await,
        Err(refusal) => refusal,
    }
}

pub async fn update_one(
    State(sandbox): State<Sandbox>,
    Path((entity, id)): Path<(String, u64)>,
    body: Bytes,
) -> Response {
    let mut row: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    match row.as_object_mut() {
        Some(object) => _ = object.insert("id".into(), id.into()),
        None => return responses::problem(StatusCode::BAD_REQUEST, "Bad Request", "Request validation failed"),
    }
    change(&sandbox, &entity, &[row])
}

pub fn change(sandbox: &Sandbox, entity: &str, rows: &[Value]) -> Response {
    let (answer, moved) = change_quietly(sandbox, entity, rows);
    robots::stir(sandbox, &moved);
    answer
}

pub async fn complex(State(sandbox): State<Sandbox>, body: Bytes) -> Response {
    let rows = match rows_of(&body) {
        Ok(rows) => rows,
        Err(refusal) => return refusal,
    };
    if rows.len() > MAX_COMPLEX {
        return responses::problem(StatusCode::BAD_REQUEST, "Bad Request", "Too many items in one request");
    }
    let mut state = sandbox.state();
    if let Some(refusal) = refused(&state, "leads", &rows, false) {
        return refusal;
    }
    let (mut sent, mut made) = (Vec::new(), Vec::new());
    for (index, row) in rows.iter().enumerate() {
        let given = row.get("_embedded").and_then(|embedded| embedded.get("contacts")?.get(0)).cloned();
        let contact = given.map(|contact| match contact.get("id").and_then(Value::as_u64) {
            Some(id) => id,
            None => {
                let id = insert(&mut state, "contacts", &contact);
                sent.extend(hooks::change(&state, "contacts", id, "add"));
                id
            }
        });
        let mut lead = row.clone();
        if let (Some(lead), Some(id)) = (lead.as_object_mut(), contact) {
            lead.insert("_embedded".into(), json!({ "contacts": [{ "id": id, "is_main": true }] }));
        }
        let id = insert(&mut state, "leads", &lead);
        sent.extend(hooks::change(&state, "leads", id, "add"));
        made.push(json!({
            "id": id, "contact_id": contact, "company_id": null, "request_id": [validate::request_id(row, index)], "merged": false,
        }));
    }
    sandbox.hooks.send(&mut state, sent);
    responses::hal(StatusCode::OK, &Value::Array(made))
}
