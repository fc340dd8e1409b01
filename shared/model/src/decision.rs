//! What managers decide about who is who.

use std::collections::BTreeSet;

#[cfg(feature = "schemas")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Identifier;

/// A manager's word about who is who. It stands above every guard.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Both identifiers belong to one person.
    SamePerson(Identifier, Identifier),
    /// The identifiers belong to two people. They are never joined, whatever else connects them.
    DifferentPeople(Identifier, Identifier),
    /// The identifier belongs to one person again. What was known of it until then does not count against it.
    NotShared(Identifier),
}

impl Verdict {
    /// The identifiers that it is about.
    pub fn identifiers(&self) -> BTreeSet<&Identifier> {
        match self {
            Self::SamePerson(one, other) | Self::DifferentPeople(one, other) => BTreeSet::from([one, other]),
            Self::NotShared(identifier) => BTreeSet::from([identifier]),
        }
    }
}

/// A decision of a manager, as it is journalled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
pub struct IdentityDecided {
    pub verdict: Verdict,
    /// Who decided: the name of an account, such as that of the operating system.
    pub by: String,
}
