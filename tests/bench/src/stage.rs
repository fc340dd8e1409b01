//! A hub and a sandbox on free ports, in this process, with its files in a temporary folder.

use std::sync::Arc;

use stagedoor::{
    DEFAULT_CONFIG, Hub, Running,
    listener::{self, Limits},
    read_config, start,
};
use stagedoor_testkit::free_port;
use tokio::{net::TcpListener, task::JoinSet};

pub struct Stage {
    pub hub: Arc<Hub>,
    pub base: String,
    pub running: Option<Running>,
    _serving: Option<JoinSet<()>>,
    _folder: tempfile::TempDir,
}

/// The whole hub with its sandbox.
pub async fn open() -> Result<Stage, String> {
    let (folder, listener, hub) = built().await?;
    let base = base(&listener)?;
    let running = start(&hub, listener).await?;
    Ok(Stage { hub, base, running: Some(running), _serving: None, _folder: folder })
}

/// The receiving functions and their queue, without folding.
pub async fn receiving_only() -> Result<Stage, String> {
    let (folder, listener, hub) = built().await?;
    let base = base(&listener)?;
    let app = hub.router()?;
    let mut serving = JoinSet::new();
    serving.spawn(async move { _ = listener::serve(listener, app, Limits::default(), vec![]).await });
    Ok(Stage { hub, base, running: None, _serving: Some(serving), _folder: folder })
}

/// The hub's files and logic without a listener, so that only the benchmark's events come in.
pub async fn quiet() -> Result<Stage, String> {
    let (folder, listener, hub) = built().await?;
    let base = base(&listener)?;
    Ok(Stage { hub, base, running: None, _serving: None, _folder: folder })
}

fn base(listener: &TcpListener) -> Result<String, String> {
    listener.local_addr().map(|address| format!("http://{address}")).map_err(|error| error.to_string())
}

async fn built() -> Result<(tempfile::TempDir, TcpListener, Arc<Hub>), String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let listener = TcpListener::bind("127.0.0.1:0").await.map_err(|error| error.to_string())?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    let text = DEFAULT_CONFIG
        .replace("rate = 20000", "rate = 1000000")
        .replace("127.0.0.1:8080", &address.to_string())
        .replace("127.0.0.1:8090", "127.0.0.1:0")
        .replace("127.0.0.1:8081", &free())
        .replace("127.0.0.1:8082", &free())
        .replace("8083", &free_port().to_string());
    let hub = Hub::open(read_config("stagedoor.toml", &text, None)?, folder.path(), "serve")?;
    Ok((folder, listener, Arc::new(hub)))
}

fn free() -> String {
    format!("127.0.0.1:{}", free_port())
}
