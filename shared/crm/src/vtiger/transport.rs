//! One place through which every call goes: which session it takes, and what an answer means.
//!
//! An operation has one fixed method: GET reads only the query string, POST only the form. The status is 200 for success
//! and for every handled error; the truth is `success`. 500 comes with an empty body, and says neither whether it is for
//! good nor whether the call took effect (recorded: 01_auth, 03_create, 08_other).

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use serde_json::Value;
use stagedoor_model::breakage;
use stagedoor_ports::CrmError;

use crate::{
    http::{HttpClient, HttpError},
    pause::SharedPause,
    trouble::Trouble,
    vtiger::{login::Login, server_clock::ServerClock, write_failures::WriteFailures},
};

/// Tries of a call that changes nothing.
const TRIES: u32 = 3;
pub(super) const SERVER_ERROR: &str = "it answers with an error and says nothing";

/// Why a call has no good answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// `success: false`, in the CRM's own words. `code` may have been a number.
    Refused { code: String, message: String },
    /// Answered, but not with what can be read: a sentence instead of JSON. The call is over there.
    Broken(&'static str),
    /// 500 and an empty body. The call is over there; it says neither whether it took effect nor whether that lasts.
    ServerError,
    /// No answer: the call may have taken effect, or still be under way.
    Lost,
    /// Nothing was done.
    Unavailable(String),
    /// Somebody has to act first.
    Denied(String),
}

impl Failure {
    /// Whether a record is not there any more. One that is private to somebody else has the same code and another text
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

pub(super) struct Transport {
    url: String,
    http: Arc<dyn HttpClient>,
    login: Login,
    pub server_clock: ServerClock,
    pub write_failures: WriteFailures,
    pause: SharedPause,
    trouble: Trouble,
    /// Of writes that are answered with an error that says nothing.
    write_trouble: Trouble,
    calls: Arc<AtomicU64>,
    refused: Arc<AtomicU64>,
}

type Answered = (StatusCode, HeaderMap, Result<Value, Failure>);

/// A session that the CRM does not know (any more), by the recorded codes. SESSION_EXPIRED and SESSION_LEFT_IDLE are in
/// the server's source and were never seen.
const NOT_THERE: &str = "Permission to perform the operation is denied";
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

    /// Calls that may be under way at once: those of one session are serialised by the server anyway.
    pub fn sessions(&self) -> usize {
        self.login.sessions()
    }

    /// The user that the hub is in the CRM, such as `19x5`.
    pub async fn user(&self) -> Result<String, Failure> {
        self.login.user(self).await
    }

    /// A call that changes nothing: it is tried again by itself.
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

    /// A call that changes something: it is made once.
    pub async fn post(&self, operation: &str, parameters: &[(&str, &str)]) -> Result<Value, Failure> {
        let answer = self.call(Method::Post, operation, parameters).await?;
        if matches!(operation, "create" | "revise") {
            self.server_clock.measure(&answer, self.login.clock.now()).await;
        }
        Ok(answer)
    }

    /// Why the last call could not be carried out.
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
            // Reads may be answered well meanwhile: the disk is full, or the database lets nobody write.
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
                // It was turned away at the door: nothing was done.
                Err(Failure::Refused { code, .. }) if SESSION_GONE.contains(&code.as_str()) && !fresh => {}
                Err(Failure::Refused { code, message }) if SESSION_GONE.contains(&code.as_str()) => {
                    return Err(Failure::Unavailable(format!("a fresh session is not accepted: {message}")));
                }
                answer => return answer,
            }
        }
        Err(Failure::Unavailable("no session".to_owned()))
    }

    /// One request without a session of ours: what logging in is made of. One that is throttled was not carried out: it is made
    /// again after the pause of all calls.
    pub async fn send(&self, method: Method, parameters: &[(&str, &str)]) -> Result<Value, Failure> {
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

fn read(status: StatusCode, body: &[u8]) -> Result<Value, Failure> {
    match status {
        StatusCode::OK => {}
        // The call may have reached it, and may still be under way there.
        StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT | StatusCode::REQUEST_TIMEOUT => {
            return Err(Failure::Lost);
        }
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            return Err(Failure::Unavailable(format!("it answers {}", status.as_u16())));
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            return Err(Failure::Denied(format!("its web server answers {}", status.as_u16())));
        }
        // A web server speaks here, not the webservice: that says nothing of what was sent.
        status if !status.is_server_error() && !breakage::is_on("404-is-refused") => {
            let what = "it answers {} instead of its webservice; check the address of the CRM if that lasts";
            return Err(Failure::Unavailable(what.replace("{}", status.as_str())));
        }
        _ => return Err(Failure::ServerError),
    }
    // Also 200 and a bare sentence in text/html: a record for an owner that does not exist (recorded: owner_not_existing).
    let Ok(mut answer) = serde_json::from_slice::<Value>(body) else {
        // A whole page is a web server's, too: a notice of maintenance, a login page of a network.
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
