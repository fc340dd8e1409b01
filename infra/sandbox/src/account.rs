use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{
    Fault, hooks,
    state::{Seed, State},
};

/// A running account.
#[derive(Clone)]
pub struct Sandbox {
    state: Arc<Mutex<State>>,
    pub(crate) hooks: hooks::Sender,
}

impl Sandbox {
    pub fn new(seed: Seed) -> Self {
        let state = Arc::new(Mutex::new(State::new(seed)));
        Self { hooks: hooks::Sender::start(Arc::clone(&state)), state }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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
