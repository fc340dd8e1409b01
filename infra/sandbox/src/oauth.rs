//! `POST /oauth2/access_token` (amocrm.ru/developers/content/oauth/step-by-step). Codes last 20 minutes and work
//! once. Every refresh gives a new refresh token and revokes the old one.

use axum::{
    body::Bytes,
    extract::State,
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::StatusCode;
use serde_json::{Value, json};

use crate::{
    Sandbox,
    faults::{self, FaultKind},
    responses,
    state::{ACCOUNT, State as Account},
};

const DAY: u64 = 86_400;

pub async fn access_token(State(sandbox): State<Sandbox>, body: Bytes) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let mut state = sandbox.state();
    let call = "POST /oauth2/access_token";
    *state.calls.entry(call.to_owned()).or_default() += 1;
    let fault = state.faults.iter_mut().find_map(|fault| fault.strikes(call)).map(|(kind, _)| kind);
    match fault {
        Some(FaultKind::Cut) => return responses::cut(),
        Some(kind) if faults::page(kind).is_some() => return faults::page(kind).unwrap_or_else(responses::unknown),
        Some(FaultKind::Broken | FaultKind::TooSlow) => return responses::html(StatusCode::BAD_GATEWAY),
        _ if state.down => return responses::html(StatusCode::BAD_GATEWAY),
        _ => {}
    }
    let granted = grant(&mut state, &body);
    match fault {
        Some(FaultKind::AnswerLost) => responses::cut(),
        _ => granted.unwrap_or_else(|(status, hint)| refusal(status, hint)),
    }
}

fn grant(state: &mut Account, body: &Value) -> Result<Response, (u16, &'static str)> {
    let text = |key: &str| body.get(key).and_then(Value::as_str).unwrap_or("");
    if text("client_id") != state.seed.client_id {
        return Err((400, "Check the `client_id` parameter"));
    }
    if text("client_secret") != state.seed.client_secret {
        return Err((400, "Check the `client_secret` parameter"));
    }
    if text("redirect_uri") != state.seed.redirect_uri {
        return Err((400, "Redirect URI is not associated with client"));
    }
    let now = state.now();
    match text("grant_type") {
        "authorization_code" => match state.codes.remove(text("code")) {
            None => return Err((400, "Authorization code has been revoked")),
            Some(end) if end < now => return Err((400, "Authorization code has expired")),
            Some(_) => {}
        },
        "refresh_token" => {
            if !state.refresh.remove(text("refresh_token")) {
                return Err((401, "Token has been revoked"));
            }
        }
        _ => return Err((400, "Check the `grant_type` parameter")),
    }
    state.issued += 1;
    let (access, refresh) = (jwt(state.issued, now), format!("def502{:032x}", state.issued * 7919));
    state.access.insert(access.clone(), now + DAY);
    state.refresh.insert(refresh.clone());
    let body = json!({
        "token_type": "Bearer", "expires_in": DAY, "server_time": now,
        "access_token": access, "refresh_token": refresh,
    });
    Ok((StatusCode::OK, [("content-type", "application/json")], body.to_string()).into_response())
}

// A well-formed JWT with `exp`, because published clients decode it.
fn jwt(number: u64, now: u64) -> String {
    let claims = json!({
        "aud": "dev-client", "jti": format!("{number:064x}"), "iat": now, "nbf": now, "exp": now + DAY,
        "sub": "504141", "account_id": ACCOUNT, "scopes": ["crm"],
    });
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let head = encode(&json!({ "typ": "JWT", "alg": "RS256" }));
    format!("{head}.{}.{}", encode(&claims), URL_SAFE_NO_PAD.encode(format!("signature {number}")))
}

fn refusal(status: u16, hint: &str) -> Response {
    let body = json!({
        "hint": hint, "title": "Некорректный запрос", "type": "https://developers.amocrm.ru/v3/errors/OAuthProblemJson",
        "status": status, "detail": "В запросе отсутствует ряд параметров или параметры невалидны",
    });
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    (status, [("content-type", "application/problem+json")], body.to_string()).into_response()
}
