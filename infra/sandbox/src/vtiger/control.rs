//! The stand-in's own switches, under `/_sandbox`.

use axum::{
    Json, Router,
    extract::{Path, State},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Fields, VtigerSandbox};
use crate::{Fault, responses};

/// The user id of the manager, if a call names none.
const MANAGER: u64 = 5;

pub(super) fn router() -> Router<VtigerSandbox> {
    Router::new()
        .route("/_sandbox/faults", post(faults))
        .route("/_sandbox/clock", post(clock))
        .route("/_sandbox/sessions", axum::routing::delete(forget_sessions))
        .route("/_sandbox/stages", post(change_stage))
        .route("/_sandbox/workflows", post(workflows))
        .route("/_sandbox/elsewhere", get(elsewhere))
        .route("/_sandbox/{module}", get(records).post(add))
        .route("/_sandbox/{module}/{id}", axum::routing::patch(change).delete(delete))
        .route("/_sandbox/{module}/{id}/restore", post(restore))
        .route("/_sandbox/{module}/{id}/merge", post(merge))
        .route("/_sandbox/{module}/{id}/copy", post(copy))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Switches {
    #[serde(default)]
    down: Option<bool>,
    /// Replaces all faults.
    #[serde(default)]
    faults: Option<Vec<Fault>>,
}

async fn faults(State(sandbox): State<VtigerSandbox>, Json(switches): Json<Switches>) -> Response {
    let mut state = sandbox.state();
    if let Some(down) = switches.down {
        state.down = down;
    }
    if let Some(faults) = switches.faults {
        state.faults = faults;
    }
    Json(json!({ "down": state.down, "faults": state.faults })).into_response()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClockMove {
    #[serde(default)]
    pass: u64,
    /// The zone of the server, in seconds east of UTC.
    #[serde(default)]
    zone: Option<i64>,
}

async fn clock(State(sandbox): State<VtigerSandbox>, Json(moved): Json<ClockMove>) -> Response {
    sandbox.pass(moved.pass);
    moved.zone.into_iter().for_each(|zone| sandbox.set_zone(zone));
    responses::nothing()
}

async fn forget_sessions(State(sandbox): State<VtigerSandbox>) -> Response {
    sandbox.forget_sessions();
    responses::nothing()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StageChange {
    stage: String,
    /// The new name, if the stage is renamed.
    #[serde(default)]
    name: Option<String>,
    /// The stage for the deals, if the stage is deleted.
    #[serde(default)]
    instead: Option<String>,
}

async fn change_stage(State(sandbox): State<VtigerSandbox>, Json(change): Json<StageChange>) -> Response {
    done(match (&change.name, &change.instead) {
        (Some(name), None) => sandbox.rename_stage(&change.stage, name),
        (None, Some(instead)) => sandbox.delete_stage(&change.stage, instead),
        _ => false,
    })
}

async fn workflows(State(sandbox): State<VtigerSandbox>, Json(all): Json<Vec<(String, String)>>) -> Response {
    sandbox.set_workflows(all);
    responses::nothing()
}

async fn elsewhere() -> Response {
    responses::html(StatusCode::OK)
}

fn done(done: bool) -> Response {
    if done { responses::nothing() } else { responses::unknown() }
}

async fn records(State(sandbox): State<VtigerSandbox>, Path(module): Path<String>) -> Response {
    Json(sandbox.records(&module)).into_response()
}

async fn add(
    State(sandbox): State<VtigerSandbox>,
    Path(module): Path<String>,
    Json(mut fields): Json<Fields>,
) -> Response {
    fields.entry("assigned_user_id").or_insert_with(|| format!("19x{MANAGER}").into());
    match sandbox.state().create(MANAGER, &module, fields) {
        Ok(made) => Json(made).into_response(),
        Err(_) => done(false),
    }
}

async fn change(
    State(sandbox): State<VtigerSandbox>,
    Path((_, id)): Path<(String, String)>,
    Json(fields): Json<Fields>,
) -> Response {
    done(sandbox.changed_by_manager(MANAGER, &id, fields))
}

async fn delete(State(sandbox): State<VtigerSandbox>, Path((_, id)): Path<(String, String)>) -> Response {
    sandbox.deleted_by_manager(&id);
    responses::nothing()
}

async fn restore(State(sandbox): State<VtigerSandbox>, Path((_, id)): Path<(String, String)>) -> Response {
    sandbox.restored_by_manager(MANAGER, &id, true);
    responses::nothing()
}

async fn copy(State(sandbox): State<VtigerSandbox>, Path((_, id)): Path<(String, String)>) -> Response {
    done(sandbox.copied_by_manager(MANAGER, &id).is_some())
}

async fn merge(
    State(sandbox): State<VtigerSandbox>,
    Path((_, id)): Path<(String, String)>,
    Json(merge): Json<Value>,
) -> Response {
    let into = merge.get("into").and_then(Value::as_str).unwrap_or_default();
    done(sandbox.merged_by_manager(MANAGER, &id, into))
}
