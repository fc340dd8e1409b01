//! Links between rows: a lead and its contacts, one of which is the main contact.

use std::collections::BTreeMap;

use axum::{
    body::Bytes,
    extract::{Path, RawQuery, State},
    response::Response,
};
use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::{Sandbox, responses, rows::rows_of, state::State as Account, validate};

/// The contacts of a lead, each with true if it is the main contact.
fn contacts_of(lead: &Map<String, Value>) -> Vec<(u64, bool)> {
    let contacts = lead.get("_embedded").and_then(|embedded| embedded.get("contacts")?.as_array());
    let one = |contact: &Value| {
        Some((contact.get("id")?.as_u64()?, contact.get("is_main").and_then(Value::as_bool).unwrap_or(false)))
    };
    contacts.into_iter().flatten().filter_map(one).collect()
}

pub fn leads_of(state: &Account, contact: u64) -> Vec<u64> {
    let leads = state.entities.get("leads").into_iter().flat_map(BTreeMap::iter);
    leads.filter(|(_, lead)| contacts_of(lead).iter().any(|(id, _)| *id == contact)).map(|(id, _)| *id).collect()
}

/// The links of a row. The answer calls the main contact `main_contact`, whatever name the request used.
fn of_entity(state: &Account, entity: &str, id: u64) -> Vec<Value> {
    let leads = state.entities.get("leads").into_iter().flat_map(BTreeMap::iter);
    let link = |to: u64, kind: &str, metadata: Value| {
        json!({
            "entity_id": id, "entity_type": entity, "to_entity_id": to, "to_entity_type": kind, "metadata": metadata,
        })
    };
    match entity {
        "contacts" => leads_of(state, id).into_iter().map(|lead| link(lead, "leads", Value::Null)).collect(),
        _ => leads
            .filter(|(lead, _)| **lead == id)
            .flat_map(|(_, lead)| contacts_of(lead))
            .filter(|(contact, _)| state.there("contacts", *contact))
            .map(|(contact, main)| link(contact, "contacts", json!({ "main_contact": main })))
            .collect(),
    }
}

fn answer(found: &[Value]) -> Response {
    match found.is_empty() {
        true => responses::nothing(),
        false => {
            responses::hal(StatusCode::OK, &json!({ "_total_items": found.len(), "_embedded": { "links": found } }))
        }
    }
}

pub async fn links(State(sandbox): State<Sandbox>, Path((entity, id)): Path<(String, u64)>) -> Response {
    answer(&of_entity(&sandbox.state(), &entity, id))
}

/// `GET /{entity}/links?filter[entity_id][]=`.
pub async fn links_of_many(
    State(sandbox): State<Sandbox>,
    Path(entity): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    let query = query.unwrap_or_default();
    let ids: Vec<u64> = url::form_urlencoded::parse(query.as_bytes())
        .filter(|(key, _)| key.starts_with("filter[entity_id]"))
        .filter_map(|(_, value)| value.parse().ok())
        .collect();
    if ids.is_empty() {
        return responses::problem(StatusCode::BAD_REQUEST, "Bad Request", "Request validation failed");
    }
    let state = sandbox.state();
    let found: Vec<Value> = ids.into_iter().flat_map(|id| of_entity(&state, &entity, id)).collect();
    answer(&found)
}

pub async fn link(State(sandbox): State<Sandbox>, Path((entity, id)): Path<(String, u64)>, body: Bytes) -> Response {
    connect(&sandbox, &entity, Some(id), &body)
}

/// `POST /{entity}/link`. Each row names its `entity_id`.
pub async fn link_many(State(sandbox): State<Sandbox>, Path(entity): Path<String>, body: Bytes) -> Response {
    connect(&sandbox, &entity, None, &body)
}

/// `POST /{entity}/unlink`. Each row names its `entity_id`. Answers with 204, also for a link that does not exist.
pub async fn unlink_many(State(sandbox): State<Sandbox>, Path(entity): Path<String>, body: Bytes) -> Response {
    let rows = match rows_of(&body) {
        Ok(rows) => rows,
        Err(refusal) => return refusal,
    };
    let mut state = sandbox.state();
    for row in &rows {
        let number = |key: &str| row.get(key).and_then(Value::as_u64);
        let (Some(from), Some(to)) = (number("entity_id"), number("to_entity_id")) else { continue };
        let (lead, contact) = if entity == "leads" { (from, to) } else { (to, from) };
        let lead = state.entities.get_mut("leads").and_then(|all| all.get_mut(&lead));
        let contacts = lead.and_then(|lead| lead.get_mut("_embedded")?.get_mut("contacts")?.as_array_mut());
        if let Some(contacts) = contacts {
            contacts.retain(|known| known.get("id").and_then(Value::as_u64) != Some(contact));
        }
    }
    responses::nothing()
}

fn connect(sandbox: &Sandbox, entity: &str, id: Option<u64>, body: &[u8]) -> Response {
    let rows = match rows_of(body) {
        Ok(rows) => rows,
        Err(refusal) => return refusal,
    };
    let to_company = |row: &Value| row.get("to_entity_type").and_then(Value::as_str) == Some("companies");
    if rows.iter().all(to_company) {
        return on_companies(sandbox, entity, id, &rows);
    }
    let mut state = sandbox.state();
    let number = |row: &Value, key: &str| row.get(key).and_then(Value::as_u64);
    let pair = |row: &Value| {
        let (from, to) = (id.or_else(|| number(row, "entity_id"))?, number(row, "to_entity_id")?);
        Some(if entity == "leads" { (from, to) } else { (to, from) })
    };
    let exists =
        |state: &Account, entity: &str, id: u64| state.entities.get(entity).is_some_and(|all| all.contains_key(&id));
    let errors: Vec<Value> = rows
        .iter()
        .enumerate()
        .filter(|(_, row)| {
            pair(row).is_none_or(|(lead, contact)| !exists(&state, "leads", lead) || !exists(&state, "contacts", contact))
        })
        .map(|(index, row)| {
            let error = json!({ "code": "NotSupportedChoice", "path": "to_entity_id", "detail": "The value you selected is not a valid choice." });
            json!({ "request_id": validate::request_id(row, index), "errors": [error] })
        })
        .collect();
    if !errors.is_empty() {
        return responses::invalid(errors);
    }
    for row in &rows {
        let Some((lead, contact)) = pair(row) else { continue };
        let main = row.pointer("/metadata/is_main").and_then(Value::as_bool).unwrap_or(false);
        let lead = state.entities.get_mut("leads").and_then(|all| all.get_mut(&lead));
        let contacts = lead.and_then(|lead| lead.get_mut("_embedded")?.get_mut("contacts")?.as_array_mut());
        let Some(contacts) = contacts else { continue };
        contacts.retain(|known| known.get("id").and_then(Value::as_u64) != Some(contact));
        if main {
            // A lead has one main contact.
            contacts
                .iter_mut()
                .filter_map(Value::as_object_mut)
                .for_each(|known| _ = known.insert("is_main".into(), false.into()));
        }
        contacts.push(json!({ "id": contact, "is_main": main }));
    }
    responses::hal(StatusCode::OK, &json!({ "_total_items": rows.len(), "_embedded": { "links": rows } }))
}

/// A lead and a contact have at most one company.
fn on_companies(sandbox: &Sandbox, entity: &str, id: Option<u64>, rows: &[Value]) -> Response {
    let mut state = sandbox.state();
    let pair = |row: &Value| {
        let number = |key: &str| row.get(key).and_then(Value::as_u64);
        Some((id.or_else(|| number("entity_id"))?, number("to_entity_id")?))
    };
    let there = |entity: &str, id: u64| state.entities.get(entity).is_some_and(|all| all.contains_key(&id));
    let wrong = |row: &Value| pair(row).is_none_or(|(from, to)| !there(entity, from) || !there("companies", to));
    let errors: Vec<Value> = rows
        .iter()
        .enumerate()
        .filter(|(_, row)| wrong(row))
        .map(|(index, row)| {
            let error = json!({ "code": "NotSupportedChoice", "path": "to_entity_id", "detail": "The value you selected is not a valid choice." });
            json!({ "request_id": validate::request_id(row, index), "errors": [error] })
        })
        .collect();
    if !errors.is_empty() {
        return responses::invalid(errors);
    }
    for (from, to) in rows.iter().filter_map(pair) {
        let row = state.entities.get_mut(entity).and_then(|all| all.get_mut(&from));
        if let Some(embedded) = row.and_then(|row| row.get_mut("_embedded")?.as_object_mut()) {
            embedded.insert("companies".into(), json!([{ "id": to }]));
        }
    }
    responses::hal(StatusCode::OK, &json!({ "_total_items": rows.len(), "_embedded": { "links": rows } }))
}
