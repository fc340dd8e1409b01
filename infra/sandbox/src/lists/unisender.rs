//! UniSender (unisender.com/ru/support/api/contacts/importContacts and …/exclude). Errors of the whole call come with
//! 200. An import does not reactivate an unsubscribed address.

use std::{collections::BTreeMap, time::Duration};

use axum::{
    Json,
    body::Bytes,
    extract::State,
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use super::{KEY, Lists, Standing};

fn fields(body: &[u8]) -> BTreeMap<String, String> {
    url::form_urlencoded::parse(body).into_owned().collect()
}

fn error(code: &str, text: &str) -> Response {
    Json(json!({ "error": text, "code": code, "result": "" })).into_response()
}

/// The error of a call that is refused as a whole.
fn kept_out(lists: &Lists, fields: &BTreeMap<String, String>) -> Option<Response> {
    if fields.get("api_key").map(String::as_str) != Some(KEY) {
        return Some(Json(json!({ "error": "API key is invalid", "code": "invalid_api_key" })).into_response());
    }
    let over = lists.books().over(300, Duration::from_secs(60));
    over.then(|| error("api_call_limit_exceeded_for_api_key", "Too many calls"))
}

pub async fn import(State(lists): State<Lists>, body: Bytes) -> Response {
    let fields = fields(&body);
    if let Some(out) = kept_out(&lists, &fields) {
        return out;
    }
    let columns: Vec<String> = (0..50).map_while(|n| fields.get(&format!("field_names[{n}]")).cloned()).collect();
    let column = |name: &str| columns.iter().position(|one| one == name);
    let Some(email_at) = column("email") else { return error("invalid_arg", "no email among field_names") };
    let rows = (0..).take_while(|row| fields.contains_key(&format!("data[{row}][0]"))).count();
    if rows > 500 {
        return error("invalid_arg", "At most 500 contacts");
    }
    let (mut inserted, mut updated, mut log) = (0, 0, Vec::<Value>::new());
    let mut books = lists.books();
    for row in 0..rows {
        let cell = |at: usize| fields.get(&format!("data[{row}][{at}]")).map(String::as_str).unwrap_or_default();
        let email = cell(email_at).to_lowercase();
        let role = ["info@", "sales@", "admin@"].iter().any(|role| email.starts_with(role));
        if !email.contains('@') || role || books.barred.contains(&email) {
            log.push(json!({ "index": row, "code": "invalid_email", "message": "the address is not taken" }));
            continue;
        }
        if column("email_status").map(cell) == Some("unsubscribed") {
            let all: Vec<String> = books.members.keys().cloned().collect();
            let on = |list: &String| books.standing(list, &email).is_some();
            let on: Vec<String> = all.into_iter().filter(on).collect();
            on.iter().for_each(|list| books.put(list, &email, Standing::Unsubscribed));
            updated += 1;
            continue;
        }
        for list in column("email_list_ids").map(cell).unwrap_or_default().split(',').filter(|list| !list.is_empty()) {
            let left = books.members.values().any(|all| all.get(&email) == Some(&Standing::Unsubscribed));
            match books.standing(list, &email) {
                // "Existing status cannot be changed to active".
                _ if left => {}
                Some(Standing::Subscribed) => updated += 1,
                _ => {
                    books.put(list, &email, Standing::Subscribed);
                    inserted += 1;
                }
            }
        }
    }
    let invalid = log.len();
    let result = json!({
        "total": rows, "inserted": inserted, "updated": updated, "deleted": 0, "new_emails": inserted,
        "invalid": invalid, "log": log,
    });
    Json(json!({ "result": result })).into_response()
}

pub async fn exclude(State(lists): State<Lists>, body: Bytes) -> Response {
    let fields = fields(&body);
    if let Some(out) = kept_out(&lists, &fields) {
        return out;
    }
    let (Some(contact), Some(ids)) = (fields.get("contact"), fields.get("list_ids")) else {
        return error("invalid_arg", "contact and list_ids are needed");
    };
    let mut books = lists.books();
    let mut known = false;
    for list in ids.split(',') {
        if let Some(all) = books.members.get_mut(list)
            && all.get(&contact.to_lowercase()) == Some(&Standing::Subscribed)
        {
            all.remove(&contact.to_lowercase());
            known = true;
        }
    }
    if known {
        Json(json!({ "result": {} })).into_response()
    } else {
        error("unspecified", &format!("Contact \"{contact}\" not found"))
    }
}
