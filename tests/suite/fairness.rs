//! Nobody stops anybody else: what cannot be read or sent holds up itself alone.

use std::{
    collections::BTreeSet,
    path::Path,
    sync::{Arc, Mutex},
};

use stagedoor_engine::PersonId;
use stagedoor_model::{Event, Timestamp};
use stagedoor_ports::{Clock, Row, Store};
use stagedoor_sqlite::SqliteStore;
use stagedoor_sync::{Pace, Sync};
use stagedoor_tests::{meddling::Meddling, world::World};

use crate::crashes::order;

/// Stands until it is set.
struct Hands(Mutex<Timestamp>);

impl Hands {
    fn at(text: &str) -> Arc<Self> {
        Arc::new(Self(Mutex::new(text.parse().expect("a time"))))
    }

    fn forward(&self, seconds: i64) {
        let mut now = self.0.lock().expect("no panic");
        *now += jiff::SignedDuration::from_secs(seconds);
    }
}

impl Clock for Hands {
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
    clock: Arc<Hands>,
    _folder: tempfile::TempDir,
}

/// A hub whose store is a file, with fifty buyers folded.
async fn filed() -> Filed {
    let (world, folder) = (World::new().await, tempfile::tempdir().expect("a folder"));
    let path: &Path = &folder.path().join("hub.db");
    let clock = Hands::at("2027-02-01T10:00:00Z");
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
            self.sync.reconcile(Pace::Everything).await.expect("a round, whoever cannot be read");
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
async fn somebody_who_cannot_be_read_holds_up_nobody_and_comes_when_they_can() {
    let filed = filed().await;
    filed.rewrite(7, "\"revision\":", "\"seat_map\":").await;
    filed.rounds().await;
    assert_eq!(filed.contacts(), 49);
    let aside = filed.sync.store.set_aside(10).await.expect("read");
    assert_eq!(aside.iter().map(|one| one.id.clone()).collect::<Vec<_>>(), vec![filed.id_of(7).await.to_string()]);
    // Their events wait for them, and are no second person; the others of the batch are folded.
    let batch = vec![order(100, &["email:fan7@example.com"]), order(101, &["email:fan8@example.com"]), buyer(102)];
    assert_eq!(filed.sync.handle(batch).await, BTreeSet::from([0]));
    assert_eq!(filed.sync.store.totals().await.expect("counted").people, 51);
    assert_eq!(filed.id_of(7).await.to_string(), aside[0].id);
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
    let clock = Hands::at("2027-02-01T10:00:00Z");
    let poison =
        |draft: &stagedoor_engine::ContactDraft| draft.emails.iter().any(|one| one.as_str().starts_with("fan0@"));
    let crm = Meddling {
        inner: Arc::clone(&world.crm),
        meddle: Box::new(move |draft| poison(draft).then_some(Row::NotSent)),
    };
    let sync = Sync { crm: Arc::new(crm), clock: clock.clone(), ..world.sync.clone() };
    assert_eq!(sync.handle((0..5).map(buyer).collect()).await, BTreeSet::new());
    for _ in 0..8 {
        clock.forward(5);
        sync.reconcile(Pace::Everything).await.expect("a round");
    }
    assert_eq!(world.sandbox.contacts().len(), 4);
    assert_eq!(world.sandbox.leads().len(), 4, "who can be served has their deals");
    let totals = sync.store.totals().await.expect("counted");
    assert_eq!(totals.waiting, 1, "and the other is not forgotten");
    clock.forward(3600);
    let sync = Sync { crm: Arc::clone(&world.crm), ..sync };
    for _ in 0..3 {
        sync.reconcile(Pace::Everything).await.expect("a round");
    }
    assert_eq!((world.sandbox.contacts().len(), world.sandbox.leads().len()), (5, 5));
}
