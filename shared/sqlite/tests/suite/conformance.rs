//! SQLite keeps the promises of its ports, also over a restart.

use std::sync::Arc;

use stagedoor_model::Timestamp;
use stagedoor_ports::{
    Admin, CrmStates, Journal, KeyValues, People, Queue, Saved, SystemClock, of_a_later_version,
    testing::{
        form_event, newcomer, put_people, queue_suite, readable_again_suite, store_suite, unreadable_suite,
        unused_suite,
    },
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
async fn a_message_that_nobody_began_to_handle_loses_no_attempt() {
    let folder = tempfile::tempdir().expect("a folder");
    let queue = SqliteQueue::open(&folder.path().join("queue.db"), Arc::new(SystemClock)).expect("opened");
    unused_suite(&queue).await;
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
    store.save_crm_states(known).await.expect("saved");
    let other = rusqlite::Connection::open(&path).expect("opened");
    other.execute("UPDATE links SET doc = '[]' WHERE person = ?1", [people[0].to_string()]).expect("spoilt");
    unreadable_suite(&store, &people, &[1, 2], 0).await;
    let over = store.save_crm_states(vec![(people[0], Default::default())]).await;
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
async fn what_a_later_version_wrote_is_set_aside_and_never_overwritten() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("hub.db");
    let store = SqliteStore::open(&path).expect("opened");
    let people = put_people(&store, 3).await;
    store.save_crm_states(people.iter().map(|id| (*id, Default::default())).collect()).await.expect("saved");
    let other = rusqlite::Connection::open(&path).expect("opened");
    let read = |sql: &str| other.query_row(sql, [people[1].to_string()], |row| row.get::<_, String>(0)).expect("read");
    let (person, link) = ("SELECT doc FROM people WHERE id = ?1", "SELECT doc FROM links WHERE person = ?1");
    let row = "SELECT row FROM journal WHERE person = ?1";
    let docs = [person, link, row].map(|sql| of_a_later_version(&read(sql)));
    for (set, doc) in
        ["people SET doc = ?2 WHERE id", "links SET doc = ?2 WHERE person", "journal SET row = ?2 WHERE person"]
            .into_iter()
            .zip(&docs)
    {
        other.execute(&format!("UPDATE {set} = ?1"), (people[1].to_string(), doc)).expect("written");
    }
    unreadable_suite(&store, &people, &[0, 2], 1).await;
    assert_eq!(store.journal(10).await.expect("read").len(), 2);
    let told = store.set_aside(10).await.expect("read");
    assert_eq!(told.len(), 2, "a person and a row of the journal");
    assert!(told.iter().all(|one| one.reason.contains("a later version of Stagedoor wrote")), "{told:?}");
    // Whoever does not know of them cannot write them.
    let (_, anew) = newcomer(2);
    assert_eq!(store.save(vec![anew]).await.expect("answered"), vec![Saved::Conflict]);
    assert!(store.save_crm_states(vec![(people[1], Default::default())]).await.is_err());
    assert_eq!([person, link, row].map(read), docs);
}

#[tokio::test]
async fn a_message_of_a_later_version_waits_for_it_and_holds_up_nobody() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("queue.db");
    let queue = SqliteQueue::open(&path, Arc::new(SystemClock)).expect("opened");
    let other = rusqlite::Connection::open(&path).expect("opened");
    let body = of_a_later_version(&serde_json::to_string(&form_event(1)).expect("JSON"));
    other.execute("INSERT INTO messages (body) VALUES (?1)", [&body]).expect("written");
    queue.send(vec![form_event(2)]).await.expect("sent");
    let batch = queue.receive(10).await.expect("received");
    assert_eq!(batch.iter().map(|one| one.event.id.clone()).collect::<Vec<_>>(), [form_event(2).id]);
    assert!(queue.dead(10).await.expect("read")[0].event.is_none());
    // The later version takes it out of the dead letters as it was.
    assert_eq!(queue.redrive().await.expect("redriven"), 1);
    let kept: String =
        other.query_row("SELECT body FROM messages ORDER BY id DESC LIMIT 1", [], |row| row.get(0)).expect("read");
    assert_eq!(kept, body);
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
    let (seen, _) = reader.scan_people(None, 10).await.expect("read");
    assert_eq!(seen, people.into_iter().collect());
    assert!(reader.compare_and_set("a", "b", None).await.is_err());
    assert_eq!(store.key_value("a").await.expect("read"), None);
    assert!(SqliteStore::open_read_only(&folder.path().join("none.db")).is_err(), "nothing is made");
}
