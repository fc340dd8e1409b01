//! The orderly stop of the hub: it takes nothing more, finishes what it has begun, and leaves its files in order.

use std::{path::Path, time::Duration};

use stagedoor_model::breakage;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::{sleep, timeout},
};

use super::Running;
use crate::{Hub, hub::FILES};

/// The time for unfinished work once the hub has to stop.
pub const DRAIN_TIME: Duration = Duration::from_secs(20);

/// Serves until SIGTERM or Ctrl-C, then drains. Connections and deliveries on their way are answered, and messages
/// that are being sent are sent. Everything else waits for the next start. A second signal ends the wait.
///
/// # Errors
/// A sentence: a part of the hub ended by itself, the system gives no signals, or the second signal came.
pub async fn until_stopped(hub: &Hub, mut running: Running) -> Result<(), String> {
    let mut signals = both()?;
    tokio::select! {
        () = running.wait() => return Err("a part of the hub ended; the log says which".into()),
        () = any(&mut signals) => {}
    }
    tracing::info!("the hub stops: it ends what it has begun");
    tokio::select! {
        is_done = running.drain(hub) => if !is_done {
            tracing::warn!(seconds = DRAIN_TIME.as_secs(), "what was not done in time goes on at the next start");
        },
        () = any(&mut signals) => return Err("stopped in the middle by a second signal; nothing is lost".into()),
    }
    Ok(())
}

/// Ends with the first SIGTERM or Ctrl-C.
///
/// # Errors
/// A sentence, when the system gives no signals.
pub fn signals() -> Result<impl Future<Output = ()>, String> {
    let mut signals = both()?;
    Ok(async move { any(&mut signals).await })
}

fn both() -> Result<[Signal; 2], String> {
    let of = |kind| signal(kind).map_err(|error| format!("signals cannot be heard: {error}"));
    Ok([of(SignalKind::terminate())?, of(SignalKind::interrupt())?])
}

async fn any([terminate, interrupt]: &mut [Signal; 2]) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

impl Running {
    /// Ends the hub in order. False if work was cut off after [`DRAIN_TIME`]; the next start does it again.
    pub async fn drain(mut self, hub: &Hub) -> bool {
        hub.stopping.cancel();
        let work = async { while self.work.join_next().await.is_some() {} };
        let time = if breakage::is_on("stopping-hub-waits-for-nobody") { Duration::ZERO } else { DRAIN_TIME };
        let is_done = timeout(time, work).await.is_ok();
        self.work.shutdown().await;
        // Stand-ins answer until the last message is sent.
        self.others.shutdown().await;
        if let Err(error) = hub.sync.let_go().await {
            tracing::warn!(%error, "the lease is not given back; it ends by itself");
        }
        settle_logs(&hub.folder).await;
        is_done
    }
}

/// Writes the write-ahead logs into the files, so that a copy of the folder is whole without them.
pub(crate) async fn settle_logs(folder: &Path) {
    for name in FILES {
        let path = folder.join(name);
        // Another process may be reading now.
        for _ in 0..3 {
            match stagedoor_sqlite::settle_log(&path).await {
                Ok(()) => break,
                Err(error) => {
                    tracing::warn!(%error, file = name, "the write-ahead log stays beside its file");
                    sleep(Duration::from_millis(200)).await;
                }
            }
        }
    }
}
