use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// One performance at one place and time, as a provider names it. The catalogue in the config maps it to the
/// house's own show; what is not mapped is a show of its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ShowRef {
    /// The provider's own id of the show within its source.
    pub id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub city: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub starts_at: Option<Timestamp>,
    /// IANA zone of the place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
}

impl ShowRef {
    pub fn id(id: impl Into<String>) -> Self {
        Self { id: id.into(), title: None, city: None, starts_at: None, zone: None }
    }
}
