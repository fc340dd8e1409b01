//! A manager's actions in amoCRM's interface, under `/_sandbox`. They cost the integration no call. Webhooks are sent
//! as amoCRM sends them.

use axum::{
    Json,
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{
    Sandbox, entities, hooks, responses, robots,
    state::{MANAGER, Robot, StageIds, State as Account, Status},
};

/// A manager's change in the interface: the same checks and webhooks, but another user.
pub async fn change(
    State(sandbox): State<Sandbox>,
    Path((entity, id)): Path<(String, u64)>,
    Json(body): Json<Value>,
) -> Response {
    sandbox.changed_by_manager(&entity, id, body)
}

/// Rows that a manager types in.
pub async fn add(State(sandbox): State<Sandbox>, Path(entity): Path<String>, Json(rows): Json<Vec<Value>>) -> Response {
    entities::add(&sandbox, &entity, &rows)
}

fn done(done: bool) -> Response {
    if done { responses::nothing() } else { responses::unknown() }
}

pub async fn delete(State(sandbox): State<Sandbox>, Path((entity, id)): Path<(String, u64)>) -> Response {
    // Deleting a row that is gone changes nothing.
    sandbox.deleted_by_manager(&entity, id);
    responses::nothing()
}

pub async fn restore(State(sandbox): State<Sandbox>, Path((entity, id)): Path<(String, u64)>) -> Response {
    done(sandbox.restored_by_manager(&entity, id))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Merge {
    into: u64,
}

pub async fn merge(
    State(sandbox): State<Sandbox>,
    Path((entity, id)): Path<(String, u64)>,
    Json(merge): Json<Merge>,
) -> Response {
    done(sandbox.merged_by_manager(&entity, id, merge.into))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Move {
    pipeline: String,
    stage: String,
    /// True if a robot moves the deal instead of a manager.
    #[serde(default)]
    robot: bool,
}

pub async fn copy(State(sandbox): State<Sandbox>, Path((entity, id)): Path<(String, u64)>) -> Response {
    done(sandbox.copied_by_manager(&entity, id).is_some())
}

pub async fn move_lead(State(sandbox): State<Sandbox>, Path(id): Path<u64>, Json(to): Json<Move>) -> Response {
    let Some(stage) = sandbox.stage(&to.pipeline, &to.stage) else { return responses::unknown() };
    done(if to.robot { sandbox.moved_by_robot(id, stage) } else { sandbox.moved_by_manager(id, stage) })
}

pub async fn set_robots(State(sandbox): State<Sandbox>, Json(robots): Json<Vec<Robot>>) -> Response {
    sandbox.set_robots(robots);
    responses::nothing()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageChange {
    pipeline: String,
    /// The stage to change; if absent, the pipeline itself.
    #[serde(default)]
    stage: Option<String>,
    /// The new name; if absent, the stage or pipeline is deleted.
    #[serde(default)]
    name: Option<String>,
}

pub async fn change_stage(State(sandbox): State<Sandbox>, Json(change): Json<StageChange>) -> Response {
    done(match (&change.stage, &change.name) {
        (Some(stage), Some(name)) => sandbox.rename_stage(&change.pipeline, stage, name),
        (Some(stage), None) => sandbox.delete_stage(&change.pipeline, stage),
        (None, Some(name)) => sandbox.rename_pipeline(&change.pipeline, name),
        (None, None) => sandbox.delete_pipeline(&change.pipeline),
    })
}

pub async fn stages(State(sandbox): State<Sandbox>) -> Response {
    let state = sandbox.state();
    let all = state.pipelines.iter().flat_map(|pipeline| {
        pipeline
            .statuses
            .iter()
            .map(|status| json!({ "pipeline": pipeline.name, "stage": status.name, "ids": [pipeline.id, status.id] }))
    });
    Json(all.collect::<Vec<_>>()).into_response()
}

impl Sandbox {
    /// A manager edits a row. The body is the same as for `PATCH`.
    pub fn changed_by_manager(&self, entity: &str, id: u64, mut body: Value) -> Response {
        if let Some(row) = body.as_object_mut() {
            row.insert("id".into(), id.into());
            row.insert("updated_by".into(), MANAGER.into());
        }
        entities::change(self, entity, &[body])
    }

    /// Moves a row into the bin. False if the row is not there.
    pub fn deleted_by_manager(&self, entity: &str, id: u64) -> bool {
        let mut state = self.state();
        let Some(gone) = state.entities.get_mut(entity).and_then(|all| all.remove(&id)) else { return false };
        let sent = hooks::deletion(entity, id);
        state.bin.entry(entity.to_owned()).or_default().insert(id, gone);
        self.hooks.send(&mut state, [sent]);
        true
    }

    /// Restores a row from the bin as it was. False if it is not there.
    pub fn restored_by_manager(&self, entity: &str, id: u64) -> bool {
        let mut state = self.state();
        let Some(mut row) = state.bin.get_mut(entity).and_then(|all| all.remove(&id)) else { return false };
        submission(&mut row, state.now());
        state.entities.entry(entity.to_owned()).or_default().insert(id, row);
        let sent = hooks::change(&state, entity, id, "restore");
        self.hooks.send(&mut state, sent);
        true
    }

    /// Merges two rows: `kept` gets the deals, contacts, companies and notes of `gone`, and its values for empty
    /// fields. `gone` is deleted for good.
    pub fn merged_by_manager(&self, entity: &str, gone: u64, kept: u64) -> bool {
        let mut state = self.state();
        if gone == kept || !state.there(entity, kept) {
            return false;
        }
        let Some(old) = state.entities.get_mut(entity).and_then(|all| all.remove(&gone)) else { return false };
        let now = state.now();
        if let Some(row) = state.entities.get_mut(entity).and_then(|all| all.get_mut(&kept)) {
            take_over(row, &old);
            submission(row, now);
        }
        relink(&mut state, entity, gone, kept);
        let changed = hooks::change(&state, entity, kept, "update");
        let deleted = hooks::deletion(entity, gone);
        self.hooks.send(&mut state, changed.into_iter().chain([deleted]));
        true
    }

    /// Copies a row with all its fields, including the hub's own. Returns the copy's id.
    pub fn copied_by_manager(&self, entity: &str, id: u64) -> Option<u64> {
        let mut state = self.state();
        let mut row = state.entities.get(entity)?.get(&id)?.clone();
        let (copy, now) = (state.id(), state.now());
        for (field, value) in [("id", copy), ("created_by", MANAGER), ("created_at", now)] {
            row.insert(field.into(), value.into());
        }
        submission(&mut row, now);
        state.entities.entry(entity.to_owned()).or_default().insert(copy, row);
        let sent = hooks::change(&state, entity, copy, "add");
        self.hooks.send(&mut state, sent);
        Some(copy)
    }

    pub fn moved_by_manager(&self, lead: u64, stage: StageIds) -> bool {
        let moved = robots::moved(self, lead, stage, MANAGER);
        robots::stir(self, &[lead]);
        moved
    }

    pub fn moved_by_robot(&self, lead: u64, stage: StageIds) -> bool {
        robots::moved(self, lead, stage, 0)
    }

    /// Replaces all robots.
    pub fn set_robots(&self, robots: Vec<Robot>) {
        self.state().robots = robots;
    }

    pub fn rename_pipeline(&self, name: &str, to: &str) -> bool {
        let mut state = self.state();
        let found = state.pipelines.iter_mut().find(|known| known.name == name);
        found.map(|pipeline| to.clone_into(&mut pipeline.name)).is_some()
    }

    pub fn rename_stage(&self, pipeline: &str, stage: &str, to: &str) -> bool {
        let mut state = self.state();
        let found = state.pipelines.iter_mut().find(|known| known.name == pipeline);
        let found = found.and_then(|pipeline| pipeline.statuses.iter_mut().find(|known| known.name == stage));
        found.map(|stage| to.clone_into(&mut stage.name)).is_some()
    }

    /// Deletes a stage. Its deals go to the first stage of its pipeline, as amoCRM demands.
    pub fn delete_stage(&self, pipeline: &str, stage: &str) -> bool {
        let Some((pipeline, status)) = self.stage(pipeline, stage) else { return false };
        let mut state = self.state();
        let found = state.pipelines.iter_mut().find(|known| known.id == pipeline);
        let Some(found) = found else { return false };
        found.statuses.retain(|known| known.id != status);
        let Some(first) = found.statuses.iter().find(|known| is_ordinary(known)).map(|known| known.id) else {
            return false;
        };
        let left = stranded(&state, pipeline, Some(status));
        drop(state);
        left.into_iter().for_each(|lead| _ = self.moved_by_manager(lead, (pipeline, first)));
        true
    }

    /// Deletes a pipeline. Its deals go to the first stage of the first remaining one. The last pipeline stays.
    pub fn delete_pipeline(&self, name: &str) -> bool {
        let mut state = self.state();
        let Some(id) = state.pipelines.iter().find(|known| known.name == name).map(|known| known.id) else {
            return false;
        };
        if state.pipelines.len() < 2 {
            return false;
        }
        state.pipelines.retain(|known| known.id != id);
        let Some(first) = state.default_stage() else { return false };
        let left = stranded(&state, id, None);
        drop(state);
        left.into_iter().for_each(|lead| _ = self.moved_by_manager(lead, first));
        true
    }

    /// Adds a stage to a pipeline. Returns its id.
    pub fn add_stage(&self, pipeline: &str, stage: &str) -> Option<u64> {
        let mut state = self.state();
        let id = state.id();
        let found = state.pipelines.iter_mut().find(|known| known.name == pipeline)?;
        let sort = found.statuses.iter().filter(|known| is_ordinary(known)).map(|known| known.sort + 10).max();
        found.statuses.push(Status { id, name: stage.to_owned(), sort: sort.unwrap_or(20), kind: 0 });
        Some(id)
    }

    /// Moves the clock on by this many seconds.
    pub fn pass(&self, seconds: u64) {
        self.state().move_clock(crate::state::ClockMove { pass: seconds, hold: None });
    }

    /// Holds the clock within one second, or releases it.
    pub fn hold_clock(&self, hold: bool) {
        self.state().move_clock(crate::state::ClockMove { pass: 0, hold: Some(hold) });
    }
}

fn is_ordinary(status: &Status) -> bool {
    status.kind == 0 && status.id > 143
}

fn stranded(state: &Account, pipeline: u64, status: Option<u64>) -> Vec<u64> {
    let leads = state.entities.get("leads").into_iter().flatten();
    let number = |row: &Map<String, Value>, key: &str| row.get(key).and_then(Value::as_u64);
    leads
        .filter(|(_, row)| number(row, "pipeline_id") == Some(pipeline))
        .filter(|(_, row)| status.is_none() || number(row, "status_id") == status)
        .map(|(id, _)| *id)
        .collect()
}

fn submission(row: &mut Map<String, Value>, now: u64) {
    row.insert("updated_by".into(), MANAGER.into());
    row.insert("updated_at".into(), now.into());
}

/// Merges fields: phones and e-mails are united, other fields fill empty ones. Tags, contacts and companies follow.
fn take_over(row: &mut Map<String, Value>, old: &Map<String, Value>) {
    let mut fields = row.get("custom_fields_values").and_then(Value::as_array).cloned().unwrap_or_default();
    let theirs = old.get("custom_fields_values").and_then(Value::as_array).into_iter().flatten();
    for field in theirs {
        let Some(own) = fields.iter_mut().find(|own| own.get("field_id") == field.get("field_id")) else {
            fields.push(field.clone());
            continue;
        };
        if field.get("field_type").and_then(Value::as_str) != Some("multitext") {
            continue;
        }
        let more = field.get("values").and_then(Value::as_array).cloned().unwrap_or_default();
        if let Some(values) = own.get_mut("values").and_then(Value::as_array_mut) {
            for value in more {
                if !values.iter().any(|known| known.get("value") == value.get("value")) {
                    values.push(value);
                }
            }
        }
    }
    if !fields.is_empty() {
        row.insert("custom_fields_values".into(), fields.into());
    }
    for part in ["tags", "contacts", "companies"] {
        let theirs = old.get("_embedded").and_then(|embedded| embedded.get(part)?.as_array()).cloned();
        let own = row.get_mut("_embedded").and_then(|embedded| embedded.get_mut(part)?.as_array_mut());
        let (Some(own), Some(theirs)) = (own, theirs) else { continue };
        // A row has at most one company and one main contact: existing ones stay.
        if part == "companies" && !own.is_empty() {
            continue;
        }
        for mut one in theirs {
            if own.iter().any(|known| known.get("id") == one.get("id")) {
                continue;
            }
            if part == "contacts"
                && !own.is_empty()
                && let Some(one) = one.as_object_mut()
            {
                one.insert("is_main".into(), false.into());
            }
            own.push(one);
        }
    }
}

/// Changes all links from `gone` to `kept`.
fn relink(state: &mut Account, entity: &str, gone: u64, kept: u64) {
    for holder in ["leads", "contacts"] {
        for row in state.entities.get_mut(holder).into_iter().flat_map(|all| all.values_mut()) {
            let all = row.get_mut("_embedded").and_then(|embedded| embedded.get_mut(entity)?.as_array_mut());
            let Some(all) = all else { continue };
            let id = |one: &Value| one.get("id").and_then(Value::as_u64);
            let was_main = |one: &Value| one.get("is_main").and_then(Value::as_bool).unwrap_or(false);
            let Some(old) = all.iter().find(|one| id(one) == Some(gone)).cloned() else { continue };
            all.retain(|one| id(one) != Some(gone));
            let there = all.iter_mut().find(|one| id(one) == Some(kept)).and_then(Value::as_object_mut);
            match there {
                Some(there) if was_main(&old) => _ = there.insert("is_main".into(), true.into()),
                Some(_) => {}
                None => all.push(json!({ "id": kept, "is_main": was_main(&old) })),
            }
        }
    }
    for shelf in [format!("{entity}/notes"), "tasks".to_owned()] {
        for row in state.entities.get_mut(&shelf).into_iter().flat_map(|all| all.values_mut()) {
            let about = row.get("entity_type").and_then(Value::as_str).is_none_or(|about| about == entity);
            if about && row.get("entity_id").and_then(Value::as_u64) == Some(gone) {
                row.insert("entity_id".into(), kept.into());
            }
        }
    }
}

/// Sends the overtaken webhooks that no other webhook followed.
pub async fn release_hooks(State(sandbox): State<Sandbox>) -> Response {
    sandbox.release_hooks();
    StatusCode::NO_CONTENT.into_response()
}
