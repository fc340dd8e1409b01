//! `/readyz`: whether the hub can take deliveries.

use std::sync::Arc;

use http::{Request, StatusCode};
use stagedoor::{DEFAULT_CONFIG, Hub, read_config};
use tower::ServiceExt;

struct Asked {
    hub: Arc<Hub>,
    folder: tempfile::TempDir,
}

impl Asked {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let config = read_config("stagedoor.toml", DEFAULT_CONFIG, None).expect("a config");
        let hub = Arc::new(Hub::open(config, folder.path(), "serve").expect("a hub"));
        Self { hub, folder }
    }

    /// By a router of its own, which remembers no earlier answer.
    async fn get(&self, path: &str) -> (StatusCode, String) {
        let router = self.hub.router().expect("a router");
        let request = Request::get(path).body(axum::body::Body::empty()).expect("a request");
        let answer = router.oneshot(request).await.expect("an answer");
        let status = answer.status();
        let bytes = axum::body::to_bytes(answer.into_body(), 4096).await.expect("a body");
        (status, String::from_utf8(bytes.to_vec()).expect("text"))
    }

    /// Does something to one of the hub's files, as another program would.
    fn to_file(&self, name: &str, sql: &str) -> rusqlite::Connection {
        let connection = rusqlite::Connection::open(self.folder.path().join(name)).expect("a file");
        connection.execute_batch(sql).expect("done");
        connection
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_can_take_deliveries_is_ready() {
    let asked = Asked::new();
    for _ in 0..2 {
        assert_eq!(asked.get("/readyz").await, (StatusCode::OK, "ready".into()));
    }
    assert_eq!(asked.get("/healthz").await.0, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_whose_store_takes_no_write_runs_and_is_not_ready() {
    let asked = Asked::new();
    let held = asked.to_file("hub.db", "BEGIN IMMEDIATE");
    let told = (StatusCode::SERVICE_UNAVAILABLE, "the store cannot be written".to_owned());
    assert_eq!(asked.get("/readyz").await, told);
    assert_eq!(asked.get("/healthz").await.0, StatusCode::OK, "the process runs");
    held.execute_batch("ROLLBACK").expect("let go");
    assert_eq!(asked.get("/readyz").await.0, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_whose_queue_cannot_be_read_is_not_ready() {
    for name in ["queue.db", "chats.db", "outbox.db"] {
        let asked = Asked::new();
        asked.to_file(name, "DROP TABLE messages");
        let told = (StatusCode::SERVICE_UNAVAILABLE, "a queue cannot be read".to_owned());
        assert_eq!(asked.get("/readyz").await, told, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_stops_is_not_ready() {
    let asked = Asked::new();
    asked.hub.stopping.cancel();
    assert_eq!(asked.get("/readyz").await, (StatusCode::SERVICE_UNAVAILABLE, "the hub is stopping".into()));
}
