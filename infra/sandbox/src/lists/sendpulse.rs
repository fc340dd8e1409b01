//! SendPulse address books (sendpulse.com/integrations/api/bulk-email): ten calls a second, `{"result": true}` for
//! all rows together, errors as `{error_code, message}`.

use std::time::Duration;

use axum::{
    Json,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use super::{KEY, Lists, Standing};

fn kept_out(lists: &Lists, headers: &HeaderMap) -> Option<Response> {
    let given = headers.get("authorization").and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    if given != Some(KEY) {
        let body = json!({ "error": "invalid_client", "error_code": 1, "message": "Client authentication failed" });
        return Some((StatusCode::UNAUTHORIZED, Json(body)).into_response());
    }
    lists.books().over(10, Duration::from_secs(1)).then(|| StatusCode::TOO_MANY_REQUESTS.into_response())
}

fn error(code: u32, message: &str) -> Response {
    (StatusCode::BAD_REQUEST, Json(json!({ "error_code": code, "message": message }))).into_response()
}

/// The addresses of a call, bare or with variables; at most a hundred.
#[allow(clippy::result_large_err, reason = "what is answered instead")]
fn asked(lists: &Lists, headers: &HeaderMap, body: &Value) -> Result<Vec<String>, Response> {
    if let Some(out) = kept_out(lists, headers) {
        return Err(out);
    }
    // SendPulse's own client sends the addresses as JSON within a string.
    let text = body.get("emails").and_then(Value::as_str).and_then(|text| serde_json::from_str::<Value>(text).ok());
    let emails = text.as_ref().or_else(|| body.get("emails"));
    let all = emails.and_then(Value::as_array).into_iter().flatten();
    let one = |one: &Value| one.as_str().or_else(|| one.get("email")?.as_str()).map(str::to_lowercase);
    let emails: Vec<String> = all.filter_map(one).collect();
    if emails.is_empty() || emails.len() > 100 {
        return Err(error(8, "Empty or too many emails"));
    }
    Ok(emails)
}

/// OAuth's client credentials (sendpulse.com/integrations/api, "Authorization").
pub async fn token(Json(body): Json<Value>) -> Response {
    let text = |name: &str| body.get(name).and_then(Value::as_str);
    match (text("grant_type"), text("client_secret")) {
        (Some("client_credentials"), Some(KEY)) => {
            Json(json!({ "access_token": KEY, "token_type": "Bearer", "expires_in": 3600 })).into_response()
        }
        _ => {
            let body = json!({ "error": "invalid_client", "error_code": 1, "message": "Client authentication failed" });
            (StatusCode::UNAUTHORIZED, Json(body)).into_response()
        }
    }
}

fn done() -> Response {
    Json(json!({ "result": true })).into_response()
}

pub async fn add(
    State(lists): State<Lists>,
    Path(list): Path<String>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Response {
    let emails = match asked(&lists, &headers, &body) {
        Ok(emails) => emails,
        Err(out) => return out,
    };
    let mut books = lists.books();
    for email in emails.iter().filter(|email| email.contains('@')) {
        if books.barred.contains(email) || books.standing(&list, email) == Some(Standing::Unsubscribed) {
            continue;
        }
        books.put(&list, email, Standing::Subscribed);
    }
    done()
}

pub async fn remove(
    State(lists): State<Lists>,
    Path(list): Path<String>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Response {
    let emails = match asked(&lists, &headers, &body) {
        Ok(emails) => emails,
        Err(out) => return out,
    };
    let mut books = lists.books();
    let before = books.members.get(&list).map_or(0, std::collections::BTreeMap::len);
    if let Some(all) = books.members.get_mut(&list) {
        all.retain(|email, standing| !emails.contains(email) || *standing == Standing::Unsubscribed);
    }
    let after = books.members.get(&list).map_or(0, std::collections::BTreeMap::len);
    if before == after { error(303, "No such emails in the address book") } else { done() }
}

pub async fn unsubscribe(
    State(lists): State<Lists>,
    Path(list): Path<String>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Response {
    let emails = match asked(&lists, &headers, &body) {
        Ok(emails) => emails,
        Err(out) => return out,
    };
    let mut books = lists.books();
    let known: Vec<&String> = emails.iter().filter(|email| books.standing(&list, email).is_some()).collect();
    let known: Vec<String> = known.into_iter().cloned().collect();
    if known.is_empty() {
        return error(303, "No such emails in the address book");
    }
    known.iter().for_each(|email| books.put(&list, email, Standing::Unsubscribed));
    done()
}
