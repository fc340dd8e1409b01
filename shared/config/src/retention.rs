//! `[retention]`: how long what was told is kept.

use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::Deserialize;
use toml::de::DeTable;

use crate::read::{Reader, spot};

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RetentionSection {
    /// Days that events stay in the journal; at least 30. What they made of people stays.
    pub journal_days: u32,
    /// Days that deliveries wait which were not understood; else until they are.
    pub unrecognized_days: Option<u32>,
}

impl Default for RetentionSection {
    fn default() -> Self {
        Self { journal_days: 400, unrecognized_days: None }
    }
}

/// How long what was told is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    pub journal: SignedDuration,
    /// `None`: until it is understood.
    pub unrecognized: Option<SignedDuration>,
}

/// The journal knows a delivery that is repeated, and a report looks back over a campaign.
const LEAST: u32 = 30;

impl Reader<'_> {
    pub(crate) fn retention(&mut self, root: &DeTable<'_>) -> Retention {
        let section = self.optional::<RetentionSection>(root, "retention").unwrap_or_default();
        if let Some(value) = root.get("retention") {
            if section.journal_days < LEAST {
                let what = format!("is {}, at least {LEAST} days are needed", section.journal_days);
                self.ledger.note(spot(value, "journal_days"), "retention.journal_days", what);
            }
            if section.unrecognized_days == Some(0) {
                let what = "is 0, at least one day is needed; leave it out to keep them until they are understood";
                self.ledger.note(spot(value, "unrecognized_days"), "retention.unrecognized_days", what);
            }
        }
        let days = |days: u32| SignedDuration::from_hours(24 * i64::from(days));
        Retention { journal: days(section.journal_days), unrecognized: section.unrecognized_days.map(days) }
    }
}
