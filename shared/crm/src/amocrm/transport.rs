//! One place through which every call goes: the rate, the back-off, and what a failure means.

use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use reqwest::{Method, StatusCode};
use serde_json::Value;
use stagedoor_ports::CrmError;

use crate::amocrm::auth::Authorization;

/// Why a call has no good answer.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// 400: the CRM understood and will not have it. The body is problem+json.
    #[error("refused")]
    Refused(Value),
    /// It may or may not have taken effect.
    #[error("the answer was lost")]
    Lost,
    /// The batch takes the CRM too long.
    #[error("the batch is too slow for the CRM")]
    TooSlow,
    #[error("{0}")]
    Unusable(CrmError),
}

/// Tries of a call that is throttled or, when it changes nothing twice, that failed on their side.
const TRIES: u32 = 4;

pub struct Transport {
    base: String,
    http: reqwest::Client,
    authorization: Authorization,
    limit: DefaultDirectRateLimiter,
    calls: Arc<AtomicU64>,
}

impl Transport {
    /// `rate`: requests a second, 7 by default (developers.kommo.com, "Limitations").
    pub fn new(base: &str, http: reqwest::Client, authorization: Authorization, rate: NonZeroU32) -> Self {
        // Evenly spaced, never a burst: a sliding window of one second holds at most `rate` calls. The two per cent
        // keep jitter on the way from pushing an eighth call into their window.
        let period = Duration::from_secs(1) * 102 / 100 / rate.get();
        let quota = Quota::with_period(period).unwrap_or_else(|| Quota::per_second(rate));
        let base = base.trim_end_matches('/').to_owned();
        Self { base, http, authorization, limit: RateLimiter::direct(quota), calls: Arc::default() }
    }

    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    pub async fn authorize(&self, code: &str) -> Result<(), CrmError> {
        match &self.authorization {
            Authorization::OAuth(oauth) => oauth.authorize(&self.http, &self.base, code).await,
            Authorization::LongLived(_) => {
                Err(CrmError::Denied("a long-lived token is configured; codes are for [crm.oauth]".into()))
            }
        }
    }

    /// `Ok(None)` is 204: an empty list, a missing id.
    pub async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Option<Value>, Failure> {
        let mut fresh_token = false;
        for attempt in 0..TRIES {
            let token =
                self.authorization.token(&self.http, &self.base, fresh_token).await.map_err(Failure::Unusable)?;
            self.limit.until_ready().await;
            self.calls.fetch_add(1, Ordering::Relaxed);
            let mut request = self.http.request(method.clone(), format!("{}{path}", self.base)).bearer_auth(token);
            if let Some(body) = body {
                request = request.json(body);
            }
            let response = match request.send().await {
                Ok(response) => response,
                Err(error) if error.is_connect() => return Err(unavailable("no connection")),
                Err(_) if method == Method::POST => return Err(Failure::Lost),
                Err(_) => {
                    pause(attempt).await;
                    continue;
                }
            };
            match response.status() {
                StatusCode::NO_CONTENT => return Ok(None),
                status if status.is_success() => {
                    // An answer that breaks off is as good as lost.
                    return response.json().await.map(Some).map_err(|_| Failure::Lost);
                }
                StatusCode::UNAUTHORIZED if !fresh_token => fresh_token = true,
                StatusCode::UNAUTHORIZED => return Err(denied("the access token is not accepted; authorise again")),
                StatusCode::PAYMENT_REQUIRED => return Err(denied("the account is not paid")),
                StatusCode::FORBIDDEN => return Err(forbidden(response).await),
                // No Retry-After is documented, and the body is not JSON: back off by ourselves.
                StatusCode::TOO_MANY_REQUESTS => pause(attempt + 1).await,
                StatusCode::GATEWAY_TIMEOUT if method != Method::GET => return Err(Failure::TooSlow),
                status if status.is_server_error() && method == Method::POST => return Err(Failure::Lost),
                status if status.is_server_error() => pause(attempt).await,
                _ => {
                    let problem = response.json().await.unwrap_or(Value::Null);
                    return Err(Failure::Refused(problem));
                }
            }
        }
        Err(unavailable("it did not answer well in several tries"))
    }
}

async fn forbidden(response: reqwest::Response) -> Failure {
    let problem = response.headers().get("content-type").is_some_and(|kind| kind.as_bytes().ends_with(b"json"));
    match problem {
        true => denied("the authorised user lacks a right"),
        // nginx's page: the account is blocked for too many requests, until support lifts it.
        false => unavailable("the account is blocked for exceeding the request limit"),
    }
}

fn unavailable(text: &str) -> Failure {
    Failure::Unusable(CrmError::Unavailable(text.to_owned()))
}

fn denied(text: &str) -> Failure {
    Failure::Unusable(CrmError::Denied(text.to_owned()))
}

async fn pause(attempt: u32) {
    tokio::time::sleep(Duration::from_millis(500) * 2_u32.pow(attempt.min(6))).await;
}
