use std::collections::{BTreeMap, BTreeSet};

#[cfg(feature = "schemas")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Identifier, Kind};

/// Advertising: 38-FZ art. 18, GDPR art. 6(1)(a). Service letters (a moved show, a ticket) need none.
pub const MARKETING: &str = "marketing";

/// A way to write to somebody, or to call them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    Email,
    Sms,
    Call,
    Messenger,
}

impl Channel {
    /// Every channel.
    pub const ALL: [Self; 4] = [Self::Email, Self::Sms, Self::Call, Self::Messenger];

    /// Whether somebody is reached through this channel at such an identifier.
    pub fn reaches(self, kind: Kind) -> bool {
        match self {
            Self::Email => kind == Kind::Email,
            Self::Sms | Self::Call => kind == Kind::Phone,
            Self::Messenger => kind.is_chat(),
        }
    }

    /// The name in the config and in events.
    pub fn name(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Sms => "sms",
            Self::Call => "call",
            Self::Messenger => "messenger",
        }
    }
}

/// What somebody said about being written to, as a source reported it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
pub struct ConsentClaim {
    pub purpose: String,
    pub channel: Channel,
    pub given: bool,
    /// Version of the wording that the person saw.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wording: Option<String>,
}

/// In the order in which they count when they are equally late: a withdrawal beats a consent of the same instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// A letter asks whether the address is theirs (double opt-in).
    Asked,
    Given,
    /// Given, and the address proved to be theirs.
    Confirmed,
    Withdrawn,
}

/// An entry of the consent ledger that came as a fact of its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
pub struct ConsentRecorded {
    /// Whose it is: the addresses that were told with it.
    pub identifiers: BTreeSet<Identifier>,
    pub purpose: String,
    pub channel: Channel,
    pub decision: Decision,
    /// How it came about: `unsubscribe`, `complaint`, `one-click`, `stop-word`, `paper`, `double-opt-in`.
    pub method: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wording: Option<String>,
    /// The provider's lists that it was said of. A withdrawal holds for the whole channel all the same: whoever leaves one
    /// list is out everywhere.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub lists: BTreeSet<String>,
    /// What proves it: the row of a file, an address in the network, a clerk.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub evidence: BTreeMap<String, String>,
}

impl ConsentRecorded {
    /// Somebody wants nothing more through this channel.
    pub fn withdrawn(who: Identifier, channel: Channel, method: &str) -> Self {
        Self::marketing(BTreeSet::from([who]), channel, Decision::Withdrawn, method)
    }

    /// Somebody agrees to advertising through this channel.
    pub fn given(who: BTreeSet<Identifier>, channel: Channel, method: &str) -> Self {
        Self::marketing(who, channel, Decision::Given, method)
    }

    fn marketing(identifiers: BTreeSet<Identifier>, channel: Channel, decision: Decision, method: &str) -> Self {
        Self {
            identifiers,
            purpose: MARKETING.to_owned(),
            channel,
            decision,
            method: method.to_owned(),
            wording: None,
            lists: BTreeSet::new(),
            evidence: BTreeMap::new(),
        }
    }
}
