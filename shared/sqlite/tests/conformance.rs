//! SQLite keeps the promises of its ports, also over a restart.

use std::sync::Arc;

use stagedoor_ports::{
    Queue, SystemClock,
    testing::{form_event, queue_suite, store_suite},
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
