//! When the hub itself was away. What no source could tell it is no silence of a source.

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use stagedoor_model::{Timestamp, breakage};

use crate::{PortError, Result, Store};

pub(crate) const CELL: &str = "sources/watched";
/// A watch is noted again after this time at the earliest.
const RESOLUTION: SignedDuration = SignedDuration::from_mins(5);
/// Between two watches a hub that serves lets much less pass.
const AWAY: SignedDuration = SignedDuration::from_hours(2);
/// Times away that are kept.
const KEPT: usize = 50;

/// When somebody watched, and when nobody did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Watched {
    at: Timestamp,
    #[serde(default)]
    away: Vec<(Timestamp, Timestamp)>,
}

impl Watched {
    /// The same, watched at `now`, too.
    fn until(mut self, now: Timestamp) -> Self {
        if now.duration_since(self.at) >= AWAY && !breakage::is_on("own-absence-is-silence") {
            self.away.push((self.at, now));
            let over = self.away.len().saturating_sub(KEPT);
            self.away.drain(..over);
        }
        self.at = self.at.max(now);
        self
    }
}

/// When the hub was away so far, by what a cell says.
pub(crate) fn away_by(key_value: Option<&str>, now: Timestamp) -> Vec<(Timestamp, Timestamp)> {
    let known = key_value.and_then(|value| serde_json::from_str::<Watched>(value).ok());
    // After a start deliveries may be handled before anybody watches.
    known.map_or_else(Vec::new, |known| known.until(now).away)
}

/// Notes that the hub is there. Whoever looks for silent sources calls it at each look.
///
/// # Errors
/// When the store fails.
pub(crate) async fn watch(store: &dyn Store, now: Timestamp) -> Result<Vec<(Timestamp, Timestamp)>> {
    let key_value = store.key_value(CELL).await?;
    let known = key_value.as_ref().and_then(|key_value| serde_json::from_str::<Watched>(&key_value.value).ok());
    let is_noted = known.as_ref().is_some_and(|known| now.duration_since(known.at) < RESOLUTION);
    let watched = known.unwrap_or_else(|| Watched { at: now, away: vec![] }).until(now);
    if !is_noted {
        let value = serde_json::to_string(&watched).map_err(|error| PortError::Fail(error.to_string()))?;
        // Another process that is faster notes the same.
        store.compare_and_set(CELL, &value, key_value.map(|one| one.version)).await?;
    }
    Ok(watched.away)
}
