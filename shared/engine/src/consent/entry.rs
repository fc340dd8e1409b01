use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use stagedoor_model::{Channel, Decision, Identifier, Timestamp};

use super::FOR_ALL;

/// One line of the ledger: what a person said about being written to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Entry {
    /// The instant from which it counts.
    pub at: Timestamp,
    /// What the person decided.
    pub decision: Decision,
    /// What the messages are for, such as advertising.
    pub purpose: String,
    /// The channel that it is about.
    pub channel: Channel,
    /// The source that reported it.
    pub source: String,
    /// How the person said it, for example `form`, `double-opt-in` or `stop-word`.
    pub method: String,
    /// The text that the person agreed to, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wording: Option<String>,
    /// The addresses that came with it.
    pub identifiers: BTreeSet<Identifier>,
    /// The mailing lists that it names.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub lists: BTreeSet<String>,
    /// What proves it, by name, such as the name of the form.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub evidence: BTreeMap<String, String>,
    /// The time when the hub received it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received_at: Option<Timestamp>,
    /// The time by the sender's clock, if it differs from `at`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told_at: Option<Timestamp>,
    /// True if a stranger may have said it. It counts once it is confirmed through a letter.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_anonymous: bool,
    /// For a confirmation, the time when the letter that it answers was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_at: Option<Timestamp>,
}

impl Entry {
    /// True if it is a withdrawal that holds for every channel.
    pub fn is_for_all(&self) -> bool {
        self.decision == Decision::Withdrawn && FOR_ALL.contains(&self.method.as_str())
    }
}
