use stagedoor_model::{SendOutcome, Timestamp, breakage};

/// State of a decision: not begun, begun without an answer, or ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    Fresh,
    /// A call began and got no answer. `asked` counts the questions to its channel, and `at` is the time of the call.
    /// Earlier builds noted no time.
    Begun {
        asked: u32,
        at: Option<Timestamp>,
    },
    Ended(SendOutcome),
}

impl Entry {
    pub fn read(value: &str) -> Self {
        match value.split_once(' ') {
            Some(("begun", call)) => {
                let (asked, at) = call.split_once(' ').unwrap_or((call, ""));
                Self::Begun { asked: asked.parse().unwrap_or(0), at: at.parse().ok() }
            }
            _ if breakage::is_on("unread-entry-is-fresh") => Self::Fresh,
            // A later version may write outcomes that this version does not know. This must not make a message go out
            // twice.
            Some(("ended", outcome)) => Self::Ended(serde_json::from_str(outcome).unwrap_or(SendOutcome::Unknown)),
            Some(("fresh", _)) => Self::Fresh,
            _ => Self::Begun { asked: 0, at: None },
        }
    }

    pub fn write(&self) -> String {
        match self {
            Self::Fresh => "fresh ".to_owned(),
            Self::Begun { asked, at: Some(at) } => format!("begun {asked} {at}"),
            Self::Begun { asked, at: None } => format!("begun {asked}"),
            Self::Ended(outcome) => format!("ended {}", serde_json::to_string(outcome).unwrap_or_default()),
        }
    }
}
