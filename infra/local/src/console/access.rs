//! Access to the console. Every request must show the token, also from this machine, where a proxy in front of the
//! console may run. A changing request must come from the console's own pages.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

use axum::{
    extract::{ConnectInfo, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderMap, Method, StatusCode, header};
use stagedoor_model::breakage;
use stagedoor_webhook::{ClientAddress, ClientLimit};
use subtle::ConstantTimeEq;

use super::{backoff::Backoff, token::ConsoleToken};
use crate::hub::Hub;

/// Log lines of all refusals are counted under one address.
const ALL: ClientAddress = ClientAddress(IpAddr::V4(Ipv4Addr::UNSPECIFIED));

pub struct Access {
    hub: Arc<Hub>,
    token: ConsoleToken,
    backoff: Backoff,
    /// Limits the lines, so that a flood does not fill the log.
    lines: ClientLimit,
}

impl Access {
    pub fn new(hub: Arc<Hub>, token: ConsoleToken) -> Self {
        Self { hub, token, backoff: Backoff::default(), lines: ClientLimit::refusals() }
    }

    /// Refuses a request that may not see the console. `None` lets it pass.
    fn refuse(&self, request: &Request) -> Option<Response> {
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
        let address = peer.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let headers = request.headers();
        if breakage::is_on("console-opens-by-itself") && self.hub.config.console_token.is_none() {
            return None;
        }
        // The client has to wait, not the proxy that all clients share.
        let client = request.extensions().get::<ClientAddress>().map_or(address, |client| client.network());
        if !breakage::is_on("console-guessed-freely")
            && let Some(pause) = self.backoff.pause(client)
        {
            self.hub.counters.count("console", "slowed");
            let seconds = [("retry-after", pause.as_secs().saturating_add(1).to_string())];
            return Some((StatusCode::TOO_MANY_REQUESTS, seconds, "too many wrong tokens").into_response());
        }
        if shows(headers, self.token.secret().reveal().as_bytes()) {
            self.backoff.right(client);
            return None;
        }
        // A browser asks without a token first; that is no guess.
        if let Some(shown) = headers.get(header::AUTHORIZATION) {
            self.backoff.wrong(client, shown.as_bytes());
            self.note(client, "wrong token");
        } else {
            self.note(client, "no token");
        }
        let ask = [(header::WWW_AUTHENTICATE, "Basic realm=\"stagedoor\"")];
        Some((StatusCode::UNAUTHORIZED, ask, "the console asks for its token").into_response())
    }

    fn note(&self, address: IpAddr, reason: &str) {
        self.hub.counters.count("console", "refused");
        if self.lines.admits(ALL) {
            tracing::warn!(%address, reason, "the console refused a request");
        } else {
            tracing::debug!(%address, reason, "the console refused a request");
        }
    }
}

pub async fn guard(State(access): State<Arc<Access>>, request: Request, next: Next) -> Response {
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD);
    let mut response = match access.refuse(&request) {
        Some(refusal) => refusal,
        None if changes && is_foreign(request.headers()) => {
            (StatusCode::FORBIDDEN, "that came from another site").into_response()
        }
        None => next.run(request).await,
    };
    for (name, value) in [
        ("cache-control", "no-store"),
        (
            "content-security-policy",
            "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        ),
        // `no-referrer` would make a browser send `Origin: null` from the console's own forms.
        ("referrer-policy", "same-origin"),
        ("x-content-type-options", "nosniff"),
    ] {
        if let Ok(value) = value.parse() {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// True if the request shows the token, as a Basic password (a browser asks for it) or as a bearer token.
fn shows(headers: &HeaderMap, token: &[u8]) -> bool {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or("");
    let (scheme, text) = given.split_once(' ').unwrap_or((given, ""));
    let text = text.trim_start();
    let shown = match scheme.to_ascii_lowercase().as_str() {
        "basic" => {
            STANDARD.decode(text).ok().and_then(|pair| pair.splitn(2, |byte| *byte == b':').nth(1).map(<[u8]>::to_vec))
        }
        "bearer" => Some(text.as_bytes().to_vec()),
        _ => None,
    };
    shown.is_some_and(|shown| shown.ct_eq(token).into())
}

/// True if a page of another site made the request. An unreadable origin counts as another site.
fn is_foreign(headers: &HeaderMap) -> bool {
    let texts = |name: &str| headers.get_all(name).iter().map(|value| value.to_str().ok()).collect::<Vec<_>>();
    let (sites, origins, hosts) = (texts("sec-fetch-site"), texts("origin"), texts("host"));
    if breakage::is_on("unreadable-origin-is-none") && sites.iter().chain(&origins).all(Option::is_none) {
        return false;
    }
    let is_ours = |origin: &Option<&str>| {
        // `null` is a page without an address: a sandboxed frame, a file, a redirect from elsewhere.
        let name = origin.and_then(|origin| Some(origin.split_once("://")?.1));
        name.is_some() && !hosts.is_empty() && hosts.iter().all(|host| *host == name)
    };
    match sites.is_empty() {
        false => !sites.iter().all(|site| matches!(site, Some("same-origin" | "none"))),
        true => !origins.iter().all(is_ours),
    }
}
