use std::num::NonZeroU32;

use http::StatusCode;
use stagedoor_model::Event;

use crate::{Delivery, NotUnderstood, Reject, Verified, VerifiedDelivery};

/// The response that a provider expects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
}

impl Answer {
    /// A response with status 200 and this JSON.
    pub fn json(body: &str) -> Self {
        Self { status: StatusCode::OK, headers: vec![("content-type", "application/json".into())], body: body.into() }
    }
}

/// The content types that a provider sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepts {
    Json,
    Form,
    JsonOrForm,
    /// JSON with the content type of plain text, as SNS sends it.
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

/// One configured source of one provider. Synchronous and without I/O: work that takes time happens in `sync`.
pub trait Provider: Send + Sync {
    /// The content types that the provider sends.
    fn accepts(&self) -> Accepts;

    /// Refuses what path and headers alone can refuse, before the body is decompressed. `verify` follows in any case.
    ///
    /// # Errors
    /// Why the delivery is refused.
    fn verify_head(&self, head: &Delivery) -> Result<(), Reject> {
        _ = head;
        Ok(())
    }

    /// Checks that the delivery is authentic.
    ///
    /// # Errors
    /// Why the delivery is refused.
    fn verify(&self, delivery: &Delivery) -> Result<Verified, Reject>;

    /// Turns the delivery into events.
    ///
    /// # Errors
    /// When an authentic delivery has an unknown shape. The whole delivery is kept.
    fn parse(&self, delivery: &VerifiedDelivery) -> Result<Vec<Event>, NotUnderstood>;

    /// The response that the provider expects after success.
    fn answer(&self, delivery: &Delivery) -> Answer {
        _ = delivery;
        Answer::json("{\"ok\":true}")
    }

    /// The response to a request that is no delivery: a GET or OPTIONS, or a test ping. It needs no check and brings
    /// nothing into the hub.
    fn handshake(&self, delivery: &Delivery) -> Option<Answer> {
        _ = delivery;
        None
    }

    /// Deliveries of one client an hour, for a source to which anybody can send. `None`: every delivery is verified.
    fn strangers_per_hour(&self) -> Option<NonZeroU32> {
        None
    }

    /// True if a page in a browser posts to this source. Multipart and plain text are then read as a form or JSON.
    fn takes_beacons(&self) -> bool {
        false
    }

    /// True if the contract is ours. The response then says what was not understood; the delivery is kept anyway.
    fn says_what_is_strange(&self) -> bool {
        false
    }

    /// The largest number of fields in a form. A larger form is refused before it is parsed.
    fn max_fields(&self) -> usize {
        1_000
    }

    /// Fields of the body that hold a secret, in lower case. They are blanked in a kept delivery.
    fn secret_fields(&self) -> Vec<String> {
        vec![]
    }

    /// True if the provider issues one secret for a whole account, which several sources share. Any other secret
    /// belongs to one source.
    fn secret_is_of_the_account(&self) -> bool {
        false
    }

    /// Headers that `parse` reads. They are kept with a delivery that was not understood.
    fn kept_headers(&self) -> &'static [&'static str] {
        &["content-type"]
    }
}
