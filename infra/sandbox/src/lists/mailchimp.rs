//! Mailchimp Marketing API 3.0 (mailchimp.com/developer/marketing/api): problem+json, batch subscribe of 500, states
//! of members. The errors are those of recorded fixtures of grouparoo/grouparoo.

use axum::{
    Json,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use md5::{Digest, Md5};
use serde_json::{Value, json};

use super::{KEY, ListAccounts, Lists, Standing};

fn problem(status: StatusCode, title: &str, detail: &str) -> Response {
    let body = json!({
        "type": "https://mailchimp.com/developer/marketing/docs/errors/", "title": title,
        "status": status.as_u16(), "detail": detail, "instance": "d0fb5992-c3b9-4761-bac2-c043e5be6cdd",
    });
    let mut response = (status, Json(body)).into_response();
    let kind = axum::http::HeaderValue::from_static("application/problem+json; charset=utf-8");
    response.headers_mut().insert("content-type", kind);
    response
}

fn is_key(headers: &HeaderMap) -> bool {
    let given = headers.get("authorization").and_then(|value| value.to_str().ok()?.strip_prefix("Basic "));
    let pair = given.and_then(|text| STANDARD.decode(text).ok()).and_then(|pair| String::from_utf8(pair).ok());
    pair.and_then(|pair| pair.split_once(':').map(|(_, key)| key == KEY)).unwrap_or(false)
}

fn unauthorised() -> Response {
    problem(StatusCode::UNAUTHORIZED, "API Key Invalid", "Your API key may be invalid.")
}

fn hash(email: &str) -> String {
    hex::encode(Md5::digest(email.to_lowercase()))
}

fn word(standing: Standing) -> &'static str {
    match standing {
        Standing::Subscribed => "subscribed",
        Standing::Unsubscribed => "unsubscribed",
        Standing::Archived => "archived",
    }
}

fn row(books: &mut ListAccounts, list: &str, member: &Value, update: bool) -> Result<bool, String> {
    let email = member.get("email_address").and_then(Value::as_str).unwrap_or_default();
    if !email.contains('@') {
        return Err("Please provide a valid email address.".into());
    }
    if books.barred.contains(&email.to_lowercase()) {
        return Err(format!(
            "{email} was permanently deleted and cannot be re-imported. The contact must re-subscribe to get back on the list."
        ));
    }
    let status = match member.get("status").and_then(Value::as_str) {
        Some("subscribed") => Standing::Subscribed,
        Some("unsubscribed") => Standing::Unsubscribed,
        _ => return Err("The status is not one of those that there are.".into()),
    };
    let known = books.standing(list, email).is_some();
    if known && !update {
        return Err(format!("{email} is already a list member. Use PUT to insert or update list members."));
    }
    books.put(list, email, status);
    Ok(known)
}

pub async fn batch(
    State(lists): State<Lists>,
    Path(list): Path<String>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Response {
    if !is_key(&headers) {
        return unauthorised();
    }
    let Some(members) = body.get("members").and_then(Value::as_array) else {
        return problem(StatusCode::BAD_REQUEST, "Invalid Resource", "members is missing");
    };
    if members.len() > 500 {
        return problem(StatusCode::BAD_REQUEST, "Invalid Resource", "You may only pass up to 500 members");
    }
    let update = body.get("update_existing").and_then(Value::as_bool).unwrap_or(false);
    let (mut created, mut updated, mut errors) = (vec![], vec![], vec![]);
    let mut books = lists.books();
    for member in members {
        match row(&mut books, &list, member, update) {
            Ok(false) => created.push(member.clone()),
            Ok(true) => updated.push(member.clone()),
            Err(error) => errors.push(json!({
                "email_address": member.get("email_address"), "error": error, "error_code": "ERROR_GENERIC",
                "field": "", "field_message": "",
            })),
        }
    }
    let (new, changed, wrong) = (created.len(), updated.len(), errors.len());
    Json(json!({
        "new_members": created, "updated_members": updated, "errors": errors,
        "total_created": new, "total_updated": changed, "error_count": wrong,
    }))
    .into_response()
}

fn found(books: &ListAccounts, list: &str, wanted: &str) -> Option<(String, Standing)> {
    let all = books.members.get(list)?;
    all.iter()
        .find(|(email, _)| hash(email) == wanted || email.as_str() == wanted)
        .map(|(email, at)| (email.clone(), *at))
}

fn not_found() -> Response {
    problem(StatusCode::NOT_FOUND, "Resource Not Found", "The requested resource could not be found.")
}

pub async fn member(
    State(lists): State<Lists>,
    Path((list, wanted)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    if !is_key(&headers) {
        return unauthorised();
    }
    match found(&lists.books(), &list, &wanted) {
        Some((email, standing)) => {
            Json(json!({ "id": hash(&email), "email_address": email, "status": word(standing), "list_id": list }))
                .into_response()
        }
        None => not_found(),
    }
}

pub async fn put(
    State(lists): State<Lists>,
    Path((list, wanted)): Path<(String, String)>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Response {
    if !is_key(&headers) {
        return unauthorised();
    }
    let email = body.get("email_address").and_then(Value::as_str).unwrap_or_default().to_lowercase();
    if hash(&email) != wanted || body.get("status_if_new").is_none() {
        return problem(StatusCode::BAD_REQUEST, "Invalid Resource", "email_address and status_if_new are needed");
    }
    let mut books = lists.books();
    let known = books.standing(&list, &email);
    // After leaving, only the person themselves can subscribe again.
    if known == Some(Standing::Unsubscribed) && body.get("status").and_then(Value::as_str) == Some("subscribed") {
        let detail = format!(
            "{email} is in a compliance state due to unsubscribe, bounce, or compliance review and cannot be subscribed."
        );
        return problem(StatusCode::BAD_REQUEST, "Member In Compliance State", &detail);
    }
    let subscribe = body.get("status").and_then(Value::as_str) == Some("subscribed")
        || (known.is_none() && body.get("status_if_new").and_then(Value::as_str) == Some("subscribed"));
    if subscribe {
        books.put(&list, &email, Standing::Subscribed);
    }
    let now = books.standing(&list, &email).map_or("unsubscribed", word);
    Json(json!({ "id": wanted, "email_address": email, "status": now, "list_id": list })).into_response()
}

pub async fn archive(
    State(lists): State<Lists>,
    Path((list, wanted)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    if !is_key(&headers) {
        return unauthorised();
    }
    let mut books = lists.books();
    match found(&books, &list, &wanted) {
        Some((email, Standing::Subscribed)) => {
            books.put(&list, &email, Standing::Archived);
            StatusCode::NO_CONTENT.into_response()
        }
        Some(_) => StatusCode::NO_CONTENT.into_response(),
        None => not_found(),
    }
}

/// A batch is done at once. The original takes its time.
pub async fn batches(State(lists): State<Lists>, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    if !is_key(&headers) {
        return unauthorised();
    }
    let operations = body.get("operations").and_then(Value::as_array).cloned().unwrap_or_default();
    if operations.is_empty() || operations.len() > 1_000 {
        return problem(StatusCode::BAD_REQUEST, "Bad Request", "A batch has 1 to 1000 operations");
    }
    let mut books = lists.books();
    for one in &operations {
        let path = one.get("path").and_then(Value::as_str).unwrap_or_default();
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        if let ["lists", list, "members", wanted] = parts.as_slice()
            && one.get("method").and_then(Value::as_str) == Some("DELETE")
            && let Some((email, Standing::Subscribed)) = found(&books, list, wanted)
        {
            books.put(list, &email, Standing::Archived);
        }
    }
    Json(json!({ "id": "123abc", "status": "pending", "total_operations": operations.len() })).into_response()
}
