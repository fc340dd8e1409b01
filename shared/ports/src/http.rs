//! What carries a request to a server of others and brings the answer back: sockets in production, a stand-in's router in
//! the simulation.

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};

/// Why a request has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpError {
    /// No connection was made: nothing can have happened there.
    NoConnection,
    /// The time ran out or the connection broke: the request may have taken effect, or still take it.
    NoAnswer,
}

/// Sends one request and reads its whole answer. Follows no redirects and has a time-out.
#[async_trait]
pub trait HttpClient: Send + Sync {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError>;
}
