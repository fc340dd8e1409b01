//! The routes by which alarms are sent: a webhook, letters, a chat of the team.

use std::{collections::BTreeMap, sync::Arc};

use jiff::SignedDuration;
use serde_json::json;
use sha2::{Digest, Sha256};
use stagedoor_channels::{AlarmHook, EMAIL};
use stagedoor_model::{Identifier, MessageDecided, SourceName, Timestamp, breakage};
use stagedoor_ports::{Channel, Sending};
use stagedoor_texts::Language;
use tokio::sync::mpsc::UnboundedSender;

use super::{alarm::Alarm, book::Notice};
use crate::hub::Hub;

/// The first pause of a route that fails, and the longest.
const PAUSES: (SignedDuration, SignedDuration) = (SignedDuration::from_secs(30), SignedDuration::from_mins(15));
/// How often a message is sent whose answer was lost. It may have arrived.
const LOST: u32 = 2;

enum Route {
    Webhook(AlarmHook),
    Message { channel: Arc<dyn Channel>, through: SourceName, to: Identifier },
}

/// The result of one try to send.
enum Delivery {
    Done,
    Lost,
    /// The reason.
    Failed(String),
}

#[derive(Default)]
struct Rest {
    until: Timestamp,
    pause: SignedDuration,
    lost: u32,
}

pub(super) struct Ways {
    all: BTreeMap<String, Route>,
    rests: BTreeMap<String, Rest>,
    language: Option<Language>,
    /// The name of the hub, if it has one: a reader may have several hubs.
    hub: Option<String>,
}

/// Names an address in the store without revealing it.
fn short_hash(to: &Identifier) -> String {
    let digest = hex::encode(Sha256::digest(to.to_string()));
    digest.get(..12).unwrap_or(&digest).to_owned()
}

impl Ways {
    /// # Errors
    /// A sentence that names a route that cannot be made.
    pub fn of(hub: &Hub) -> Result<Self, String> {
        let config = &hub.config.alarms;
        let mut all = BTreeMap::new();
        if let Some(webhook) = &config.webhook {
            all.insert("webhook".to_owned(), Route::Webhook(AlarmHook::new(webhook)?));
        }
        let letters = SourceName::new(EMAIL)?;
        let letters = config.email.iter().map(|to| (letters.clone(), to.clone()));
        for (n, (through, to)) in letters.chain(config.telegram.clone()).enumerate() {
            let name = match breakage::is_on("ways-by-place") {
                true => format!("{through}/{n}"),
                false => format!("{through}/{}", short_hash(&to)),
            };
            let channel = hub.outreach.channels.get(&through).ok_or_else(|| format!("alarms: no way to {through}"))?;
            all.insert(name, Route::Message { channel: Arc::clone(channel), through, to });
        }
        let named = hub.config.public_url.as_deref().and_then(|url| url.split("://").nth(1)).map(str::to_owned);
        Ok(Self { all, rests: BTreeMap::new(), language: config.language.or(hub.config.language), hub: named })
    }

    pub fn names(&self) -> std::collections::BTreeSet<String> {
        self.all.keys().cloned().collect()
    }

    /// Tries each route that is not pausing with its notices, oldest first. Reports each sent notice to `told` at
    /// once, so that a slow route delays no other.
    pub async fn tell(&mut self, notices: &[Notice], now: Timestamp, told: UnboundedSender<(String, String)>) {
        let done = |id: &str, way: &str| {
            // A receiver that is closed has ended.
            _ = told.send((id.to_owned(), way.to_owned()));
        };
        let ready = self.all.iter().filter(|(name, _)| self.rests.get(*name).is_none_or(|rest| rest.until <= now));
        let tried = futures_util::future::join_all(ready.map(async |(name, way)| {
            let (mut is_any, mut end) = (false, None);
            for notice in notices.iter().filter(|one| one.left.contains(name)) {
                match self.told(way, notice).await {
                    Delivery::Done => {
                        is_any = true;
                        done(&notice.id, name);
                    }
                    other => {
                        end = Some((notice.id.clone(), other));
                        break;
                    }
                }
            }
            (name.clone(), is_any, end)
        }));
        for (name, is_any, end) in tried.await {
            let rest = self.rests.entry(name.clone()).or_default();
            if is_any {
                *rest = Rest::default();
            }
            let Some((id, other)) = end else { continue };
            rest.pause = (rest.pause * 2).clamp(PAUSES.0, PAUSES.1);
            rest.until = now + rest.pause;
            let reason = match other {
                Delivery::Failed(reason) => reason,
                Delivery::Done | Delivery::Lost => {
                    rest.lost += 1;
                    "its answer was lost".to_owned()
                }
            };
            // Without the address, of which the name holds a hash.
            let through = name.split('/').next();
            tracing::warn!(way = through, reason, seconds = rest.pause.as_secs(), "an alarm could not be told");
            if rest.lost >= LOST {
                *rest = Rest::default();
                done(&id, &name);
            }
        }
        if breakage::is_on("untold-alarms-dropped") {
            notices.iter().for_each(|one| one.left.iter().for_each(|way| done(&one.id, way)));
        }
    }

    async fn told(&self, way: &Route, notice: &Notice) -> Delivery {
        let text = self.text(&notice.alarm);
        match way {
            Route::Webhook(hook) => {
                let Alarm { kind, source, since, count, .. } = &notice.alarm;
                let body = json!({
                    "id": notice.id, "kind": kind, "phase": notice.phase, "source": source, "since": since.to_string(),
                    "at": notice.at.to_string(), "count": count, "hub": self.hub, "text": text,
                });
                // The time of posting, because a receiver refuses old signatures.
                let second = stagedoor_ports::Clock::now(&stagedoor_ports::SystemClock).as_second();
                match hook.post(&notice.id, second, &body).await {
                    Ok(()) => Delivery::Done,
                    Err(reason) => Delivery::Failed(reason),
                }
            }
            Route::Message { channel, through, to } => {
                let mut message = MessageDecided::new(through.clone(), to.clone(), text, Timestamp::MAX);
                message.subject = Some(self.subject(notice));
                match channel.send(&notice.id, &message).await {
                    Sending::Sent(_) => Delivery::Done,
                    Sending::Lost => Delivery::Lost,
                    Sending::Throttled(_) | Sending::Busy(_) => Delivery::Failed("it takes no message now".into()),
                    Sending::NotSent(reason) => Delivery::Failed(reason),
                    // The answer's words may hold the address.
                    Sending::RecipientOptedOut(_) | Sending::Refused(_) => {
                        Delivery::Failed("it refuses this address".into())
                    }
                    Sending::CredentialsRejected(_) => Delivery::Failed("it refuses our token or password".into()),
                }
            }
        }
    }

    fn text(&self, alarm: &Alarm) -> String {
        let lines: &[&str] = match self.language {
            Some(Language::Russian) => &[&alarm.text_ru],
            Some(Language::English) => &[&alarm.text],
            None => &[&alarm.text_ru, &alarm.text],
        };
        let hub = self.hub.as_ref().map_or_else(String::new, |name| format!(" ({name})"));
        format!("Stagedoor{hub}: {}", lines.join("\n"))
    }

    fn subject(&self, notice: &Notice) -> String {
        let hub = self.hub.as_ref().map_or_else(String::new, |name| format!(" {name}"));
        let source = notice.alarm.source.as_ref().map_or_else(String::new, |name| format!(" {name}"));
        format!("Stagedoor{hub}: {}{source} ({})", notice.alarm.kind.name(), notice.phase.name())
    }
}
