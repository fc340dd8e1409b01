//! Webhooks that amoCRM sends: form-encoded with PHP brackets, unsigned, two seconds to answer, retried on a ladder,
//! disabled after too many bad answers (amocrm.ru/developers/content/crm_platform/webhooks-api).

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{body::Bytes, extract::State, response::Response};
use http::StatusCode;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

use crate::{
    Sandbox, answers,
    state::{ACCOUNT, Hook, State as Account, USER, now},
};

/// One item of a body: `contacts[add]` and its fields.
pub struct Item {
    setting: String,
    prefix: String,
    fields: Vec<(String, String)>,
}

/// A deleted row names its id and type, nothing else.
pub fn deletion(_: &Account, entity: &str, row: &Map<String, Value>) -> Option<Item> {
    let id = row.get("id")?.to_string();
    let kind = entity.trim_end_matches('s').to_owned();
    let fields = vec![("[id]".to_owned(), id), ("[type]".to_owned(), kind.clone())];
    Some(Item { setting: format!("delete_{kind}"), prefix: format!("{entity}[delete]"), fields })
}

pub fn change(state: &Account, entity: &str, id: u64, action: &str) -> Option<Item> {
    let row = state.entities.get(entity)?.get(&id)?;
    let kind = entity.trim_end_matches('s');
    let text =
        |key: &str| row.get(key).map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned)).unwrap_or_default();
    let mut fields: Vec<(String, String)> = Vec::new();
    let mut put = |key: &str, value: String| fields.push((format!("[{key}]"), value));
    for key in ["id", "name", "responsible_user_id", "account_id", "created_at", "updated_at"] {
        put(key, text(key));
    }
    put("date_create", text("created_at"));
    put("last_modified", text("updated_at"));
    put("created_user_id", text("created_by"));
    put("modified_user_id", text("updated_by"));
    if entity == "leads" {
        for key in ["status_id", "pipeline_id", "price"] {
            put(key, text(key));
        }
    } else {
        put("type", kind.to_owned());
    }
    let custom = row.get("custom_fields_values").and_then(Value::as_array).into_iter().flatten();
    for (n, field) in custom.enumerate() {
        let own = |key: &str| field.get(key).map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned));
        for (name, key) in [("id", "field_id"), ("name", "field_name"), ("code", "field_code")] {
            // Codes come for the system's own fields only.
            let shown = |value: &String| value != "null" && (name != "code" || SYSTEM.contains(&value.as_str()));
            if let Some(value) = own(key).filter(shown) {
                fields.push((format!("[custom_fields][{n}][{name}]"), value));
            }
        }
        for (k, value) in field.get("values").and_then(Value::as_array).into_iter().flatten().enumerate() {
            let plain =
                value.get("value").map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned)).unwrap_or_default();
            fields.push((format!("[custom_fields][{n}][values][{k}][value]"), plain));
        }
    }
    Some(Item { setting: format!("{action}_{kind}"), prefix: format!("{entity}[{action}]"), fields })
}

const SYSTEM: [&str; 4] = ["PHONE", "EMAIL", "POSITION", "IM"];

struct Post {
    hook: u64,
    destination: String,
    body: String,
}

/// Bad answers after which a webhook is disabled, when the last was bad too; re-enabled by hand. The original counts
/// them over two hours.
const BAD_ANSWERS: u32 = 100;

/// Sends in order, one after another.
#[derive(Clone)]
pub struct Sender(mpsc::UnboundedSender<Post>);

/// Items in one body at most.
const ITEMS: usize = 50;

impl Sender {
    pub fn start(state: Arc<Mutex<Account>>) -> Self {
        let (sender, posts) = mpsc::unbounded_channel();
        tokio::spawn(deliver(posts, state));
        Self(sender)
    }

    pub fn send(&self, state: &Account, items: impl IntoIterator<Item = Item>) {
        let items: Vec<Item> = items.into_iter().collect();
        for hook in state.hooks.iter().filter(|hook| !hook.disabled) {
            let wanted: Vec<&Item> = items.iter().filter(|item| hook.settings.contains(&item.setting)).collect();
            for chunk in wanted.chunks(ITEMS) {
                let body = encode(chunk, &state.seed.subdomain);
                _ = self.0.send(Post { hook: hook.id, destination: hook.destination.clone(), body });
            }
        }
    }
}

fn encode(items: &[&Item], subdomain: &str) -> String {
    let mut body = url::form_urlencoded::Serializer::new(String::new());
    for (index, item) in items.iter().enumerate() {
        let position = items.iter().take(index).filter(|other| other.prefix == item.prefix).count();
        for (key, value) in &item.fields {
            body.append_pair(&format!("{}[{position}]{key}", item.prefix), value);
        }
    }
    body.append_pair("account[subdomain]", subdomain);
    body.append_pair("account[id]", &ACCOUNT.to_string());
    body.append_pair("account[_links][self]", &format!("https://{subdomain}.amocrm.ru"));
    body.finish()
}

// The original's ladder is 0, 5 min, 15 min, 15 min, 1 h; here a thousandth of it.
const LADDER_MS: [u64; 5] = [0, 300, 900, 900, 3_600];

async fn deliver(mut posts: mpsc::UnboundedReceiver<Post>, state: Arc<Mutex<Account>>) {
    let client = reqwest::Client::builder().timeout(Duration::from_secs(2)).build();
    let Ok(client) = client else { return };
    while let Some(post) = posts.recv().await {
        if is_disabled(&state, post.hook) {
            continue;
        }
        for (attempt, wait) in LADDER_MS.into_iter().enumerate() {
            tokio::time::sleep(Duration::from_millis(wait)).await;
            let request = client
                .post(&post.destination)
                .header("content-type", "application/x-www-form-urlencoded")
                .header("user-agent", "amoCRM-WebHook-client/1.0")
                .body(post.body.clone());
            let status = request.send().await.map(|response| response.status().as_u16());
            match status {
                Ok(100..=299) => break,
                // The last two attempts are made only after 499 or 5xx.
                Ok(status) if attempt >= 2 && status != 499 && status < 500 => break,
                _ => count_bad(&state, post.hook),
            }
        }
    }
}

fn is_disabled(state: &Mutex<Account>, id: u64) -> bool {
    let state = state.lock().unwrap_or_else(PoisonError::into_inner);
    state.hooks.iter().find(|hook| hook.id == id).is_none_or(|hook| hook.disabled)
}

fn count_bad(state: &Mutex<Account>, id: u64) {
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(hook) = state.hooks.iter_mut().find(|hook| hook.id == id) {
        hook.bad += 1;
        hook.disabled |= hook.bad > BAD_ANSWERS;
    }
}

fn shape(hook: &Hook) -> Value {
    json!({
        "id": hook.id, "destination": hook.destination, "created_at": hook.created_at, "updated_at": hook.created_at,
        "account_id": ACCOUNT, "created_by": USER, "sort": 1, "disabled": hook.disabled, "settings": hook.settings,
    })
}

pub async fn list(State(sandbox): State<Sandbox>) -> Response {
    let state = sandbox.state();
    let all: Vec<Value> = state.hooks.iter().map(shape).collect();
    match all.is_empty() {
        true => answers::nothing(),
        false => answers::hal(StatusCode::OK, &json!({ "_total_items": all.len(), "_embedded": { "webhooks": all } })),
    }
}

const SETTINGS: [&str; 10] = [
    "add_lead",
    "update_lead",
    "delete_lead",
    "restore_lead",
    "status_lead",
    "add_contact",
    "update_contact",
    "delete_contact",
    "restore_contact",
    "note_lead",
];

pub async fn subscribe(State(sandbox): State<Sandbox>, body: Bytes) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let destination = body.get("destination").and_then(Value::as_str).unwrap_or("");
    let settings: BTreeSet<String> = body
        .get("settings")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|s| s.as_str().map(str::to_owned))
        .collect();
    let known = settings.iter().all(|setting| SETTINGS.contains(&setting.as_str()));
    if !destination.starts_with("http") || settings.is_empty() || !known {
        return answers::problem(StatusCode::BAD_REQUEST, "Bad Request", "Request validation failed");
    }
    let mut state = sandbox.state();
    let id = state.id();
    state.hooks.retain(|hook| hook.destination != destination);
    let hook = Hook { id, destination: destination.to_owned(), settings, disabled: false, bad: 0, created_at: now() };
    let body = shape(&hook);
    state.hooks.push(hook);
    answers::hal(StatusCode::CREATED, &body)
}

pub async fn unsubscribe(State(sandbox): State<Sandbox>, body: Bytes) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let destination = body.get("destination").and_then(Value::as_str).unwrap_or("");
    let mut state = sandbox.state();
    let before = state.hooks.len();
    state.hooks.retain(|hook| hook.destination != destination);
    if state.hooks.len() < before { answers::nothing() } else { answers::unknown() }
}
