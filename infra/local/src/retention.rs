//! The nightly sweep of the hub on one machine. It removes what is older than `[retention]` allows.

use std::{sync::Arc, time::Duration};

use stagedoor_ports::PortError;
use stagedoor_sync::Retention;

use crate::hub::Hub;

/// The pause between two looks at the clock.
const LOOK: Duration = Duration::from_secs(600);

/// Removes what is too old, once a night. Returns the number of rows, or `None` if this night's sweep is done or not
/// yet due.
///
/// # Errors
/// When the files cannot be read or written.
pub async fn sweep(hub: &Hub) -> Result<Option<u64>, PortError> {
    let kept = hub.config.retention;
    let retention = Retention {
        journal: kept.journal,
        unrecognized: kept.unrecognized,
        conversations: kept.conversations,
        clicks: kept.clicks,
    };
    hub.sync.sweep_old(retention, Duration::MAX).await
}

/// Sweeps each night, until the process ends.
pub(crate) async fn every_night(hub: Arc<Hub>) {
    loop {
        match sweep(&hub).await {
            Ok(Some(rows)) => tracing::info!(rows, "what was too old was removed"),
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "what is too old could not be removed"),
        }
        tokio::time::sleep(LOOK).await;
    }
}
