//! Confirms subscriptions of SNS topics. The offer came with a signature for the topic that the config names.
//! Otherwise it would not be an event.

use std::collections::BTreeSet;

use stagedoor_model::{Body, Event};
use stagedoor_ports::PortError;

use crate::Sync;

impl Sync {
    /// Confirms the offers among these events. Returns the positions of offers that could not be confirmed and should
    /// come again.
    pub(crate) async fn take_offers(&self, events: &[(usize, Event)]) -> BTreeSet<usize> {
        let mut failed = BTreeSet::new();
        let Some(topics) = &self.topics else { return failed };
        for (index, event) in events {
            let Body::TopicOffered(offer) = &event.body else { continue };
            match topics.confirm(&offer.topic, &offer.token).await {
                Ok(()) => tracing::info!(event = %event.id, topic = offer.topic, "a topic delivers here from now on"),
                Err(error @ PortError::Retry(_)) => {
                    tracing::warn!(event = %event.id, %error, "a topic's offer waits");
                    failed.insert(*index);
                }
                Err(error) => tracing::error!(event = %event.id, %error, "a topic's offer could not be taken"),
            }
        }
        failed
    }
}
