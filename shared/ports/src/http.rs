//! The HTTP client as a port: sockets in production, the router of a stand-in in the simulation.

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};

/// Why a request has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpError {
    /// No connection was made, so the request had no effect.
    NoConnection,
    /// The time ran out or the connection broke. The request may have taken effect, or may still take it.
    NoAnswer,
}

/// A client that sends one request and reads the whole answer. It follows no redirects and has a time-out.
#[async_trait]
pub trait HttpClient: Send + Sync {
    /// Sends the request.
    ///
    /// # Errors
    /// [`HttpError`] says whether the request may have taken effect. An answer with an error status is no error here.
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError>;
}
