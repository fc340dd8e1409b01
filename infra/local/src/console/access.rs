//! Who may look: this machine, or who shows the token. What changes something must come from the console's own pages.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    extract::{ConnectInfo, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderMap, Method, StatusCode, header};
use subtle::ConstantTimeEq;

use crate::hub::Hub;

pub async fn guard(State(hub): State<Arc<Hub>>, request: Request, next: Next) -> Response {
    let address = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0);
    let allowed = match &hub.config.console_token {
        Some(token) => shows(request.headers(), token.reveal().as_bytes()),
        None => address.is_some_and(|address| address.ip().is_loopback()) && is_local_name(request.headers()),
    };
    if !allowed {
        let ask = hub.config.console_token.as_ref().map(|_| (header::WWW_AUTHENTICATE, "Basic realm=\"stagedoor\""));
        let mut refusal =
            (StatusCode::UNAUTHORIZED, "the console answers on this machine only, or with its token").into_response();
        if let Some((name, Ok(value))) = ask.map(|(name, value)| (name, value.parse())) {
            refusal.headers_mut().insert(name, value);
        }
        return refusal;
    }
    if *request.method() == Method::POST && is_foreign(request.headers()) {
        return (StatusCode::FORBIDDEN, "that came from another site").into_response();
    }
    let mut response = next.run(request).await;
    for (name, value) in [
        ("cache-control", "no-store"),
        (
            "content-security-policy",
            "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'",
        ),
        ("referrer-policy", "no-referrer"),
        ("x-content-type-options", "nosniff"),
    ] {
        if let Ok(value) = value.parse() {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// The token as a Basic password (a browser asks for it) or as a bearer.
fn shows(headers: &HeaderMap, token: &[u8]) -> bool {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or("");
    let basic = given.strip_prefix("Basic ").and_then(|text| STANDARD.decode(text).ok());
    let password = basic.as_deref().and_then(|pair| pair.splitn(2, |byte| *byte == b':').nth(1));
    let bearer = given.strip_prefix("Bearer ").map(str::as_bytes);
    [password, bearer].into_iter().flatten().any(|shown| bool::from(shown.ct_eq(token)))
}

// A page elsewhere can make a browser ask 127.0.0.1 under a name of its own.
fn is_local_name(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|value| value.to_str().ok()).unwrap_or("");
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    matches!(name, "127.0.0.1" | "localhost" | "[::1]")
}

fn is_foreign(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let host = text("host").unwrap_or("");
    let origin = text("origin").and_then(|origin| origin.split_once("://")).map(|(_, name)| name);
    match (text("sec-fetch-site"), origin) {
        (Some(site), _) => !matches!(site, "same-origin" | "none"),
        (None, Some(origin)) => origin != host,
        (None, None) => false,
    }
}
