//! What is known of one message of ours in a chat, whatever order it is told in.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// Messages of a chat whose reports are kept: those that the messenger may still tell of.
const MESSAGES: usize = 24;

/// A message of the hub, as a person's chat keeps it.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SentMessage {
    /// The decision that it was sent for; `None` while only the messenger told of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<String>,
    /// When the messenger took it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen_at: Option<Timestamp>,
    /// When the messenger told that it did not arrive, after it had taken it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_at: Option<Timestamp>,
}

impl SentMessage {
    fn told_at(&self) -> Option<Timestamp> {
        self.sent_at.max(self.seen_at).max(self.failed_at)
    }

    fn join(&mut self, other: Self) {
        let earliest = |a: Option<Timestamp>, b: Option<Timestamp>| [a, b].into_iter().flatten().min();
        self.decision = self.decision.take().max(other.decision);
        self.sent_at = earliest(self.sent_at, other.sent_at);
        self.seen_at = earliest(self.seen_at, other.seen_at);
        self.failed_at = earliest(self.failed_at, other.failed_at);
    }
}

/// The messages of one chat by the messenger's ids. The latest stay.
pub(crate) fn join(known: &mut BTreeMap<String, SentMessage>, other: BTreeMap<String, SentMessage>) {
    for (id, message) in other {
        known.entry(id).or_default().join(message);
    }
    while known.len() > MESSAGES {
        let oldest = known.iter().min_by_key(|(id, message)| (message.told_at(), *id)).map(|(id, _)| id.clone());
        oldest.and_then(|id| known.remove(&id));
    }
}
