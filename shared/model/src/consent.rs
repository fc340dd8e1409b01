use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    Email,
    Sms,
    Call,
    Messenger,
}

/// What somebody said about being written to, as a source reported it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConsentClaim {
    pub purpose: String,
    pub channel: Channel,
    pub given: bool,
    /// Version of the wording that the person saw.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wording: Option<String>,
}
