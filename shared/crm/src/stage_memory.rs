//! The stages of an account, kept between two starts, so that a renamed stage is still found.

use std::sync::Arc;

use serde::{Serialize, de::DeserializeOwned};
use stagedoor_ports::{CrmError, KeyValues, Store};

pub(crate) struct StageMemory {
    store: Arc<dyn KeyValues>,
    key_value: String,
}

impl StageMemory {
    /// Creates the memory of the account at this address. Each account has stages of its own.
    pub fn new(store: &Arc<dyn Store>, base_url: &str) -> Self {
        let host = base_url.split_once("://").map_or(base_url, |(_, host)| host).trim_end_matches('/');
        Self { store: store.clone(), key_value: format!("crm/stages/{host}") }
    }

    /// Reads the stored value and its version. An unreadable value counts as empty.
    ///
    /// # Errors
    /// `Unavailable` if the store fails, because a stage must not count as missing for that reason.
    pub async fn recall<T: DeserializeOwned + Default>(&self) -> Result<(T, Option<u64>), CrmError> {
        let key_value =
            self.store.key_value(&self.key_value).await.map_err(|error| CrmError::Unavailable(error.to_string()))?;
        let value =
            key_value.as_ref().and_then(|key_value| serde_json::from_str(&key_value.value).ok()).unwrap_or_default();
        Ok((value, key_value.map(|key_value| key_value.version)))
    }

    /// Stores the value. A lost race does no harm: the other process read the same account and stored the same value.
    pub async fn keep(&self, value: &impl Serialize, version: Option<u64>) {
        let text = serde_json::to_string(value).unwrap_or_default();
        if let Err(error) = self.store.compare_and_set(&self.key_value, &text, version).await {
            tracing::warn!(%error, "the ids of the CRM's stages could not be kept");
        }
    }
}
