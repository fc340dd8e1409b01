#[cfg(feature = "schemas")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How it is known that an identifier belongs to the person whom an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    /// A server that signs its deliveries vouches for it: a shop, a ticket system, the server of a site.
    #[default]
    Signed,
    /// The channel itself tells whose it is: the sender of a message, a messenger's own contact share.
    Channel,
    /// Somebody typed it in a chat or in a public form. It joins nobody who exists already until it is confirmed.
    Claimed,
    /// A manager decided it, or entered it in the CRM.
    Crm,
}

impl Proof {
    /// True if an identifier with this proof may join people who exist already.
    pub fn joins(self) -> bool {
        self != Self::Claimed
    }

    /// For events that were stored before proofs were told apart.
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    pub(crate) fn channel() -> Self {
        Self::Channel
    }

    pub(crate) fn is_channel(&self) -> bool {
        *self == Self::Channel
    }
}
