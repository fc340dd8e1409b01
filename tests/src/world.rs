//! A sandbox over HTTP, the real amoCRM client and a memory store: all of `sync` except the process around it.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use jiff::SignedDuration;
use stagedoor_crm::amocrm::{AmoCrm, Authorization, Settings};
use stagedoor_engine::{Catalog, Guards, Pipeline, Stage};
use stagedoor_model::{Event, Region, Timestamp};
use stagedoor_ports::{Clock, Crm, Store, SystemClock, memory::MemoryStore};
use stagedoor_sandbox::{PipelineSeed, Sandbox, Seed};
use stagedoor_sync::{Breakers, FlushMode, Sync};
use stagedoor_texts::Language;
use tokio::{net::TcpListener, task::JoinHandle};

pub struct World {
    pub sandbox: Sandbox,
    pub store: Arc<dyn Store>,
    pub crm: Arc<dyn Crm>,
    pub sync: Sync,
    pub base: String,
    pub ahead: Arc<Ahead>,
    serving: JoinHandle<std::io::Result<()>>,
}

impl Drop for World {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// The machine's clock plus an offset that a test sets.
#[derive(Default)]
pub struct Ahead(AtomicI64);

impl Ahead {
    pub fn pass(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }
}

impl Clock for Ahead {
    fn now(&self) -> Timestamp {
        SystemClock.now() + SignedDuration::from_secs(self.0.load(Ordering::SeqCst))
    }
}

pub const PIPELINE: &str = "Тур";

impl World {
    pub async fn new() -> Self {
        Self::with(Seed { rate: 1_000, ..seed() }, 1_000).await
    }

    pub async fn with(seed: Seed, rate: u32) -> Self {
        let token = seed.long_lived.clone();
        let sandbox = Sandbox::new(seed);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        let serving = tokio::spawn(sandbox.clone().serve(listener));
        let authorization = Authorization::LongLived(token);
        let crm = AmoCrm::new(settings(&base, rate), authorization).expect("a client");
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        let crm: Arc<dyn Crm> = Arc::new(crm);
        let ahead = Arc::new(Ahead::default());
        let sync = Sync { clock: Arc::clone(&ahead) as Arc<dyn Clock>, ..sync(Arc::clone(&store), Arc::clone(&crm)) };
        Self { sandbox, store, crm, sync, base, ahead, serving }
    }

    /// Folds and reconciles until nobody waits.
    pub async fn run(&self, events: Vec<Event>) {
        let failed = self.sync.handle(events).await;
        assert!(failed.is_empty(), "{} events were not saved", failed.len());
        self.reconcile().await;
    }

    pub async fn reconcile(&self) {
        for _ in 0..60 {
            let round = self.sync.reconcile(FlushMode::Everything).await.expect("a round");
            if round.left == 0 && round.unavailable.is_none() && self.store.totals().await.expect("totals").waiting == 0
            {
                return;
            }
            // A person whose sync failed several times waits before the next try.
            self.ahead.pass(i64::from(round.settled == 0) * 15);
        }
        panic!("people still wait after sixty rounds");
    }

    /// The CRM as a manager sees it: contacts by phones and e-mails, each with its deals.
    pub fn picture(&self) -> BTreeMap<String, Vec<String>> {
        picture(&self.sandbox)
    }
}

pub fn seed() -> Seed {
    let stages = catalog().pipelines.into_iter().next().map(|one| one.stages.into_values().collect());
    Seed {
        pipelines: vec![PipelineSeed { name: PIPELINE.into(), stages: stages.unwrap_or_default() }],
        ..Seed::default()
    }
}

pub fn settings(base: &str, rate: u32) -> Settings {
    Settings {
        base_url: base.to_owned(),
        region: Region::new("RU").expect("a region"),
        rate: NonZeroU32::new(rate).expect("a rate"),
        timeout: Duration::from_secs(5),
        late_for: SignedDuration::ZERO,
        hook: None,
        stages: BTreeSet::new(),
        language: Language::default(),
    }
}

pub fn sync(store: Arc<dyn Store>, crm: Arc<dyn Crm>) -> Sync {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    Sync {
        store,
        crm,
        clock,
        order_apis: BTreeMap::new(),
        topics: None,
        catalog: catalog(),
        guards: Guards::default(),
        erasure: Some(stagedoor_sync::ErasureKey::new("test")),
        conversation: None,
        lists: BTreeMap::new(),
        owner: "test".into(),
        outage: Arc::default(),
        breakers: Breakers::default(),
        events: None,
        second: None,
        scope: "",
    }
}

pub fn catalog() -> Catalog {
    let stages = Stage::ALL.iter().map(|stage| (*stage, format!("{} ·", stage.name()))).collect();
    Catalog { pipelines: vec![Pipeline { name: PIPELINE.into(), stages }], ..Catalog::default() }
}

pub fn picture(sandbox: &Sandbox) -> BTreeMap<String, Vec<String>> {
    let text =
        |value: &serde_json::Value, pointer: &str| value.pointer(pointer).map(ToString::to_string).unwrap_or_default();
    let mut all = BTreeMap::<String, Vec<String>>::new();
    let mut names = BTreeMap::new();
    for contact in sandbox.contacts() {
        let mut values: Vec<String> = Vec::new();
        for field in contact.get("custom_fields_values").and_then(|v| v.as_array()).into_iter().flatten() {
            if matches!(field.get("field_code").and_then(|v| v.as_str()), Some("PHONE" | "EMAIL")) {
                values.extend(
                    field.get("values").and_then(|v| v.as_array()).into_iter().flatten().map(|v| text(v, "/value")),
                );
            }
        }
        values.sort();
        let name = format!("{} {}", text(&contact, "/name"), values.join(" "));
        names.insert(text(&contact, "/id"), name.clone());
        all.entry(name).or_default().push(String::new());
    }
    for lead in sandbox.leads() {
        let owner = names.get(&text(&lead, "/_embedded/contacts/0/id")).cloned().unwrap_or_else(|| "nobody".into());
        let line = format!("{} {} {}", text(&lead, "/name"), text(&lead, "/price"), text(&lead, "/status_id"));
        all.entry(owner).or_default().push(line);
    }
    // Each line of a conversation appears once, no matter how the hub split the lines into notes.
    for note in sandbox.notes() {
        let owner = names.get(&text(&note, "/entity_id")).cloned().unwrap_or_else(|| "nobody".into());
        let words = note.pointer("/params/text").and_then(|v| v.as_str()).unwrap_or("");
        let lines = words.lines().filter(|line| line.contains('▸')).map(|line| format!("note {line}"));
        all.entry(owner).or_default().extend(lines);
    }
    for task in sandbox.tasks() {
        let owner = names.get(&text(&task, "/entity_id")).cloned().unwrap_or_else(|| "nobody".into());
        all.entry(owner).or_default().push("task".into());
    }
    all.values_mut().for_each(|lines| lines.sort());
    all
}
