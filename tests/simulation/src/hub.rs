//! The hub of one simulated world: its receiving functions, and processes that share one store and die at any step.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Body};
use stagedoor::{Hub, Queues, read_config};
use stagedoor_config::Config;
use stagedoor_ports::{Queue, Store, memory::MemoryStore};
use stagedoor_sync::{Pace, Sync};
use stagedoor_testkit::Parcel;
use stagedoor_tests::crash::{Life, Mortal};
use tokio::task::JoinSet;
use tower::ServiceExt;

use crate::{
    carrier::{CallLog, Carrier},
    clock::VirtualClock,
    queue::SimulatedQueue,
    rng::Rng,
    sand::{self, Sand},
};

/// Worlds whose number this divides have a Vtiger.
const IN_VTIGER: u64 = 3;

/// The longest pause of an idle process.
const IDLE: Duration = Duration::from_secs(15);

/// What every process of a simulated hub shares.
pub struct Shared {
    pub clock: VirtualClock,
    pub config: Config,
    /// The stand-in of the CRM.
    pub crm: Arc<dyn Sand>,
    pub store: Arc<dyn Store>,
    pub events: Arc<SimulatedQueue>,
    pub hub: Arc<Hub>,
    /// Calls of the CRM, where somebody asked for them.
    pub calls: CallLog,
    router: Router,
    rng: Mutex<Rng>,
    /// No process is killed any more, and nothing is lost on the way.
    pub calm: AtomicBool,
    /// Processes that died.
    pub deaths: std::sync::atomic::AtomicU32,
}

impl Shared {
    /// # Errors
    /// A sentence, when the config or a client is wrong.
    pub fn open(seed: u64, mut rng: Rng) -> Result<Arc<Self>, String> {
        let clock = VirtualClock::start();
        let crm =
            if seed.is_multiple_of(IN_VTIGER) { include_str!("vtiger.toml") } else { include_str!("amocrm.toml") };
        let text = format!("{}\n{crm}", include_str!("stagedoor.toml"));
        let config = read_config("stagedoor.toml", &text, None)?;
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        let queue = || Arc::new(SimulatedQueue::new(clock.shared()));
        let (events, chats, outbox) = (queue(), queue(), queue());
        let queues = Queues { events: Arc::clone(&events) as Arc<dyn Queue>, chats, outbox };
        let folder = std::path::Path::new("unused");
        let sand = sand::of(&config, clock);
        let calls = CallLog::default();
        let carrier = Carrier::new(sand.router(), config.crm.timeout, rng.fork(), calls.clone());
        let crm = stagedoor_crm::crm_over(Arc::new(carrier), &config, &store, &clock.shared(), "receiver")?;
        let hub = Hub::over(crm, clock.shared(), config.clone(), Arc::clone(&store), queues, folder, "receiver")?;
        let hub = Arc::new(hub);
        let router = hub.router()?;
        let rng = Mutex::new(rng.fork());
        let (calm, deaths) = (AtomicBool::new(false), Default::default());
        Ok(Arc::new(Self { clock, config, crm: sand, store, events, hub, calls, router, rng, calm, deaths }))
    }

    pub fn rng(&self) -> Rng {
        self.rng.lock().unwrap_or_else(PoisonError::into_inner).fork()
    }

    /// Posts a delivery to the hub; its status.
    pub async fn post(&self, parcel: Parcel) -> u16 {
        let mut request = http::Request::post(format!("http://hub.invalid{}", parcel.path));
        for (name, value) in &parcel.headers {
            request = request.header(name, value);
        }
        let Ok(request) = request.body(Body::from(parcel.body)) else { return 0 };
        let Ok(answer) = self.router.clone().oneshot(request).await;
        answer.status().as_u16()
    }

    fn sync(&self, life: &Life, owner: &str) -> Result<Sync, String> {
        let carrier = Carrier::new(self.crm.router(), self.config.crm.timeout, self.rng(), self.calls.clone());
        let clock = self.clock.shared();
        let store: Arc<dyn Store> = Arc::new(Mortal { inner: Arc::clone(&self.store), life: life.clone() });
        let crm = stagedoor_crm::crm_over(Arc::new(carrier), &self.config, &store, &clock, owner)?;
        let crm = Arc::new(Mortal { inner: crm, life: life.clone() });
        Ok(Sync { store, crm, owner: owner.to_owned(), outage: Arc::default(), ..self.hub.sync.clone() })
    }

    /// One process after another under one name, each until it dies; the world's calm makes them immortal.
    pub async fn supervise(self: Arc<Self>, name: &'static str) {
        let mut rng = self.rng();
        let mut generation = 0;
        loop {
            let mortal = !self.calm.load(Ordering::Relaxed) && rng.once_in(2);
            let life = Life::of(if mortal { i64::try_from(rng.between(1, 400)).unwrap_or(1) } else { i64::MAX });
            // On AWS a process that begins again has another name; on one machine it has not.
            let owner = if rng.once_in(2) { format!("{name}-{generation}") } else { name.to_owned() };
            let Ok(sync) = self.sync(&life, &owner) else { return };
            let mut parts = JoinSet::new();
            parts.spawn(consume(Arc::clone(&self), sync.clone(), life.clone()));
            parts.spawn(reconcile(Arc::clone(&self), sync, life));
            while parts.join_next().await.is_some() {}
            self.deaths.fetch_add(1, Ordering::Relaxed);
            generation += 1;
            tokio::time::sleep(Duration::from_millis(rng.between(50, 8_000))).await;
        }
    }

    /// Whether nothing waits anywhere.
    pub async fn is_still(&self) -> bool {
        let waiting = self.store.totals().await.map_or(1, |totals| totals.waiting);
        waiting == 0 && self.events.depth().await.unwrap_or(1) == 0
    }
}

async fn consume(shared: Arc<Shared>, sync: Sync, life: Life) {
    let mut idle = Duration::from_millis(500);
    while !life.is_over() {
        let batch = shared.events.receive(100).await.unwrap_or_default();
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
        _ = shared.events.done(done.map(|(_, receipt)| receipt).collect()).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn reconcile(shared: Arc<Shared>, sync: Sync, life: Life) {
    let mut idle = Duration::from_millis(500);
    let mut round = 0_u32;
    while !life.is_over() {
        round += 1;
        if round.is_multiple_of(20) {
            _ = sync.hear_crm(&shared.hub.mirror).await;
        }
        if round.is_multiple_of(5) {
            _ = sync.wake().await;
        }
        let busy = match sync.reconcile(Pace::Everything).await {
            Ok(report) => report.settled > 0 && report.unavailable.is_none(),
            Err(_) => false,
        };
        idle = if busy { Duration::from_millis(500) } else { (idle * 2).min(IDLE) };
        tokio::time::sleep(idle).await;
    }
}

/// Brings the CRM's webhooks to the hub; what is not taken is sent again.
pub async fn carry_hooks(shared: Arc<Shared>) {
    loop {
        for sent in shared.crm.take_hooks() {
            let shared = Arc::clone(&shared);
            tokio::spawn(async move {
                tokio::time::sleep(sent.wait).await;
                let path = sent.destination.trim_start_matches("http://hub.invalid").to_owned();
                let parcel = Parcel::new(&path, "application/x-www-form-urlencoded", sent.body.into_bytes());
                for _ in 0..5 {
                    if shared.post(parcel.clone()).await < 300 {
                        return;
                    }
                    tokio::time::sleep(Duration::from_secs(300)).await;
                }
            });
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
}
