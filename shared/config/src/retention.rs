//! `[retention]`: how long received data is kept.

use jiff::SignedDuration;
#[cfg(feature = "schemas")]
use schemars::JsonSchema;
use serde::Deserialize;
use toml::de::DeTable;

use crate::reader::{Reader, spot};

#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct RetentionSection {
    /// Days that events stay in the journal; at least 30. What they made of people stays.
    pub journal_days: u32,
    /// Days that deliveries wait which were not understood; else until they are.
    pub unrecognized_days: Option<u32>,
    /// Days that people keep lines of their chats; else the last 240.
    pub conversation_days: Option<u32>,
    /// Days that it is kept when a personal link was opened; else for good.
    pub click_days: Option<u32>,
}

impl Default for RetentionSection {
    fn default() -> Self {
        Self { journal_days: 400, unrecognized_days: None, conversation_days: None, click_days: None }
    }
}

/// How long received data is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    pub journal: SignedDuration,
    /// Deliveries that were not understood. `None` means until they are.
    pub unrecognized: Option<SignedDuration>,
    /// Lines of chats. `None` means only the limit by number.
    pub conversations: Option<SignedDuration>,
    /// Times at which links were opened. `None` means without end.
    pub clicks: Option<SignedDuration>,
}

/// Lowest value, in days. The journal recognises repeated deliveries, and a report looks back over a campaign.
const LEAST: u32 = 30;

impl Reader<'_> {
    pub(crate) fn retention(&mut self, root: &DeTable<'_>) -> Retention {
        let section = self.optional::<RetentionSection>(root, "retention").unwrap_or_default();
        if let Some(value) = root.get("retention") {
            if section.journal_days < LEAST {
                let what = format!("is {}, at least {LEAST} days are needed", section.journal_days);
                self.errors.note(spot(value, "journal_days"), "retention.journal_days", what);
            }
            let optional = [
                ("unrecognized_days", section.unrecognized_days),
                ("conversation_days", section.conversation_days),
                ("click_days", section.click_days),
            ];
            for (name, _) in optional.into_iter().filter(|(_, days)| *days == Some(0)) {
                let what = "is 0, at least one day is needed; leave it out to set no end";
                self.errors.note(spot(value, name), format!("retention.{name}"), what);
            }
        }
        let days = |days: u32| SignedDuration::from_hours(24 * i64::from(days));
        Retention {
            journal: days(section.journal_days),
            unrecognized: section.unrecognized_days.map(days),
            conversations: section.conversation_days.map(days),
            clicks: section.click_days.map(days),
        }
    }
}
