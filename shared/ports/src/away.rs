//! Times in which the hub itself was away. Silence of a source in such a time does not count.

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use stagedoor_model::{Timestamp, breakage};

use crate::{KeyValues, PortError, Result};

pub(crate) const CELL: &str = "sources/watched";
/// The shortest time between two notes in the store.
const RESOLUTION: SignedDuration = SignedDuration::from_mins(5);
/// A serving hub looks more often than this. A longer time between two looks means that the hub was away.
const AWAY: SignedDuration = SignedDuration::from_hours(2);
/// The number of absences that are kept. Older ones are dropped.
const KEPT: usize = 50;

/// The time of the last look, and the absences before it as (begin, end).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Watched {
    at: Timestamp,
    #[serde(default)]
    away: Vec<(Timestamp, Timestamp)>,
}

impl Watched {
    /// Adds a look at `now`. If the last look is long ago, the time between is an absence.
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

/// The absences of the hub until `now`, from the stored value.
pub(crate) fn away_by(key_value: Option<&str>, now: Timestamp) -> Vec<(Timestamp, Timestamp)> {
    let known = key_value.and_then(|value| serde_json::from_str::<Watched>(value).ok());
    // After a start, deliveries may be handled before the first look for silent sources.
    known.map_or_else(Vec::new, |known| known.until(now).away)
}

/// Notes that the hub is there. Each look for silent sources calls it. Returns the absences so far.
///
/// # Errors
/// When the store fails.
pub(crate) async fn watch(store: &dyn KeyValues, now: Timestamp) -> Result<Vec<(Timestamp, Timestamp)>> {
    let key_value = store.key_value(CELL).await?;
    let known = key_value.as_ref().and_then(|key_value| serde_json::from_str::<Watched>(&key_value.value).ok());
    let is_noted = known.as_ref().is_some_and(|known| now.duration_since(known.at) < RESOLUTION);
    let watched = known.unwrap_or_else(|| Watched { at: now, away: vec![] }).until(now);
    if !is_noted {
        let value = serde_json::to_string(&watched).map_err(|error| PortError::Fail(error.to_string()))?;
        // A process that writes first has noted the same, so a lost write is harmless.
        store.compare_and_set(CELL, &value, key_value.map(|one| one.version)).await?;
    }
    Ok(watched.away)
}
