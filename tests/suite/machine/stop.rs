//! SIGTERM in the middle of work: what was begun is ended, nothing is lost, nothing is done twice.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{Json, Router, extract::State, routing::post};
use serde_json::{Value, json};
use stagedoor::{DEFAULT_CONFIG, Hub, bind, read_config, start, until_stopped};
use stagedoor_model::{Body, Identifier, Kind, SendOutcome, Timestamp};
use stagedoor_testkit::{
    fans::{Account, ChatFan},
    form_signed, free_port,
};
use stagedoor_tests::hub::free;
use tokio::task::JoinSet;

use crate::kill::order;

const FANS: u64 = 6;
/// How long the messenger takes for an answer.
const SLOW: Duration = Duration::from_millis(2_500);

#[allow(clippy::disallowed_methods, reason = "how the child is told its place")]
fn told(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The hub as a process of its own.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "only as a child process"]
async fn child_hub() {
    let (Some(folder), Some(file)) = (told("SD_FOLDER"), told("SD_FILE")) else { return };
    let text = std::fs::read_to_string(file).expect("a config");
    let config = read_config("stagedoor.toml", &text, None).expect("a config");
    let hub = Arc::new(Hub::open(config, folder.as_ref(), "serve").expect("a hub"));
    let running = start(&hub, bind(hub.config.listen).await.expect("free")).await.expect("started");
    until_stopped(&hub, running).await.expect("drained");
}

/// Calls by chat. Each is counted when it comes, and answered late.
type Messenger = Arc<Mutex<BTreeMap<i64, u32>>>;

async fn send_message(State(calls): State<Messenger>, Json(body): Json<Value>) -> Json<Value> {
    let chat = body["chat_id"].as_i64().expect("a chat");
    *calls.lock().expect("a lock").entry(chat).or_default() += 1;
    tokio::time::sleep(SLOW).await;
    Json(json!({ "ok": true, "result": { "message_id": chat, "date": 0, "chat": { "id": chat } } }))
}

pub struct Machine {
    pub folder: tempfile::TempDir,
    pub data: PathBuf,
    pub base: String,
    pub text: String,
    pub http: reqwest::Client,
}

impl Machine {
    pub fn new(messenger: &str) -> Self {
        let (folder, listen) = (tempfile::tempdir().expect("a folder"), free());
        let text = DEFAULT_CONFIG
            .replace("127.0.0.1:8080", &listen)
            .replace("127.0.0.1:8090", "127.0.0.1:0")
            .replace("127.0.0.1:8081", &free())
            .replace("messengers = \"127.0.0.1:8082\"", &format!("messengers = \"{}\"", free()))
            .replace("127.0.0.1:8082", messenger)
            .replace("8083", &free_port().to_string())
            .replace("kind = \"amocrm\"", "kind = \"amocrm\"\nrate = 200");
        std::fs::write(folder.path().join("stagedoor.toml"), &text).expect("a config");
        let http = stagedoor_http::builder().build().expect("a client");
        Self { data: folder.path().join("data"), folder, base: format!("http://{listen}"), text, http }
    }

    pub fn data(&self) -> PathBuf {
        self.data.clone()
    }

    pub async fn begin(&self) -> Child {
        let child = Command::new(std::env::current_exe().expect("this binary"))
            .args(["--ignored", "--exact", "machine::stop::child_hub"])
            .env("SD_FOLDER", self.data())
            .env("SD_FILE", self.folder.path().join("stagedoor.toml"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a child");
        until(async || {
            let asked = self.http.get(format!("{}/readyz", self.base)).send().await;
            asked.is_ok_and(|answer| answer.status() == 200)
        })
        .await;
        child
    }

    /// The same files, after the process has gone.
    pub fn files(&self) -> Hub {
        let config = read_config("stagedoor.toml", &self.text, None).expect("a config");
        Hub::open(config, &self.data(), "test").expect("a hub")
    }
}

pub async fn until(holds: impl AsyncFn() -> bool) {
    within(Duration::from_secs(30), holds).await;
}

pub async fn within(time: Duration, holds: impl AsyncFn() -> bool) {
    let began = Instant::now();
    while began.elapsed() < time {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("not within {time:?}");
}

/// The messenger on a port of its own. Answers its address.
async fn serving(calls: &Messenger) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let app = Router::new().route("/{bot}/sendMessage", post(send_message)).with_state(Arc::clone(calls));
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

/// Orders come in, eight at a time, until the hub takes none any more. Answers which were acknowledged, and the senders.
pub fn orders_without_end(http: &reqwest::Client, base: &str) -> (Arc<Mutex<BTreeSet<String>>>, JoinSet<()>) {
    let acknowledged = Arc::new(Mutex::new(BTreeSet::<String>::new()));
    let mut hands = JoinSet::new();
    for hand in 0..8 {
        let (http, base, acknowledged) = (http.clone(), base.to_owned(), Arc::clone(&acknowledged));
        hands.spawn(async move {
            for n in 0.. {
                let id = format!("S-{hand}-{n}");
                let signed_request =
                    form_signed("/ticketing/theatre", &order(&id), "theatre-shop-secret", &id, Timestamp::now());
                match signed_request.post(&http, &base).await {
                    Ok((200, _)) => _ = acknowledged.lock().expect("a lock").insert(id),
                    Ok(_) => {}
                    Err(_) => return,
                }
            }
        });
    }
    (acknowledged, hands)
}

pub async fn ended(mut child: Child) -> ExitStatus {
    tokio::task::spawn_blocking(move || child.wait().expect("it ends")).await.expect("joined")
}

pub fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([name, &child.id().to_string()]).status().expect("kill");
    assert!(sent.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_is_told_to_stop_ends_what_it_has_begun() {
    let calls = Messenger::default();
    let machine = Machine::new(&serving(&calls).await);
    let child = machine.begin().await;
    let now = Timestamp::now().as_second();
    for n in 0..FANS {
        let fan = ChatFan::new(Account::Telegram(700 + n), "fan");
        let taken = fan.start(None, n + 1, now).post(&machine.http, &machine.base).await.expect("an answer");
        assert_eq!(taken.0, 200, "{taken:?}");
    }
    until(async || calls.lock().expect("a lock").len() as u64 == FANS).await;
    // Deliveries go on to come in.
    let (acknowledged, mut hands) = orders_without_end(&machine.http, &machine.base);
    tokio::time::sleep(Duration::from_millis(300)).await;
    signal(&child, "-TERM");
    let began = Instant::now();
    while hands.join_next().await.is_some() {}
    assert!(began.elapsed() < Duration::from_secs(1), "it takes no more deliveries: {:?}", began.elapsed());
    let status = ended(child).await;
    assert_eq!(status.code(), Some(0), "{status}");
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    for name in stagedoor::FILES {
        let log = std::fs::metadata(machine.data().join(format!("{name}-wal"))).map_or(0, |file| file.len());
        assert_eq!(log, 0, "the write-ahead log of {name} is in its file");
    }
    {
        let files = machine.files();
        assert_eq!(files.queues.outbox.depth().await.expect("a depth"), 0, "each message is noted as sent");
    }
    // Again: what was acknowledged is folded, nothing is sent a second time.
    let child = machine.begin().await;
    let files = machine.files();
    let all = acknowledged.lock().expect("a lock").clone();
    assert!(all.len() > 20, "only {} were acknowledged", all.len());
    let wanted: BTreeSet<Identifier> =
        all.iter().filter_map(|id| Identifier::opaque(Kind::Order, "theatre", id)).collect();
    until(async || {
        let known = files.store.resolve(&wanted).await.expect("read").owners.len();
        known == wanted.len() && files.is_calm().await
    })
    .await;
    let rows = files.store.journal(10_000).await.expect("a journal");
    let sent = rows.iter().filter(|row| match &row.event.body {
        Body::MessageSent(sent) => matches!(&sent.outcome, SendOutcome::Sent(_)),
        _ => false,
    });
    assert_eq!(sent.count() as u64, FANS, "with what the messenger answered");
    assert!(calls.lock().expect("a lock").values().all(|times| *times == 1), "{calls:?}");
    signal(&child, "-INT");
    assert_eq!(ended(child).await.code(), Some(0), "Ctrl-C does the same");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_the_hub_at_once() {
    let calls = Messenger::default();
    let machine = Machine::new(&serving(&calls).await);
    let child = machine.begin().await;
    let fan = ChatFan::new(Account::Telegram(700), "fan");
    fan.start(None, 1, Timestamp::now().as_second()).post(&machine.http, &machine.base).await.expect("an answer");
    until(async || !calls.lock().expect("a lock").is_empty()).await;
    signal(&child, "-TERM");
    tokio::time::sleep(Duration::from_millis(200)).await;
    signal(&child, "-TERM");
    let began = Instant::now();
    assert_ne!(ended(child).await.code(), Some(0), "something was cut off");
    assert!(began.elapsed() < SLOW, "{:?}", began.elapsed());
}
