//! Viber, send_message. Errors come with HTTP 200 (developers.viber.com, "Error codes").

use axum::{
    Json,
    body::Bytes,
    extract::State,
    response::{IntoResponse, Response},
};
use http::HeaderMap;
use serde_json::{Value, json};

use super::{LoggedMessage, Messengers, Platform, text};

const OWN: Platform = Platform::Viber;

fn status(code: u16, message: &str) -> Response {
    Json(json!({ "status": code, "status_message": message })).into_response()
}

pub async fn send(State(all): State<Messengers>, headers: HeaderMap, body: Bytes) -> Response {
    let token = headers.get("x-viber-auth-token").and_then(|value| value.to_str().ok());
    let Ok(body) = serde_json::from_slice::<Value>(&body) else { return status(3, "badData") };
    let (Some(to), Some(said)) = (text(&body, "/receiver"), text(&body, "/text")) else {
        return status(4, "missingData");
    };
    {
        let board = all.board();
        if !board.is_token(OWN, token) {
            return status(2, "invalidAuthToken");
        }
        let name = text(&body, "/sender/name").unwrap_or_default();
        if name.is_empty()
            || name.chars().count() > 28
            || said.chars().count() > 7_000
            || body.to_string().len() > 30_000
        {
            return status(3, "badData");
        }
        let fan = board.fan(OWN, &to);
        if !fan.open || fan.blocked {
            return status(6, "receiverNotSubscribed");
        }
    }
    let key = text(&body, "/tracking_data");
    let told = LoggedMessage { to, text: said, button: text(&body, "/keyboard/Buttons/0/ActionBody"), key };
    let answer = |id: u64| {
        Json(json!({ "status": 0, "status_message": "ok", "message_token": 5_741_311_803_571_000_000_u64 + id }))
            .into_response()
    };
    all.take(OWN, told, answer, |_| status(12, "tooManyRequests"))
}
