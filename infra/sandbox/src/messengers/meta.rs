//! Meta's Graph API: the Send API of Messenger and the messages of WhatsApp. Sources:
//! developers.facebook.com/docs/messenger-platform/error-codes, …/whatsapp/cloud-api/support/error-codes.

use std::time::Duration;

use axum::{
    Json,
    body::Bytes,
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::{LoggedMessage, Messengers, Platform, bearer, text};
use crate::clock::now;

const DAY: u64 = 24 * 3_600;

fn error(status: u16, code: u32, subcode: Option<u32>, message: &str) -> Response {
    let mut error = json!({ "message": message, "type": "OAuthException", "code": code, "fbtrace_id": "A1b2C3" });
    if let (Some(subcode), Some(map)) = (subcode, error.as_object_mut()) {
        map.insert("error_subcode".into(), subcode.into());
    }
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    (status, Json(json!({ "error": error }))).into_response()
}

pub async fn messenger(State(all): State<Messengers>, headers: HeaderMap, body: Bytes) -> Response {
    let own = Platform::Messenger;
    let Ok(body) = serde_json::from_slice::<Value>(&body) else { return error(400, 100, None, "Invalid parameter") };
    let Some(to) = text(&body, "/recipient/id") else {
        return error(400, 100, None, "(#100) The parameter recipient is required");
    };
    let template = text(&body, "/message/attachment/payload/text");
    let Some(said) = text(&body, "/message/text").or(template.clone()) else {
        return error(400, 100, None, "(#100) Message cannot be empty, must provide valid attachment or text");
    };
    {
        let board = all.board();
        if !board.is_token(own, bearer(&headers)) {
            return error(400, 190, None, "Invalid OAuth access token - Cannot parse access token");
        }
        let longest = if template.is_some() { 640 } else { 2_000 };
        if said.chars().count() > longest {
            return error(400, 100, None, "(#100) Length of param text must be less than or equal to the limit");
        }
        let fan = board.fan(own, &to);
        if !fan.open {
            return error(400, 100, Some(2_018_001), "(#100) No matching user found");
        }
        if fan.blocked {
            return error(400, 551, Some(1_545_041), "(#551) This person isn't available right now.");
        }
        if now().saturating_sub(fan.heard_at) > DAY {
            let words = "(#10) This message is sent outside of allowed window.";
            return error(400, 10, Some(2_018_278), words);
        }
    }
    let button = text(&body, "/message/attachment/payload/buttons/0/url");
    let recipient = to.clone();
    let answer =
        move |id: u64| Json(json!({ "recipient_id": recipient, "message_id": format!("m_{id}") })).into_response();
    let flood = |_| error(400, 613, None, "(#613) Calls to this api have exceeded the rate limit.");
    all.take(own, LoggedMessage { to, text: said, button, key: None }, answer, flood)
}

pub async fn whatsapp(
    State(all): State<Messengers>,
    Path((_, number)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let own = Platform::Whatsapp;
    let Ok(body) = serde_json::from_slice::<Value>(&body) else { return error(400, 100, None, "Invalid parameter") };
    let Some(to) = text(&body, "/to").or_else(|| text(&body, "/recipient")) else {
        return error(400, 100, None, "(#100) The parameter to is required.");
    };
    let interactive = text(&body, "/interactive/body/text");
    let said = text(&body, "/text/body").or(interactive.clone());
    let product = text(&body, "/messaging_product").as_deref() == Some("whatsapp");
    let Some(said) = said.filter(|_| product && !number.is_empty()) else {
        return error(400, 131_008, None, "(#131008) Required parameter is missing");
    };
    {
        let mut board = all.board();
        if !board.is_token(own, bearer(&headers)) {
            return error(401, 190, None, "Invalid OAuth access token - Cannot parse access token");
        }
        let longest = if interactive.is_some() { 1_024 } else { 4_096 };
        if said.chars().count() > longest {
            return error(400, 131_009, None, "(#131009) Parameter value is not valid");
        }
        let fan = board.fan(own, &to);
        if !fan.open || fan.blocked {
            return error(400, 131_026, None, "(#131026) Message undeliverable");
        }
        if now().saturating_sub(fan.heard_at) > DAY {
            return error(400, 131_047, None, "(#131047) Re-engagement message");
        }
        // 80 a second for a number (developers.facebook.com/documentation/business-messaging/whatsapp/throughput).
        if board.over(own, 80, Duration::from_secs(1)) {
            board.refuse(own);
            return error(400, 130_429, None, "(#130429) Rate limit hit");
        }
    }
    let button = text(&body, "/interactive/action/parameters/url");
    let key = text(&body, "/biz_opaque_callback_data");
    let contact = json!({ "input": to, "wa_id": to });
    let answer = move |id: u64| {
        let message = json!({ "id": format!("wamid.{id}") });
        Json(json!({ "messaging_product": "whatsapp", "contacts": [contact], "messages": [message] })).into_response()
    };
    let flood = |_| error(400, 130_429, None, "(#130429) Rate limit hit");
    all.take(own, LoggedMessage { to, text: said, button, key }, answer, flood)
}
