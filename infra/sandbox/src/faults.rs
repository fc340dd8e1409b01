//! Faults of calls: the kind, the calls that it strikes, and how often.

use std::time::Duration;

use axum::{
    body::{Body, to_bytes},
    extract::Request,
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{StatusCode, header};
use serde::{Deserialize, Serialize};

use crate::responses;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// 429 with nginx's page.
    Throttled,
    /// 500.
    Broken,
    /// 504.
    TooSlow,
    /// 402: the subscription ended.
    Unpaid,
    /// The connection breaks, and the call has no effect.
    Cut,
    /// The connection breaks after the call took effect.
    AnswerLost,
    /// 504 at once; the call takes effect `milliseconds` later.
    LateAfterTimeout,
    /// The connection breaks at once; the call takes effect `milliseconds` later.
    LateAfterCut,
    /// No answer at all. The call takes effect `milliseconds` after it came, also when the caller has hung up.
    LateWithoutAnswer,
    /// 301 to a page, as after a change of the subdomain.
    Moved,
    /// 404 with a web server's page.
    NotFoundPage,
    /// 405 with a web server's page.
    NotAllowedPage,
    /// 200 with a page instead of JSON, as from a captive portal or a maintenance page.
    Page,
    /// Vtiger: a created invoice loses a line, and the answer reports success.
    HalfMade,
    /// Every call takes `milliseconds` longer.
    Latency,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    pub kind: FaultKind,
    /// The prefix of the calls that are struck, such as `POST /api/v4/leads`. With a `$` at the end only exactly this
    /// call is struck. Empty strikes all calls.
    #[serde(default)]
    pub calls: String,
    /// How many calls pass before the first that is struck.
    #[serde(default)]
    pub after: u32,
    /// How many calls are struck. 4294967295 means no end.
    #[serde(default = "one")]
    pub times: u32,
    #[serde(default)]
    pub milliseconds: u64,
}

fn one() -> u32 {
    1
}

impl Fault {
    pub fn once(kind: FaultKind, calls: &str) -> Self {
        Self { kind, calls: calls.to_owned(), after: 0, times: 1, milliseconds: 0 }
    }

    /// Strikes until the faults are replaced.
    pub fn always(kind: FaultKind, calls: &str) -> Self {
        Self { times: u32::MAX, ..Self::once(kind, calls) }
    }

    /// A fault after which the next call still takes effect: `after` later than the answer with the failure `kind`.
    pub fn late(kind: FaultKind, calls: &str, after: Duration) -> Self {
        let milliseconds = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
        Self { milliseconds, ..Self::once(kind, &format!("{calls}$")) }
    }

    pub(crate) fn strikes(&mut self, call: &str) -> Option<(FaultKind, Duration)> {
        let meant = match self.calls.strip_suffix('$') {
            Some(exactly) => call == exactly,
            None => call.starts_with(&self.calls),
        };
        if self.kind == FaultKind::Latency || self.times == 0 || !meant {
            return None;
        }
        if self.after > 0 {
            self.after -= 1;
            return None;
        }
        self.times = if self.times == u32::MAX { u32::MAX } else { self.times - 1 };
        Some((self.kind, Duration::from_millis(self.milliseconds)))
    }

    pub(crate) fn latency(&self) -> Option<u64> {
        (self.kind == FaultKind::Latency).then_some(self.milliseconds)
    }
}

/// How long a caller waits that gets no answer.
const HANGING: Duration = Duration::from_secs(3_600);

/// The answer to a call with a late effect.
pub(crate) async fn given_up(kind: FaultKind) -> Response {
    match kind {
        FaultKind::LateAfterCut => responses::cut(),
        FaultKind::LateAfterTimeout => responses::html(StatusCode::GATEWAY_TIMEOUT),
        _ => {
            tokio::time::sleep(HANGING).await;
            responses::html(StatusCode::GATEWAY_TIMEOUT)
        }
    }
}

/// Answers now; the call takes effect `after` later, on its own.
pub(crate) async fn late(kind: FaultKind, after: Duration, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    // The body is read first: the connection may be gone by then.
    let bytes = to_bytes(body, 16 << 20).await.unwrap_or_default();
    let request = Request::from_parts(parts, Body::from(bytes));
    tokio::spawn(async move {
        tokio::time::sleep(after).await;
        next.run(request).await;
    });
    given_up(kind).await
}

/// The page of a web server that stands where the API was. `None` for other faults.
pub(crate) fn page(kind: FaultKind) -> Option<Response> {
    Some(match kind {
        FaultKind::Moved => {
            let page = responses::html(StatusCode::MOVED_PERMANENTLY);
            ([(header::LOCATION, "/_sandbox/elsewhere")], page).into_response()
        }
        FaultKind::NotFoundPage => responses::html(StatusCode::NOT_FOUND),
        FaultKind::NotAllowedPage => responses::html(StatusCode::METHOD_NOT_ALLOWED),
        FaultKind::Page => responses::html(StatusCode::OK),
        _ => return None,
    })
}
