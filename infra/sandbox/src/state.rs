use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use crate::{Fault, SandboxClock, hook_faults::HookFaults};

/// A stage: the ids of its pipeline and of itself.
pub type StageIds = (u64, u64);

/// Moves a deal that comes to `from` on to `to`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Robot {
    pub from: StageIds,
    pub to: StageIds,
    /// The delay after the deal came, in milliseconds. 0 acts at once.
    #[serde(default)]
    pub milliseconds: u64,
}

/// The initial content of the account.
#[derive(Debug, Clone)]
pub struct Seed {
    pub subdomain: String,
    pub client_id: String,
    pub client_secret: String,
    pub redirect_uri: String,
    /// A token that lasts until a person revokes it.
    pub long_lived: String,
    pub pipelines: Vec<PipelineSeed>,
    /// Requests a second for an integration.
    pub rate: usize,
    /// True if the account has the paid add-on "filters".
    pub filters: bool,
    pub clock: SandboxClock,
    /// True if webhooks are kept for `take_hooks` instead of being posted.
    pub keeps_hooks: bool,
}

#[derive(Debug, Clone)]
pub struct PipelineSeed {
    pub name: String,
    /// Stages between Unsorted and the two closing stages, which every pipeline has.
    pub stages: Vec<String>,
}

impl Default for Seed {
    fn default() -> Self {
        let stages = ["Первичный контакт", "Переговоры", "Промокод выдан", "Корзина", "Оплачено", "Посетил", "Возврат"];
        Self {
            subdomain: "demo".into(),
            client_id: "dev-client".into(),
            client_secret: "dev-client-secret".into(),
            redirect_uri: "http://127.0.0.1:8080/oauth".into(),
            long_lived: "dev-long-lived-token".into(),
            pipelines: vec![PipelineSeed { name: "Воронка".into(), stages: stages.map(String::from).to_vec() }],
            rate: 7,
            filters: false,
            clock: SandboxClock::default(),
            keeps_hooks: false,
        }
    }
}

pub struct Field {
    pub id: u64,
    pub code: Option<String>,
    pub name: String,
    pub kind: String,
}

pub struct Status {
    pub id: u64,
    pub name: String,
    pub sort: u64,
    pub kind: u64,
}

pub struct Pipeline {
    pub id: u64,
    pub name: String,
    pub statuses: Vec<Status>,
}

pub struct Hook {
    pub id: u64,
    pub destination: String,
    pub settings: BTreeSet<String>,
    pub disabled: bool,
    /// Bad answers since the subscription.
    pub bad: u32,
    pub created_at: u64,
}

pub struct State {
    pub seed: Seed,
    next_id: u64,
    pub entities: BTreeMap<String, BTreeMap<u64, Map<String, Value>>>,
    pub fields: BTreeMap<String, Vec<Field>>,
    pub tags: BTreeMap<String, BTreeMap<String, u64>>,
    pub pipelines: Vec<Pipeline>,
    pub hooks: Vec<Hook>,
    /// Access tokens with their expiry.
    pub access: BTreeMap<String, u64>,
    /// Refresh tokens that still work.
    pub refresh: BTreeSet<String>,
    /// Authorisation codes with their expiry.
    pub codes: BTreeMap<String, u64>,
    pub issued: u64,
    pub window: VecDeque<Instant>,
    pub over: u32,
    pub blocked: bool,
    pub down: bool,
    pub faults: Vec<Fault>,
    pub hook_faults: HookFaults,
    pub calls: BTreeMap<String, u64>,
    /// Rows in the bin, by entity. A manager can restore them.
    pub bin: BTreeMap<String, BTreeMap<u64, Map<String, Value>>>,
    pub robots: Vec<Robot>,
    /// Seconds added to the clock.
    ahead: u64,
    /// The second at which the clock is held, if it is.
    held: Option<u64>,
}

/// A change of the sandbox's clock.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClockMove {
    /// Seconds that pass at once.
    #[serde(default)]
    pub pass: u64,
    /// Holds the clock within this second, or lets it go on.
    #[serde(default)]
    pub hold: Option<bool>,
}

pub const ACCOUNT: u64 = 28_805_383;
/// The user id of the admin who gave the token.
pub const USER: u64 = 504_141;
pub const MANAGER: u64 = 504_142;

impl State {
    pub fn new(seed: Seed) -> Self {
        let mut state = Self {
            next_id: 40_401_600,
            entities: BTreeMap::new(),
            fields: BTreeMap::new(),
            tags: BTreeMap::new(),
            pipelines: Vec::new(),
            hooks: Vec::new(),
            access: BTreeMap::from([(seed.long_lived.clone(), u64::MAX)]),
            refresh: BTreeSet::new(),
            codes: BTreeMap::from([("demo-code".into(), u64::MAX)]),
            issued: 0,
            window: VecDeque::new(),
            over: 0,
            blocked: false,
            down: false,
            faults: Vec::new(),
            hook_faults: HookFaults::default(),
            calls: BTreeMap::new(),
            bin: BTreeMap::new(),
            robots: Vec::new(),
            ahead: 0,
            held: None,
            seed,
        };
        for (entity, code, name, kind) in [
            ("contacts", "POSITION", "Должность", "text"),
            ("contacts", "PHONE", "Телефон", "multitext"),
            ("contacts", "EMAIL", "Email", "multitext"),
            ("leads", "UTM_SOURCE", "utm_source", "tracking_data"),
            ("leads", "UTM_MEDIUM", "utm_medium", "tracking_data"),
            ("leads", "UTM_CAMPAIGN", "utm_campaign", "tracking_data"),
        ] {
            let id = state.id();
            let field = Field { id, code: Some(code.into()), name: name.into(), kind: kind.into() };
            state.fields.entry(entity.into()).or_default().push(field);
        }
        for pipeline in state.seed.pipelines.clone() {
            state.add_pipeline(&pipeline);
        }
        state
    }

    fn add_pipeline(&mut self, seed: &PipelineSeed) {
        let id = self.id();
        let mut statuses = vec![Status { id: self.id(), name: "Неразобранное".into(), sort: 10, kind: 1 }];
        for (index, name) in seed.stages.iter().enumerate() {
            statuses.push(Status { id: self.id(), name: name.clone(), sort: 20 + 10 * index as u64, kind: 0 });
        }
        // Every pipeline has 142 for won and 143 for lost.
        statuses.push(Status { id: 142, name: "Успешно реализовано".into(), sort: 10_000, kind: 0 });
        statuses.push(Status {
            id: 143, name: "Закрыто и не реализовано".into(), sort: 11_000, kind: 0
        });
        self.pipelines.push(Pipeline { id, name: seed.name.clone(), statuses });
    }

    /// Unix seconds.
    pub fn now(&self) -> u64 {
        self.held.unwrap_or_else(|| self.seed.clock.seconds()) + self.ahead
    }

    pub fn move_clock(&mut self, moved: ClockMove) {
        self.ahead += moved.pass;
        match moved.hold {
            Some(true) => self.held = Some(self.seed.clock.seconds()),
            Some(false) => self.held = None,
            None => {}
        }
    }

    /// True if the row exists and is not in the bin.
    pub fn there(&self, entity: &str, id: u64) -> bool {
        self.entities.get(entity).is_some_and(|all| all.contains_key(&id))
    }

    pub fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    pub fn all(&self, entity: &str) -> Vec<Value> {
        self.entities.get(entity).into_iter().flat_map(BTreeMap::values).cloned().map(Value::Object).collect()
    }

    pub fn default_stage(&self) -> Option<(u64, u64)> {
        let pipeline = self.pipelines.first()?;
        let status = pipeline.statuses.iter().find(|status| status.kind == 0)?;
        Some((pipeline.id, status.id))
    }

    pub fn tag(&mut self, entity: &str, name: &str) -> Value {
        let known = self.tags.get(entity).and_then(|tags| tags.get(name)).copied();
        let id = known.unwrap_or_else(|| self.id());
        self.tags.entry(entity.to_owned()).or_default().insert(name.to_owned(), id);
        json!({ "id": id, "name": name, "color": null })
    }

    pub fn host(&self) -> String {
        format!("https://{}.amocrm.ru", self.seed.subdomain)
    }
}
