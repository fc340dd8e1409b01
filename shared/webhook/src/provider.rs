use std::num::NonZeroU32;

use http::StatusCode;
use stagedoor_model::Event;

use crate::{Delivery, Verified, VerifiedDelivery};

/// Odd fields that a reason names.
const MOST_NAMED: usize = 16;

/// Why a delivery is turned away. The text goes into the answer and the log, never anything of the payload.
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
    /// After how many seconds another try makes sense, where one does.
    pub(crate) fn retry_after(self) -> Option<u32> {
        match self {
            Self::TooMany => Some(1),
            Self::RefusedOften => Some(60),
            Self::TooManyOfOne => Some(600),
            Self::Busy => Some(5),
            _ => None,
        }
    }

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

/// Authentic, but of a shape that no parser here knows. Kept whole for replay.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct NotUnderstood {
    /// Never a part of the payload.
    pub reason: String,
    /// What the same delivery says beside it and was understood: it does not wait for the rest. A replay tells it again, under
    /// the same ids.
    pub beside: Vec<Event>,
}

impl NotUnderstood {
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), beside: vec![] }
    }

    /// The outcome of a batch of which something may be strange.
    ///
    /// # Errors
    /// With what was understood, when something is.
    pub fn unless(understood: bool, reason: &str, events: Vec<Event>) -> Result<Vec<Event>, Self> {
        if understood { Ok(events) } else { Err(Self { reason: reason.to_owned(), beside: events }) }
    }

    /// The outcome where optional fields were odd: what was understood counts, and the reason names them.
    ///
    /// # Errors
    /// With what was understood, when something was odd.
    pub fn left_out(mut lost: Vec<String>, events: Vec<Event>) -> Result<Vec<Event>, Self> {
        lost.sort();
        lost.dedup();
        lost.truncate(MOST_NAMED);
        Self::unless(lost.is_empty(), &format!("left out: {}", lost.join(", ")), events)
    }

    /// As `unless`, and the reason names the optional fields that were odd.
    ///
    /// # Errors
    /// With what was understood, when something is strange or odd.
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
    // serde_json's own text quotes values; where it stopped is enough and tells nothing of anybody.
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

/// What a provider wants to hear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
}

impl Answer {
    pub fn json(body: &str) -> Self {
        Self { status: StatusCode::OK, headers: vec![("content-type", "application/json".into())], body: body.into() }
    }
}

/// The content types a provider sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepts {
    Json,
    Form,
    JsonOrForm,
    /// JSON that calls itself plain text, as SNS sends it.
    Text,
}

impl Accepts {
    pub(crate) fn takes(self, content_type: &str) -> bool {
        let kind = content_type.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
        let json = kind == "application/json" || kind.ends_with("+json");
        let form = kind == "application/x-www-form-urlencoded";
        match self {
            Self::Json => json,
            Self::Form => form,
            Self::JsonOrForm => json || form,
            Self::Text => json || kind == "text/plain",
        }
    }
}

/// One configured source of one provider. Synchronous and without I/O: whatever takes time happens in `sync`.
pub trait Provider: Send + Sync {
    fn accepts(&self) -> Accepts;

    /// What path and headers alone can refuse, before the body is inflated and looked at. `verify` is asked all the same.
    ///
    /// # Errors
    /// Why the delivery is not believed.
    fn verify_head(&self, head: &Delivery) -> Result<(), Reject> {
        _ = head;
        Ok(())
    }

    /// # Errors
    /// Why the delivery is not believed.
    fn verify(&self, delivery: &Delivery) -> Result<Verified, Reject>;

    /// # Errors
    /// When an authentic delivery has a shape that is not known; it is kept whole.
    fn parse(&self, delivery: &VerifiedDelivery) -> Result<Vec<Event>, NotUnderstood>;

    /// What the provider wants to hear when all went well.
    fn answer(&self, delivery: &Delivery) -> Answer {
        _ = delivery;
        Answer::json("{\"ok\":true}")
    }

    /// An answer to what is no delivery: a GET or OPTIONS, a test ping. It is given without any check and carries nothing
    /// into the hub.
    fn handshake(&self, delivery: &Delivery) -> Option<Answer> {
        _ = delivery;
        None
    }

    /// What one client may send in an hour, where anybody can send. `None`: whoever sends is believed or refused.
    fn strangers_per_hour(&self) -> Option<NonZeroU32> {
        None
    }

    /// True where a browser's page posts by itself: parts and plain text are taken as the form or JSON that they hold.
    fn takes_beacons(&self) -> bool {
        false
    }

    /// True if the contract is ours: the answer says what was not understood, and the delivery is kept all the same.
    fn says_what_is_strange(&self) -> bool {
        false
    }

    /// Fields that a form of this provider has at most. More than that is refused before anything is made of it.
    fn max_fields(&self) -> usize {
        1_000
    }

    /// Fields of the body that hold a secret, in lower case. They are blanked in what is kept of a delivery.
    fn secret_fields(&self) -> Vec<String> {
        vec![]
    }

    /// True if the provider issues one secret for a whole account, which several sources then share. Any other secret belongs
    /// to one source.
    fn secret_is_of_the_account(&self) -> bool {
        false
    }

    /// Headers that `parse` reads, kept with what was not understood.
    fn kept_headers(&self) -> &'static [&'static str] {
        &["content-type"]
    }
}
