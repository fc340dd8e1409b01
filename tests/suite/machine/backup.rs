//! `backup` beside a hub that serves, and `restore` into an empty folder.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{Json, Router, extract::State, routing::post};
use rusqlite::Connection;
use serde_json::{Value, json};
use stagedoor::{
    Hub,
    backup::{FolderState, advertising, backup, backup_until, restore},
    bind,
    hub::UNFINISHED,
    read_config, start,
};
use stagedoor_model::{
    Body, Event, EventId, Identifier, Kind, MessageDecided, Messenger, SendOutcome, SourceName, Timestamp,
};

use super::stop::{Machine, ended, orders_without_end, signal, until, within};

#[test]
fn files_are_copied_as_they_were_at_one_moment() {
    let folder = tempfile::tempdir().expect("a folder");
    let [left, right] = ["a.db", "b.db"].map(|name| folder.path().join(name));
    for (file, rows) in [(&left, 0), (&right, 400)] {
        let file = Connection::open(file).expect("a file");
        file.execute_batch("PRAGMA journal_mode=WAL; CREATE TABLE rows (n INTEGER PRIMARY KEY, text TEXT)")
            .expect("one");
        let mut insert = file.prepare("INSERT INTO rows VALUES (?1, ?2)").expect("a statement");
        (0..rows).for_each(|n| _ = insert.execute((n, "x".repeat(4_000))).expect("a row"));
    }
    // Each row is always in one of the two files, or in both.
    let over = Arc::new(AtomicBool::new(false));
    let moving = {
        let (over, left, right) = (Arc::clone(&over), left.clone(), right.clone());
        std::thread::spawn(move || {
            let file = Connection::open(&left).expect("a file");
            file.busy_timeout(Duration::from_secs(10)).expect("set");
            file.execute("ATTACH ?1 AS other", [right.to_str().expect("text")]).expect("two files");
            file.execute_batch("PRAGMA synchronous=OFF; PRAGMA other.synchronous=OFF").expect("set");
            for n in (0..400).cycle() {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                let (from, to) = if n % 2 == 0 { ("other", "main") } else { ("main", "other") };
                for (from, to) in [(from, to), (to, from)] {
                    file.execute(
                        &format!("INSERT OR REPLACE INTO {to}.rows SELECT * FROM {from}.rows WHERE n = ?1"),
                        [n],
                    )
                    .expect("there");
                    file.execute(&format!("DELETE FROM {from}.rows WHERE n = ?1"), [n]).expect("gone here");
                }
            }
        })
    };
    let mut missing = 0;
    for n in 0..30 {
        let copies = ["a", "b"].map(|name| folder.path().join(format!("{name}.{n}")));
        let pairs = [(left.clone(), copies[0].clone()), (right.clone(), copies[1].clone())];
        stagedoor_sqlite::copy_together(&pairs).expect("copied");
        let mut there = BTreeSet::new();
        for copy in &copies {
            let file = Connection::open(copy).expect("a copy");
            let mut rows = file.prepare("SELECT n FROM rows").expect("a statement");
            there.extend(rows.query_map([], |row| row.get::<_, i64>(0)).expect("rows").map(|n| n.expect("a number")));
        }
        missing += 400 - there.len();
    }
    over.store(true, Ordering::Relaxed);
    moving.join().expect("ended");
    assert_eq!(missing, 0, "rows that were in neither copy");
}

type Calls = Arc<Mutex<BTreeMap<i64, u32>>>;

async fn send_message(State(calls): State<Calls>, Json(body): Json<Value>) -> Json<Value> {
    let chat = body["chat_id"].as_i64().expect("a chat");
    *calls.lock().expect("a lock").entry(chat).or_default() += 1;
    Json(json!({ "ok": true, "result": { "message_id": chat, "date": 0, "chat": { "id": chat } } }))
}

/// A messenger, and a hub that writes through it.
async fn machine() -> (Machine, Calls) {
    let calls = Calls::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let app = Router::new().route("/{bot}/sendMessage", post(send_message)).with_state(Arc::clone(&calls));
    tokio::spawn(async move { axum::serve(listener, app).await });
    (Machine::new(&address), calls)
}

impl Machine {
    fn file(&self) -> PathBuf {
        self.folder.path().join("hub.stagedoor")
    }

    async fn restored(&self) -> Result<Vec<String>, String> {
        let config = read_config("stagedoor.toml", &self.text, None).expect("a config");
        restore(config, &self.folder.path().join("restored"), &self.file()).await
    }
}

fn decided(chat: u64, marketing: bool) -> Event {
    let (source, now) = (SourceName::new("telegram").expect("a name"), Timestamp::now());
    let to = Identifier::opaque(Kind::Chat(Messenger::Telegram), "", &chat.to_string()).expect("an id");
    let until = now + jiff::SignedDuration::from_hours(2);
    let campaign = marketing.then(|| "cart".to_owned());
    let message = MessageDecided {
        marketing,
        campaign,
        heard_at: Some(now),
        ..MessageDecided::new(source.clone(), to, "Ваш промокод".into(), until)
    };
    let id = EventId::derive(&source, &["reply", &chat.to_string()]);
    Event::new(&source, id, now, Body::MessageDecided(Box::new(message)))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_beside_a_hub_that_serves_holds_all_that_was_acknowledged() {
    let (mut machine, _) = machine().await;
    let child = machine.begin().await;
    let (acknowledged, mut hands) = orders_without_end(&machine.http, &machine.base);
    tokio::time::sleep(Duration::from_millis(800)).await;
    let before = acknowledged.lock().expect("a lock").clone();
    backup(&machine.data(), &machine.file()).await.expect("a backup");
    let count = || acknowledged.lock().expect("a lock").len();
    let during = count();
    until(async || count() > during).await;
    signal(&child, "-TERM");
    ended(child).await;
    while hands.join_next().await.is_some() {}
    assert!(before.len() > 20, "only {} were acknowledged", before.len());
    let lines = machine.restored().await.expect("restored");
    assert!(lines.iter().any(|line| line.contains("backfill")), "{lines:?}");
    machine.data = machine.folder.path().join("restored");
    let child = machine.begin().await;
    let wanted: BTreeSet<Identifier> =
        before.iter().filter_map(|id| Identifier::opaque(Kind::Order, "theatre", id)).collect();
    let files = machine.files();
    // What a hub had in hand comes again after a minute.
    let known = async || files.store.resolve(&wanted).await.expect("read").owners.len();
    within(Duration::from_secs(100), async || known().await == wanted.len()).await;
    signal(&child, "-TERM");
    assert_eq!(ended(child).await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waited_in_the_outbox_is_not_sent_blindly_and_advertising_is_held() {
    let (mut machine, calls) = machine().await;
    {
        let hub = machine.files();
        hub.queues.outbox.send(vec![decided(700, false), decided(701, true)]).await.expect("sent");
    }
    backup(&machine.data(), &machine.file()).await.expect("a backup");
    // The hub of before goes on, and sends the first.
    machine.restored().await.expect("restored");
    machine.data = machine.folder.path().join("restored");
    let hub = Arc::new(machine.files());
    let listed = advertising(&hub, FolderState::List).await.expect("a list").join("\n");
    assert!(listed.contains("cart: 1 messages"), "{listed}");
    let status = hub.status_with_reasons().await.expect("a status").lines(Default::default()).join("\n");
    assert!(status.contains("advertising   held since"), "{status}");
    let running = start(&hub, bind(hub.config.listen).await.expect("free")).await.expect("started");
    let outcome = async || {
        let rows = hub.store.journal(100).await.expect("a journal");
        rows.into_iter().find_map(|row| match row.event.body {
            Body::MessageSent(sent) => Some(sent.outcome),
            _ => None,
        })
    };
    until(async || outcome().await.is_some()).await;
    assert_eq!(outcome().await, Some(SendOutcome::Unknown), "Telegram cannot tell whether it was sent");
    assert!(calls.lock().expect("a lock").is_empty(), "{calls:?}");
    assert_eq!(hub.queues.outbox.depth().await.expect("a depth"), 1, "the advertising waits");
    let lines = advertising(&hub, FolderState::Drop).await.expect("dropped").join("\n");
    assert!(lines.contains("1 messages are dropped"), "{lines}");
    assert_eq!(hub.queues.outbox.depth().await.expect("a depth"), 0);
    assert_eq!(advertising(&hub, FolderState::List).await.expect("a list"), ["no advertising is held"]);
    drop(running);
}

/// The names in a folder that begin so.
fn names(folder: &std::path::Path, start: &str) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a folder").flatten();
    entries.map(|one| one.file_name().to_string_lossy().into_owned()).filter(|name| name.starts_with(start)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_fails_late_leaves_nothing_of_the_people() {
    let (machine, _) = machine().await;
    let outbox = machine.data().join("outbox.db");
    let restored = machine.folder.path().join("restored");
    let write = |version: i64| {
        let file = Connection::open(&outbox).expect("a file");
        let known: i64 = file.query_row("PRAGMA user_version", [], |row| row.get(0)).expect("a number");
        file.pragma_update(None, "user_version", version).expect("written");
        known
    };
    drop(machine.files());
    let known = write(99);
    backup(&machine.data(), &machine.file()).await.expect("a backup");
    let told = machine.restored().await.expect_err("a file of a later version");
    assert!(told.contains("a later version of Stagedoor wrote") && told.contains("that version"), "{told}");
    assert!(!told.contains("the copy"), "{told}");
    assert_eq!(names(&restored, ""), ["serving.lock"]);
    // A database that is none of ours is found out later still.
    for name in names(&machine.data(), "outbox.db") {
        std::fs::remove_file(machine.data().join(name)).expect("removed");
    }
    write(known);
    std::fs::remove_file(machine.file()).expect("removed");
    backup(&machine.data(), &machine.file()).await.expect("a backup");
    let told = machine.restored().await.expect_err("an outbox without tables");
    assert!(told.contains("nothing of it is left"), "{told}");
    assert_eq!(names(&restored, ""), ["serving.lock"]);
    // What a restore left half is no hub.
    std::fs::write(machine.data().join(UNFINISHED), "").expect("written");
    std::fs::remove_file(machine.file()).expect("removed");
    let told = backup(&machine.data(), &machine.file()).await.expect_err("half a hub");
    assert!(told.contains("was cut off"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_follows_no_link_and_leaves_nothing_when_it_is_stopped() {
    let (machine, _) = machine().await;
    drop(machine.files());
    let precious = machine.folder.path().join("precious");
    std::fs::write(&precious, "of somebody").expect("written");
    for suffix in [".partial", ".copying"] {
        let link = machine.folder.path().join(format!("hub.stagedoor{suffix}"));
        std::os::unix::fs::symlink(&precious, &link).expect("a link");
        let told = backup(&machine.data(), &machine.file()).await.expect_err("a link");
        assert!(told.contains("remove it if none runs"), "{told}");
        assert_eq!(std::fs::read_to_string(&precious).expect("it is there"), "of somebody");
        std::fs::remove_file(link).expect("the link is there");
        assert_eq!(names(machine.folder.path(), "hub.stagedoor"), Vec::<String>::new());
    }
    let told = backup_until(&machine.data(), &machine.file(), async {}).await.expect_err("stopped");
    assert!(told.contains("no backup was made"), "{told}");
    // The thread that copies may go on for a while.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(names(machine.folder.path(), "hub.stagedoor"), Vec::<String>::new());
}

/// Writes what `sql` says where a restore notes that advertising is held.
fn put_hold(machine: &Machine, sql: &str) {
    let file = Connection::open(machine.data().join("hub.db")).expect("a file");
    let row = format!("INSERT OR REPLACE INTO cells (name, value, version) VALUES ('restored/hold', {sql}, 1)");
    file.execute_batch(&row).expect("written");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_that_cannot_be_read_holds_advertising() {
    let (machine, calls) = machine().await;
    drop(machine.files());
    put_hold(&machine, "'of a later version'");
    let hub = Arc::new(machine.files());
    hub.queues.outbox.send(vec![decided(710, false), decided(711, true)]).await.expect("sent");
    let status = hub.status_with_reasons().await.expect("a status").lines(Default::default()).join("\n");
    assert!(status.contains("advertising   held since"), "{status}");
    let running = start(&hub, bind(hub.config.listen).await.expect("free")).await.expect("started");
    until(async || hub.queues.outbox.depth().await.expect("a depth") == 1).await;
    assert_eq!(calls.lock().expect("a lock").keys().collect::<Vec<_>>(), [&710], "the advertising waits");
    drop(running);
    // A row that the store cannot read: the hub does not start.
    put_hold(&machine, "CAST(x'fffe' AS TEXT)");
    let hub = Arc::new(machine.files());
    let told = start(&hub, bind(hub.config.listen).await.expect("free")).await.err().expect("no start");
    assert!(told.contains("whether advertising is held"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_overwrites_nothing_and_only_a_whole_one_is_restored_into_an_empty_folder() {
    let (machine, _) = machine().await;
    let none = backup(&machine.data(), &machine.file()).await.expect_err("no hub");
    assert!(none.contains("there is no hub in"), "{none}");
    drop(machine.files());
    backup(&machine.data(), &machine.file()).await.expect("a backup");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(machine.file()).expect("one").permissions());
    assert_eq!(mode & 0o777, 0o600);
    let again = backup(&machine.data(), &machine.file()).await.expect_err("there already");
    assert!(again.contains("overwrites nothing"), "{again}");
    let left: Vec<_> = std::fs::read_dir(machine.folder.path())
        .expect("a folder")
        .map(|one| one.expect("one").file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with("hub.stagedoor."))
        .collect();
    assert!(left.is_empty(), "{left:?}");
    // One byte of a page, in the middle of the file.
    let whole = std::fs::read(machine.file()).expect("a backup");
    let mut bent = whole.clone();
    let middle = bent.len() / 2;
    bent[middle] ^= 1;
    std::fs::write(machine.file(), bent).expect("written");
    let changed = machine.restored().await.expect_err("a changed file");
    assert!(changed.contains("is no whole backup"), "{changed}");
    std::fs::write(machine.file(), &whole[..whole.len() / 2]).expect("written");
    machine.restored().await.expect_err("half a file");
    std::fs::write(machine.file(), &whole).expect("written");
    machine.restored().await.expect("the folder was left empty");
    let full = machine.restored().await.expect_err("a folder with a hub");
    assert!(full.contains("is not empty"), "{full}");
    // A restore that was cut off opens no hub.
    let folder = machine.folder.path().join("restored");
    std::fs::write(folder.join(UNFINISHED), "").expect("written");
    let config = read_config("stagedoor.toml", &machine.text, None).expect("a config");
    let cut = Hub::open(config, &folder, "serve").err().expect("a sentence");
    assert!(cut.contains("restore"), "{cut}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_freshly_mounted_volume_is_an_empty_folder() {
    let (machine, _) = machine().await;
    drop(machine.files());
    backup(&machine.data(), &machine.file()).await.expect("a backup");
    let volume = machine.folder.path().join("restored");
    let own = volume.join("lost+found");
    std::fs::create_dir_all(&volume).expect("a folder");
    std::fs::write(&own, "of somebody").expect("written");
    let told = machine.restored().await.expect_err("a file of somebody");
    assert!(told.contains("is not empty"), "{told}");
    std::fs::remove_file(&own).expect("removed");
    std::fs::create_dir(&own).expect("what the file system makes");
    machine.restored().await.expect("restored");
    assert!(own.is_dir() && volume.join("hub.db").exists());
}

#[tokio::test]
async fn a_disk_without_room_for_a_backup_is_said_before_it_is_begun() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let config = read_config("stagedoor.toml", stagedoor::DEFAULT_CONFIG, None).expect("a config");
    drop(Hub::open(config, &data, "test").expect("a hub"));
    // Whoever closes the file last gives it its length again, and does so behind the test's back.
    until(async || !data.join("hub.db-wal").exists()).await;
    // A hole at its end, larger than the half of what is free here.
    let told = stagedoor_sqlite::room::make_sure(folder.path(), u64::MAX).expect_err("more than any disk has");
    let free = told.split(", and ").nth(1).and_then(|rest| rest.split(' ').next()?.parse::<u64>().ok());
    let hole = (free.expect("what is free") / 2 + 64_000) * 1_000_000;
    let end = std::fs::OpenOptions::new().write(true).open(data.join("hub.db")).expect("a file");
    let bytes = end.metadata().expect("a file").len();
    end.set_len(hole).expect("a hole");
    let file = folder.path().join("backup.tar");
    let error = backup(&data, &file).await.expect_err("no room");
    let needed =
        error.split("no backup is begun: ").nth(1).and_then(|rest| rest.split(' ').next()?.parse::<u64>().ok());
    assert!(needed.is_some_and(|needed| needed >= hole * 2 / 1_000_000), "{error}");
    for words in ["no backup is begun: ", "MB of free room are needed", "name a file on another disk"] {
        assert!(error.contains(words), "{words}: {error}");
    }
    assert_eq!(std::fs::read_dir(&folder).expect("a folder").count(), 1, "nothing was begun");
    end.set_len(bytes).expect("as it was");
    backup(&data, &file).await.expect("a backup");
}
