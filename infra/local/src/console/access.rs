//! Who may look: this machine itself, or who shows the token. What changes something must come from the console's own
//! pages.

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
use http::{HeaderMap, Method, StatusCode, Version, header};
use stagedoor_model::breakage;
use stagedoor_webhook::ClientAddress;
use subtle::ConstantTimeEq;

use super::backoff::Backoff;
use crate::hub::Hub;

/// Headers that a proxy adds. A request with one of them comes from somewhere else than this machine.
const OF_PROXIES: [&str; 3] = ["forwarded", "x-real-ip", "via"];

pub struct Access {
    hub: Arc<Hub>,
    backoff: Backoff,
}

impl Access {
    pub fn new(hub: Arc<Hub>) -> Self {
        Self { hub, backoff: Backoff::default() }
    }

    /// The refusal of a request that may not see the console.
    fn refuse(&self, request: &Request) -> Option<Response> {
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
        // Without a peer's address it is none of this machine.
        let address = peer.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let headers = request.headers();
        let Some(token) = &self.hub.config.console_token else {
            let local = address.to_canonical().is_loopback() && is_local_name(headers) && !is_proxied(request);
            return (!local).then(|| {
                self.note(address, "not of this machine, and no console_token is configured");
                (StatusCode::UNAUTHORIZED, "the console answers on this machine only, or with its token")
                    .into_response()
            });
        };
        // Who waits is the client, and not the proxy that all come through.
        let client = request.extensions().get::<ClientAddress>().map_or(address, |client| client.network());
        if !breakage::is_on("console-guessed-freely")
            && let Some(pause) = self.backoff.pause(client)
        {
            self.hub.counters.count("console", "slowed");
            let seconds = [("retry-after", pause.as_secs().saturating_add(1).to_string())];
            return Some((StatusCode::TOO_MANY_REQUESTS, seconds, "too many wrong tokens").into_response());
        }
        if shows(headers, token.reveal().as_bytes()) {
            self.backoff.right(client);
            return None;
        }
        // A browser asks without a token first; that is no guess.
        if headers.contains_key(header::AUTHORIZATION) {
            self.backoff.wrong(client);
            self.note(client, "wrong token");
        } else {
            self.note(client, "no token");
        }
        let ask = [(header::WWW_AUTHENTICATE, "Basic realm=\"stagedoor\"")];
        Some((StatusCode::UNAUTHORIZED, ask, "the console asks for its token").into_response())
    }

    fn note(&self, address: IpAddr, reason: &str) {
        self.hub.counters.count("console", "refused");
        tracing::warn!(%address, reason, "the console refused a request");
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

/// The token as a Basic password (a browser asks for it) or as a bearer.
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

/// A proxy on the same machine has a loopback address too, and names the console as it reaches it.
fn is_proxied(request: &Request) -> bool {
    let names = request.headers().keys().map(header::HeaderName::as_str);
    let told = names.into_iter().any(|name| OF_PROXIES.contains(&name) || name.starts_with("x-forwarded"));
    // Browsers and curl speak HTTP/1.1; nginx speaks 1.0 to what is behind it unless its config says otherwise.
    let old = request.version() < Version::HTTP_11;
    (told || old) && !breakage::is_on("console-behind-proxy")
}

// A page elsewhere can make a browser ask 127.0.0.1 under a name of its own.
fn is_local_name(headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next().and_then(|value| value.to_str().ok()), hosts.next()) else { return false };
    let name = host.rsplit_once(':').filter(|_| !host.ends_with(']')).map_or(host, |(name, _)| name);
    matches!(name, "127.0.0.1" | "localhost" | "[::1]")
}

fn is_foreign(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    match (text("sec-fetch-site"), text("origin")) {
        (Some(site), _) => !matches!(site, "same-origin" | "none"),
        // `null` is a page without an address: a sandboxed frame, a file, a redirect from elsewhere.
        (None, Some(origin)) => origin.split_once("://").is_none_or(|(_, name)| Some(name) != text("host")),
        (None, None) => false,
    }
}
