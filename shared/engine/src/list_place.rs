//! The mailing lists of the config, and the places that people have on them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use stagedoor_model::Timestamp;

/// A list of a provider, and the segment whose people are on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListRule {
    /// The name of the list in the config.
    pub name: String,
    /// The account at a mail provider.
    pub mailer: String,
    /// The provider's id of the list.
    pub id: String,
    /// The name of the segment.
    pub segment: String,
}

/// What the hub knows of an address on a list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// Stored before the call: the address may be there. With `again`, we took it off before, so a "left" from the list
    /// is not news.
    Adding {
        again: bool,
    },
    Enrolled,
    /// We took the address off because the person withdrew. After a new consent it is added again, if the provider
    /// allows it.
    Out,
    /// The person left on the provider's side, and the list does not take them back.
    Left {
        at: Timestamp,
    },
    /// The list never accepts this address.
    Refused {
        reason: String,
    },
}

impl Place {
    /// True if the list may hold the address.
    pub fn may_be_there(&self) -> bool {
        matches!(self, Self::Adding { .. } | Self::Enrolled)
    }

    /// True if we took the address off before.
    pub fn was_out(&self) -> bool {
        matches!(self, Self::Out | Self::Adding { again: true })
    }
}

/// The addresses of one person, by list, each with what is known of it.
pub type Places = BTreeMap<String, BTreeMap<String, Place>>;
