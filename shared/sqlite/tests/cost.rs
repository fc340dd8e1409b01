//! What a statement costs does not grow with what the hub has lived through: SQLite counts the steps of its machine.
#![allow(clippy::indexing_slicing, reason = "it is test code")]

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
    time::Duration,
};

use stagedoor_model::Timestamp;
use stagedoor_ports::{
    Admin, CrmStates, DirtyPeople, Journal, KeyValues, Leases, People, Postponed, Queue, Rechecks, SystemClock,
    testing::{form_event, newcomer},
};
use stagedoor_sqlite::{
    SqliteQueue, SqliteStore,
    meter::{Costs, measure},
};

/// The meter is one for all files.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).expect("in range")
}

/// A hub that has lived through `n` people, events, cells and messages, none of which wait.
async fn aged(folder: &Path, n: u32) -> (SqliteStore, SqliteQueue) {
    let store = SqliteStore::open(&folder.join(format!("hub{n}.db"))).expect("opened");
    let queue = SqliteQueue::open(&folder.join(format!("queue{n}.db")), Arc::new(SystemClock)).expect("opened");
    let (people, mut commits): (Vec<_>, Vec<_>) = (1..=n).map(newcomer).unzip();
    for (number, commit) in (1..).zip(&mut commits) {
        commit.audience = vec![(format!("site/show-{number}"), commit.people[0].0.id)];
    }
    store.save(commits).await.expect("saved");
    let taken = store.claim_dirty(n as usize, None).await.expect("taken").iter().map(|dirty| dirty.taken()).collect();
    store.mark_clean(taken).await.expect("settled");
    store.save_crm_states(people.iter().map(|one| (one.id, Default::default())).collect()).await.expect("saved");
    store.schedule_rechecks(&people.iter().map(|one| (one.id, at(1_000_000))).collect()).await.expect("put down");
    for number in 0..n {
        for family in ["sent", "told"] {
            store.compare_and_set(&format!("{family}/{number}"), "a while ago", None).await.expect("put");
        }
    }
    store.compare_and_set("show/one", "moved", None).await.expect("put");
    queue.send_later((1..=n).map(form_event).collect(), Duration::from_secs(600)).await.expect("sent");
    (store, queue)
}

/// What a hub does all day, the same number of times however old it is. Not `depth`, which only `status` asks for.
async fn a_day(store: &SqliteStore, queue: &SqliteQueue, n: u32) {
    let (known, _) = newcomer(1);
    let ids = BTreeSet::from([known.id]);
    let names: BTreeSet<_> = ["email:fan1@example.com"].map(|text| text.parse().expect("valid")).into();
    store.journaled(&[form_event(1).id, form_event(n + 9).id]).await.expect("read");
    store.resolve(&names).await.expect("resolved");
    let loaded = store.load(&ids).await.expect("loaded").remove(0);
    let mut commit = newcomer(n + 1).1;
    commit.journal[0].folded_at = at(500_000);
    commit.audience.clear();
    commit.people.push((loaded.value, Some(loaded.version)));
    store.save(vec![commit]).await.expect("saved");
    store.mark_dirty(ids.clone()).await.expect("marked");
    assert!(store.may_be_dirty(at(0)).await.expect("asked"));
    let dirty = store.claim_dirty(10, Some(at(0))).await.expect("taken");
    assert_eq!(dirty.len(), 2);
    let until = Some(at(60));
    store.postpone(vec![Postponed { taken: dirty[0].taken(), tries: 1, until }]).await.expect("postponed");
    store.mark_clean(vec![dirty[1].taken()]).await.expect("settled");
    let mut links = store.crm_states(&ids).await.expect("read");
    store.save_crm_states(vec![(known.id, links.remove(&known.id).expect("a link"))]).await.expect("saved");
    assert_eq!(store.key_values("show/").await.expect("read").len(), 1);
    store.compare_and_set("crm/changes", "cursor", None).await.expect("put");
    store.key_values_of(&["sent/1", "crm/changes"].map(str::to_owned).into()).await.expect("read");
    assert_eq!(store.audience("site/show-1").await.expect("read").len(), 1);
    store.schedule_rechecks(&BTreeMap::from([(known.id, at(5))])).await.expect("put down");
    assert_eq!(store.due_rechecks(at(6)).await.expect("read").len(), 1);
    assert!(store.lease("crm", "a", at(0), at(10)).await.expect("asked"));
    store.release("crm", "a").await.expect("released");
    assert_eq!(store.totals().await.expect("told").people, u64::from(n) + 1);
    assert_eq!(store.journal(3).await.expect("read").len(), 3);
    let (rows, next) = store.journal_between(at(110), at(400_000), 20).await.expect("read");
    assert_eq!((rows.len(), next), (20, Some(at(130))));
    assert_eq!(store.journal_of(known.id).await.expect("read").len(), 1);
    assert!(store.event(&form_event(1).id).await.expect("read").is_some());
    assert!(store.unrecognized(10).await.expect("read").is_empty());
    assert!(store.rejected(10).await.expect("read").is_empty());
    store.unreadable(&ids).await.expect("read");
    store.set_aside(10).await.expect("read");
    store.sweep(at(103), None).await.expect("swept");
    store.scan_people(None, 10).await.expect("read");
    store.erase(&ids, &names, &["hash".to_owned()].into()).await.expect("erased");
    store.erased(&["hash".to_owned()].into()).await.expect("read");
    queue.send(vec![form_event(1), form_event(2)]).await.expect("sent");
    queue.send_later(vec![form_event(3)], Duration::from_secs(60)).await.expect("sent");
    let batch = queue.receive(10).await.expect("received");
    assert_eq!(batch.len(), 2);
    queue.give_back(vec![batch[0].receipt.clone()]).await.expect("given back");
    queue.done(vec![batch[1].receipt.clone()]).await.expect("done");
    assert!(queue.oldest().await.expect("read").is_some());
    assert!(!queue.is_empty().await.expect("asked"));
    queue.dead(10).await.expect("read");
}

#[tokio::test]
async fn no_statement_costs_more_in_an_old_hub_than_in_a_young_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let _alone = ALONE.lock().await;
    let costs = measure();
    let of = async |n: u32| -> Costs {
        let (store, queue) = aged(folder.path(), n).await;
        costs.lock().expect("a lock").clear();
        a_day(&store, &queue, n).await;
        drop((store, queue));
        std::mem::take(&mut *costs.lock().expect("a lock"))
    };
    let (young, old) = (of(100).await, of(1_600).await);
    assert!(young.len() > 40, "only {} statements were measured", young.len());
    let dearer = |(sql, cost): (&String, &i64)| {
        let before = young.get(sql).copied().unwrap_or(0);
        (*cost > 2 * before + 100).then(|| format!("{before} steps became {cost}: {sql}"))
    };
    let dearer: Vec<String> = old.iter().filter_map(dearer).collect();
    assert!(dearer.is_empty(), "{dearer:#?}");
}

#[tokio::test]
async fn who_looks_into_an_empty_queue_begins_no_transaction() {
    let folder = tempfile::tempdir().expect("a folder");
    let _alone = ALONE.lock().await;
    let costs = measure();
    let queue = SqliteQueue::open(&folder.path().join("queue.db"), Arc::new(SystemClock)).expect("opened");
    queue.send_later(vec![form_event(1)], Duration::from_secs(600)).await.expect("sent");
    costs.lock().expect("a lock").clear();
    for _ in 0..20 {
        assert!(queue.receive(10).await.expect("received").is_empty());
    }
    let run: Vec<String> = costs.lock().expect("a lock").keys().cloned().collect();
    assert!(!run.is_empty() && run.iter().all(|sql| sql.starts_with("SELECT")), "{run:#?}");
}

#[tokio::test]
async fn an_idle_look_passes_no_more_rows_however_many_are_in_hand_or_put_off() {
    let folder = tempfile::tempdir().expect("a folder");
    let _alone = ALONE.lock().await;
    let costs = measure();
    let of = async |n: u32| -> Costs {
        let store = SqliteStore::open(&folder.path().join(format!("idle{n}.db"))).expect("opened");
        let queue =
            SqliteQueue::open(&folder.path().join(format!("hands{n}.db")), Arc::new(SystemClock)).expect("opened");
        store.save((1..=n).map(|one| newcomer(one).1).collect()).await.expect("saved");
        let taken = store.claim_dirty(n as usize, None).await.expect("taken");
        let put_off = |taken| Postponed { taken, tries: 1, until: Some(at(900)) };
        store.postpone(taken.iter().map(|one| put_off(one.taken())).collect()).await.expect("postponed");
        queue.send((1..=n).map(form_event).collect()).await.expect("sent");
        assert_eq!(queue.receive(n as usize).await.expect("received").len(), n as usize);
        costs.lock().expect("a lock").clear();
        for _ in 0..20 {
            assert!(!store.may_be_dirty(at(0)).await.expect("asked"));
            assert!(queue.receive(10).await.expect("received").is_empty());
        }
        std::mem::take(&mut *costs.lock().expect("a lock"))
    };
    let (few, many) = (of(400).await, of(4_000).await);
    // Long looks, one a second, have no order.
    let all =
        |costs: &Costs| costs.iter().filter(|(sql, _)| sql.contains("ORDER BY")).map(|(_, cost)| cost).sum::<i64>();
    assert!(all(&many) <= all(&few) * 2, "{} steps became {}: {many:#?}", all(&few), all(&many));
    // Who is ready is found all the same, and what comes is handed out at once.
    let store = SqliteStore::open(&folder.path().join("idle4000.db")).expect("opened");
    assert!(store.may_be_dirty(at(901)).await.expect("asked"));
    let queue = SqliteQueue::open(&folder.path().join("hands4000.db"), Arc::new(SystemClock)).expect("opened");
    queue.send(vec![form_event(9_999)]).await.expect("sent");
    assert_eq!(queue.receive(10).await.expect("received").len(), 1);
}
