//! Carries a CRM client's requests to a stand-in's router, in virtual time.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use axum::{Router, body::Body};
use bytes::Bytes;
use http::{Method, Request, Response};
use stagedoor_crm::{HttpClient, HttpError};
use tokio::time::Instant;
use tower::ServiceExt;

use crate::rng::Rng;

/// The most bytes of an answer.
const MOST: usize = 64 << 20;

/// The calls of a CRM in order, for debugging. It keeps no lines until it is opened.
#[derive(Debug, Clone, Default)]
pub struct CallLog(Arc<Mutex<Log>>);

#[derive(Debug, Default)]
struct Log {
    lines: Option<Vec<Call>>,
    /// The time of the last read of contacts.
    read_at: Option<Instant>,
}

/// The time of a call or an answer, and its line.
pub type Call = (Instant, String);

/// The longest time between the hub's read of a contact and its write: the travel time of a few calls.
const READING: Duration = Duration::from_secs(1);

impl CallLog {
    fn log(&self) -> MutexGuard<'_, Log> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn open(&self) {
        self.log().lines = Some(vec![]);
    }

    pub fn note(&self, line: impl FnOnce() -> String) {
        if let Some(lines) = self.log().lines.as_mut() {
            lines.push((Instant::now(), line()));
        }
    }

    pub fn lines(&self) -> Vec<Call> {
        self.log().lines.clone().unwrap_or_default()
    }

    fn note_reading(&self, request: &Request<Bytes>) {
        if request.method() == Method::GET && request.uri().path().starts_with("/api/v4/contacts") {
            self.log().read_at = Some(Instant::now());
        }
    }

    /// True if the hub may be between its read of a contact and its write. amoCRM has no conditional write, so the
    /// hub overwrites a manager's save in these tenths of a second.
    pub fn is_reading(&self) -> bool {
        self.log().read_at.is_some_and(|at| at.elapsed() < READING)
    }
}

fn text(bytes: &Bytes) -> String {
    String::from_utf8_lossy(bytes).chars().take(1_500).collect()
}

pub struct Carrier {
    router: Router,
    timeout: Duration,
    rng: Mutex<Rng>,
    calls: CallLog,
}

impl Carrier {
    pub fn new(router: Router, timeout: Duration, rng: Rng, calls: CallLog) -> Self {
        Self { router, timeout, rng: Mutex::new(rng), calls }
    }

    /// The random travel time of a request.
    fn way(&self) -> Duration {
        let mut rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
        Duration::from_millis(rng.between(20, 180))
    }
}

#[async_trait]
impl HttpClient for Carrier {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (router, way, calls) = (self.router.clone(), self.way(), self.calls.clone());
        calls.note(|| format!("  > {} {} {}", request.method(), request.uri().path(), text(request.body())));
        calls.note_reading(&request);
        // A server continues when its caller has hung up.
        let served = tokio::spawn(async move {
            tokio::time::sleep(way).await;
            let Ok(answer) = router.oneshot(request.map(Body::from)).await;
            let (parts, body) = answer.into_parts();
            let body = axum::body::to_bytes(body, MOST).await.map_err(|_| HttpError::NoAnswer)?;
            calls.note(|| format!("  < {} {}", parts.status.as_u16(), text(&body)));
            Ok(Response::from_parts(parts, body))
        });
        match tokio::time::timeout(self.timeout, served).await {
            Ok(Ok(answer)) => answer,
            _ => Err(HttpError::NoAnswer),
        }
    }
}
