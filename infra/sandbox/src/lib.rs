//! amoCRM's API v4, as strict as the original. Tokens rotate, answers have HAL shapes, an empty result is 204, and
//! one bad row fails the whole batch with 400 and a dotted path. The limit is seven requests a second; webhooks are
//! unsigned.
//!
//! Sources: amocrm.ru/developers, and the issue threads of amocrm/amocrm-api-php for what only real accounts show.

mod clock;
mod control;
mod entities;
mod faults;
mod hook_faults;
mod hooks;
mod links;
pub mod lists;
mod manager;
pub mod messengers;
mod middleware;
mod notes_and_tasks;
mod oauth;
pub mod payments;
mod responses;
mod robots;
mod setup;
pub mod smtp;
mod state;
mod validate;
pub mod vtiger;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::{
    Router,
    routing::{get, patch, post},
};
pub use clock::SandboxClock;
pub use faults::{Fault, FaultKind};
pub use hook_faults::{HookFault, HookFaultKind, SentHook};
pub use lists::{ListBreak, Lists};
pub use messengers::{Arrived, Break, Messengers, Platform};
pub use payments::Payments;
pub use robots::{Robot, StageIds};
pub use smtp::{Delivered, Post, PostBreak};
use state::State;
pub use state::{PipelineSeed, Seed};
use tokio::net::TcpListener;
pub use vtiger::{VtigerSandbox, VtigerSeed, VtigerUser};

/// A running account.
#[derive(Clone)]
pub struct Sandbox {
    state: Arc<Mutex<State>>,
    hooks: hooks::Sender,
}

impl Sandbox {
    pub fn new(seed: Seed) -> Self {
        let state = Arc::new(Mutex::new(State::new(seed)));
        Self { hooks: hooks::Sender::start(Arc::clone(&state)), state }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn router(&self) -> Router {
        let api = Router::new()
            .route("/api/v4/account", get(setup::account))
            .route("/api/v4/leads/pipelines", get(setup::pipelines))
            .route("/api/v4/leads/complex", post(entities::complex))
            .route("/api/v4/webhooks", get(hooks::list).post(hooks::subscribe).delete(hooks::unsubscribe))
            .route("/api/v4/tasks", get(notes_and_tasks::tasks).post(notes_and_tasks::add_tasks))
            .route("/api/v4/{entity}", get(entities::list).post(entities::create).patch(entities::update))
            .route("/api/v4/{entity}/{id}", get(entities::one).patch(entities::update_one))
            .route("/api/v4/{entity}/links", get(links::links_of_many))
            .route("/api/v4/{entity}/link", post(links::link_many))
            .route("/api/v4/{entity}/unlink", post(links::unlink_many))
            .route("/api/v4/{entity}/{id}/links", get(links::links))
            .route("/api/v4/{entity}/{id}/link", post(links::link))
            .route("/api/v4/{entity}/custom_fields", get(setup::fields).post(setup::add_fields))
            .route("/api/v4/{entity}/custom_fields/{id}", axum::routing::delete(setup::delete_field))
            .route("/api/v4/{entity}/tags", get(setup::tags).post(setup::add_tags))
            .route("/api/v4/{entity}/notes", get(notes_and_tasks::notes).post(notes_and_tasks::add_notes))
            .route_layer(axum::middleware::from_fn_with_state(self.clone(), middleware::gate));
        Router::new()
            .merge(api)
            .route("/oauth2/access_token", post(oauth::access_token))
            .route("/_sandbox/faults", post(control::faults))
            .route("/_sandbox/stats", get(control::stats))
            .route("/_sandbox/unblock", post(control::unblock))
            .route("/_sandbox/codes", post(control::code))
            .route("/_sandbox/clock", post(control::clock))
            .route("/_sandbox/elsewhere", get(control::elsewhere))
            .route("/_sandbox/hooks", post(control::hook_faults))
            .route("/_sandbox/hooks/release", post(manager::release_hooks))
            .route("/_sandbox/robots", post(manager::set_robots))
            .route("/_sandbox/stages", get(manager::stages).post(manager::change_stage))
            .route("/_sandbox/leads/{id}/move", post(manager::move_lead))
            .route("/_sandbox/{entity}", post(manager::add))
            .route("/_sandbox/{entity}/{id}", patch(manager::change).delete(manager::delete))
            .route("/_sandbox/{entity}/{id}/restore", post(manager::restore))
            .route("/_sandbox/{entity}/{id}/merge", post(manager::merge))
            .route("/_sandbox/{entity}/{id}/copy", post(manager::copy))
            .fallback(responses::not_found)
            .with_state(self.clone())
    }

    /// Serves until the task is dropped.
    ///
    /// # Errors
    /// When the listener breaks.
    pub async fn serve(self, listener: TcpListener) -> std::io::Result<()> {
        axum::serve(listener, self.router()).await
    }

    /// Calls since the start, by method and shape of the path.
    pub fn calls(&self) -> std::collections::BTreeMap<String, u64> {
        self.state().calls.clone()
    }

    /// Copies of all contacts, by id.
    pub fn contacts(&self) -> Vec<serde_json::Value> {
        self.state().all("contacts")
    }

    /// The number of contacts, leads or companies.
    pub fn count(&self, entity: &str) -> usize {
        self.state().entities.get(entity).map_or(0, std::collections::BTreeMap::len)
    }

    /// Ids of all rows of an entity.
    pub fn all_ids(&self, entity: &str) -> Vec<u64> {
        self.state().entities.get(entity).into_iter().flat_map(std::collections::BTreeMap::keys).copied().collect()
    }

    /// Notes of contacts, by id.
    pub fn notes(&self) -> Vec<serde_json::Value> {
        self.state().all("contacts/notes")
    }

    pub fn tasks(&self) -> Vec<serde_json::Value> {
        self.state().all("tasks")
    }

    pub fn leads(&self) -> Vec<serde_json::Value> {
        self.state().all("leads")
    }

    /// Adds contacts as a manager types them in. They cost the integration no call.
    pub fn add_contacts(&self, rows: &[serde_json::Value]) {
        _ = entities::add(self, "contacts", rows);
    }

    /// The number of leads by the names of pipeline and stage.
    pub fn leads_by_stage(&self) -> std::collections::BTreeMap<(String, String), usize> {
        let state = self.state();
        let mut counts = std::collections::BTreeMap::new();
        for lead in state.entities.get("leads").into_iter().flat_map(std::collections::BTreeMap::values) {
            let number = |key: &str| lead.get(key).and_then(serde_json::Value::as_u64);
            let pipeline = state.pipelines.iter().find(|known| Some(known.id) == number("pipeline_id"));
            let status =
                pipeline.and_then(|known| known.statuses.iter().find(|one| Some(one.id) == number("status_id")));
            if let (Some(pipeline), Some(status)) = (pipeline, status) {
                *counts.entry((pipeline.name.clone(), status.name.clone())).or_default() += 1;
            }
        }
        counts
    }

    /// The ids of a pipeline and of its stage, by their names.
    pub fn stage(&self, pipeline: &str, stage: &str) -> Option<(u64, u64)> {
        let state = self.state();
        let pipeline = state.pipelines.iter().find(|known| known.name == pipeline)?;
        let stage = pipeline.statuses.iter().find(|known| known.name == stage)?;
        Some((pipeline.id, stage.id))
    }

    /// Calls since the start that were refused with 429.
    pub fn over_the_rate(&self) -> u32 {
        self.state().over
    }

    pub fn set_fault(&self, fault: Fault) {
        self.state().faults.push(fault);
    }

    /// Removes all faults of calls.
    pub fn clear_faults(&self) {
        self.state().faults.clear();
    }

    /// Companies, by id.
    pub fn companies(&self) -> Vec<serde_json::Value> {
        self.state().all("companies")
    }

    /// Takes the account down or up. While it is down, every call fails with 500.
    pub fn set_down(&self, down: bool) {
        self.state().down = down;
    }
}
