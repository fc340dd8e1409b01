//! A call as its callers see it: the method, and the reason why there is no usable answer.

use async_trait::async_trait;
use serde_json::Value;
use stagedoor_ports::CrmError;

/// Message for a record that does not exist.
const NOT_THERE: &str = "Permission to perform the operation is denied";
pub(super) const SERVER_ERROR: &str = "it answers with an error and says nothing";

/// Reason why a call has no usable answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// `success: false`, with the CRM's own message. `code` may have been a number.
    Refused { code: String, message: String },
    /// An unreadable answer: a sentence instead of JSON. The call is over in the CRM.
    Broken(&'static str),
    /// 500 with an empty body. The call is over in the CRM. The answer does not say whether it took effect or whether
    /// the error lasts.
    ServerError,
    /// No answer: the call may have taken effect or may still run.
    Lost,
    /// The CRM did nothing. A later attempt may succeed.
    Unavailable(String),
    /// A person must act first, for example correct the access rights.
    Denied(String),
}

impl Failure {
    /// True if a record no longer exists. A record that is private to another user has the same code and another text
    /// (retrieve_deleted, limited_user_retrieve_private_deal).
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Refused { code, message } if code == "ACCESS_DENIED" && message == NOT_THERE)
    }

    pub fn refused(&self, wanted: &str) -> bool {
        matches!(self, Self::Refused { code, .. } if code == wanted)
    }
}

impl From<Failure> for CrmError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Denied(reason) => Self::CredentialsRejected(reason),
            Failure::Unavailable(reason) => Self::Unavailable(reason),
            Failure::Refused { code, message } => Self::Unavailable(format!("{code}: {message}")),
            Failure::Broken(what) => Self::Unavailable(what.to_owned()),
            Failure::ServerError => Self::Unavailable(SERVER_ERROR.to_owned()),
            Failure::Lost => Self::Unavailable("no answer".to_owned()),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Get,
    Post,
}

/// What a login needs of the transport.
#[async_trait]
pub(super) trait Call: Send + Sync {
    /// Makes one call without a session.
    async fn send(&self, method: Method, parameters: &[(&str, &str)]) -> Result<Value, Failure>;
    /// Makes a call that changes something, in the session of a seat.
    async fn post(&self, operation: &str, parameters: &[(&str, &str)]) -> Result<Value, Failure>;
}
