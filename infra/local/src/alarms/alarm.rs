//! One alarm: what it is about, and what it says.

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use stagedoor_model::{Timestamp, breakage};
use stagedoor_texts::{Language, Text};

/// What an alarm is about. The names are stable: receivers of webhooks and `/metrics` rely on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlarmKind {
    /// People wait too long for the CRM.
    PeopleWait,
    /// A source sends many deliveries with a wrong signature.
    SignaturesRejected,
    /// Messages failed too often and became dead letters.
    DeadLetters,
    /// A source sends nothing for longer than usual.
    SourceSilent,
}

impl AlarmKind {
    pub const ALL: [Self; 4] = [Self::PeopleWait, Self::SignaturesRejected, Self::DeadLetters, Self::SourceSilent];

    pub fn name(self) -> &'static str {
        match self {
            Self::PeopleWait => "people_wait",
            Self::SignaturesRejected => "signatures_rejected",
            Self::DeadLetters => "dead_letters",
            Self::SourceSilent => "source_silent",
        }
    }

    /// The least time between two notices of a beginning. Anybody can send wrong signatures, for ten minutes of each
    /// twenty.
    pub(super) fn rest(self) -> SignedDuration {
        match self {
            Self::SignaturesRejected if !breakage::is_on("strangers-ring-at-will") => SignedDuration::from_hours(6),
            _ => SignedDuration::ZERO,
        }
    }
}

/// One condition that holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alarm {
    pub kind: AlarmKind,
    /// The source that the alarm is about, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    pub since: Timestamp,
    /// People, deliveries or messages. For an alarm that is over: the last number.
    pub count: u64,
    pub text: String,
    /// The text in Russian.
    pub text_ru: String,
}

impl Alarm {
    pub(super) fn say(&mut self, text: &Text) {
        self.text = text.to(Language::English);
        self.text_ru = text.to(Language::Russian);
    }

    pub(super) fn key(&self) -> String {
        key(self.kind, self.source.as_deref())
    }
}

/// Which of an alarm's notices this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    Began,
    /// The daily reminder, or the number grew.
    Still,
    Over,
}

/// The name of an alarm in the book.
pub(super) fn key(kind: AlarmKind, source: Option<&str>) -> String {
    source.map_or_else(|| kind.name().to_owned(), |source| format!("{}/{source}", kind.name()))
}
