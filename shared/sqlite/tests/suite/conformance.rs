//! SQLite keeps the promises of its ports, also over a restart.

use std::sync::Arc;

use stagedoor_model::Timestamp;
use stagedoor_ports::{
    Queue, Store, SystemClock,
    testing::{form_event, put_people, queue_suite, readable_again_suite, store_suite, unreadable_suite},
};
use stagedoor_sqlite::{SqliteQueue, SqliteStore};

#[tokio::test]
async fn the_sqlite_store_keeps_every_promise() {
    let folder = tempfile::tempdir().expect("a folder");
    let number = std::sync::atomic::AtomicU32::new(0);
    store_suite(async || {
        let n = number.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        SqliteStore::open(&folder.path().join(format!("{n}.db"))).expect("opened")
    })
    .await;
}

#[tokio::test]
async fn the_sqlite_queue_keeps_every_promise() {
    let folder = tempfile::tempdir().expect("a folder");
    let number = std::sync::atomic::AtomicU32::new(0);
    queue_suite(async || {
        let n = number.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        SqliteQueue::open(&folder.path().join(format!("{n}.db")), Arc::new(SystemClock)).expect("opened")
    })
    .await;
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("queue.db");
    let queue = SqliteQueue::open(&path, Arc::new(SystemClock)).expect("opened");
    queue.send(vec![form_event(1)]).await.expect("sent");
    drop(queue);
    let queue = SqliteQueue::open(&path, Arc::new(SystemClock)).expect("opened again");
    assert_eq!(queue.depth().await.expect("counted"), 1);
}

#[tokio::test]
async fn a_person_who_cannot_be_read_is_set_aside_and_holds_up_nobody() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("hub.db");
    let store = SqliteStore::open(&path).expect("opened");
    let people = put_people(&store, 3).await;
    let other = rusqlite::Connection::open(&path).expect("opened");
    let spoil = "UPDATE people SET doc = replace(doc, '\"records\"', '\"Anna\"') WHERE id = ?1";
    assert_eq!(other.execute(spoil, [people[1].to_string()]).expect("spoilt"), 1);
    unreadable_suite(&store, &people, &[0, 2], 1).await;
    // Somebody repaired it, or a newer version was started.
    let mend = "UPDATE people SET doc = replace(doc, '\"Anna\"', '\"records\"') WHERE id = ?1";
    other.execute(mend, [people[1].to_string()]).expect("mended");
    readable_again_suite(&store, people[1]).await;
}

#[tokio::test]
async fn a_crm_state_that_cannot_be_read_is_not_taken_for_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("hub.db");
    let store = SqliteStore::open(&path).expect("opened");
    let people = put_people(&store, 3).await;
    let known = people.iter().map(|id| (*id, Default::default())).collect();
    store.save_links(known).await.expect("saved");
    let other = rusqlite::Connection::open(&path).expect("opened");
    other.execute("UPDATE links SET doc = '[]' WHERE person = ?1", [people[0].to_string()]).expect("spoilt");
    unreadable_suite(&store, &people, &[1, 2], 0).await;
    let over = store.save_links(vec![(people[0], Default::default())]).await;
    assert!(over.is_err(), "what cannot be read is not overwritten");
}

#[tokio::test]
async fn a_row_of_the_journal_that_cannot_be_read_hides_no_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("hub.db");
    let store = SqliteStore::open(&path).expect("opened");
    put_people(&store, 3).await;
    let other = rusqlite::Connection::open(&path).expect("opened");
    other.execute("UPDATE journal SET row = '{}' WHERE id = ?1", [form_event(2).id.as_str()]).expect("spoilt");
    assert_eq!(store.journal(10).await.expect("read").len(), 2);
    let (rows, next) = store.journal_between(Timestamp::MIN, Timestamp::MAX, 10).await.expect("read");
    assert_eq!((rows.len(), next), (2, None));
    let aside = store.set_aside(10).await.expect("read");
    assert_eq!(
        aside.iter().map(|one| (one.kind.as_str(), one.id.as_str())).collect::<Vec<_>>(),
        vec![("event", form_event(2).id.as_str())]
    );
}

#[tokio::test]
async fn a_message_that_is_no_event_holds_up_nobody() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("queue.db");
    let queue = SqliteQueue::open(&path, Arc::new(SystemClock)).expect("opened");
    let other = rusqlite::Connection::open(&path).expect("opened");
    other.execute("INSERT INTO messages (body) VALUES ('from another age')", []).expect("written");
    queue.send(vec![form_event(1)]).await.expect("sent");
    assert_eq!(queue.receive(10).await.expect("received").len(), 1);
    assert_eq!(queue.dead_letters().await.expect("counted"), 1);
}

#[tokio::test]
async fn a_file_that_is_opened_for_reading_shows_what_is_there_and_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("hub.db");
    let store = SqliteStore::open(&path).expect("opened");
    let people = put_people(&store, 3).await;
    let reader = SqliteStore::open_read_only(&path).expect("opened beside it");
    let (seen, _) = reader.everybody(None, 10).await.expect("read");
    assert_eq!(seen, people.into_iter().collect());
    assert!(reader.put_cell("a", "b", None).await.is_err());
    assert_eq!(store.cell("a").await.expect("read"), None);
    assert!(SqliteStore::open_read_only(&folder.path().join("none.db")).is_err(), "nothing is made");
}
