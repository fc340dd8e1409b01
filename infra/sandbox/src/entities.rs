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
    state::{ACCOUNT, State as Account, USER},
    validate,
};

const MAX_ROWS: usize = 250;
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

pub fn rows_of(body: &[u8]) -> Result<Vec<Value>, Response> {
    let problem = |detail: &str| responses::problem(StatusCode::BAD_REQUEST, "Bad Request", detail);
    let rows: Vec<Value> = serde_json::from_slice(body).map_err(|_| problem("Request validation failed"))?;
    match rows.len() {
        0 => Err(problem("Request validation failed")),
        n if n > MAX_ROWS => Err(problem("Too many items in one request")),
        _ => Ok(rows),
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

fn refused(state: &Account, entity: &str, rows: &[Value], update: bool) -> Option<Response> {
    let errors: Vec<Value> =
        rows.iter().enumerate().filter_map(|(index, row)| validate::row(state, entity, row, index, update)).collect();
    (!errors.is_empty()).then(|| responses::invalid(errors))
}

fn insert(state: &mut Account, entity: &str, given: &Value) -> u64 {
    let id = state.id();
    let (host, now) = (state.host(), state.now());
    let mut row = Map::new();
    let number = |key: &str| given.get(key).and_then(Value::as_u64);
    row.insert("id".into(), id.into());
    let parts: Vec<&str> = ["first_name", "last_name"].iter().filter_map(|key| given.get(*key)?.as_str()).collect();
    let name = given.get("name").and_then(Value::as_str).map_or_else(|| parts.join(" "), str::to_owned);
    row.insert("name".into(), if name.is_empty() && entity == "leads" { format!("Сделка #{id}") } else { name }.into());
    if entity == "contacts" {
        for key in ["first_name", "last_name"] {
            row.insert(key.into(), given.get(key).cloned().unwrap_or_else(|| "".into()));
        }
    }
    for (key, value) in [
        ("responsible_user_id", number("responsible_user_id").unwrap_or(USER)),
        ("group_id", 0),
        ("created_by", number("created_by").unwrap_or(USER)),
        ("updated_by", number("updated_by").or(number("created_by")).unwrap_or(USER)),
        ("created_at", number("created_at").unwrap_or(now)),
        ("updated_at", number("updated_at").unwrap_or(now)),
        ("account_id", ACCOUNT),
    ] {
        row.insert(key.into(), value.into());
    }
    if entity == "leads" {
        let first = state.default_stage().unwrap_or_default();
        let pipeline = number("pipeline_id").unwrap_or(first.0);
        let opening = state.pipelines.iter().find(|known| known.id == pipeline);
        let opening =
            opening.and_then(|pipeline| pipeline.statuses.iter().find(|status| status.kind == 0)).map(|s| s.id);
        row.insert("price".into(), given.get("price").cloned().unwrap_or_else(|| 0.into()));
        row.insert("pipeline_id".into(), pipeline.into());
        row.insert("status_id".into(), number("status_id").or(opening).unwrap_or(first.1).into());
        row.insert("is_deleted".into(), false.into());
    }
    row.insert("custom_fields_values".into(), Value::Null);
    row.insert("_links".into(), json!({ "self": { "href": format!("{host}/api/v4/{entity}/{id}") } }));
    let contacts =
        given.get("_embedded").and_then(|embedded| embedded.get("contacts")).cloned().unwrap_or_else(|| json!([]));
    // A contact gets its company by a link, never at its creation.
    let companies = given.get("_embedded").and_then(|embedded| embedded.get("companies")).filter(|_| entity == "leads");
    let companies = companies.cloned().unwrap_or_else(|| json!([]));
    row.insert("_embedded".into(), json!({ "tags": [], "companies": companies, "contacts": contacts }));
    state.entities.entry(entity.to_owned()).or_default().insert(id, row);
    apply(state, entity, id, given);
    id
}

// Applies what POST and PATCH share: custom fields and tags.
fn apply(state: &mut Account, entity: &str, id: u64, given: &Value) {
    let fields = custom_fields(state, entity, given);
    let replace = given.get("_embedded").and_then(|embedded| embedded.get("tags")).and_then(Value::as_array).cloned();
    let add = given.get("tags_to_add").and_then(Value::as_array).cloned().unwrap_or_default();
    let delete = given.get("tags_to_delete").and_then(Value::as_array).cloned().unwrap_or_default();
    let mut named = |tags: &[Value]| -> Vec<Value> {
        tags.iter().filter_map(|tag| Some(state.tag(entity, tag.get("name")?.as_str()?))).collect()
    };
    let (replacing, adding) = (replace.as_deref().map(&mut named), named(&add));
    let Some(row) = state.entities.get_mut(entity).and_then(|all| all.get_mut(&id)) else { return };
    if let Some(tags) =
        row.get_mut("_embedded").and_then(|embedded| embedded.get_mut("tags")).and_then(Value::as_array_mut)
    {
        // `_embedded.tags` replaces all tags.
        if let Some(replacing) = replacing {
            *tags = replacing;
        }
        tags.retain(|tag| {
            !delete.iter().any(|gone| gone.get("name") == tag.get("name") || gone.get("id") == tag.get("id"))
        });
        for tag in adding {
            if !tags.iter().any(|known| known.get("id") == tag.get("id")) {
                tags.push(tag);
            }
        }
    }
    let known = row.entry("custom_fields_values").or_insert(Value::Null);
    for field in fields {
        let mut all = known.as_array().cloned().unwrap_or_default();
        all.retain(|other| other.get("field_id") != field.get("field_id"));
        if field.get("values").and_then(Value::as_array).is_some_and(|values| !values.is_empty()) {
            all.push(field);
        }
        *known = if all.is_empty() { Value::Null } else { Value::Array(all) };
    }
}

fn custom_fields(state: &Account, entity: &str, given: &Value) -> Vec<Value> {
    let fields = state.fields.get(entity).map_or(&[][..], Vec::as_slice);
    let given = given.get("custom_fields_values").and_then(Value::as_array).into_iter().flatten();
    given
        .filter_map(|value| {
            let by_id = value.get("field_id").and_then(Value::as_u64);
            let by_code = value.get("field_code").and_then(Value::as_str);
            let field = fields
                .iter()
                .find(|field| Some(field.id) == by_id || (by_id.is_none() && field.code.as_deref() == by_code))?;
            Some(json!({
                "field_id": field.id, "field_name": field.name, "field_code": field.code, "field_type": field.kind,
                "values": value.get("values").cloned().unwrap_or_else(|| json!([])),
            }))
        })
        .collect()
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

/// Changes rows without setting robots off. Returns the deals that came to another stage.
pub fn change_quietly(sandbox: &Sandbox, entity: &str, rows: &[Value]) -> (Response, Vec<u64>) {
    let mut state = sandbox.state();
    if let Some(refusal) = refused(&state, entity, rows, true) {
        return (refusal, vec![]);
    }
    let (host, now) = (state.host(), state.now());
    let (mut sent, mut changed, mut moved) = (Vec::new(), Vec::new(), Vec::new());
    for given in rows {
        let Some(id) = given.get("id").and_then(Value::as_u64) else { continue };
        let mut old_status = None;
        if let Some(row) = state.entities.get_mut(entity).and_then(|all| all.get_mut(&id)) {
            old_status = row.get("status_id").and_then(Value::as_u64);
            for key in ["name", "first_name", "last_name", "price", "status_id", "pipeline_id", "responsible_user_id"] {
                if let Some(value) = given.get(key) {
                    row.insert(key.into(), value.clone());
                }
            }
            row.insert("updated_by".into(), given.get("updated_by").cloned().unwrap_or_else(|| USER.into()));
            row.insert("updated_at".into(), given.get("updated_at").cloned().unwrap_or_else(|| now.into()));
        }
        apply(&mut state, entity, id, given);
        let status = given.get("status_id").and_then(Value::as_u64);
        let moves = entity == "leads" && status.is_some() && status != old_status;
        moved.extend(moves.then_some(id));
        sent.extend(hooks::change(&state, entity, id, if moves { "status" } else { "update" }));
        let name = state.entities.get(entity).and_then(|all| all.get(&id)?.get("name").cloned());
        changed.push(json!({
            "id": id, "name": name, "updated_at": now, "request_id": given.get("request_id"),
            "_links": { "self": { "href": format!("{host}/api/v4/{entity}/{id}") } },
        }));
    }
    sandbox.hooks.send(&mut state, sent);
    let links = json!({ "self": { "href": format!("{host}/api/v4/{entity}") } });
    (responses::hal(StatusCode::OK, &json!({ "_links": links, "_embedded": { entity: changed } })), moved)
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
