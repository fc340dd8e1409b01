//! Messages are dropped beside a hub that serves: it puts them off and hands them out meanwhile.

use std::{path::Path, sync::Arc, time::Duration};

use stagedoor_ports::{Queue, Received, SystemClock, testing::form_event};
use stagedoor_sqlite::SqliteQueue;

const HOUR: Duration = Duration::from_hours(1);

fn open(path: &Path) -> SqliteQueue {
    SqliteQueue::open(path, Arc::new(SystemClock)).expect("opened")
}

/// As the outbox does with what may not go now.
async fn put_off(queue: &SqliteQueue, message: Received) {
    queue.send_later(vec![message.event], HOUR).await.expect("put off");
    queue.done(vec![message.receipt]).await.expect("done");
}

#[tokio::test]
async fn what_is_put_off_while_it_is_dropped_goes() {
    for was_put_off in [false, true] {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("outbox.db");
        let (serving, command) = (open(&path), open(&path));
        if was_put_off {
            serving.send_later(vec![form_event(1)], Duration::ZERO).await.expect("put off");
        } else {
            serving.send(vec![form_event(1)]).await.expect("sent");
        }
        serving.send(vec![form_event(2)]).await.expect("sent");
        serving.send_later(vec![form_event(3)], 2 * HOUR).await.expect("put off");
        let message = serving.receive(1).await.expect("received").remove(0);
        assert_eq!(message.event.id, form_event(1).id);
        let moved = std::sync::Mutex::new(Some(message));
        let is_meant = |body: &str| {
            let is_hers = body.contains("fan1@example.com");
            if is_hers && let Some(message) = moved.lock().expect("whole").take() {
                let serving = serving.clone();
                let other = std::thread::spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
                    runtime.block_on(put_off(&serving, message));
                });
                other.join().expect("put off");
            }
            is_hers
        };
        assert_eq!(command.drop_those(&is_meant).await.expect("dropped"), 1);
        assert_eq!(serving.depth().await.expect("counted"), 2, "what is of others stays");
        assert_eq!(command.drop_those(&|body| body.contains("fan1@example.com")).await.expect("looked"), 0);
    }
}

#[tokio::test]
async fn what_was_dropped_while_it_was_in_hand_does_not_come_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("outbox.db");
    let (serving, command) = (open(&path), open(&path));
    serving.send(vec![form_event(1), form_event(2), form_event(3)]).await.expect("sent");
    let mut batch = serving.receive(3).await.expect("received");
    let is_meant = |body: &str| body.contains("fan1@example.com") || body.contains("fan3@example.com");
    assert_eq!(command.drop_those(&is_meant).await.expect("dropped"), 2);
    serving.give_back(vec![batch.remove(2).receipt]).await.expect("given back");
    for message in batch {
        put_off(&serving, message).await;
    }
    assert_eq!(serving.depth().await.expect("counted"), 1, "what is of others is put off");
    // Who comes again later is somebody new.
    serving.send_later(vec![form_event(1)], HOUR).await.expect("put off");
    assert_eq!(serving.depth().await.expect("counted"), 2);
}

#[tokio::test]
async fn who_only_looks_at_the_messages_leaves_the_copy_for_a_rollback() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, copy) = (folder.path().join("outbox.db"), folder.path().join("outbox.db.before-2"));
    let queue = open(&path);
    queue.send(vec![form_event(1)]).await.expect("sent");
    queue.send_later(vec![form_event(2)], HOUR).await.expect("put off");
    std::fs::write(&copy, "a copy").expect("written");
    let seen = std::sync::Mutex::new(0);
    queue.look_through(&|_| *seen.lock().expect("whole") += 1).await.expect("looked");
    assert_eq!((seen.into_inner().expect("whole"), copy.exists()), (2, true));
    assert_eq!(queue.drop_those(&|_| false).await.expect("dropped"), 0);
    assert!(!copy.exists(), "somebody who is erased may be in it");
}

#[tokio::test]
async fn messages_that_were_put_off_keep_no_fresh_one_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let queue = open(&folder.path().join("outbox.db"));
    queue.send_later((0..30).map(form_event).collect(), Duration::ZERO).await.expect("put off");
    queue.send(vec![form_event(100)]).await.expect("sent");
    let batch = queue.receive(10).await.expect("received");
    assert_eq!(batch.len(), 10);
    assert!(batch.iter().any(|message| message.event.id == form_event(100).id));
    assert_eq!(queue.receive(50).await.expect("received").len(), 21, "and none is handed out twice, or forgotten");
}
