//! The sandbox's own switches, under `/_sandbox`: what a manager does by hand, and what breaks.

use axum::{
    Json,
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    Sandbox, answers, entities, hooks,
    state::{self, MANAGER},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// 429 with nginx's page.
    Throttled,
    /// 500.
    Broken,
    /// 504.
    TooSlow,
    /// 402: the subscription ended.
    Unpaid,
    /// The connection breaks and nothing happened.
    Cut,
    /// The connection breaks after it took effect.
    AnswerLost,
    /// Vtiger: an invoice loses a line while it is made, and is answered with success.
    HalfMade,
    /// Every call takes `milliseconds` longer.
    Latency,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    pub kind: FaultKind,
    /// Only calls that begin so, such as `POST /api/v4/leads`; all when empty.
    #[serde(default)]
    pub calls: String,
    /// How many calls let pass before the first that is struck.
    #[serde(default)]
    pub after: u32,
    /// How many calls are struck.
    #[serde(default = "one")]
    pub times: u32,
    #[serde(default)]
    pub milliseconds: u64,
}

fn one() -> u32 {
    1
}

impl Fault {
    pub fn once(kind: FaultKind, calls: &str) -> Self {
        Self { kind, calls: calls.to_owned(), after: 0, times: 1, milliseconds: 0 }
    }

    pub(crate) fn strikes(&mut self, call: &str) -> Option<FaultKind> {
        if self.kind == FaultKind::Latency || self.times == 0 || !call.starts_with(&self.calls) {
            return None;
        }
        if self.after > 0 {
            self.after -= 1;
            return None;
        }
        self.times -= 1;
        Some(self.kind)
    }

    pub(crate) fn latency(&self) -> Option<u64> {
        (self.kind == FaultKind::Latency).then_some(self.milliseconds)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Switches {
    #[serde(default)]
    down: Option<bool>,
    /// Replaces all faults.
    #[serde(default)]
    faults: Option<Vec<Fault>>,
}

pub async fn faults(State(sandbox): State<Sandbox>, Json(switches): Json<Switches>) -> Response {
    let mut state = sandbox.state();
    if let Some(down) = switches.down {
        state.down = down;
    }
    if let Some(faults) = switches.faults {
        state.faults = faults;
    }
    Json(json!({ "down": state.down, "faults": state.faults })).into_response()
}

pub async fn stats(State(sandbox): State<Sandbox>) -> Response {
    let state = sandbox.state();
    let count = |entity: &str| state.entities.get(entity).map_or(0, std::collections::BTreeMap::len);
    Json(json!({
        "calls": state.calls, "total": state.calls.values().sum::<u64>(), "over_the_rate": state.over,
        "blocked": state.blocked, "contacts": count("contacts"), "leads": count("leads"),
    }))
    .into_response()
}

pub async fn unblock(State(sandbox): State<Sandbox>) -> Response {
    let mut state = sandbox.state();
    (state.blocked, state.over) = (false, 0);
    answers::nothing()
}

/// A fresh authorisation code, as the consent page would give one: 20 minutes, works once.
pub async fn code(State(sandbox): State<Sandbox>) -> Response {
    let mut state = sandbox.state();
    let code = format!("code-{}", state.id());
    state.codes.insert(code.clone(), state::now() + 20 * 60);
    Json(json!({ "code": code })).into_response()
}

/// What a manager changes by hand in the interface: the same checks, another user, the same webhooks.
pub async fn by_manager(
    State(sandbox): State<Sandbox>,
    Path((entity, id)): Path<(String, u64)>,
    Json(mut body): Json<Value>,
) -> Response {
    if let Some(row) = body.as_object_mut() {
        row.insert("id".into(), id.into());
        row.insert("updated_by".into(), MANAGER.into());
    }
    entities::change(&sandbox, &entity, vec![body])
}

/// Rows that a manager typed in by hand; they cost the integration no call.
pub async fn add_by_manager(
    State(sandbox): State<Sandbox>,
    Path(entity): Path<String>,
    Json(rows): Json<Vec<Value>>,
) -> Response {
    entities::add(&sandbox, &entity, &rows)
}

pub async fn delete_by_manager(State(sandbox): State<Sandbox>, Path((entity, id)): Path<(String, u64)>) -> Response {
    let mut state = sandbox.state();
    let gone = state.entities.get_mut(&entity).and_then(|all| all.remove(&id));
    if let Some(gone) = gone {
        let sent = hooks::deletion(&state, &entity, &gone);
        sandbox.hooks.send(&state, sent);
    }
    answers::nothing()
}
