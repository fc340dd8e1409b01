//! A topic that asks whether it may deliver here is told yes: its offer came with a signature of its own, for the topic that the config
//! names, or it would not be an event.

use std::collections::BTreeSet;

use stagedoor_model::{Body, Event};
use stagedoor_ports::PortError;

use crate::Sync;

impl Sync {
    /// Answers which offers could not be taken now and should come again.
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
