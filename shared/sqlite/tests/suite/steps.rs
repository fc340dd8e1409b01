//! Files of earlier versions come forward step by step, files of later ones are left alone, and a copy is kept.

use std::{
    io::Read,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use rusqlite::Connection;
use stagedoor_model::Timestamp;
use stagedoor_ports::{
    Admin, CrmStates, Journal, People, Queue, SystemClock,
    testing::{form_event, newcomer, put_people},
};
use stagedoor_sqlite::{SqliteQueue, SqliteStore};

/// The number of the last step of both files.
const LATEST: i64 = 2;
const FOLDERS: [&str; 3] = ["tour", "ufa", "season"];

/// A file as build 649f0ec left it.
fn stored(name: &str, to: &Path) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/stored/649f0ec");
    let packed = std::fs::File::open(root.join(format!("{name}.gz"))).expect("a stored file");
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(packed).read_to_end(&mut bytes).expect("gzip");
    std::fs::write(to, bytes).expect("written");
}

fn number(file: &Path, sql: &str) -> i64 {
    let connection = Connection::open(file).expect("opened");
    connection.query_row(sql, [], |row| row.get(0)).unwrap_or_else(|error| panic!("{sql}: {error}"))
}

fn version(file: &Path) -> i64 {
    number(file, "PRAGMA user_version")
}

fn copy_of(file: &Path, step: i64) -> PathBuf {
    PathBuf::from(format!("{}.before-{step}", file.display()))
}

fn open_queue(path: &Path) -> stagedoor_ports::Result<SqliteQueue> {
    SqliteQueue::open(path, Arc::new(SystemClock))
}

const COUNTS: [&str; 6] = [
    "SELECT count(*) FROM journal",
    "SELECT count(*) FROM journal WHERE unrecognized",
    "SELECT count(*) FROM people",
    "SELECT count(*) FROM people WHERE waiting IS NOT NULL",
    "SELECT coalesce(sum(deals), 0) FROM links",
    "SELECT count(*) FROM links WHERE parked > 0",
];

/// What the store says is what the tables hold.
async fn counts_right(store: &SqliteStore, file: &Path) {
    let told = store.totals().await.expect("told");
    let told = [told.events, told.unrecognized, told.people, told.waiting, told.deals, told.rejected];
    assert_eq!(told.map(|n| n as i64), COUNTS.map(|sql| number(file, sql)));
}

#[tokio::test]
async fn a_hubs_file_of_an_earlier_build_comes_forward_and_keeps_a_copy() {
    let folder = tempfile::tempdir().expect("a folder");
    for name in FOLDERS {
        let file = folder.path().join(format!("{name}.db"));
        stored(&format!("{name}/hub.db"), &file);
        assert_eq!(version(&file), 0);
        let before = COUNTS.map(|sql| number(&file, sql));
        let reader = SqliteStore::open_read_only(&file).expect("it is read as it is");
        assert_eq!(reader.totals().await.expect("counted").people as i64, before[2]);
        let store = SqliteStore::open(&file).expect("opened");
        assert_eq!((version(&file), COUNTS.map(|sql| number(&file, sql))), (LATEST, before));
        counts_right(&store, &file).await;
        let (rows, next) = store.journal_between(Timestamp::MIN, Timestamp::MAX, 10_000).await.expect("read");
        assert_eq!((rows.len() as i64, next), (before[0], None));
        let off = number(&file, "SELECT count(*) FROM journal WHERE folded_at IS NULL");
        assert_eq!(off, 0, "every row has its time");
        for row in rows.iter().take(50) {
            let sql = format!("SELECT folded_at FROM journal WHERE id = '{}'", row.event.id);
            assert_eq!(number(&file, &sql), row.folded_at.as_millisecond());
        }
        let copy = copy_of(&file, 1);
        assert_eq!((version(&copy), COUNTS.map(|sql| number(&copy, sql))), (0, before));
        #[cfg(unix)]
        {
            let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&copy).expect("there").permissions());
            assert_eq!(mode & 0o777, 0o600, "the copy belongs to its owner");
        }
        drop(store);
        SqliteStore::open(&file).expect("opened again");
        assert!(!copy_of(&file, LATEST).exists(), "without a step there is no copy");
    }
}

#[tokio::test]
async fn a_new_file_needs_no_copy_and_has_the_tables_of_one_that_came_forward() {
    let folder = tempfile::tempdir().expect("a folder");
    let (new, old) = (folder.path().join("new.db"), folder.path().join("old.db"));
    stored("tour/hub.db", &old);
    drop((SqliteStore::open(&new).expect("opened"), SqliteStore::open(&old).expect("opened")));
    let schema = |file: &Path| {
        let connection = Connection::open(file).expect("opened");
        let mut select = connection.prepare("SELECT name, sql FROM sqlite_schema ORDER BY name").expect("a query");
        let rows = select.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, Option<String>>(1)?)));
        let words = |sql: Option<String>| sql.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
        let rows = rows.expect("read").map(|row| row.map(|(name, sql)| (name, words(sql))).expect("a row"));
        rows.collect::<Vec<_>>()
    };
    assert_eq!(schema(&new), schema(&old));
    assert_eq!(version(&new), LATEST);
    let names = std::fs::read_dir(folder.path()).expect("a folder").flatten().map(|one| one.file_name());
    let copies: Vec<_> = names.filter(|name| name.to_string_lossy().contains("before")).collect();
    assert_eq!(copies, ["old.db.before-1"]);
}

#[tokio::test]
async fn the_version_before_can_still_write_a_file_that_came_forward() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("hub.db");
    let store = SqliteStore::open(&file).expect("opened");
    let people = put_people(&store, 3).await;
    store.save_crm_states(vec![(people[0], Default::default())]).await.expect("saved");
    let old = Connection::open(&file).expect("opened");
    for n in [1, 4] {
        let row = newcomer(n).1.journal.remove(0);
        let text = serde_json::to_string(&row).expect("JSON");
        let sql = "INSERT OR REPLACE INTO journal (id, person, unrecognized, row) VALUES (?1, ?2, 1, ?3)";
        old.execute(sql, (row.event.id.as_str(), people[0].to_string(), text)).expect("written");
    }
    let links = "INSERT OR REPLACE INTO links VALUES (?1, '{}', 2, 1)";
    for id in &people[..2] {
        old.execute(links, [id.to_string()]).expect("written");
    }
    let person =
        "INSERT INTO people VALUES ('x', 1, '{}', 5) ON CONFLICT (id) DO UPDATE SET waiting = excluded.waiting";
    old.execute(person, []).expect("written");
    old.execute("UPDATE people SET waiting = NULL WHERE id = ?1", [people[0].to_string()]).expect("written");
    counts_right(&store, &file).await;
    old.execute("DELETE FROM people WHERE id = 'x'", []).expect("removed");
    counts_right(&store, &file).await;
    let (rows, _) = store.journal_between(Timestamp::MIN, Timestamp::MAX, 100).await.expect("read");
    assert_eq!(rows.len(), 4);
    store.forget(&form_event(4).id).await.expect("forgotten");
    counts_right(&store, &file).await;
    store.erase(&people.iter().copied().collect(), &Default::default(), &Default::default()).await.expect("erased");
    counts_right(&store, &file).await;
}

#[tokio::test]
async fn a_file_of_a_later_version_is_not_written() {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["hub.db", "queue.db"] {
        let file = folder.path().join(name);
        let open = || match name {
            "hub.db" => SqliteStore::open(&file).map(drop),
            _ => open_queue(&file).map(drop),
        };
        open().expect("made");
        let later = Connection::open(&file).expect("opened");
        later.execute_batch("PRAGMA user_version = 99; PRAGMA wal_checkpoint(TRUNCATE);").expect("made");
        drop(later);
        let before = std::fs::read(&file).expect("read");
        let refusal = open().expect_err("refused").to_string();
        for part in ["a later version of Stagedoor wrote", name, "format 99", "before-", "Start the later version"] {
            assert!(refusal.contains(part), "{part} in {refusal}");
        }
        assert_eq!(std::fs::read(&file).expect("read"), before);
        if name == "hub.db" {
            let reader = SqliteStore::open_read_only(&file).expect("it may be read");
            assert_eq!(reader.totals().await.expect("read").people, 0);
        }
    }
}

#[test]
fn a_step_that_fails_leaves_the_file_as_it_was() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("hub.db");
    stored("season/hub.db", &file);
    // Something of that name is in the way of the second step.
    Connection::open(&file).expect("opened").execute_batch("CREATE TABLE totals (n INTEGER)").expect("made");
    let rows = number(&file, COUNTS[0]);
    let error = SqliteStore::open(&file).err().expect("refused").to_string();
    assert!(error.contains("step 2 of") && error.contains("is as it was before it"), "{error}");
    assert_eq!((version(&file), number(&file, COUNTS[0])), (1, rows));
    for _ in 0..3 {
        SqliteStore::open(&file).err().expect("refused");
    }
    assert!(!copy_of(&file, 2).exists(), "starts that change nothing leave no copy");
    let columns = "SELECT count(*) FROM pragma_table_info('journal') WHERE name = 'folded_at'";
    assert_eq!(number(&file, columns), 0, "the first half of the step was taken back");
    Connection::open(&file).expect("opened").execute_batch("DROP TABLE totals").expect("removed");
    SqliteStore::open(&file).expect("opened");
    assert_eq!((version(&file), number(&file, COUNTS[0])), (LATEST, rows));
}

#[test]
fn without_room_for_a_copy_nothing_is_changed() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("hub.db");
    stored("tour/hub.db", &file);
    std::fs::create_dir(folder.path().join("hub.db.before-1.part")).expect("in the way");
    let error = SqliteStore::open(&file).err().expect("refused").to_string();
    assert!(error.contains("no copy of it can be kept") && error.contains("Make room"), "{error}");
    assert_eq!(version(&file), 0);
}

#[test]
fn a_disk_without_room_for_the_steps_is_said_before_anything_changes() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("hub.db");
    stored("tour/hub.db", &file);
    // A hole of a terabyte at its end: nobody has three of them.
    let bytes = std::fs::metadata(&file).expect("a file").len();
    let end = std::fs::OpenOptions::new().write(true).open(&file).expect("a file");
    end.set_len(1 << 40).expect("a hole");
    let error = SqliteStore::open(&file).err().expect("refused").to_string();
    for words in ["3298535 MB of free room are needed", "MB are free", "Nothing was changed. Make room on the disk"] {
        assert!(error.contains(words), "{words}: {error}");
    }
    end.set_len(bytes).expect("as it was");
    assert_eq!(version(&file), 0);
    let names = std::fs::read_dir(&folder).expect("a folder").flatten().map(|one| one.file_name());
    let copies: Vec<_> = names.filter(|name| name.to_string_lossy().contains(".before-")).collect();
    assert!(copies.is_empty(), "{copies:?}");
    SqliteStore::open(&file).expect("opened");
    assert_eq!(version(&file), LATEST);
}

/// Opens the file that the variable names: for the test below, which kills this process.
#[test]
fn opens_a_file_for_another_test() {
    if let Ok(file) = std::env::var("STAGEDOOR_TEST_FILE") {
        SqliteStore::open(Path::new(&file)).expect("opened");
    }
}

/// Enough rows that a step takes a while.
const MANY: &str = "WITH RECURSIVE n (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM n WHERE n < 15)
    INSERT INTO journal (id, person, unrecognized, row) SELECT id || n, person, unrecognized, row FROM journal, n;";

#[test]
fn a_process_that_is_killed_in_the_middle_of_a_step_loses_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let (file, whole) = (folder.path().join("hub.db"), folder.path().join("whole.db"));
    stored("tour/hub.db", &whole);
    Connection::open(&whole).expect("opened").execute_batch(MANY).expect("made");
    let rows = number(&whole, COUNTS[0]);
    let mut found = [0; 3];
    for round in 0..12 {
        for end in ["", "-wal", "-shm", ".before-1", ".before-1.part", ".before-2", ".before-2.part"] {
            _ = std::fs::remove_file(format!("{}{end}", file.display()));
        }
        std::fs::copy(&whole, &file).expect("copied");
        let mut child = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "steps::opens_a_file_for_another_test"])
            .env("STAGEDOOR_TEST_FILE", &file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("started");
        std::thread::sleep(Duration::from_millis(10 + round * 60));
        child.kill().expect("killed");
        child.wait().expect("gone");
        let reached = version(&file);
        found[reached as usize] += 1;
        assert_eq!(number(&file, COUNTS[0]), rows);
        let copy = copy_of(&file, 1);
        assert!(reached == 0 || number(&copy, COUNTS[0]) == rows, "a copy was whole before the first step");
        drop(SqliteStore::open(&file).expect("the next start goes on"));
        assert_eq!((version(&file), number(&file, COUNTS[0])), (LATEST, rows));
        assert_eq!(number(&file, "SELECT events FROM totals"), rows);
    }
    println!("killed before a step, between two and after them: {found:?}");
    assert!(found[0] > 0, "some were killed in time: {found:?}");
}

/// A copy that is whole, of the file as it was.
fn is_whole(copy: &Path, rows: i64) -> bool {
    let connection = Connection::open(copy).expect("opened");
    let sound = connection.query_row("PRAGMA quick_check", [], |row| row.get::<_, String>(0));
    sound.is_ok_and(|told| told == "ok") && version(copy) == 0 && number(copy, COUNTS[0]) == rows
}

#[test]
fn processes_that_bring_a_file_forward_at_once_keep_one_whole_copy() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("hub.db");
    stored("tour/hub.db", &file);
    let old = Connection::open(&file).expect("opened");
    // A second connection would else meet the file while its journal is being changed.
    old.execute_batch("PRAGMA journal_mode = WAL").expect("set");
    old.execute_batch(MANY).expect("made");
    drop(old);
    let rows = number(&file, COUNTS[0]);
    let open = |_| {
        Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "steps::opens_a_file_for_another_test"])
            .env("STAGEDOOR_TEST_FILE", &file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("started")
    };
    let children: Vec<_> = (0..4).map(open).collect();
    for mut child in children {
        assert!(child.wait().expect("ended").success(), "each of them opens the file");
    }
    assert_eq!((version(&file), number(&file, COUNTS[0])), (LATEST, rows));
    let names = std::fs::read_dir(folder.path()).expect("a folder").flatten().map(|one| one.file_name());
    let copies: Vec<_> = names.filter(|name| name.to_string_lossy().contains("before")).collect();
    assert_eq!(copies, ["hub.db.before-1"]);
    assert!(is_whole(&copy_of(&file, 1), rows));
}

#[test]
fn a_copy_that_is_kept_is_not_overwritten() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("hub.db");
    stored("tour/hub.db", &file);
    let rows = number(&file, COUNTS[0]);
    std::fs::write(copy_of(&file, 1), "kept").expect("written");
    std::fs::write(folder.path().join("hub.db.before-1.7.part"), "of a process that was killed").expect("written");
    drop(SqliteStore::open(&file).expect("opened"));
    assert!(std::fs::read(copy_of(&file, 1)).expect("read") == b"kept");
    assert!(is_whole(&folder.path().join("hub.db.before-1.2"), rows));
    assert!(!folder.path().join("hub.db.before-1.7.part").exists());
}

#[tokio::test]
async fn what_was_put_off_by_an_earlier_version_is_neither_lost_nor_early() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("queue.db");
    let old = Connection::open(&file).expect("opened");
    old.execute_batch(
        "CREATE TABLE messages (id INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT NOT NULL,
        visible_at INTEGER NOT NULL DEFAULT 0, attempts INTEGER NOT NULL DEFAULT 0) STRICT",
    )
    .expect("made");
    let now = Timestamp::now().as_millisecond();
    let put = |n: u32, visible_at: i64| {
        let body = serde_json::to_string(&form_event(n)).expect("JSON");
        old.execute("INSERT INTO messages (body, visible_at) VALUES (?1, ?2)", (body, visible_at)).expect("written");
    };
    put(1, now - 5);
    put(2, 0);
    put(3, now + 3_600_000);
    put(4, now - 5);
    let queue = open_queue(&file).expect("opened");
    queue.send_later(vec![form_event(5)], Duration::from_secs(3600)).await.expect("sent");
    queue.send_later(vec![form_event(6)], Duration::ZERO).await.expect("sent");
    assert_eq!(queue.depth().await.expect("counted"), 6);
    let mut seen = Vec::new();
    loop {
        let batch = queue.receive(2).await.expect("received");
        if batch.is_empty() {
            break;
        }
        seen.extend(batch.iter().map(|message| message.event.id.clone()));
        queue.done(batch.into_iter().map(|message| message.receipt).collect()).await.expect("done");
    }
    assert_eq!(seen, [1, 2, 4, 6].map(|n| form_event(n).id), "what was put off has half of each batch");
    assert_eq!(queue.depth().await.expect("counted"), 2);
    // The version before asks for all of them by their time.
    let later = "SELECT count(*) FROM messages WHERE visible_at <= ?1";
    let count: i64 = old.query_row(later, [now + 7_200_000], |row| row.get(0)).expect("counted");
    assert_eq!(count, 2);
}

#[tokio::test]
async fn nobody_who_was_erased_stays_in_a_copy() {
    let folder = tempfile::tempdir().expect("a folder");
    let (hub, queue) = (folder.path().join("hub.db"), folder.path().join("queue.db"));
    stored("tour/hub.db", &hub);
    stored("tour/queue.db", &queue);
    let store = SqliteStore::open(&hub).expect("opened");
    let events = open_queue(&queue).expect("opened");
    assert!(copy_of(&hub, 1).exists() && copy_of(&queue, 1).exists());
    let (people, _) = store.scan_people(None, 1).await.expect("read");
    store.erase(&people, &Default::default(), &Default::default()).await.expect("erased");
    events.drop_those(&|_| false).await.expect("looked");
    assert!(!copy_of(&hub, 1).exists() && !copy_of(&queue, 1).exists());
}

#[test]
fn a_copy_goes_after_thirty_days() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("hub.db");
    stored("tour/hub.db", &file);
    drop(SqliteStore::open(&file).expect("opened"));
    for (days, is_there) in [(29, true), (31, false)] {
        let copy = std::fs::File::options().append(true).open(copy_of(&file, 1)).expect("the copy");
        copy.set_modified(std::time::SystemTime::now() - Duration::from_secs(days * 86_400)).expect("made older");
        drop(SqliteStore::open(&file).expect("opened"));
        assert_eq!(copy_of(&file, 1).exists(), is_there, "after {days} days");
    }
}

#[tokio::test]
async fn a_file_is_written_anew_when_somebody_was_erased() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("hub.db");
    stored("tour/hub.db", &file);
    let store = SqliteStore::open(&file).expect("opened");
    let (people, _) = store.scan_people(None, 1_000).await.expect("read");
    store.erase(&people, &Default::default(), &Default::default()).await.expect("erased");
    let free: i64 = rusqlite::Connection::open(&file)
        .expect("opened")
        .query_row("PRAGMA freelist_count", [], |row| row.get(0))
        .expect("a number");
    assert_eq!(free, 0, "pages whose rows went are not kept");
}
