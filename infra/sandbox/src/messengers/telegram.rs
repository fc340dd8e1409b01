//! Telegram Bot API, sendMessage. Errors have the wording of tdlib/telegram-bot-api.

use std::time::Duration;

use axum::{
    Json,
    body::Bytes,
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use http::StatusCode;
use serde_json::{Value, json};

use super::{LoggedMessage, Messengers, Platform, text};
use crate::clock::now;

const OWN: Platform = Platform::Telegram;

fn refusal(code: u16, description: &str) -> Response {
    let status = StatusCode::from_u16(code).unwrap_or(StatusCode::BAD_REQUEST);
    (status, Json(json!({ "ok": false, "error_code": code, "description": description }))).into_response()
}

fn flood(seconds: u64) -> Response {
    let body = json!({
        "ok": false, "error_code": 429, "description": format!("Too Many Requests: retry after {seconds}"),
        "parameters": { "retry_after": seconds },
    });
    (StatusCode::TOO_MANY_REQUESTS, [("retry-after", seconds.to_string())], Json(body)).into_response()
}

pub async fn send(State(all): State<Messengers>, Path(bot): Path<String>, body: Bytes) -> Response {
    let token = bot.strip_prefix("bot");
    let Ok(body) = serde_json::from_slice::<Value>(&body) else {
        return refusal(400, "Bad Request: can't parse JSON object");
    };
    {
        let mut board = all.board();
        if !board.is_token(OWN, token) {
            return refusal(401, "Unauthorized");
        }
        let Some(chat) = body.get("chat_id").and_then(Value::as_i64).map(|id| id.to_string()) else {
            return refusal(400, "Bad Request: chat_id is empty");
        };
        let said = text(&body, "/text").unwrap_or_default();
        if said.is_empty() {
            return refusal(400, "Bad Request: message text is empty");
        }
        // Counted in UTF-16 units.
        if said.encode_utf16().count() > 4096 {
            return refusal(400, "Bad Request: message is too long");
        }
        let fan = board.fan(OWN, &chat);
        if !fan.open {
            return refusal(400, "Bad Request: chat not found");
        }
        if fan.blocked {
            return refusal(403, "Forbidden: bot was blocked by the user");
        }
        // The limit is 30 a second in all, and one a second in a chat with a little tolerance
        // (core.telegram.org/bots/faq).
        if board.over(OWN, 30, Duration::from_secs(1)) || board.over_to(OWN, &chat, 3, Duration::from_secs(2)) {
            board.refuse(OWN);
            return flood(1);
        }
    }
    let chat = body.get("chat_id").and_then(Value::as_i64).unwrap_or(0);
    let button = text(&body, "/reply_markup/inline_keyboard/0/0/url");
    let told =
        LoggedMessage { to: chat.to_string(), text: text(&body, "/text").unwrap_or_default(), button, key: None };
    let answer = |id: u64| {
        let result = json!({ "message_id": id, "date": now(), "chat": { "id": chat, "type": "private" } });
        Json(json!({ "ok": true, "result": result })).into_response()
    };
    all.take(OWN, told, answer, flood)
}
