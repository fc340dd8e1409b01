//! Subscriptions to webhooks, and what the tests ask of the webhooks on their way.

use std::collections::BTreeSet;

use axum::{body::Bytes, extract::State, response::Response};
use http::StatusCode;
use serde_json::{Value, json};

use crate::{
    Sandbox,
    hook_faults::{HookFault, SentHook},
    responses,
    state::{ACCOUNT, Hook, USER},
};

impl Sandbox {
    /// Sets the faults of the next webhooks. Replaces all earlier ones.
    pub fn set_hook_faults(&self, faults: Vec<HookFault>) {
        self.state().hook_faults.all = faults;
    }

    /// Sends the overtaken webhooks that no other webhook followed.
    pub fn release_hooks(&self) {
        let mut state = self.state();
        let posts = state.hook_faults.release();
        self.hooks.post(&mut state, posts);
    }

    /// Webhooks that left since the last call, in a sandbox that keeps them.
    pub fn take_hooks(&self) -> Vec<SentHook> {
        std::mem::take(&mut self.state().hook_faults.kept)
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
        true => responses::nothing(),
        false => {
            responses::hal(StatusCode::OK, &json!({ "_total_items": all.len(), "_embedded": { "webhooks": all } }))
        }
    }
}

const SETTINGS: [&str; 14] = [
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
    "add_company",
    "update_company",
    "delete_company",
    "restore_company",
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
        return responses::problem(StatusCode::BAD_REQUEST, "Bad Request", "Request validation failed");
    }
    let mut state = sandbox.state();
    let id = state.id();
    state.hooks.retain(|hook| hook.destination != destination);
    let created_at = state.now();
    let hook = Hook { id, destination: destination.to_owned(), settings, disabled: false, bad: 0, created_at };
    let body = shape(&hook);
    state.hooks.push(hook);
    responses::hal(StatusCode::CREATED, &body)
}

pub async fn unsubscribe(State(sandbox): State<Sandbox>, body: Bytes) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let destination = body.get("destination").and_then(Value::as_str).unwrap_or("");
    let mut state = sandbox.state();
    let before = state.hooks.len();
    state.hooks.retain(|hook| hook.destination != destination);
    if state.hooks.len() < before { responses::nothing() } else { responses::unknown() }
}
