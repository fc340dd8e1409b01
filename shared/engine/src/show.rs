use std::fmt;

use serde::{Deserialize, Serialize};
use stagedoor_model::Timestamp;

use crate::{ShowNotice, StageNames};

/// The key of the show that stands for interest in no particular show.
pub const INTEREST: &str = "interest";
/// The key of the show that stands for purchases that are not tickets.
pub const GOODS: &str = "goods";

/// The organiser's own name of a show. Deals are stored under it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ShowKey(pub String);

impl fmt::Display for ShowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One performance, as the config and its providers describe it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Show {
    pub key: ShowKey,
    pub title: String,
    pub city: Option<String>,
    /// The beginning, if it is known.
    pub starts_at: Option<Timestamp>,
    /// The time zone of its place: an IANA name, or an offset from UTC such as `+05:00`.
    pub zone: Option<String>,
    /// True if the show is called off.
    pub cancelled: bool,
    /// The time when a provider reported that it begins at another time than first announced.
    #[serde(default)]
    pub moved_at: Option<Timestamp>,
    /// The announced beginning, before any change was reported.
    #[serde(skip)]
    pub announced: Option<Timestamp>,
    /// The state of the show after each change, in the order of time.
    #[serde(skip)]
    pub course: Vec<ShowNotice>,
}

impl Show {
    /// True if it takes place although it was called off once.
    pub fn is_resumed(&self) -> bool {
        !self.cancelled && self.course.iter().any(|change| change.cancelled)
    }

    /// Returns when its present date was reported.
    pub(crate) fn redated_at(&self) -> Option<Timestamp> {
        let mut last = self.announced;
        let redated =
            self.course.iter().filter(|change| std::mem::replace(&mut last, change.starts_at) != change.starts_at);
        redated.last().map(|change| change.changed_at)
    }

    /// True if the show is moved and its new date is not known yet.
    pub fn is_postponed(&self) -> bool {
        self.course.last().is_some_and(|change| change.postponed)
    }

    /// Returns the state of the show right before an instant.
    pub fn stood_at(&self, at: Timestamp) -> ShowNotice {
        let first = ShowNotice::announced(self.announced);
        self.course.iter().rev().find(|change| change.changed_at < at).copied().unwrap_or(first)
    }
}

/// A pipeline of the CRM, with its stage names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pipeline {
    pub name: String,
    /// The CRM's name for each of our stages. Stages without a name here are not sent.
    pub stages: StageNames,
}
