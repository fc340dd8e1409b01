//! The one place through which every call goes. It keeps the rate, backs off, and interprets failures.

use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use serde_json::Value;
use stagedoor_model::breakage;
use stagedoor_ports::CrmError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    amocrm::auth::Authorization,
    http::{self as carrier, HttpClient, HttpError},
    pause::SharedPause,
    trouble::Trouble,
};

/// Reason why a call has no usable answer.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// 400 or 422 with problem+json: the CRM understood the call and refuses these rows.
    #[error("refused")]
    Refused(Value),
    /// 413: the call is too large, and the CRM did nothing.
    #[error("the batch is too large for the CRM")]
    TooLarge,
    /// The call may or may not have taken effect.
    #[error("the answer was lost")]
    Lost,
    /// The CRM needs too long for the batch.
    #[error("the batch is too slow for the CRM")]
    TooSlow,
    /// An error that concerns the account or the connection, not the rows.
    #[error("{0}")]
    Unusable(CrmError),
}

/// Number of attempts for a throttled call, or for a repeatable call that failed on the CRM's side.
const TRIES: u32 = 4;

/// One second, plus a margin for clocks with coarse steps.
const WINDOW: Duration = Duration::from_millis(1_005);

/// HTTP transport of one account.
pub struct Transport {
    base: String,
    http: Arc<dyn HttpClient>,
    authorization: Authorization,
    window: Arc<Semaphore>,
    pause: SharedPause,
    trouble: Trouble,
    calls: Arc<AtomicU64>,
    refused: Arc<AtomicU64>,
}

impl Transport {
    /// `rate` is in requests a second, 7 by default (developers.kommo.com, "Limitations").
    pub fn new(base: &str, http: Arc<dyn HttpClient>, authorization: Authorization, rate: NonZeroU32) -> Self {
        let base = base.trim_end_matches('/').to_owned();
        let window = Arc::new(Semaphore::new(rate.get() as usize));
        let (pause, trouble) = (SharedPause::default(), Trouble::default());
        Self { base, http, authorization, window, pause, trouble, calls: Arc::default(), refused: Arc::default() }
    }

    /// Takes a place in the window of one second. The place becomes free one second after the answer arrived. The CRM
    /// saw the call before its answer, and sees the next call after the place is free. So network jitter never puts
    /// `rate` + 1 calls into one second of the CRM.
    async fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.window).acquire_owned().await.ok()
    }

    /// Number of calls so far.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// Number of calls that were answered with 4xx, including throttled ones.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    pub async fn authorize(&self, code: &str) -> Result<(), CrmError> {
        match &self.authorization {
            Authorization::OAuth(oauth) => oauth.authorize(self.http.as_ref(), &self.base, code).await,
            Authorization::LongLived(_) => {
                Err(CrmError::CredentialsRejected("a long-lived token is configured; codes are for [crm.oauth]".into()))
            }
        }
    }

    /// Reason why the last call failed, or `None` if it succeeded.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.get()
    }

    /// Makes a call. `Ok(None)` means 204: an empty list or a missing id.
    pub async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Option<Value>, Failure> {
        let answer = self.tried(method, path, body).await;
        match &answer {
            Err(Failure::Unusable(error)) => self.trouble.note(Some(error.to_string())),
            _ => self.trouble.note(None),
        }
        answer
    }

    async fn tried(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Option<Value>, Failure> {
        let mut fresh_token = false;
        for attempt in 0..TRIES {
            let token = self.authorization.token(self.http.as_ref(), &self.base, fresh_token).await;
            let token = token.map_err(Failure::Unusable)?;
            let place = self.place().await;
            self.pause.wait().await;
            self.calls.fetch_add(1, Ordering::Relaxed);
            let request = carrier::json(method.clone(), &format!("{}{path}", self.base), Some(&token), body);
            let sent = match request {
                Ok(request) => self.http.send(request).await,
                Err(error) => Err(error),
            };
            tokio::spawn(async move {
                tokio::time::sleep(WINDOW).await;
                drop(place);
            });
            let response = match sent {
                Ok(response) => response,
                Err(HttpError::NoConnection) => return Err(unavailable("no connection")),
                Err(_) if method == Method::POST => return Err(Failure::Lost),
                Err(_) => {
                    pause(attempt).await;
                    continue;
                }
            };
            let status = response.status();
            self.refused.fetch_add(u64::from(status.is_client_error()), Ordering::Relaxed);
            // The path names no person, because all calls are bulk calls or lists.
            tracing::info!(%method, path = path.split('?').next(), status = status.as_u16(), "CRM call");
            match status {
                StatusCode::NO_CONTENT => {
                    self.pause.answered();
                    return Ok(None);
                }
                status if status.is_success() => {
                    self.pause.answered();
                    // An unreadable answer counts as a lost one.
                    return serde_json::from_slice(response.body()).map(Some).map_err(|_| Failure::Lost);
                }
                StatusCode::UNAUTHORIZED if !fresh_token => fresh_token = true,
                StatusCode::UNAUTHORIZED => return Err(denied("the access token is not accepted; authorise again")),
                StatusCode::PAYMENT_REQUIRED => return Err(denied("the account is not paid")),
                StatusCode::FORBIDDEN => return Err(forbidden(&response)),
                // No Retry-After is documented, and the body is not JSON. All calls back off together.
                StatusCode::TOO_MANY_REQUESTS => self.pause.throttled(response.headers()),
                StatusCode::GATEWAY_TIMEOUT if method != Method::GET => return Err(Failure::TooSlow),
                status if status.is_server_error() && method == Method::POST => return Err(Failure::Lost),
                status if status.is_server_error() => pause(attempt).await,
                StatusCode::PAYLOAD_TOO_LARGE => return Err(Failure::TooLarge),
                StatusCode::REQUEST_TIMEOUT if method == Method::POST => return Err(Failure::Lost),
                status => return Err(about_rows(status, &response)),
            }
        }
        Err(unavailable("it did not answer well in several tries"))
    }
}

/// Interprets an answer with an error status. Only the API itself reports about rows, as a JSON object. Any other
/// answer concerns the account or the connection, and says nothing about the rows.
fn about_rows(status: StatusCode, response: &Response<Bytes>) -> Failure {
    let problem = serde_json::from_slice::<Value>(response.body()).ok().filter(Value::is_object);
    if breakage::is_on("404-is-refused") {
        return Failure::Refused(problem.unwrap_or_default());
    }
    match (status, problem) {
        (StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY, Some(problem)) => Failure::Refused(problem),
        (status, _) if status.is_redirection() => unavailable(&format!(
            "it answers {} and points elsewhere; the account's address may have changed: check crm.base_url",
            status.as_u16()
        )),
        (status, _) => {
            unavailable(&format!("it answers {} instead of its API; check crm.base_url if that lasts", status.as_u16()))
        }
    }
}

fn forbidden(response: &Response<Bytes>) -> Failure {
    let problem = response.headers().get("content-type").is_some_and(|kind| kind.as_bytes().ends_with(b"json"));
    match problem {
        true => denied("the authorised user lacks a right"),
        // nginx's page: the account is blocked for too many requests until support lifts the block.
        false => unavailable("the account is blocked for exceeding the request limit"),
    }
}

fn unavailable(text: &str) -> Failure {
    Failure::Unusable(CrmError::Unavailable(text.to_owned()))
}

fn denied(text: &str) -> Failure {
    Failure::Unusable(CrmError::CredentialsRejected(text.to_owned()))
}

async fn pause(attempt: u32) {
    tokio::time::sleep(Duration::from_millis(500) * 2_u32.pow(attempt.min(6))).await;
}
