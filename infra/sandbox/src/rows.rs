//! Rows of contacts, leads and companies: what a body holds, and how it changes the account.

use axum::response::Response;
use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::{
    Sandbox, hooks, responses,
    state::{ACCOUNT, State as Account, USER},
    validate,
};

pub const MAX_ROWS: usize = 250;

pub fn rows_of(body: &[u8]) -> Result<Vec<Value>, Response> {
    let problem = |detail: &str| responses::problem(StatusCode::BAD_REQUEST, "Bad Request", detail);
    let rows: Vec<Value> = serde_json::from_slice(body).map_err(|_| problem("Request validation failed"))?;
    match rows.len() {
        0 => Err(problem("Request validation failed")),
        n if n > MAX_ROWS => Err(problem("Too many items in one request")),
        _ => Ok(rows),
    }
}

pub fn refused(state: &Account, entity: &str, rows: &[Value], update: bool) -> Option<Response> {
    let errors: Vec<Value> =
        rows.iter().enumerate().filter_map(|(index, row)| validate::row(state, entity, row, index, update)).collect();
    (!errors.is_empty()).then(|| responses::invalid(errors))
}

pub fn insert(state: &mut Account, entity: &str, given: &Value) -> u64 {
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
