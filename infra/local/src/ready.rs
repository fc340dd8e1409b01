//! `/readyz`: true if the hub can take deliveries now. `/healthz` only says that the process runs.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{Router, extract::State, routing::get};
use http::StatusCode;
use stagedoor_model::breakage;
use stagedoor_ports::PortError;
use tokio::{sync::Mutex, time::timeout};

use crate::hub::Hub;

/// The key that a probe writes.
const CELL: &str = "ready/probed";
/// How long a result is reused. Each probe writes to the disk, and strangers can ask.
const FRESH: Duration = Duration::from_secs(2);
/// The time limit of a probe. A file that answers more slowly keeps deliveries waiting, too.
const PATIENCE: Duration = Duration::from_secs(3);

/// What the last probe found.
pub struct Readiness {
    hub: Arc<Hub>,
    last: Mutex<Option<(Instant, Result<(), &'static str>)>>,
}

impl Readiness {
    pub fn new(hub: Arc<Hub>) -> Self {
        Self { hub, last: Mutex::default() }
    }

    /// Checks that deliveries can be taken.
    ///
    /// # Errors
    /// The reason in a sentence, without names of files or people.
    pub async fn probe(&self) -> Result<(), &'static str> {
        if self.hub.stopping.is_cancelled() && !breakage::is_on("ready-while-stopping") {
            return Err("the hub is stopping");
        }
        // One probe at a time: a request that comes meanwhile gets its result.
        let mut last = self.last.lock().await;
        if let Some((_, found)) = last.filter(|(at, _)| at.elapsed() < FRESH) {
            return found;
        }
        let found = self.found().await;
        *last = Some((Instant::now(), found));
        found
    }

    async fn found(&self) -> Result<(), &'static str> {
        if breakage::is_on("ready-whatever-happens") {
            return Ok(());
        }
        let all = &self.hub.queues;
        for queue in [&all.events, &all.chats, &all.outbox] {
            within(queue.is_empty(), "a queue cannot be read").await?;
        }
        within(self.write(), "the store cannot be written").await
    }

    async fn write(&self) -> Result<(), PortError> {
        let before = self.hub.store.key_value(CELL).await?;
        let now = self.hub.sync.clock.now().to_string();
        // Another process may have written it in between. That also shows that the file takes writes.
        self.hub.store.compare_and_set(CELL, &now, before.map(|key_value| key_value.version)).await.map(drop)
    }
}

async fn within<T>(
    work: impl Future<Output = Result<T, PortError>>,
    sentence: &'static str,
) -> Result<(), &'static str> {
    match timeout(PATIENCE, work).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => {
            tracing::warn!(%error, "not ready: {sentence}");
            Err(sentence)
        }
        Err(_) => {
            tracing::warn!(seconds = PATIENCE.as_secs(), "not ready: {sentence} in time");
            Err(sentence)
        }
    }
}

pub fn router(readiness: Arc<Readiness>) -> Router {
    Router::new().route("/readyz", get(answer)).with_state(readiness)
}

async fn answer(State(readiness): State<Arc<Readiness>>) -> (StatusCode, &'static str) {
    match readiness.probe().await {
        Ok(()) => (StatusCode::OK, "ready"),
        Err(sentence) => (StatusCode::SERVICE_UNAVAILABLE, sentence),
    }
}
