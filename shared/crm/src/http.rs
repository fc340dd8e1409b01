//! The HTTP client for CRMs. It follows no redirects and keeps the time-out of the CRM's settings.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
pub use stagedoor_ports::{HttpClient, HttpError};

/// HTTP client over sockets.
pub struct SocketClient(reqwest::Client);

impl SocketClient {
    /// Creates a client whose calls take at most `timeout`.
    ///
    /// # Errors
    /// A message, if no client can be built.
    pub fn new(timeout: Duration) -> Result<Self, String> {
        let follow = stagedoor_model::breakage::is_on("follow-redirects");
        let redirects = if follow { reqwest::redirect::Policy::limited(5) } else { reqwest::redirect::Policy::none() };
        let client = stagedoor_http::builder()
            .connect_timeout(Duration::from_secs(5))
            .timeout(timeout)
            .redirect(redirects)
            .user_agent("stagedoor")
            .build();
        client.map(Self).map_err(|error| format!("no HTTP client: {error}"))
    }
}

#[async_trait]
impl HttpClient for SocketClient {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let failed = |error: reqwest::Error| match error.is_connect() || error.is_builder() {
            true => HttpError::NoConnection,
            false => HttpError::NoAnswer,
        };
        let request = reqwest::Request::try_from(request).map_err(failed)?;
        let mut response = self.0.execute(request).await.map_err(failed)?;
        let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
        // An answer that breaks off counts as no answer.
        let mut answer = Response::new(response.bytes().await.map_err(|_| HttpError::NoAnswer)?);
        (*answer.status_mut(), *answer.headers_mut()) = (status, headers);
        Ok(answer)
    }
}

/// Builds a request with a JSON body.
///
/// # Errors
/// `NoConnection` if the URL is not valid. Nothing was sent then.
pub(crate) fn json(
    method: http::Method,
    url: &str,
    bearer: Option<&str>,
    body: Option<&serde_json::Value>,
) -> Result<Request<Bytes>, HttpError> {
    let mut request = Request::builder().method(method).uri(url);
    if let Some(token) = bearer {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    if body.is_some() {
        request = request.header("content-type", "application/json");
    }
    let bytes = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
    request.body(bytes).map_err(|_| HttpError::NoConnection)
}
