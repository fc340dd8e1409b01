//! Asks the channels whether their messengers still post to the hub. A messenger may end a subscription by itself, and
//! then nobody's message is heard.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use stagedoor_model::{SourceName, breakage};
use stagedoor_ports::{Channel, Webhook};

/// Time between two checks.
const EVERY: Duration = Duration::from_secs(3_600);

/// The hourly check of all channels.
pub struct WebhookCheck {
    /// The hub's public address, without a slash at its end. `None`: messengers cannot reach the hub.
    base: Option<String>,
    asked: Mutex<Option<Instant>>,
}

impl WebhookCheck {
    /// A check for a hub at this address. Messengers post only to https, so a hub without it is not checked.
    pub fn new(public_url: Option<&str>) -> Self {
        let base = public_url.filter(|url| url.starts_with("https://"));
        Self { base: base.map(|url| url.trim_end_matches('/').to_owned()), asked: Mutex::default() }
    }

    /// Checks all channels if the last check is an hour ago, and logs what is wrong.
    pub async fn look(&self, channels: &BTreeMap<SourceName, Arc<dyn Channel>>) {
        let Some(base) = &self.base else { return };
        {
            let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
            if asked.is_some_and(|at| at.elapsed() < EVERY) {
                return;
            }
            *asked = Some(Instant::now());
        }
        for (source, state) in webhooks(channels, base).await {
            match state {
                Webhook::MadeAgain => tracing::warn!(%source, "the messenger posted here no more; it does again"),
                Webhook::Missing(why) => tracing::error!(%source, why, "the messenger does not post to the hub"),
                Webhook::Stands | Webhook::NotAsked => {}
            }
        }
    }
}

/// The state of each channel's webhook. `base` is the hub's public address. Channels that cannot be asked are left out.
pub async fn webhooks(channels: &BTreeMap<SourceName, Arc<dyn Channel>>, base: &str) -> Vec<(SourceName, Webhook)> {
    let mut states = Vec::new();
    for (source, channel) in channels.iter().filter(|_| !breakage::is_on("webhooks-unchecked")) {
        let state = channel.check_webhook(&format!("{base}/messaging/{source}")).await;
        if state != Webhook::NotAsked {
            states.push((source.clone(), state));
        }
    }
    states
}
