//! The one place through which every call goes. It chooses the session and interprets the answer.
//!
//! An operation has one fixed method: GET reads only the query string, POST only the form. The status is 200 for
//! success and for every handled error; only `success` tells them apart. A 500 has an empty body. It does not say
//! whether the error is permanent or whether the call took effect (recorded: 01_auth, 03_create, 08_other).

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use serde_json::Value;
use stagedoor_model::breakage;
use stagedoor_ports::CrmError;

use crate::{
    http::{HttpClient, HttpError},
    pause::SharedPause,
    trouble::Trouble,
    vtiger::{call::Call, login::Login, server_clock::ServerClock, write_failures::WriteFailures},
};

pub(super) use crate::vtiger::call::{Failure, Method, SERVER_ERROR};

/// Number of attempts of a call that changes nothing.
const TRIES: u32 = 3;

pub(super) struct Transport {
    url: String,
    http: Arc<dyn HttpClient>,
    login: Login,
    pub server_clock: ServerClock,
    pub write_failures: WriteFailures,
    pause: SharedPause,
    trouble: Trouble,
    /// Trouble of writes that are answered with an error without a reason.
    write_trouble: Trouble,
    calls: Arc<AtomicU64>,
    refused: Arc<AtomicU64>,
}

type Answered = (StatusCode, HeaderMap, Result<Value, Failure>);

/// Codes for a session that the CRM does not know or no longer knows. SESSION_EXPIRED and SESSION_LEFT_IDLE are in the
/// server's source, but were never seen.
const SESSION_GONE: [&str; 4] =
    ["INVALID_SESSIONID", "SESSION_EXPIRED", "SESSION_LEFT_IDLE", "AUTHENTICATION_REQUIRED"];

impl Transport {
    pub fn new(base: &str, http: Arc<dyn HttpClient>, login: Login) -> Self {
        let url = format!("{}/webservice.php", base.trim_end_matches('/'));
        let server_clock = ServerClock::new(&login.store, base);
        Self {
            url,
            http,
            login,
            server_clock,
            write_failures: WriteFailures::default(),
            pause: SharedPause::default(),
            trouble: Trouble::default(),
            write_trouble: Trouble::default(),
            calls: Arc::default(),
            refused: Arc::default(),
        }
    }

    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Number of calls that may run in parallel. The server serialises the calls of one session anyway.
    pub fn sessions(&self) -> usize {
        self.login.sessions()
    }

    /// Id of the hub's user in the CRM, such as `19x5`.
    pub async fn user(&self) -> Result<String, Failure> {
        self.login.user(self).await
    }

    /// Makes a call that changes nothing. It is repeated after a failure.
    pub async fn get(&self, operation: &str, parameters: &[(&str, &str)]) -> Result<Value, Failure> {
        let mut failure = Failure::Lost;
        for attempt in 0..TRIES {
            match self.call(Method::Get, operation, parameters).await {
                Err(gone @ (Failure::Lost | Failure::Broken(_) | Failure::ServerError)) => failure = gone,
                answer => return answer,
            }
            tokio::time::sleep(Duration::from_millis(200 << attempt)).await;
        }
        let what = if failure == Failure::Lost { "no answer" } else { SERVER_ERROR };
        Err(Failure::Unavailable(format!("{operation}: {what}")))
    }

    /// Makes a call that changes something. It is made once.
    pub async fn post(&self, operation: &str, parameters: &[(&str, &str)]) -> Result<Value, Failure> {
        let answer = self.call(Method::Post, operation, parameters).await?;
        if matches!(operation, "create" | "revise") {
            self.server_clock.measure(&answer, self.login.clock.now()).await;
        }
        Ok(answer)
    }

    /// Reason why the last call failed.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.get().or_else(|| self.write_trouble.get())
    }

    async fn call(&self, method: Method, operation: &str, parameters: &[(&str, &str)]) -> Result<Value, Failure> {
        let answer = self.called(method, operation, parameters).await;
        match &answer {
            Err(failure @ (Failure::Unavailable(_) | Failure::Denied(_))) => {
                self.trouble.note(Some(CrmError::from(failure.clone()).to_string()));
            }
            _ => self.trouble.note(None),
        }
        if method == Method::Post {
            // Reads may still succeed while the disk is full or the database refuses writes.
            let failure = answer.as_ref().err().filter(|failure| **failure == Failure::ServerError);
            self.write_trouble.note(failure.map(|failure| CrmError::from(failure.clone()).to_string()));
        }
        answer
    }

    async fn called(&self, method: Method, operation: &str, parameters: &[(&str, &str)]) -> Result<Value, Failure> {
        let mut seat = self.login.seat(self).await?;
        for fresh in [false, true] {
            let session = match fresh {
                false => seat.session(),
                true => self.login.again(self, &mut seat).await?,
            };
            let mut all = vec![("operation", operation), ("sessionName", session.as_str())];
            all.extend_from_slice(parameters);
            match self.send(method, &all).await {
                // The CRM rejected the call before it did anything.
                Err(Failure::Refused { code, .. }) if SESSION_GONE.contains(&code.as_str()) && !fresh => {}
                Err(Failure::Refused { code, message }) if SESSION_GONE.contains(&code.as_str()) => {
                    return Err(Failure::Unavailable(format!("a fresh session is not accepted: {message}")));
                }
                answer => return answer,
            }
        }
        Err(Failure::Unavailable("no session".to_owned()))
    }

    /// Makes one request without a session of ours, as a login needs it. A throttled request was not carried out, so it
    /// is repeated after the pause of all calls.
    async fn send(&self, method: Method, parameters: &[(&str, &str)]) -> Result<Value, Failure> {
        let mut answer = Err(Failure::Lost);
        for _ in 0..TRIES {
            self.pause.wait().await;
            answer = match self.send_once(method, parameters).await? {
                (StatusCode::TOO_MANY_REQUESTS, headers, answer) => {
                    self.pause.throttled(&headers);
                    answer
                }
                (_, _, answer) => {
                    self.pause.answered();
                    return answer;
                }
            };
        }
        answer
    }

    async fn send_once(&self, method: Method, parameters: &[(&str, &str)]) -> Result<Answered, Failure> {
        let pairs = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
        let request = match method {
            Method::Get => Request::get(format!("{}?{pairs}", self.url)).body(Bytes::new()),
            Method::Post => Request::post(&self.url)
                .header("content-type", "application/x-www-form-urlencoded")
                .body(Bytes::from(pairs)),
        };
        self.calls.fetch_add(1, Ordering::Relaxed);
        let operation = parameters.first().map_or("", |(_, name)| *name);
        let request = request.map_err(|_| Failure::Denied("its address is no URL".to_owned()))?;
        let response = match self.http.send(request).await {
            Ok(response) => response,
            Err(HttpError::NoConnection) => return Err(Failure::Unavailable("no connection".to_owned())),
            Err(HttpError::NoAnswer) => return Err(Failure::Lost),
        };
        let (status, headers) = (response.status(), response.headers().clone());
        let answer = read(status, response.body());
        let refused = matches!(answer, Err(Failure::Refused { .. }));
        self.refused.fetch_add(u64::from(refused), Ordering::Relaxed);
        tracing::info!(operation, status = status.as_u16(), refused, "CRM call");
        Ok((status, headers, answer))
    }
}

#[async_trait]
impl Call for Transport {
    async fn send(&self, method: Method, parameters: &[(&str, &str)]) -> Result<Value, Failure> {
        Self::send(self, method, parameters).await
    }

    async fn post(&self, operation: &str, parameters: &[(&str, &str)]) -> Result<Value, Failure> {
        Self::post(self, operation, parameters).await
    }
}

fn read(status: StatusCode, body: &[u8]) -> Result<Value, Failure> {
    match status {
        StatusCode::OK => {}
        // The call may have reached the CRM, and may still run there.
        StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT | StatusCode::REQUEST_TIMEOUT => {
            return Err(Failure::Lost);
        }
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            return Err(Failure::Unavailable(format!("it answers {}", status.as_u16())));
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            return Err(Failure::Denied(format!("its web server answers {}", status.as_u16())));
        }
        // This answer comes from a web server, not from the webservice. It says nothing about what was sent.
        status if !status.is_server_error() && !breakage::is_on("404-is-refused") => {
            let what = "it answers {} instead of its webservice; check the address of the CRM if that lasts";
            return Err(Failure::Unavailable(what.replace("{}", status.as_str())));
        }
        _ => return Err(Failure::ServerError),
    }
    // The CRM also answers 200 with a bare sentence in text/html, for example for an owner that does not exist
    // (recorded: owner_not_existing).
    let Ok(mut answer) = serde_json::from_slice::<Value>(body) else {
        // A whole page comes from a web server too, for example a maintenance notice or a network's login page.
        return Err(match body.trim_ascii_start().starts_with(b"<") {
            true => Failure::Unavailable("it answers with a web page instead of its webservice".to_owned()),
            false => Failure::Broken("it answers with a sentence instead of JSON"),
        });
    };
    if answer.get("success").and_then(Value::as_bool) == Some(true) {
        return Ok(answer.get_mut("result").map(Value::take).unwrap_or_default());
    }
    let part = |key: &str| match answer.pointer(&format!("/error/{key}")) {
        Some(Value::String(text)) => text.clone(),
        // "Duplicate(s) detected!" has the code 0, a number.
        Some(other) => other.to_string(),
        None => String::new(),
    };
    Err(Failure::Refused { code: part("code"), message: part("message") })
}
