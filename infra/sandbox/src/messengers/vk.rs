//! VK, messages.send. Every answer is HTTP 200; the codes are from VKCOM/vk-api-schema. A known random_id gets the
//! first message's id again and sends nothing.

use std::{collections::BTreeMap, time::Duration};

use axum::{
    Json,
    body::Bytes,
    extract::State,
    response::{IntoResponse, Response},
};
use http::HeaderMap;
use serde_json::{Value, json};

use super::{LoggedMessage, Messengers, Platform, bearer, text};

const OWN: Platform = Platform::Vk;

fn error(code: u16, message: &str) -> Response {
    Json(json!({ "error": { "error_code": code, "error_msg": message, "request_params": [] } })).into_response()
}

pub async fn send(State(all): State<Messengers>, headers: HeaderMap, body: Bytes) -> Response {
    let fields: BTreeMap<String, String> = url::form_urlencoded::parse(&body).into_owned().collect();
    let field = |name: &str| fields.get(name).map(String::as_str);
    let token = bearer(&headers).or_else(|| field("access_token"));
    let (Some(to), Some(said)) = (field("peer_id"), field("message").filter(|said| !said.is_empty())) else {
        return error(100, "One of the parameters specified was missing or invalid: message is empty");
    };
    let random = field("random_id").and_then(|text| text.parse::<i32>().ok());
    let Some(random) = random else {
        return error(100, "One of the parameters specified was missing or invalid: random_id");
    };
    let key = random.to_string();
    {
        let mut board = all.board();
        if !board.is_token(OWN, token) {
            return error(5, "User authorization failed: invalid access_token (4).");
        }
        if field("v").is_none() {
            return error(8, "Invalid request: v (version) is required");
        }
        if said.chars().count() > 9_000 {
            return error(914, "Message is too long");
        }
        let fan = board.fan(OWN, to);
        if !fan.open || fan.blocked {
            return error(901, "Can't send messages for users without permission");
        }
        if board.over(OWN, 20, Duration::from_secs(1)) {
            board.refuse(OWN);
            return error(6, "Too many requests per second");
        }
        let same =
            |one: &&super::Arrived| one.platform == OWN && one.to == to && one.key.as_deref() == Some(key.as_str());
        if random != 0
            && let Some(known) = board.arrived.iter().find(same)
        {
            return Json(json!({ "response": known.id.parse::<u64>().unwrap_or(0) })).into_response();
        }
    }
    let keyboard: Value = field("keyboard").and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let button = text(&keyboard, "/buttons/0/0/action/link");
    let told = LoggedMessage { to: to.to_owned(), text: said.to_owned(), button, key: Some(key) };
    all.take(OWN, told, |id| Json(json!({ "response": id })).into_response(), |_| error(9, "Flood control"))
}
