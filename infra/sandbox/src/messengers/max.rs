//! MAX Bot API: messages and subscriptions. Errors and limits are those of dev.max.ru/docs-api, as OpenAPI in
//! max-messenger-bot/max-bot-api-schemas, and of the answers that public clients report. Shapes hold
//! @maxhub/max-bot-api and maxapi.

use std::{collections::BTreeMap, time::Duration};

use axum::{
    Json,
    body::Bytes,
    extract::{Query, State},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::{LoggedMessage, Messengers, Platform, text};
use crate::clock::now;

const OWN: Platform = Platform::Max;
/// The bot's own id.
const BOT: u64 = 229_229_229;

type Fields = Query<BTreeMap<String, String>>;

fn refusal(status: u16, code: &str, message: &str) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    (status, Json(json!({ "code": code, "message": message }))).into_response()
}

fn flood() -> Response {
    refusal(429, "too.many.requests", "Too many requests")
}

/// The refusal of a request's token or rate. `None` if it may go on.
fn gate(all: &Messengers, headers: &HeaderMap, query: &BTreeMap<String, String>) -> Option<Response> {
    if query.contains_key("access_token") {
        let message = "Query parameter access_token is deprecated, use Authorization header";
        return Some(refusal(403, "deprecated.token", message));
    }
    let mut board = all.board();
    let token = headers.get("authorization").and_then(|value| value.to_str().ok());
    if !board.is_token(OWN, token) {
        return Some(refusal(401, "verify.token", "Invalid access_token"));
    }
    board.over(OWN, 30, Duration::from_secs(1)).then(|| {
        board.refuse(OWN);
        flood()
    })
}

fn bot() -> Value {
    json!({
        "user_id": BOT, "first_name": "Театр", "name": "Театр", "username": "stagedoor_bot", "is_bot": true,
        "last_activity_time": now() * 1_000,
    })
}

pub async fn me(State(all): State<Messengers>, headers: HeaderMap, Query(query): Fields) -> Response {
    gate(&all, &headers, &query).unwrap_or_else(|| Json(bot()).into_response())
}

/// What is wrong with a keyboard: 30 rows of seven, three where a button is a link or asks for something.
fn wrong_keyboard(attached: &Value) -> Option<String> {
    let rows = attached.pointer("/payload/buttons").and_then(Value::as_array)?;
    let is_wide = |row: &Vec<Value>| {
        let narrow = ["link", "open_app", "request_contact", "request_geo_location"];
        let has_narrow = row.iter().any(|one| narrow.contains(&text(one, "/type").unwrap_or_default().as_str()));
        row.is_empty() || row.len() > if has_narrow { 3 } else { 7 }
    };
    let rows: Vec<&Vec<Value>> = rows.iter().filter_map(Value::as_array).collect();
    if rows.is_empty() || rows.len() > 30 || rows.iter().any(|row| is_wide(row)) {
        return Some("attachments: wrong number of buttons".into());
    }
    rows.into_iter().flatten().find_map(|button| {
        let label = text(button, "/text").unwrap_or_default().chars().count();
        let needs = |field: &str, most: usize| {
            let length = text(button, field).map_or(0, |value| value.chars().count());
            (length == 0 || length > most).then(|| format!("attachments: wrong {field}"))
        };
        if label == 0 || label > 128 {
            return Some("attachments: wrong button text".into());
        }
        match text(button, "/type").unwrap_or_default().as_str() {
            "callback" => needs("/payload", 1_024),
            "link" => needs("/url", 2_048),
            "message" | "request_contact" | "request_geo_location" | "open_app" => None,
            "clipboard" => needs("/payload", 1_024),
            other => Some(format!("attachments: unknown button type {other}")),
        }
    })
}

pub async fn send(State(all): State<Messengers>, headers: HeaderMap, Query(query): Fields, body: Bytes) -> Response {
    if let Some(refused) = gate(&all, &headers, &query) {
        return refused;
    }
    let Ok(body) = serde_json::from_slice::<Value>(&body) else {
        return refusal(400, "proto.payload", "Malformed request body");
    };
    let to = query.get("user_id").or_else(|| query.get("chat_id"));
    let Some(to) = to.filter(|to| to.parse::<i64>().is_ok()).cloned() else {
        return refusal(400, "proto.payload", "user_id or chat_id is required");
    };
    if to == "0" {
        return refusal(403, "chat.denied", "Invalid chatId: 0");
    }
    let said = text(&body, "/text").unwrap_or_default();
    let attached = body.get("attachments").and_then(Value::as_array).cloned().unwrap_or_default();
    if said.is_empty() && attached.is_empty() {
        return refusal(400, "proto.payload", "text or attachments are required");
    }
    if said.chars().count() > 4_000 {
        return refusal(400, "proto.payload", "text: size must be between 0 and 4000");
    }
    if let Some(wrong) = attached.iter().find_map(wrong_keyboard) {
        return refusal(400, "proto.payload", &wrong);
    }
    {
        let mut board = all.board();
        let fan = board.fan(OWN, &to);
        if !fan.open {
            return refusal(404, "dialog.not.found", "error.dialog.notfound");
        }
        if fan.blocked {
            return refusal(403, "chat.denied", "error.dialog.suspended");
        }
        if board.over_to(OWN, &to, 2, Duration::from_secs(1)) {
            board.refuse(OWN);
            return flood();
        }
    }
    let buttons = attached.iter().filter_map(|one| one.pointer("/payload/buttons")?.as_array());
    let mut buttons = buttons.flatten().filter_map(Value::as_array).flatten();
    let button = buttons.find_map(|one| text(one, "/url"));
    let person: i64 = to.parse().unwrap_or(0);
    let told = LoggedMessage { to, text: said.clone(), button, key: None };
    let answer = |id: u64| {
        let body = json!({ "mid": format!("mid.{id:032x}"), "seq": (1_u64 << 56) + id, "text": said, "attachments": attached });
        let recipient = json!({ "chat_id": person + 1_000, "chat_type": "dialog", "user_id": person });
        let message = json!({ "recipient": recipient, "timestamp": now() * 1_000, "body": body, "sender": bot() });
        Json(json!({ "message": message })).into_response()
    };
    all.take(OWN, told, answer, |_| flood())
}

/// A button's press is answered once.
pub async fn answer(State(all): State<Messengers>, headers: HeaderMap, Query(query): Fields) -> Response {
    if let Some(refused) = gate(&all, &headers, &query) {
        return refused;
    }
    let callback = query.get("callback_id").filter(|id| !id.is_empty()).cloned();
    let is_new = callback.is_some_and(|id| all.board().answered.insert(id));
    match is_new {
        true => Json(json!({ "success": true })).into_response(),
        false => refusal(400, "proto.payload", "callback_id is unknown or was answered"),
    }
}

/// What is wrong with a subscription.
fn wrong_subscription(body: &Value) -> Option<&'static str> {
    let url: Option<url::Url> = text(body, "/url").and_then(|url| url.parse().ok());
    let Some(url) = url.filter(|url| url.scheme() == "https" && url.has_host()) else {
        return Some("url: must be https");
    };
    if url.port_or_known_default() != Some(443) {
        return Some("url: port must be 443");
    }
    let fits = |secret: &str| {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        (5..=256).contains(&secret.len()) && secret.bytes().all(known)
    };
    match body.get("secret") {
        Some(secret) if !secret.as_str().is_some_and(fits) => Some("secret: must match ^[a-zA-Z0-9_-]{5,256}$"),
        _ => None,
    }
}

pub async fn subscribe(
    State(all): State<Messengers>,
    headers: HeaderMap,
    Query(query): Fields,
    body: Bytes,
) -> Response {
    if let Some(refused) = gate(&all, &headers, &query) {
        return refused;
    }
    let Ok(body) = serde_json::from_slice::<Value>(&body) else {
        return refusal(400, "proto.payload", "Malformed request body");
    };
    // MAX may refuse with HTTP 200.
    if let Some(wrong) = wrong_subscription(&body) {
        return Json(json!({ "success": false, "message": wrong })).into_response();
    }
    let url = text(&body, "/url").unwrap_or_default();
    let types = body.get("update_types").cloned().unwrap_or_else(|| json!([]));
    let secret = text(&body, "/secret");
    all.board().subscriptions.insert(url, (types, secret));
    Json(json!({ "success": true })).into_response()
}

pub async fn subscriptions(State(all): State<Messengers>, headers: HeaderMap, Query(query): Fields) -> Response {
    if let Some(refused) = gate(&all, &headers, &query) {
        return refused;
    }
    let board = all.board();
    let known = board.subscriptions.iter();
    let known: Vec<Value> =
        known.map(|(url, (types, _))| json!({ "url": url, "time": now() * 1_000, "update_types": types })).collect();
    Json(json!({ "subscriptions": known })).into_response()
}

pub async fn unsubscribe(State(all): State<Messengers>, headers: HeaderMap, Query(query): Fields) -> Response {
    if let Some(refused) = gate(&all, &headers, &query) {
        return refused;
    }
    let url = query.get("url").cloned().unwrap_or_default();
    match all.board().subscriptions.remove(&url) {
        Some(_) => Json(json!({ "success": true })).into_response(),
        None => Json(json!({ "success": false, "message": "no such subscription" })).into_response(),
    }
}
