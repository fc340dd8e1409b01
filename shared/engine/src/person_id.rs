use std::fmt;

use serde::{Deserialize, Serialize};
use stagedoor_model::RecordKey;
use uuid::Uuid;

/// Id of a person. It is derived from the first record that named the person, so that the same facts give the same
/// id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PersonId(Uuid);

impl PersonId {
    /// Derives the id from the key of the first record.
    pub fn of(origin: &RecordKey) -> Self {
        Self(Uuid::new_v5(&Uuid::NAMESPACE_URL, format!("stagedoor:{}", origin.0).as_bytes()))
    }

    /// Returns the bytes of the UUID.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// Reads an id from the bytes of its UUID.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// Parses the text form of an id.
    ///
    /// # Errors
    /// Returns an error if `text` is not a UUID.
    pub fn parse(text: &str) -> Result<Self, uuid::Error> {
        Uuid::parse_str(text).map(Self)
    }
}

impl fmt::Display for PersonId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
