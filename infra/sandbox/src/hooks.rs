//! The webhooks of amoCRM: form-encoded with PHP brackets, and unsigned. A receiver has two seconds to answer. amoCRM
//! retries on a ladder and disables a webhook after too many bad answers
//! (amocrm.ru/developers/content/crm_platform/webhooks-api).

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde_json::Value;
use tokio::sync::mpsc;

use crate::{
    hook_faults::{Post, SentHook},
    state::{ACCOUNT, State as Account},
};

/// One item of a body: `contacts[add]` and its fields.
pub struct Item {
    setting: String,
    prefix: String,
    fields: Vec<(String, String)>,
}

/// The item of a deleted row: its id and type, nothing else.
pub fn deletion(entity: &str, id: u64) -> Item {
    let (kind, bracket) = names(entity);
    let fields = vec![("[id]".to_owned(), id.to_string()), ("[type]".to_owned(), kind.to_owned())];
    Item { setting: format!("delete_{kind}"), prefix: format!("{bracket}[delete]"), fields }
}

/// The kind of a row, and the first bracket of its bodies. Companies come as contacts of type company.
fn names(entity: &str) -> (&str, &str) {
    match entity {
        "companies" => ("company", "contacts"),
        "contacts" => ("contact", "contacts"),
        _ => ("lead", "leads"),
    }
}

pub fn change(state: &Account, entity: &str, id: u64, action: &str) -> Option<Item> {
    let row = state.entities.get(entity)?.get(&id)?;
    let (kind, bracket) = names(entity);
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
    let tags = row.get("_embedded").and_then(|all| all.get("tags")).and_then(Value::as_array).into_iter().flatten();
    for (n, tag) in tags.enumerate() {
        for key in ["id", "name"] {
            let value = tag.get(key).map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned));
            fields.push((format!("[tags][{n}][{key}]"), value.unwrap_or_default()));
        }
    }
    let custom = row.get("custom_fields_values").and_then(Value::as_array).into_iter().flatten();
    for (n, field) in custom.enumerate() {
        let own = |key: &str| field.get(key).map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned));
        for (name, key) in [("id", "field_id"), ("name", "field_name"), ("code", "field_code")] {
            // Codes come only for the system's own fields.
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
    Some(Item { setting: format!("{action}_{kind}"), prefix: format!("{bracket}[{action}]"), fields })
}

const SYSTEM: [&str; 4] = ["PHONE", "EMAIL", "POSITION", "IM"];

/// The number of bad answers after which a webhook is disabled, if the last was bad too. A person re-enables it. The
/// original counts over two hours.
const BAD_ANSWERS: u32 = 100;

/// Sends webhooks in order, one after another.
#[derive(Clone)]
pub struct Sender(mpsc::UnboundedSender<Post>);

/// The most items in one body.
const ITEMS: usize = 50;

impl Sender {
    pub fn start(state: Arc<Mutex<Account>>) -> Self {
        let (sender, posts) = mpsc::unbounded_channel();
        tokio::spawn(deliver(posts, state));
        Self(sender)
    }

    pub fn send(&self, state: &mut Account, items: impl IntoIterator<Item = Item>) {
        let items: Vec<Item> = items.into_iter().collect();
        let mut posts = Vec::new();
        for hook in state.hooks.iter().filter(|hook| !hook.disabled) {
            let wanted: Vec<&Item> = items.iter().filter(|item| hook.settings.contains(&item.setting)).collect();
            for chunk in wanted.chunks(ITEMS) {
                let body = encode(chunk, &state.seed.subdomain);
                let sent = SentHook { destination: hook.destination.clone(), body, wait: Duration::ZERO };
                let settings: Vec<&str> = chunk.iter().map(|item| item.setting.as_str()).collect();
                posts.extend(state.hook_faults.on_the_way(Post { hook: hook.id, sent }, &settings));
            }
        }
        self.post(state, posts);
    }

    pub(crate) fn post(&self, state: &mut Account, posts: Vec<Post>) {
        for post in posts {
            match state.seed.keeps_hooks {
                true => state.hook_faults.kept.push(post.sent),
                false => _ = self.0.send(post),
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

// The pauses between attempts. The original's are 0, 5 min, 15 min, 15 min, 1 h; here a thousandth of that.
const LADDER_MS: [u64; 5] = [0, 300, 900, 900, 3_600];

async fn deliver(mut posts: mpsc::UnboundedReceiver<Post>, state: Arc<Mutex<Account>>) {
    let client = stagedoor_http::builder().timeout(Duration::from_secs(2)).build();
    let Ok(client) = client else { return };
    while let Some(post) = posts.recv().await {
        if post.sent.wait.is_zero() {
            attempt(&client, &post, &state).await;
            continue;
        }
        let (client, state) = (client.clone(), Arc::clone(&state));
        tokio::spawn(async move {
            tokio::time::sleep(post.sent.wait).await;
            attempt(&client, &post, &state).await;
        });
    }
}

async fn attempt(client: &reqwest::Client, post: &Post, state: &Mutex<Account>) {
    if is_disabled(state, post.hook) {
        return;
    }
    for (attempt, wait) in LADDER_MS.into_iter().enumerate() {
        tokio::time::sleep(Duration::from_millis(wait)).await;
        let request = client
            .post(&post.sent.destination)
            .header("content-type", "application/x-www-form-urlencoded")
            .header("user-agent", "amoCRM-WebHook-client/1.0")
            .body(post.sent.body.clone());
        let status = request.send().await.map(|response| response.status().as_u16());
        match status {
            Ok(100..=299) => break,
            // amoCRM makes the last two attempts only after 499 or 5xx.
            Ok(status) if attempt >= 2 && status != 499 && status < 500 => break,
            _ => count_bad(state, post.hook),
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
