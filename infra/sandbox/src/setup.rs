//! The account itself, its pipelines, fields and tags.

use std::collections::BTreeMap;

use axum::{
    body::Bytes,
    extract::{Path, Query, State},
    response::Response,
};
use http::StatusCode;
use serde_json::{Value, json};

use crate::{
    Sandbox, responses,
    state::{ACCOUNT, Field, Pipeline, USER},
};

pub async fn account(State(sandbox): State<Sandbox>) -> Response {
    let state = sandbox.state();
    let body = json!({
        "id": ACCOUNT, "name": state.seed.subdomain, "subdomain": state.seed.subdomain, "current_user_id": USER,
        "country": "RU", "customers_mode": "segments", "is_unsorted_on": true, "is_loss_reason_enabled": true,
        "is_helpbot_enabled": false, "is_technical_account": false, "is_api_filter_enabled": state.seed.filters,
        "contact_name_display_order": 1,
        "_links": { "self": { "href": format!("{}/api/v4/account", state.host()) } },
        "_embedded": { "users_groups": [{ "id": 0, "name": "Отдел продаж", "uuid": null }] },
    });
    responses::hal(StatusCode::OK, &body)
}

pub async fn pipelines(State(sandbox): State<Sandbox>) -> Response {
    let state = sandbox.state();
    let host = state.host();
    let shape = |pipeline: &Pipeline| {
        let statuses: Vec<Value> = pipeline
            .statuses
            .iter()
            .map(|status| {
                json!({
                    "id": status.id, "name": status.name, "sort": status.sort, "is_editable": status.kind == 0 && status.id > 143,
                    "pipeline_id": pipeline.id, "color": "#99ccff", "type": status.kind, "account_id": ACCOUNT,
                })
            })
            .collect();
        json!({
            "id": pipeline.id, "name": pipeline.name, "sort": 1, "is_main": Some(pipeline.id) == state.pipelines.first().map(|p| p.id),
            "is_unsorted_on": true, "is_archive": false, "account_id": ACCOUNT,
            "_links": { "self": { "href": format!("{host}/api/v4/leads/pipelines/{}", pipeline.id) } },
            "_embedded": { "statuses": statuses },
        })
    };
    let all: Vec<Value> = state.pipelines.iter().map(shape).collect();
    let body = json!({
        "_total_items": all.len(), "_links": { "self": { "href": format!("{host}/api/v4/leads/pipelines") } },
        "_embedded": { "pipelines": all },
    });
    responses::hal(StatusCode::OK, &body)
}

const ENTITIES: [&str; 3] = ["contacts", "leads", "companies"];
const KINDS: [&str; 12] = [
    "text",
    "numeric",
    "checkbox",
    "select",
    "multiselect",
    "date",
    "url",
    "textarea",
    "radiobutton",
    "date_time",
    "tracking_data",
    "multitext",
];

fn field(entity: &str, field: &Field, host: &str) -> Value {
    json!({
        "id": field.id, "name": field.name, "code": field.code, "type": field.kind, "sort": 500, "entity_type": entity,
        "is_api_only": false, "enums": null, "account_id": ACCOUNT,
        "_links": { "self": { "href": format!("{host}/api/v4/{entity}/custom_fields/{}", field.id) } },
    })
}

pub async fn fields(
    State(sandbox): State<Sandbox>,
    Path(entity): Path<String>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    let state = sandbox.state();
    let page: usize = query.get("page").and_then(|page| page.parse().ok()).unwrap_or(1).max(1);
    let all = state.fields.get(&entity).map_or(&[][..], Vec::as_slice);
    let host = state.host();
    let rows: Vec<Value> = all.iter().skip((page - 1) * 50).take(50).map(|it| field(&entity, it, &host)).collect();
    if rows.is_empty() {
        return responses::nothing();
    }
    let path = format!("{host}/api/v4/{entity}/custom_fields");
    let mut links = json!({ "self": { "href": format!("{path}?page={page}") } });
    if all.len() > page * 50
        && let Some(links) = links.as_object_mut()
    {
        links.insert("next".into(), json!({ "href": format!("{path}?page={}", page + 1) }));
    }
    let body = json!({
        "_total_items": all.len(), "_page": page, "_page_count": all.len().div_ceil(50), "_links": links,
        "_embedded": { "custom_fields": rows },
    });
    responses::hal(StatusCode::OK, &body)
}

pub async fn add_fields(State(sandbox): State<Sandbox>, Path(entity): Path<String>, body: Bytes) -> Response {
    let Ok(rows) = serde_json::from_slice::<Vec<Value>>(&body) else {
        return responses::problem(StatusCode::BAD_REQUEST, "Bad Request", "Request validation failed");
    };
    let mut state = sandbox.state();
    let mut errors = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        let kind = row.get("type").and_then(Value::as_str).unwrap_or("");
        let name = row.get("name").and_then(Value::as_str).unwrap_or("");
        let error = |code: &str, path: &str, detail: &str| json!({ "request_id": index.to_string(), "errors": [{ "code": code, "path": path, "detail": detail }] });
        if name.is_empty() {
            errors.push(error("FieldMissing", "name", "This field is missing."));
        } else if !KINDS.contains(&kind) || !ENTITIES.contains(&entity.as_str()) {
            errors.push(error("NotSupportedChoice", "type", "The value you selected is not a valid choice."));
        }
    }
    if !errors.is_empty() {
        return responses::invalid(errors);
    }
    let mut made = Vec::new();
    let host = state.host();
    for row in rows {
        let text = |key: &str| row.get(key).and_then(Value::as_str).map(str::to_owned);
        let new = Field {
            id: state.id(),
            code: text("code"),
            name: text("name").unwrap_or_default(),
            kind: text("type").unwrap_or_default(),
        };
        made.push(field(&entity, &new, &host));
        state.fields.entry(entity.clone()).or_default().push(new);
    }
    responses::hal(StatusCode::CREATED, &json!({ "_total_items": made.len(), "_embedded": { "custom_fields": made } }))
}

pub async fn delete_field(State(sandbox): State<Sandbox>, Path((entity, id)): Path<(String, u64)>) -> Response {
    let mut state = sandbox.state();
    if let Some(fields) = state.fields.get_mut(&entity) {
        fields.retain(|field| field.id != id);
    }
    responses::nothing()
}

pub async fn tags(State(sandbox): State<Sandbox>, Path(entity): Path<String>) -> Response {
    let state = sandbox.state();
    let all: Vec<Value> = state
        .tags
        .get(&entity)
        .into_iter()
        .flatten()
        .map(|(name, id)| json!({ "id": id, "name": name, "color": null }))
        .collect();
    match all.is_empty() {
        true => responses::nothing(),
        false => responses::hal(StatusCode::OK, &json!({ "_page": 1, "_embedded": { "tags": all } })),
    }
}

pub async fn add_tags(State(sandbox): State<Sandbox>, Path(entity): Path<String>, body: Bytes) -> Response {
    let rows: Vec<Value> = serde_json::from_slice(&body).unwrap_or_default();
    let names: Vec<String> = rows.iter().filter_map(|row| row.get("name")?.as_str().map(str::to_owned)).collect();
    if names.is_empty() || names.len() != rows.len() {
        return responses::problem(StatusCode::BAD_REQUEST, "Bad Request", "Request validation failed");
    }
    let mut state = sandbox.state();
    let made: Vec<Value> = names.iter().map(|name| state.tag(&entity, name)).collect();
    responses::hal(StatusCode::OK, &json!({ "_total_items": made.len(), "_embedded": { "tags": made } }))
}
