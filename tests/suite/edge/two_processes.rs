//! Commands beside a hub that serves, as a process of its own.

use std::{
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use stagedoor::{DEFAULT_CONFIG, Hub, commands, read_config, start};
use stagedoor_testkit::{form, free_port};
use stagedoor_tests::hub::free;

/// The hub as a process of its own.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "only as a child process"]
async fn child_serves() {
    let (Ok(folder), Ok(file)) = (std::env::var("EDGE_FOLDER"), std::env::var("EDGE_FILE")) else { return };
    let text = std::fs::read_to_string(file).expect("a config");
    let config = read_config("stagedoor.toml", &text, None).expect("a config");
    let listener = tokio::net::TcpListener::bind(config.listen).await.expect("a port");
    let hub = Arc::new(Hub::open(config, folder.as_ref(), "serve").expect("a hub"));
    let mut running = start(&hub, listener).await.expect("started");
    running.wait().await;
}

struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

async fn settled(hub: &Hub) {
    let mut calm = 0;
    for _ in 0..2400 {
        let status = hub.status().await.expect("a status");
        calm = if status.queue_depth + status.waiting == 0 { calm + 1 } else { 0 };
        if calm >= 12 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("not settled in a minute: {:?}", hub.status().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn erase_and_backfill_work_beside_a_hub_that_serves() {
    let folder = tempfile::tempdir().expect("a folder");
    let listen = free();
    let text = DEFAULT_CONFIG
        .replace("127.0.0.1:8080", &listen)
        .replace("127.0.0.1:8090", "127.0.0.1:0")
        .replace("127.0.0.1:8081", &free())
        .replace("127.0.0.1:8082", &free())
        .replace("8083", &free_port().to_string())
        .replace("kind = \"amocrm\"", "kind = \"amocrm\"\nrate = 200");
    let file = folder.path().join("stagedoor.toml");
    std::fs::write(&file, &text).expect("a config");
    let data = folder.path().join("data");
    let child = Command::new(std::env::current_exe().expect("this binary"))
        .args(["--ignored", "--exact", "edge::two_processes::child_serves"])
        .env("EDGE_FOLDER", &data)
        .env("EDGE_FILE", &file)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("a child");
    let _serving = Serving(child);
    let (http, base) = (stagedoor_tests::http(), format!("http://{listen}"));
    for _ in 0..400 {
        if http.get(format!("{base}/healthz")).send().await.is_ok_and(|answer| answer.status() == 200) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    let lead = async |phone: &str| {
        let signed_request =
            form("/website/tilda", &[("Name", "Anna"), ("Phone", phone)]).header("x-api-key", "tilda-api-key");
        assert_eq!(signed_request.post(&http, &base).await.expect("an answer").0, 200);
    };
    let hub =
        Hub::open(read_config("stagedoor.toml", &text, None).expect("a config"), &data, "command-1").expect("a hub");
    lead("8 916 123-45-67").await;
    lead("8 916 123-45-68").await;
    settled(&hub).await;
    assert_eq!(hub.status().await.expect("a status").people, 2);
    let identifier = commands::read_identifier("+79161234567", hub.config.region).expect("a phone");
    let began = Instant::now();
    let lines = commands::erase(&hub, &identifier).await.expect("erased beside the hub that serves");
    assert!(lines.iter().any(|line| line.contains("erased")), "{lines:?}");
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    assert_eq!(hub.status().await.expect("a status").people, 1);
    let began = Instant::now();
    commands::backfill(&hub).await.expect("mirrored beside the hub that serves");
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    // The hub goes on afterwards.
    lead("8 916 123-45-69").await;
    settled(&hub).await;
    let deals = hub.status().await.expect("a status").deals;
    assert!(deals >= 2, "{deals} deals are in the CRM");
}
