//! What a CRM tells of its rows.

use std::collections::BTreeSet;

#[cfg(feature = "schemas")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Identifier, Timestamp};

/// A contact as the CRM holds it now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
pub struct ContactChanged {
    pub contact: u64,
    pub deleted: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub identifiers: BTreeSet<Identifier>,
    /// Phones and e-mails exactly as the CRM holds them: an update must send all of them back.
    pub phones: Vec<String>,
    pub emails: Vec<String>,
    #[cfg_attr(feature = "schemas", schemars(with = "String"))]
    pub created_at: Timestamp,
    /// The hub's own id that stands in it: a person's. A manager who copies a row copies it too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hub_id: Option<String>,
    /// When what stands in it was changed last, where the event is a later one: the row was restored. `None`: at the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schemas", schemars(with = "Option<String>"))]
    pub changed_at: Option<Timestamp>,
}

/// A deal as the CRM holds it now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
pub struct LeadChanged {
    pub lead: u64,
    pub deleted: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u64>,
    /// The user whose hand moved it; 0 is a robot or an integration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moved_by: Option<u64>,
    /// The hub's own id that stands in it: a person's and a show's, with `|` between them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hub_id: Option<String>,
    /// When what stands in it was changed last, where the event is a later one: the row was restored. `None`: at the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schemas", schemars(with = "Option<String>"))]
    pub changed_at: Option<Timestamp>,
}

impl LeadChanged {
    /// A stage of a CRM that has names for them and no numbers (Vtiger), as a number: FNV-1a, 32 bits, the same everywhere and for ever.
    pub fn number_of_stage(name: &str) -> u64 {
        u64::from(name.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)))
    }
}
