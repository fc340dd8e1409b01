//! No acknowledged delivery may be missing after `kill -9`.

use std::{
    collections::BTreeSet,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use stagedoor::{DEFAULT_CONFIG, Hub, read_config, start};
use stagedoor_model::{Identifier, Kind, Timestamp};
use stagedoor_ports::People;
use stagedoor_sqlite::SqliteStore;
use stagedoor_testkit::{form_signed, free_port};
use stagedoor_tests::hub::free;

const ROUNDS: usize = 20;
const CONNECTIONS: usize = 64;

#[allow(clippy::disallowed_methods, reason = "how the child is told its place")]
fn told(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The hub as a process of its own, for the test below to kill.
#[tokio::test]
#[ignore = "only as a child process"]
async fn child_hub() {
    let (Some(folder), Some(hub), Some(sandbox)) = (told("SD_FOLDER"), told("SD_HUB"), told("SD_SANDBOX")) else {
        return;
    };
    let text = DEFAULT_CONFIG
        .replace("127.0.0.1:8080", &hub)
        .replace("127.0.0.1:8090", "127.0.0.1:0")
        .replace("127.0.0.1:8081", &sandbox)
        .replace("127.0.0.1:8082", &free())
        .replace("8083", &free_port().to_string());
    let config = read_config("stagedoor.toml", &text, None).expect("a config");
    let listener = tokio::net::TcpListener::bind(config.listen).await.expect("a port");
    let hub = Arc::new(Hub::open(config, folder.as_ref(), "serve").expect("a hub"));
    let mut running = start(&hub, listener).await.expect("started");
    running.wait().await;
}

fn spawn(folder: &std::path::Path, hub: &str, sandbox: &str) -> Child {
    Command::new(std::env::current_exe().expect("this binary"))
        .args(["--ignored", "--exact", "kill::child_hub"])
        .env("SD_FOLDER", folder)
        .env("SD_HUB", hub)
        .env("SD_SANDBOX", sandbox)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("a child")
}

async fn ready(http: &reqwest::Client, base: &str) {
    for _ in 0..1200 {
        if http.get(format!("{base}/healthz")).send().await.is_ok_and(|answer| answer.status() == 200) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("the hub did not come up");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_acknowledged_delivery_is_missing_after_kill_nine() {
    let folder = tempfile::tempdir().expect("a folder");
    let acknowledged = Arc::new(Mutex::new(BTreeSet::<String>::new()));
    let http = stagedoor_http::builder().build().expect("a client");
    for round in 0..ROUNDS {
        let (hub, sandbox) = (free(), free());
        let base = format!("http://{hub}");
        let mut child = spawn(folder.path(), &hub, &sandbox);
        ready(&http, &base).await;
        let mut hands = tokio::task::JoinSet::new();
        for hand in 0..CONNECTIONS {
            let (http, base, acknowledged) = (http.clone(), base.clone(), Arc::clone(&acknowledged));
            hands.spawn(async move {
                for n in 0.. {
                    let id = format!("K-{round}-{hand}-{n}");
                    match form_signed("/ticketing/theatre", &order(&id), "theatre-shop-secret", &id, Timestamp::now())
                        .post(&http, &base)
                        .await
                    {
                        Ok((200, _)) => _ = acknowledged.lock().expect("a lock").insert(id),
                        Ok(_) => {}
                        Err(_) => return,
                    }
                }
            });
        }
        tokio::time::sleep(Duration::from_millis(60 + (round as u64 * 37) % 150)).await;
        // A machine that does other work takes longer to acknowledge some.
        for _ in 0..600 {
            if acknowledged.lock().expect("a lock").len() > (round + 1) * 10 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        child.kill().expect("killed");
        child.wait().expect("gone");
        while hands.join_next().await.is_some() {}
    }
    let all = acknowledged.lock().expect("a lock").clone();
    assert!(all.len() > ROUNDS * 10, "only {} were acknowledged", all.len());
    let (hub, sandbox) = (free(), free());
    let mut child = spawn(folder.path(), &hub, &sandbox);
    ready(&http, &format!("http://{hub}")).await;
    let store = SqliteStore::open(&folder.path().join("hub.db")).expect("the hub's file");
    let wanted: BTreeSet<Identifier> =
        all.iter().filter_map(|id| Identifier::opaque(Kind::Order, "theatre", id)).collect();
    let mut known = 0;
    for _ in 0..600 {
        known = store.resolve(&wanted).await.expect("read").owners.len();
        if known == wanted.len() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    child.kill().expect("killed");
    child.wait().expect("gone");
    assert_eq!(known, wanted.len(), "acknowledged, and folded after the last restart");
}

pub fn order(id: &str) -> serde_json::Value {
    serde_json::json!({ "type": "order", "data": {
        "id": id, "status": "paid", "currency": "RUB", "total": "1500.00", "placed_at": "2027-01-10T10:00:00Z",
        "paid_at": "2027-01-10T10:05:00Z", "updated_at": "2027-01-10T10:05:00Z",
        "buyer": { "email": format!("{}@example.com", id.to_lowercase()) },
        "tickets": [{ "id": "t", "show": { "id": "msk-1" }, "price": "1500.00" }],
    }})
}
