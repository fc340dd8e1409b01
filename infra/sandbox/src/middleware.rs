//! The checks before every call: faults, the token, the rate.

use std::time::Duration;

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use http::StatusCode;
use tokio::time::Instant;

use crate::{
    Sandbox,
    faults::{self, FaultKind},
    responses,
};

/// The number of calls over the rate, within one blocking period, after which the account is blocked.
const PATIENCE: u32 = 100;

pub async fn gate(State(sandbox): State<Sandbox>, request: Request, next: Next) -> Response {
    let path = shape(request.uri().path());
    let call = format!("{} {path}", request.method());
    let (fault, latency) = {
        let mut state = sandbox.state();
        *state.calls.entry(call.clone()).or_default() += 1;
        (state.faults.iter_mut().find_map(|fault| fault.strikes(&call)), state.faults.iter().find_map(|f| f.latency()))
    };
    if let Some(latency) = latency {
        tokio::time::sleep(Duration::from_millis(latency)).await;
    }
    if let Some(refused) = refuse(&sandbox, &request) {
        return refused;
    }
    let (fault, after) = fault.unzip();
    if let Some(page) = fault.and_then(faults::page) {
        return page;
    }
    match fault {
        Some(kind @ (FaultKind::LateAfterTimeout | FaultKind::LateAfterCut | FaultKind::LateWithoutAnswer)) => {
            faults::late(kind, after.unwrap_or_default(), request, next).await
        }
        Some(FaultKind::Throttled) => responses::html(StatusCode::TOO_MANY_REQUESTS),
        Some(FaultKind::Broken) => responses::problem(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error", ""),
        Some(FaultKind::TooSlow) => responses::html(StatusCode::GATEWAY_TIMEOUT),
        Some(FaultKind::Unpaid) => {
            responses::problem(StatusCode::PAYMENT_REQUIRED, "Payment Required", "Аккаунт не оплачен")
        }
        Some(FaultKind::Cut) => responses::cut(),
        Some(FaultKind::AnswerLost) => {
            next.run(request).await;
            responses::cut()
        }
        Some(_) | None => {
            let mut response = next.run(request).await;
            if let Ok(id) = format!("sandbox-{}", sandbox.state().now()).parse() {
                response.headers_mut().insert("x-request-id", id);
            }
            response
        }
    }
}

fn refuse(sandbox: &Sandbox, request: &Request) -> Option<Response> {
    let mut state = sandbox.state();
    if state.down {
        return Some(responses::problem(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable", ""));
    }
    if state.blocked {
        return Some(responses::html(StatusCode::FORBIDDEN));
    }
    let now = Instant::now();
    while state.window.front().is_some_and(|first| now.duration_since(*first) >= Duration::from_secs(1)) {
        state.window.pop_front();
    }
    if state.window.len() >= state.seed.rate {
        state.over += 1;
        state.blocked = state.over >= PATIENCE;
        return Some(responses::html(StatusCode::TOO_MANY_REQUESTS));
    }
    state.window.push_back(now);
    let header = request.headers().get("authorization").and_then(|value| value.to_str().ok()).unwrap_or("");
    let token = header.strip_prefix("Bearer ").unwrap_or("");
    let alive = state.access.get(token).is_some_and(|end| *end > state.now());
    (!alive).then(|| responses::problem(StatusCode::UNAUTHORIZED, "Unauthorized", "Неверный логин или пароль"))
}

// The path without ids, so that calls can be counted by kind.
fn shape(path: &str) -> String {
    let part = |part: &str| {
        if !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()) { "{id}".to_owned() } else { part.to_owned() }
    };
    path.split('/').map(part).collect::<Vec<_>>().join("/")
}
