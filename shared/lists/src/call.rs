//! HTTP calls of one mailing account. They keep the account's rate, and pause after a failure.

use std::{
    num::NonZeroU32,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use reqwest::{Client, RequestBuilder};
use serde_json::Value;

/// HTTP client of one mailing account.
pub struct Caller {
    client: Client,
    limit: DefaultDirectRateLimiter,
    /// Pause of the account after a failure.
    pause: Duration,
    /// End of the present pause.
    resting: Mutex<Option<Instant>>,
    calls: AtomicU64,
}

/// Status and body of an answer.
pub struct Answer {
    pub status: u16,
    pub body: Value,
}

/// A text in an answer. Empty if it is absent.
pub fn text(value: &Value, pointer: &str) -> String {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// Nothing was sent, or its result is unknown. The list is compared again later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Later;

impl Caller {
    pub fn new(per_second: NonZeroU32, pause: Duration) -> Result<Self, String> {
        let client = stagedoor_http::builder()
            .connect_timeout(Duration::from_secs(5))
            .timeout(Duration::from_secs(60))
            .redirect(reqwest::redirect::Policy::none())
            .user_agent("stagedoor")
            .build()
            .map_err(|error| format!("no HTTP client: {error}"))?;
        let quota = Quota::per_second(per_second).allow_burst(NonZeroU32::MIN);
        let limit = RateLimiter::direct(quota);
        Ok(Self { client, limit, pause, resting: Mutex::default(), calls: AtomicU64::new(0) })
    }

    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    pub fn request(&self, method: reqwest::Method, url: &str) -> RequestBuilder {
        self.client.request(method, url)
    }

    fn rests(&self) -> bool {
        let resting = self.resting.lock().unwrap_or_else(PoisonError::into_inner);
        resting.is_some_and(|until| until > now())
    }

    fn rest(&self, span: Duration) {
        *self.resting.lock().unwrap_or_else(PoisonError::into_inner) = Some(now() + span);
    }

    /// Makes a call. Returns answers below 500 except 401, 403 and 429. After these, and without an answer, the account
    /// pauses.
    ///
    /// # Errors
    /// [`Later`] if the account pauses.
    pub async fn call(&self, request: RequestBuilder) -> Result<Answer, Later> {
        if self.rests() {
            return Err(Later);
        }
        self.limit.until_ready().await;
        self.calls.fetch_add(1, Ordering::Relaxed);
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => {
                // The error's own text may hold the URL, and the URL a key.
                let what = if error.is_timeout() { "did not answer in time" } else { "cannot be reached" };
                tracing::warn!(what, "a mailing list's account rests");
                self.rest(self.pause);
                return Err(Later);
            }
        };
        let status = response.status().as_u16();
        let wait = response.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
        let body = response.json::<Value>().await;
        match status {
            401 | 403 | 429 | 500.. => {
                tracing::warn!(status, "a mailing list's account rests");
                self.rest(wait.map_or(self.pause, Duration::from_secs).min(Duration::from_secs(900)));
                Err(Later)
            }
            _ => Ok(Answer { status, body: body.unwrap_or(Value::Null) }),
        }
    }

    /// Starts a pause because an answer with a good status reports a fault of the account.
    pub fn account_rests(&self, why: &str) {
        tracing::warn!(why, "a mailing list's account rests");
        self.rest(self.pause);
    }
}

#[allow(clippy::disallowed_methods, reason = "how long ago is asked of the machine, and decides nothing that is kept")]
fn now() -> Instant {
    Instant::now()
}
