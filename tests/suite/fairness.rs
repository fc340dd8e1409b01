//! Nobody stops anybody else: what cannot be read or sent holds up itself alone.

use std::{
    collections::BTreeSet,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;

use stagedoor_engine::{PersonId, Segment, segments};
use stagedoor_model::{Body, Event, EventId, OrderNoticed, ShowRef, SourceName, Timestamp};
use stagedoor_ports::{
    Clock, Found, OrderApi, PullPage, Queue, Store, WriteOutcome,
    memory::{MemoryQueue, MemoryStore},
};
use stagedoor_sqlite::SqliteStore;
use stagedoor_sync::{FlushMode, Sync, waiting_reasons};
use stagedoor_tests::{
    meddling::Meddling,
    world::{World, settings, sync},
};
use tokio::time::Instant;

use crate::crashes::order;

/// Stands until it is set.
struct ManualClock(Mutex<Timestamp>);

impl ManualClock {
    fn at(text: &str) -> Arc<Self> {
        Arc::new(Self(Mutex::new(text.parse().expect("a time"))))
    }

    fn forward(&self, seconds: i64) {
        let mut now = self.0.lock().expect("no panic");
        *now += jiff::SignedDuration::from_secs(seconds);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().expect("no panic")
    }
}

fn buyer(n: i64) -> Event {
    order(n, &[format!("email:fan{n}@example.com").as_str()])
}

struct Filed {
    world: World,
    sync: Sync,
    file: rusqlite::Connection,
    clock: Arc<ManualClock>,
    _folder: tempfile::TempDir,
}

/// A hub whose store is a file, with fifty buyers folded.
async fn filed() -> Filed {
    let (world, folder) = (World::new().await, tempfile::tempdir().expect("a folder"));
    let path: &Path = &folder.path().join("hub.db");
    let clock = ManualClock::at("2027-02-01T10:00:00Z");
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(path).expect("opened"));
    let sync = Sync { store, clock: clock.clone(), ..world.sync.clone() };
    let failed = sync.handle((0..50).map(buyer).collect()).await;
    assert_eq!(failed, BTreeSet::new());
    let file = rusqlite::Connection::open(path).expect("opened");
    Filed { world, sync, file, clock, _folder: folder }
}

impl Filed {
    async fn id_of(&self, n: i64) -> PersonId {
        let name = format!("email:fan{n}@example.com").parse().expect("an identifier");
        let claims = self.sync.store.resolve(&BTreeSet::from([name])).await.expect("resolved");
        claims.owners.into_values().next().expect("known")
    }

    async fn rewrite(&self, n: i64, from: &str, to: &str) {
        let id = self.id_of(n).await.to_string();
        let sql = "UPDATE people SET doc = replace(doc, ?2, ?3) WHERE id = ?1 AND instr(doc, ?2)";
        assert_eq!(self.file.execute(sql, [id.as_str(), from, to]).expect("written"), 1);
    }

    async fn rounds(&self) {
        for _ in 0..6 {
            self.clock.forward(1);
            self.sync.reconcile(FlushMode::Everything).await.expect("a round, whoever cannot be read");
        }
    }

    fn contacts(&self) -> usize {
        self.world.sandbox.contacts().len()
    }
}

#[tokio::test]
async fn an_optional_field_of_a_newer_version_is_read_over() {
    let filed = filed().await;
    filed.rewrite(7, "\"revision\":", "\"seat_map\":\"A1\",\"revision\":").await;
    filed.rounds().await;
    assert_eq!(filed.contacts(), 50);
    assert_eq!(filed.world.sandbox.leads().len(), 50);
    let again = order(100, &["email:fan7@example.com"]);
    assert_eq!(filed.sync.handle(vec![again]).await, BTreeSet::new());
    assert_eq!(filed.sync.store.totals().await.expect("counted").people, 50);
}

#[tokio::test]
async fn who_cannot_be_read_is_held_against_new_rules_once_they_can() {
    let mut filed = filed().await;
    filed.rounds().await;
    filed.rewrite(7, "\"revision\":", "\"seat_map\":").await;
    let rule = segments::parse("bought").expect("a rule");
    filed.sync.catalog.segments =
        vec![Segment { name: "buyers".into(), title: String::new(), text: "bought".into(), rule }];
    filed.sync.wake().await.expect("woken");
    filed.rounds().await;
    filed.rewrite(7, "\"seat_map\":", "\"revision\":").await;
    filed.sync.store.read_again().await.expect("begun");
    filed.rounds().await;
    let rows = filed.sync.store.journal(1_000).await.expect("a journal");
    assert_eq!(rows.iter().filter(|row| matches!(row.event.body, Body::SegmentEntered(_))).count(), 50);
}

#[tokio::test]
async fn somebody_who_cannot_be_read_holds_up_nobody_and_comes_when_they_can() {
    let filed = filed().await;
    filed.rewrite(7, "\"revision\":", "\"seat_map\":").await;
    filed.rounds().await;
    assert_eq!(filed.contacts(), 49);
    let reasons = waiting_reasons(filed.sync.store.as_ref()).await.expect("read");
    assert_eq!(reasons.len(), 1);
    assert!(reasons[0].reason.contains("cannot be read by this version: missing field `revision`"), "{reasons:?}");
    assert!(reasons[0].who_acts.contains("operator") && reasons[0].people == 1);
    let aside = filed.sync.store.set_aside(10).await.expect("read");
    assert_eq!(aside.iter().map(|one| one.id.clone()).collect::<Vec<_>>(), vec![filed.id_of(7).await.to_string()]);
    // Their events wait for them, and are no second person; the others of the batch are folded.
    let batch = vec![order(100, &["email:fan7@example.com"]), order(101, &["email:fan8@example.com"]), buyer(102)];
    assert_eq!(filed.sync.handle(batch).await, BTreeSet::from([0]));
    assert_eq!(filed.sync.store.totals().await.expect("counted").people, 51);
    assert_eq!(filed.id_of(7).await.to_string(), aside[0].id);
    // Whoever asks for them is not told that nobody is known by it.
    for (name, is_unreadable) in [("email:fan7@example.com", true), ("email:fan8@example.com", false)] {
        let name = name.parse().expect("an address");
        assert_eq!(filed.sync.is_unreadable(&name).await.expect("read"), is_unreadable);
    }
    filed.rounds().await;
    assert_eq!(filed.contacts(), 50);
    // A version that reads them is started.
    filed.rewrite(7, "\"seat_map\":", "\"revision\":").await;
    filed.sync.store.read_again().await.expect("begun");
    assert_eq!(filed.sync.handle(vec![order(100, &["email:fan7@example.com"])]).await, BTreeSet::new());
    filed.rounds().await;
    assert_eq!(filed.contacts(), 51);
    assert_eq!(filed.sync.store.totals().await.expect("counted").waiting, 0);
    assert_eq!(filed.sync.store.totals().await.expect("counted").unreadable, 0);
}

#[tokio::test]
async fn a_person_whose_runs_fail_does_not_stay_first() {
    let world = World::new().await;
    let clock = ManualClock::at("2027-02-01T10:00:00Z");
    let poison =
        |draft: &stagedoor_engine::ContactDraft| draft.emails.iter().any(|one| one.as_str().starts_with("fan0@"));
    let crm = Meddling {
        inner: Arc::clone(&world.crm),
        meddle: Box::new(move |draft| poison(draft).then_some(WriteOutcome::NotSent)),
    };
    let sync = Sync { crm: Arc::new(crm), clock: clock.clone(), ..world.sync.clone() };
    assert_eq!(sync.handle((0..5).map(buyer).collect()).await, BTreeSet::new());
    for _ in 0..8 {
        clock.forward(5);
        sync.reconcile(FlushMode::Everything).await.expect("a round");
    }
    assert_eq!(world.sandbox.contacts().len(), 4);
    assert_eq!(world.sandbox.leads().len(), 4, "who can be served has their deals");
    let totals = sync.store.totals().await.expect("counted");
    assert_eq!(totals.waiting, 1, "and the other is not forgotten");
    let reasons = waiting_reasons(sync.store.as_ref()).await.expect("read");
    assert_eq!(reasons.iter().map(|one| one.people).collect::<Vec<_>>(), vec![1], "{reasons:?}");
    clock.forward(3600);
    let sync = Sync { crm: Arc::clone(&world.crm), ..sync };
    for _ in 0..3 {
        sync.reconcile(FlushMode::Everything).await.expect("a round");
    }
    assert_eq!((world.sandbox.contacts().len(), world.sandbox.leads().len()), (5, 5));
}

/// A shop that knows every order, or hangs.
struct Shop {
    is_silent: AtomicBool,
    asked: AtomicUsize,
}

impl Shop {
    fn new(is_silent: bool) -> Arc<Self> {
        Arc::new(Self { is_silent: AtomicBool::new(is_silent), asked: AtomicUsize::new(0) })
    }
}

#[async_trait]
impl OrderApi for Shop {
    async fn order(&self, noticed: &OrderNoticed) -> stagedoor_ports::Result<Found> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if self.is_silent.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        let n: i64 = noticed.order.parse().expect("a number");
        let event = buyer(n);
        Ok(Found::Order(Box::new(event.body), event.time))
    }
    async fn show(&self, _: &ShowRef) -> stagedoor_ports::Result<Option<Body>> {
        Ok(None)
    }
    async fn pull(&self, _: Timestamp, _: Option<String>) -> stagedoor_ports::Result<PullPage> {
        Ok(PullPage { bodies: vec![], next: None })
    }
    fn overlap(&self) -> jiff::SignedDuration {
        jiff::SignedDuration::ZERO
    }
}

fn source(name: &str) -> SourceName {
    SourceName::new(name).expect("a name")
}

fn notice(shop: &str, n: i64) -> Event {
    let (source, body) = (source(shop), Body::OrderNoticed(OrderNoticed { order: n.to_string(), scope: None }));
    Event::new(&source, EventId::derive(&source, &[&n.to_string()]), buyer(n).time, body)
}

struct Shops {
    sync: Sync,
    silent: Arc<Shop>,
    queue: Arc<MemoryQueue>,
    clock: Arc<ManualClock>,
}

fn shops() -> Shops {
    let (silent, quick) = (Shop::new(true), Shop::new(false));
    let (queue, clock) = (Arc::new(MemoryQueue::default()), ManualClock::at("2027-02-01T10:00:00Z"));
    let token = stagedoor_crm::amocrm::Authorization::LongLived("none".into());
    let crm = stagedoor_crm::amocrm::AmoCrm::new(settings("http://127.0.0.1:9", 7), token).expect("a client");
    let mut sync = sync(Arc::new(MemoryStore::default()), Arc::new(crm));
    sync.order_apis.insert(source("silent"), silent.clone());
    sync.order_apis.insert(source("quick"), quick);
    let sync = Sync { events: Some(queue.clone()), clock: clock.clone(), ..sync };
    Shops { sync, silent, queue, clock }
}

fn from_the_silent(count: i64) -> Vec<Event> {
    (0..count).map(|n| notice("silent", n)).collect()
}

async fn people(sync: &Sync) -> u64 {
    sync.store.totals().await.expect("counted").people
}

#[tokio::test(start_paused = true)]
async fn a_shop_that_never_answers_delays_only_its_own_orders() {
    let Shops { sync, silent, queue, clock } = shops();
    let mut batch = from_the_silent(16);
    batch.push(notice("quick", 100));
    batch.push(buyer(101));
    let (began, folding) = (Instant::now(), sync.clone());
    let handled = tokio::spawn(async move { folding.handle(batch).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(people(&sync).await, 2, "the other shop's order and the form are folded at once");
    assert_eq!(handled.await.expect("handled"), BTreeSet::new(), "nothing counts as a failed attempt");
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    // While it is left alone, it costs no time at all.
    let waiting = queue.receive(100).await.expect("received");
    assert_eq!(waiting.len(), 16, "they are back in the queue");
    let (began, asked) = (Instant::now(), silent.asked.load(Ordering::Relaxed));
    for _ in 0..20 {
        assert_eq!(sync.handle(from_the_silent(16)).await, BTreeSet::new());
    }
    assert_eq!((began.elapsed(), silent.asked.load(Ordering::Relaxed)), (Duration::ZERO, asked));
    let reasons = waiting_reasons(sync.store.as_ref()).await.expect("read");
    assert!(reasons.iter().any(|one| one.reason.contains("order shop silent does not answer")), "{reasons:?}");
    // One call tries whether it answers again.
    clock.forward(20);
    assert_eq!(sync.handle(from_the_silent(16)).await, BTreeSet::new());
    assert_eq!(silent.asked.load(Ordering::Relaxed), asked + 1);
    clock.forward(60);
    silent.is_silent.store(false, Ordering::Relaxed);
    assert_eq!(sync.handle(from_the_silent(16)).await, BTreeSet::new());
    assert_eq!(people(&sync).await, 18);
    assert_eq!(waiting_reasons(sync.store.as_ref()).await.expect("read"), vec![]);
}

#[tokio::test(start_paused = true)]
async fn an_invocation_does_not_outlive_its_time_for_a_shop() {
    let Shops { sync, .. } = shops();
    let began = Instant::now();
    let failed = sync.handle_within(from_the_silent(16), Some(Duration::from_secs(25))).await;
    assert_eq!(failed, BTreeSet::new());
    assert!(began.elapsed() <= Duration::from_secs(5), "{:?}", began.elapsed());
}

#[tokio::test]
async fn it_is_said_why_people_wait_and_who_has_to_act() {
    let Shops { sync, .. } = shops();
    assert_eq!(sync.handle(vec![buyer(1), buyer(2)]).await, BTreeSet::new());
    sync.reconcile(FlushMode::Everything).await.expect("a round");
    let reasons = waiting_reasons(sync.store.as_ref()).await.expect("read");
    assert_eq!(reasons.iter().map(|one| one.people).collect::<Vec<_>>(), vec![2]);
    assert!(reasons[0].reason.contains("the CRM cannot be used now"), "{reasons:?}");
    assert!(reasons[0].who_acts.contains("tried again"), "{reasons:?}");
}
