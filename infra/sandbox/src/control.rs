//! The sandbox's own switches, under `/_sandbox`: faults and the clock.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use serde::Deserialize;
use serde_json::json;

use crate::{Fault, Sandbox, hook_faults::HookFault, responses, state::ClockMove};

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
    responses::nothing()
}

/// A new authorisation code, as the consent page gives one. It lasts 20 minutes and works once.
pub async fn code(State(sandbox): State<Sandbox>) -> Response {
    let mut state = sandbox.state();
    let code = format!("code-{}", state.id());
    let ends = state.now() + 20 * 60;
    state.codes.insert(code.clone(), ends);
    Json(json!({ "code": code })).into_response()
}

/// Sets the faults of the next webhooks. Replaces all earlier ones.
pub async fn hook_faults(State(sandbox): State<Sandbox>, Json(faults): Json<Vec<HookFault>>) -> Response {
    sandbox.set_hook_faults(faults);
    responses::nothing()
}

/// Moves the clock on, or holds it within one second.
pub async fn clock(State(sandbox): State<Sandbox>, Json(moved): Json<ClockMove>) -> Response {
    let mut state = sandbox.state();
    state.move_clock(moved);
    Json(json!({ "now": state.now() })).into_response()
}

/// The target of a redirect: a page that is no API.
pub async fn elsewhere() -> Response {
    responses::html(StatusCode::OK)
}
