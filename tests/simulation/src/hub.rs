//! The hub of one simulated world: its receiving functions, and processes that share one store and die at any step.

use std::{
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Body};
use stagedoor::{Clients, Hub, Queues, read_config};
use stagedoor_config::Config;
use stagedoor_model::{SECOND_CRM, SourceName};
use stagedoor_ports::{Clock, Crm, HttpClient, Queue, Store, memory::MemoryStore};
use stagedoor_schedule::Schedule;
use stagedoor_source_clients::Desks;
use stagedoor_sqlite::SqliteStore;
use stagedoor_sync::{Breakers, CrmAccount, FlushMode, Sync};
use stagedoor_testkit::SignedRequest;
use stagedoor_tests::crash::{Life, Mortal};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tower::ServiceExt;

use crate::{
    act::Habit,
    apis::Apis,
    carrier::{CallLog, Carrier},
    clock::VirtualClock,
    outreach,
    queue::SimulatedQueue,
    rng::Rng,
    sand::{self, Sand},
    way_out::{Mishap, WayOut},
};

/// Worlds with a seed divisible by this have a Vtiger.
const IN_VTIGER: u64 = 3;

/// Worlds whose seeds leave this rest have a second CRM, of the other kind.
const WITH_SECOND: (u64, u64) = (11, 4);

/// Worlds with a seed divisible by this keep their store in an SQLite file.
const IN_SQLITE: u64 = 5;

/// The longest pause of an idle process.
pub const IDLE: Duration = Duration::from_secs(15);

/// The time limit of a shop's answer.
const ASKING: Duration = Duration::from_secs(20);

/// The longest pause between two pulls of a source, in seconds.
const PULLED: u64 = 500;
/// The beginnings of worlds, in minutes after 10:00 in Moscow: most by day, some shortly before the night of a place
/// or before its end.
const BEGINS: [i64; 8] = [0, 645, 0, 0, 525, 0, 0, -110];

/// State that all processes of a simulated hub share.
pub struct Shared {
    pub clock: VirtualClock,
    pub config: Config,
    /// The stand-in of the CRM.
    pub crm: Arc<dyn Sand>,
    /// The stand-in of the second CRM, in worlds with two. No manager works there.
    pub second_crm: Option<Arc<dyn Sand>>,
    /// The APIs of shops and payment providers that the hub asks.
    pub apis: Apis,
    /// The folder of the store's file, if it has one.
    file: Option<TempDir>,
    pub store: Arc<dyn Store>,
    pub events: Arc<SimulatedQueue>,
    pub chats: Arc<SimulatedQueue>,
    pub outbox: Arc<SimulatedQueue>,
    /// The mail relay, the SMS gateway and the bot.
    pub way_out: Arc<WayOut>,
    pub hub: Arc<Hub>,
    /// Calls of the CRM, if the switches ask for them.
    pub calls: CallLog,
    router: Router,
    rng: Mutex<Rng>,
    /// True once no process is killed and nothing is lost on its way any more.
    pub calm: AtomicBool,
    /// The number of processes that died.
    pub deaths: std::sync::atomic::AtomicU32,
}

impl Shared {
    /// Opens the hub of a world. `with_second` says if it may have a second CRM.
    ///
    /// # Errors
    /// A sentence, when the config or a client is wrong.
    pub fn open(seed: u64, mut rng: Rng, habits: &[Habit], with_second: bool) -> Result<Arc<Self>, String> {
        let (sqlite, nights) = (habits.contains(&Habit::Sqlite), habits.contains(&Habit::Nights));
        let begin = usize::try_from(seed % BEGINS.len() as u64).ok().and_then(|number| BEGINS.get(number).copied());
        let begin = begin.filter(|_| nights).unwrap_or_default();
        let clock = VirtualClock::start(begin);
        let mut crms = [include_str!("amocrm.toml"), include_str!("vtiger.toml")];
        if seed.is_multiple_of(IN_VTIGER) {
            crms.reverse();
        }
        let [crm, second] = crms;
        let (every, rest) = WITH_SECOND;
        let second = if with_second && seed % every == rest { as_second(second) } else { String::new() };
        let text = format!("{}\n{crm}\n{second}", include_str!("stagedoor.toml"));
        let config = read_config("stagedoor.toml", &text, None)?;
        let file = (sqlite && seed.is_multiple_of(IN_SQLITE)).then(folder_in_memory).transpose()?;
        let store: Arc<dyn Store> = match &file {
            None => Arc::new(MemoryStore::default()),
            Some(folder) => {
                let inner = SqliteStore::open(&folder.path().join("hub.db")).map_err(|error| error.to_string())?;
                Arc::new(Mortal { inner: Arc::new(inner) as Arc<dyn Store>, life: Life::that_holds_time() })
            }
        };
        let queue = || Arc::new(SimulatedQueue::new(clock.shared()));
        let (events, chats, outbox) = (queue(), queue(), queue());
        let shown = |queue: &Arc<SimulatedQueue>| Arc::clone(queue) as Arc<dyn Queue>;
        let queues = Queues { events: shown(&events), chats: shown(&chats), outbox: shown(&outbox) };
        let folder = Path::new("unused");
        let sand = sand::of(&config, &config.crm, clock);
        let second_crm = config.second_crm.as_ref().map(|second| sand::of(&config, second, clock));
        let (apis, calls) = (Apis::new(clock), CallLog::default());
        let carrier = Carrier::new(sand.router(), config.crm.timeout, rng.fork(), calls.clone());
        let crm = stagedoor_crm::crm_over(Arc::new(carrier), &config, &store, &clock.shared(), "receiver")?;
        let clients = Clients { crm, order_apis: Desks::new() };
        let hub = Hub::over(clients, clock.shared(), config.clone(), Arc::clone(&store), queues, folder, "receiver")?;
        let hub = Arc::new(hub);
        let router = hub.router()?;
        let rng = Mutex::new(rng.fork());
        let (calm, deaths) = (AtomicBool::new(false), Default::default());
        let way_out = WayOut::new(clock, Rng::new(seed ^ 0x0077_6179));
        if begin > 0 {
            // Messages decided in the evening are delayed into the night.
            way_out.set_mishap(Mishap::Denied, Duration::from_secs(60));
        }
        Ok(Arc::new(Self {
            clock,
            config,
            crm: sand,
            second_crm,
            apis,
            file,
            store,
            events,
            chats,
            outbox,
            way_out,
            hub,
            calls,
            router,
            rng,
            calm,
            deaths,
        }))
    }

    pub fn stored_in(&self) -> &'static str {
        if self.file.is_some() { "SQLite" } else { "memory" }
    }

    pub fn rng(&self) -> Rng {
        self.rng.lock().unwrap_or_else(PoisonError::into_inner).fork()
    }

    /// The stand-ins of all CRMs, the first one first.
    pub fn crms(&self) -> impl Iterator<Item = &Arc<dyn Sand>> {
        std::iter::once(&self.crm).chain(&self.second_crm)
    }

    /// Posts a delivery to the hub. Returns the status.
    pub async fn post(&self, signed_request: SignedRequest) -> u16 {
        let mut request = http::Request::post(format!("http://hub.invalid{}", signed_request.path));
        for (name, value) in &signed_request.headers {
            request = request.header(name, value);
        }
        let Ok(request) = request.body(Body::from(signed_request.body)) else { return 0 };
        let Ok(answer) = self.router.clone().oneshot(request).await;
        answer.status().as_u16()
    }

    fn sync(&self, life: &Life, owner: &str) -> Result<Sync, String> {
        let carrier = Carrier::new(self.crm.router(), self.config.crm.timeout, self.rng(), self.calls.clone());
        let clock = self.clock.shared();
        let store: Arc<dyn Store> = Arc::new(Mortal { inner: Arc::clone(&self.store), life: life.clone() });
        let crm = stagedoor_crm::crm_over(Arc::new(carrier), &self.config, &store, &clock, owner)?;
        let crm = Arc::new(Mortal { inner: crm, life: life.clone() });
        let second = match &self.second_crm {
            Some(sand) => {
                let carrier = Carrier::new(sand.router(), self.config.crm.timeout, self.rng(), self.calls.clone());
                stagedoor_crm::second_over(Arc::new(carrier), &self.config, &store, &clock, owner)?
            }
            None => None,
        };
        let second = second.map(|(crm, invoicing)| {
            let crm: Arc<dyn Crm> = Arc::new(Mortal { inner: crm, life: life.clone() });
            CrmAccount { crm, invoicing, currency: None }
        });
        let asked = Carrier::new(self.apis.router(), ASKING, self.rng(), self.calls.clone());
        let sources = self.config.sources.iter().map(|one| &one.source);
        let order_apis = stagedoor_source_clients::desks_over(&(Arc::new(asked) as Arc<dyn HttpClient>), sources)?;
        let (owner, outage, breakers) = (owner.to_owned(), Arc::default(), Breakers::default());
        Ok(Sync { store, crm, second, order_apis, owner, outage, breakers, ..self.hub.sync.clone() })
    }

    fn schedule(&self, sync: &Sync) -> Schedule {
        let queue = Arc::clone(&self.events) as Arc<dyn Queue>;
        let (store, clock, order_apis) = (Arc::clone(&sync.store), Arc::clone(&sync.clock), sync.order_apis.clone());
        Schedule { store, queue, clock, order_apis }
    }

    /// Runs processes under one name, one after another, each until it dies. In calm they do not die.
    pub async fn supervise(self: Arc<Self>, name: &'static str) {
        let mut rng = self.rng();
        let mut generation = 0;
        loop {
            let mortal = !self.calm.load(Ordering::Relaxed) && rng.once_in(2);
            let life = Life::of(if mortal { i64::try_from(rng.between(1, 400)).unwrap_or(1) } else { i64::MAX });
            // On AWS a restarted process has a new name; on one machine it keeps the name.
            let owner = if rng.once_in(2) { format!("{name}-{generation}") } else { name.to_owned() };
            let Ok(sync) = self.sync(&life, &owner) else { return };
            let Ok(outreach) = self.outreach(&life) else { return };
            let mut parts = JoinSet::new();
            parts.spawn(pull(self.schedule(&sync), self.rng(), life.clone()));
            parts.spawn(consume(Arc::clone(&self.events), sync.clone(), life.clone()));
            parts.spawn(consume(Arc::clone(&self.chats), sync.clone(), life.clone()));
            parts.spawn(outreach::write(Arc::clone(&self.outbox), outreach, life.clone()));
            parts.spawn(reconcile(Arc::clone(&self), sync, life));
            while parts.join_next().await.is_some() {}
            self.deaths.fetch_add(1, Ordering::Relaxed);
            generation += 1;
            tokio::time::sleep(Duration::from_millis(rng.between(50, 8_000))).await;
        }
    }

    /// True if nothing waits anywhere.
    pub async fn is_still(&self) -> bool {
        let waiting = self.store.totals().await.map_or(1, |totals| totals.waiting);
        let now = self.clock.now();
        let queues = [&self.events, &self.chats, &self.outbox];
        waiting == 0 && queues.into_iter().all(|queue| queue.waiting(now) == 0) && self.way_out.is_still()
    }
}

/// The config of a CRM as that of the second one.
fn as_second(crm: &str) -> String {
    let crm = crm.replace("[crm", "[second_crm");
    crm.replace("[source.amocrm", &format!("[source.{SECOND_CRM}"))
}

/// A folder in memory if the system has one, since each step of a store waits for the disk.
fn folder_in_memory() -> Result<TempDir, String> {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    folder.map_err(|error| error.to_string())
}

async fn consume(queue: Arc<SimulatedQueue>, sync: Sync, life: Life) {
    let mut idle = Duration::from_millis(500);
    while !life.is_over() {
        let batch = queue.receive(100).await.unwrap_or_default();
        if batch.is_empty() {
            tokio::time::sleep(idle).await;
            idle = (idle * 2).min(IDLE);
            continue;
        }
        idle = Duration::from_millis(500);
        let (events, receipts): (Vec<_>, Vec<_>) = batch.into_iter().map(|one| (one.event, one.receipt)).unzip();
        let failed = sync.handle(events).await;
        if life.is_over() {
            return;
        }
        let done = receipts.into_iter().enumerate().filter(|(index, _)| !failed.contains(index));
        _ = queue.done(done.map(|(_, receipt)| receipt).collect()).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn pull(schedule: Schedule, mut rng: Rng, life: Life) {
    while !life.is_over() {
        tokio::time::sleep(Duration::from_secs(rng.between(30, PULLED))).await;
        _ = schedule.pull_all().await;
    }
}

async fn reconcile(shared: Arc<Shared>, sync: Sync, life: Life) {
    let mut idle = Duration::from_millis(500);
    let mut round = 0_u32;
    while !life.is_over() {
        round += 1;
        if round.is_multiple_of(20) {
            _ = sync.hear_crm(&shared.hub.mirror).await;
            if let (Some(second), Ok(source)) = (sync.second(), SourceName::new(SECOND_CRM)) {
                _ = second.hear_crm(&source).await;
            }
        }
        if round.is_multiple_of(5) {
            _ = sync.wake().await;
        }
        let busy = match sync.reconcile(FlushMode::Everything).await {
            Ok(report) => report.settled > 0 && report.unavailable.is_none(),
            Err(_) => false,
        };
        idle = if busy { Duration::from_millis(500) } else { (idle * 2).min(IDLE) };
        tokio::time::sleep(idle).await;
    }
}

/// Delivers the CRM's webhooks to the hub, and repeats those that the hub does not accept.
pub async fn carry_hooks(shared: Arc<Shared>) {
    loop {
        for sent in shared.crms().flat_map(|crm| crm.take_hooks()) {
            let shared = Arc::clone(&shared);
            tokio::spawn(async move {
                tokio::time::sleep(sent.wait).await;
                let path = sent.destination.trim_start_matches("http://hub.invalid").to_owned();
                let signed_request =
                    SignedRequest::new(&path, "application/x-www-form-urlencoded", sent.body.into_bytes());
                for _ in 0..5 {
                    let status = shared.post(signed_request.clone()).await;
                    shared.calls.note(|| format!("  ! {status} {}", String::from_utf8_lossy(&signed_request.body)));
                    if status < 300 {
                        return;
                    }
                    tokio::time::sleep(Duration::from_secs(300)).await;
                }
            });
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
}
