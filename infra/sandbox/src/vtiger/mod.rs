//! VtigerCRM 8.4.0's webservice, built only from recordings of a running one (`recorded/vtiger`). A test plays the
//! recordings against it. It silently cuts, drops and replaces the same values.

mod answer;
mod control;
mod endpoint;
mod manager;
mod modules;
mod records;
mod related;
mod vtql;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::Router;
use modules::Module;
use serde_json::{Map, Value};
use tokio::net::TcpListener;

use crate::{Fault, SandboxClock};

pub(crate) type Fields = Map<String, Value>;

#[derive(Debug, Clone)]
pub struct VtigerUser {
    pub name: String,
    pub number: u64,
    pub access_key: String,
    /// True if the user may see and do everything.
    pub admin: bool,
    pub active: bool,
}

#[derive(Debug, Clone)]
pub struct VtigerSeed {
    pub users: Vec<VtigerUser>,
    /// Custom text fields: module, name, label.
    pub fields: Vec<(String, String, String)>,
    /// Further values of the picklist "Sales Stage".
    pub stages: Vec<String>,
    /// True if invoices can be created. In 8.4.0 as shipped they cannot (recorded: `invoice` in 10 and in 11).
    pub makes_invoices: bool,
    /// The duration of a writing call and of a reading call; recorded: 65 and 14 ms (timings).
    pub write: Duration,
    pub read: Duration,
    pub clock: SandboxClock,
}

impl Default for VtigerSeed {
    fn default() -> Self {
        let user = |name: &str, number, key: &str, admin| VtigerUser {
            name: name.into(),
            number,
            access_key: key.into(),
            admin,
            active: true,
        };
        Self {
            users: vec![user("admin", 1, "StagedoorKey0001", true), user("sales1", 5, "StagedoorKey0002", false)],
            fields: ["Contacts", "Potentials"]
                .map(|module| (module.into(), "cf_stagedoor_id".into(), "Stagedoor ID".into()))
                .to_vec(),
            stages: Vec::new(),
            makes_invoices: false,
            write: Duration::ZERO,
            read: Duration::ZERO,
            clock: SandboxClock::default(),
        }
    }
}

pub(crate) struct Record {
    pub module: &'static str,
    pub fields: Fields,
    pub deleted: bool,
}

#[derive(Clone)]
pub(crate) struct Session {
    pub user: u64,
    /// Serialises the calls of one session (timings: four in parallel are as slow as four in sequence).
    pub turn: Arc<tokio::sync::Mutex<()>>,
}

pub(crate) struct State {
    pub seed: VtigerSeed,
    pub modules: BTreeMap<&'static str, Module>,
    pub records: BTreeMap<u64, Record>,
    pub lines: BTreeMap<u64, Vec<Fields>>,
    pub relations: BTreeSet<(u64, u64)>,
    pub next: u64,
    pub numbers: BTreeMap<&'static str, u64>,
    pub next_line: u64,
    pub serial: u64,
    /// The one challenge of each user, and its expiry.
    pub challenges: BTreeMap<u64, (String, u64)>,
    pub sessions: BTreeMap<String, Session>,
    /// Fields that an administrator marked as unique, by module.
    pub unique: BTreeMap<String, Vec<String>>,
    /// Modules to which the hub's user has no right.
    pub hidden: BTreeSet<String>,
    /// Modules whose records the hub's user cannot see.
    pub private: BTreeSet<String>,
    pub calls: BTreeMap<String, u64>,
    pub faults: Vec<Fault>,
    pub down: bool,
    /// True if the next invoice loses its last line.
    pub loses_a_line: bool,
    /// Seconds added to the clock.
    pub ahead: u64,
    /// The time zone of the server's clock, in seconds east of UTC.
    pub zone: i64,
    /// Records that the hub's user cannot see.
    pub hidden_records: BTreeSet<u64>,
    /// Workflows: a deal that comes to the first stage is moved to the second.
    pub workflows: Vec<(String, String)>,
}

/// A running installation.
#[derive(Clone)]
pub struct VtigerSandbox {
    state: Arc<Mutex<State>>,
}

impl VtigerSandbox {
    pub fn new(seed: VtigerSeed) -> Self {
        let modules = modules::all(&seed.fields, &seed.stages);
        let state = State {
            seed,
            modules,
            records: BTreeMap::new(),
            lines: BTreeMap::new(),
            relations: BTreeSet::new(),
            next: 2,
            numbers: BTreeMap::new(),
            next_line: 1,
            serial: 0,
            challenges: BTreeMap::new(),
            sessions: BTreeMap::new(),
            unique: BTreeMap::from([("Accounts".to_owned(), vec!["accountname".to_owned()])]),
            hidden: BTreeSet::new(),
            private: BTreeSet::new(),
            calls: BTreeMap::new(),
            faults: Vec::new(),
            down: false,
            loses_a_line: false,
            ahead: 0,
            zone: 0,
            hidden_records: BTreeSet::new(),
            workflows: Vec::new(),
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn router(&self) -> Router {
        control::router().fallback(endpoint::door).with_state(self.clone())
    }

    /// Serves until the task is dropped.
    ///
    /// # Errors
    /// When the listener breaks.
    pub async fn serve(self, listener: TcpListener) -> std::io::Result<()> {
        axum::serve(listener, self.router()).await
    }

    /// Existing records of a module as `retrieve` returns them, by their numbers.
    pub fn records(&self, module: &str) -> Vec<Value> {
        let state = self.state();
        let living = state.records.iter().filter(|(_, record)| record.module == module && !record.deleted);
        living.filter_map(|(number, _)| state.told(*number, false)).collect()
    }

    /// Calls by operation and module, such as `create Contacts`.
    pub fn calls(&self) -> BTreeMap<String, u64> {
        self.state().calls.clone()
    }

    pub fn set_fault(&self, fault: Fault) {
        self.state().faults.push(fault);
    }

    /// Removes all faults of calls.
    pub fn clear_faults(&self) {
        self.state().faults.clear();
    }

    /// Stops or starts the database. While it is stopped, every answer is 500 with an empty body (recorded:
    /// database_down_...).
    pub fn set_down(&self, down: bool) {
        self.state().down = down;
    }

    /// Ends all sessions, as PHP's cleanup does.
    pub fn forget_sessions(&self) {
        self.state().sessions.clear();
    }

    /// Sets the number of the next record, for playing recordings.
    pub fn next_number(&self, number: u64) {
        self.state().next = number;
    }

    /// Marks fields of a module as unique, as an administrator does.
    pub fn set_unique(&self, module: &str, fields: &[&str]) {
        let fields = fields.iter().map(|field| (*field).to_owned()).collect();
        self.state().unique.insert(module.to_owned(), fields);
    }

    pub fn set_active(&self, user: &str, active: bool) {
        self.state().seed.users.iter_mut().filter(|one| one.name == user).for_each(|one| one.active = active);
    }

    /// Takes a right from the hub's user. With `hidden` it is the right to the module itself, otherwise to all its
    /// records.
    pub fn take_right(&self, module: &str, hidden: bool) {
        let mut state = self.state();
        let State { hidden: modules, private, .. } = &mut *state;
        if hidden { modules } else { private }.insert(module.to_owned());
    }

    pub fn give_rights_back(&self) {
        let mut state = self.state();
        state.hidden.clear();
        state.private.clear();
        state.hidden_records.clear();
    }

    /// Moves the clock on.
    pub fn pass(&self, seconds: u64) {
        self.state().ahead += seconds;
    }

    pub fn set_makes_invoices(&self, makes: bool) {
        self.state().seed.makes_invoices = makes;
    }

    /// Sets how long calls take from now on. Only for measurements.
    pub fn set_pace(&self, write: Duration, read: Duration) {
        let mut state = self.state();
        (state.seed.write, state.seed.read) = (write, read);
    }
}
