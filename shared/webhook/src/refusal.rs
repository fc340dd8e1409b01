//! Why a delivery is refused, and why an authentic one is not understood.

use http::StatusCode;
use stagedoor_model::Event;

/// The largest number of odd fields that a reason names.
const MOST_NAMED: usize = 16;

/// Why a delivery is refused. The text goes into the answer and the log, and never contains a part of the payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Reject {
    #[error("the signature is missing")]
    MissingSignature,
    #[error("the signature is not of the expected form")]
    MalformedSignature,
    #[error("the signature does not match")]
    WrongSignature,
    #[error("the timestamp is too old or too far ahead")]
    OutsideReplayWindow,
    #[error("this origin may not post here")]
    WrongOrigin,
    #[error("the body is empty")]
    EmptyBody,
    #[error("the body cannot be read")]
    UnreadableBody,
    #[error("the body is too large")]
    TooLarge,
    #[error("the body did not come in time")]
    TooSlow,
    #[error("too many bodies are under way")]
    Busy,
    #[error("this content type is not accepted here")]
    WrongContentType,
    #[error("too many requests")]
    TooMany,
    #[error("too many refused requests from this address")]
    RefusedOften,
    #[error("too many forms from this address")]
    TooManyOfOne,
    #[error("no such source")]
    UnknownSource,
    #[error("this method is not accepted here")]
    WrongMethod,
}

impl Reject {
    /// Seconds after which a retry makes sense; `None` if it makes none.
    pub(crate) fn retry_after(self) -> Option<u32> {
        match self {
            Self::TooMany => Some(1),
            Self::RefusedOften => Some(60),
            Self::TooManyOfOne => Some(600),
            Self::Busy => Some(5),
            _ => None,
        }
    }

    /// The HTTP status of the refusal.
    pub fn status(self) -> StatusCode {
        match self {
            Self::MissingSignature
            | Self::MalformedSignature
            | Self::WrongSignature
            | Self::OutsideReplayWindow
            | Self::WrongOrigin => StatusCode::UNAUTHORIZED,
            Self::EmptyBody | Self::UnreadableBody => StatusCode::BAD_REQUEST,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::WrongContentType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooMany | Self::TooManyOfOne | Self::RefusedOften => StatusCode::TOO_MANY_REQUESTS,
            // Never 410: pretix and others take it as an order to stop for good.
            Self::UnknownSource => StatusCode::NOT_FOUND,
            Self::WrongMethod => StatusCode::METHOD_NOT_ALLOWED,
        }
    }
}

/// Why an authentic delivery was not understood, as a whole or in part. The whole delivery is kept for a replay.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct NotUnderstood {
    /// The reason, without any part of the payload.
    pub reason: String,
    /// Events of the same delivery that were understood. They do not wait for the rest. A replay yields them again
    /// under the same ids.
    pub beside: Vec<Event>,
}

impl NotUnderstood {
    /// A reason without events.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), beside: vec![] }
    }

    /// The outcome of a batch of which a part may not be understood.
    ///
    /// # Errors
    /// When `understood` is false. The error has the events that were understood.
    pub fn unless(understood: bool, reason: &str, events: Vec<Event>) -> Result<Vec<Event>, Self> {
        if understood { Ok(events) } else { Err(Self { reason: reason.to_owned(), beside: events }) }
    }

    /// The outcome if optional fields may have been odd. Understood events count, and the reason names the odd fields.
    ///
    /// # Errors
    /// When a field was odd. The error has the events that were understood.
    pub fn left_out(mut lost: Vec<String>, events: Vec<Event>) -> Result<Vec<Event>, Self> {
        lost.sort();
        lost.dedup();
        lost.truncate(MOST_NAMED);
        Self::unless(lost.is_empty(), &format!("left out: {}", lost.join(", ")), events)
    }

    /// Like [`Self::unless`], and the reason names the optional fields that were odd.
    ///
    /// # Errors
    /// When a part was not understood, or a field was odd. The error has the events that were understood.
    pub fn unless_odd(
        understood: bool,
        reason: &str,
        lost: Vec<String>,
        events: Vec<Event>,
    ) -> Result<Vec<Event>, Self> {
        if understood { Self::left_out(lost, events) } else { Self::unless(false, reason, events) }
    }
}

impl From<serde_json::Error> for NotUnderstood {
    // serde_json's own text quotes values. The position is enough and contains no personal data.
    fn from(error: serde_json::Error) -> Self {
        let what = match error.classify() {
            serde_json::error::Category::Data => "JSON of another shape",
            serde_json::error::Category::Eof => "JSON that breaks off",
            _ => "not JSON",
        };
        Self::new(format!("{what} at line {} column {}", error.line(), error.column()))
    }
}

impl From<&str> for NotUnderstood {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}
