//! Faults of webhooks on their way: the next ones are lost, late, doubled or overtaken.

use std::time::Duration;

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HookFaultKind {
    /// Never sent.
    Lost,
    /// Sent `milliseconds` later. Webhooks behind it do not wait.
    Delayed,
    /// Sent now, and once more `milliseconds` later.
    Doubled,
    /// Sent right after the next webhook.
    Overtaken,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HookFault {
    pub kind: HookFaultKind,
    /// The setting of an item, such as `update_contact`. Only bodies with such an item are struck; empty strikes all.
    #[serde(default)]
    pub setting: String,
    /// How many bodies pass before the first that is struck.
    #[serde(default)]
    pub after: u32,
    /// How many bodies are struck. 4294967295 means no end.
    #[serde(default = "one")]
    pub times: u32,
    #[serde(default)]
    pub milliseconds: u64,
}

fn one() -> u32 {
    1
}

impl HookFault {
    /// Strikes every body of this setting until the faults are replaced.
    pub fn always(kind: HookFaultKind, setting: &str, wait: Duration) -> Self {
        let milliseconds = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        Self { kind, setting: setting.to_owned(), after: 0, times: u32::MAX, milliseconds }
    }

    fn strikes(&mut self, settings: &[&str]) -> Option<(HookFaultKind, Duration)> {
        let meant = self.setting.is_empty() || settings.contains(&self.setting.as_str());
        if self.times == 0 || !meant {
            return None;
        }
        if self.after > 0 {
            self.after -= 1;
            return None;
        }
        self.times = if self.times == u32::MAX { u32::MAX } else { self.times - 1 };
        Some((self.kind, Duration::from_millis(self.milliseconds)))
    }
}

/// A webhook that left the CRM, in a sandbox that keeps webhooks instead of posting them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentHook {
    pub destination: String,
    pub body: String,
    /// How much later the webhook arrives.
    pub wait: Duration,
}

#[derive(Clone)]
pub(crate) struct Post {
    pub hook: u64,
    pub sent: SentHook,
}

#[derive(Default)]
pub struct HookFaults {
    pub(crate) all: Vec<HookFault>,
    overtaken: Vec<Post>,
    pub(crate) kept: Vec<SentHook>,
}

impl HookFaults {
    /// The posts to send in place of this one.
    pub(crate) fn on_the_way(&mut self, post: Post, settings: &[&str]) -> Vec<Post> {
        let struck = self.all.iter_mut().find_map(|fault| fault.strikes(settings));
        let later = |wait: Duration| {
            let mut late = post.clone();
            late.sent.wait = wait;
            late
        };
        let mut sent = match struck {
            Some((HookFaultKind::Lost, _)) => return vec![],
            Some((HookFaultKind::Overtaken, _)) => {
                self.overtaken.push(post);
                return vec![];
            }
            Some((HookFaultKind::Delayed, wait)) => vec![later(wait)],
            Some((HookFaultKind::Doubled, wait)) => vec![post.clone(), later(wait)],
            None => vec![post],
        };
        sent.append(&mut self.overtaken);
        sent
    }

    /// Overtaken webhooks that no other webhook followed.
    pub(crate) fn release(&mut self) -> Vec<Post> {
        std::mem::take(&mut self.overtaken)
    }
}
