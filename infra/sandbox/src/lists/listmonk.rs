//! listmonk, after listmonk.app/docs/apis/subscribers and the SQL of knadh/listmonk. An existing e-mail is 409. `add`
//! with a status overwrites the subscription's status; without one, a known subscription keeps its own.

use axum::{
    Json,
    extract::{Query, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{KEY, ListAccounts, Lists, Standing};

const USER: &str = "stagedoor";

fn is_user(headers: &HeaderMap) -> bool {
    let given = headers.get("authorization").and_then(|value| value.to_str().ok()?.strip_prefix("Basic "));
    given == Some(STANDARD.encode(format!("{USER}:{KEY}")).as_str())
}

fn forbidden() -> Response {
    (StatusCode::FORBIDDEN, Json(json!({ "message": "invalid API credentials" }))).into_response()
}

fn word(standing: Standing) -> &'static str {
    match standing {
        Standing::Subscribed => "confirmed",
        Standing::Unsubscribed => "unsubscribed",
        Standing::Archived => "unconfirmed",
    }
}

#[derive(Deserialize)]
pub struct Asked {
    #[serde(default)]
    query: String,
    list_id: Option<u64>,
    subscription_status: Option<String>,
    #[serde(default = "first")]
    page: usize,
    per_page: Option<String>,
}

fn first() -> usize {
    1
}

pub async fn health(headers: HeaderMap) -> Response {
    if is_user(&headers) { Json(json!({ "data": true })).into_response() } else { forbidden() }
}

/// Understands only the SQL that the hub uses: `subscribers.email IN ('a','b')` or `= 'a'`, and the people who left a
/// list, the latest first.
pub async fn query(State(lists): State<Lists>, Query(asked): Query<Asked>, headers: HeaderMap) -> Response {
    if !is_user(&headers) {
        return forbidden();
    }
    if let (Some(list), Some(status), true) = (asked.list_id, &asked.subscription_status, asked.query.is_empty()) {
        return of_status(&lists, &list.to_string(), status, &asked);
    }
    let many = asked.query.strip_prefix("subscribers.email IN (").and_then(|rest| rest.strip_suffix(')'));
    let inner = many.or_else(|| asked.query.strip_prefix("subscribers.email=").map(str::trim));
    let Some(inner) = inner else {
        return (StatusCode::BAD_REQUEST, Json(json!({ "message": "error preparing the query" }))).into_response();
    };
    let wanted = inner.split("','").map(|one| one.trim_matches('\'').replace("''", "'").to_lowercase());
    let books = lists.books();
    let row = |email: String| subscriber(&books, &email);
    let results: Vec<Value> = wanted.filter_map(row).collect();
    let total = results.len();
    Json(json!({ "data": { "results": results, "query": asked.query, "total": total, "per_page": total, "page": 1 } }))
        .into_response()
}

/// A subscriber as listmonk shows it.
fn subscriber(books: &ListAccounts, email: &str) -> Option<Value> {
    const AT: &str = "2027-01-01T00:00:00.000000Z";
    let id = books.ids.get(email)?;
    let lists = books.members.iter().filter_map(|(list, all)| {
        let standing = all.get(email)?;
        let number = list.parse::<u64>().unwrap_or(0);
        Some(json!({
            "id": number, "uuid": format!("00000000-0000-4000-8000-{number:012}"), "name": list, "type": "private", "optin": "single",
            "tags": [], "created_at": AT, "updated_at": AT, "subscription_status": word(*standing),
        }))
    });
    let status = if books.barred.contains(email) { "blocklisted" } else { "enabled" };
    Some(json!({
        "id": id, "uuid": format!("00000000-0000-4000-9000-{id:012}"), "email": email, "name": email, "attribs": {},
        "status": status, "created_at": AT, "updated_at": AT, "lists": lists.collect::<Vec<_>>(),
    }))
}

/// Subscribers with this status on a list, page by page.
fn of_status(lists: &Lists, list: &str, status: &str, asked: &Asked) -> Response {
    let size = asked.per_page.as_ref().and_then(|size| size.parse::<usize>().ok()).unwrap_or(20);
    let books = lists.books();
    let all = books.members.get(list).into_iter().flatten().filter(|(_, standing)| word(**standing) == status);
    let all: Vec<Value> = all.map(|(email, _)| json!({ "id": books.ids.get(email), "email": email })).collect();
    let results: Vec<&Value> = all.iter().skip(asked.page.saturating_sub(1) * size).take(size).collect();
    let data = json!({ "results": results, "query": "", "total": all.len(), "per_page": size, "page": asked.page });
    Json(json!({ "data": data })).into_response()
}

pub async fn create(State(lists): State<Lists>, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    if !is_user(&headers) {
        return forbidden();
    }
    let email = body.get("email").and_then(Value::as_str).unwrap_or_default().to_lowercase();
    let named = body.get("name").and_then(Value::as_str).is_some_and(|name| !name.is_empty());
    if !email.contains('@') || !named {
        return (StatusCode::BAD_REQUEST, Json(json!({ "message": "Invalid email or name." }))).into_response();
    }
    let mut books = lists.books();
    if books.ids.contains_key(&email) {
        return (StatusCode::CONFLICT, Json(json!({ "message": "E-mail already exists." }))).into_response();
    }
    let id = books.ids.len() as u64 + 1;
    books.ids.insert(email.clone(), id);
    let on: Vec<u64> =
        body.get("lists").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_u64).collect();
    on.iter().for_each(|list| books.put(&list.to_string(), &email, Standing::Subscribed));
    Json(json!({ "data": subscriber(&books, &email) })).into_response()
}

pub async fn lists(State(lists): State<Lists>, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    if !is_user(&headers) {
        return forbidden();
    }
    let numbers = |name: &str| -> Vec<u64> {
        body.get(name).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_u64).collect()
    };
    let (ids, targets) = (numbers("ids"), numbers("target_list_ids"));
    if ids.is_empty() || targets.is_empty() {
        return (StatusCode::BAD_REQUEST, Json(json!({ "message": "No IDs given." }))).into_response();
    }
    let status = body.get("status").and_then(Value::as_str);
    let mut books = lists.books();
    let emails: Vec<String> =
        books.ids.iter().filter(|(_, id)| ids.contains(id)).map(|(email, _)| email.clone()).collect();
    for list in targets.iter().map(u64::to_string) {
        for email in &emails {
            match body.get("action").and_then(Value::as_str) {
                // With a status, `add` overwrites even an unsubscribed one (listmonk's own SQL).
                Some("add") if status.is_some() || books.standing(&list, email).is_none() => {
                    books.put(&list, email, Standing::Subscribed);
                }
                Some("add") => {}
                Some("unsubscribe") => books.put(&list, email, Standing::Unsubscribed),
                Some("remove") => _ = books.members.entry(list.clone()).or_default().remove(email),
                _ => return (StatusCode::BAD_REQUEST, Json(json!({ "message": "Invalid action." }))).into_response(),
            }
        }
    }
    Json(json!({ "data": true })).into_response()
}
