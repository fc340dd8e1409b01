//! What all links share, and the answer to a link to the messengers.

use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::{
    Extension,
    extract::{Path, Query, State},
    response::{IntoResponse, Response},
};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use stagedoor_model::{Body, Event, EventId, LinkClicked, Purpose, SourceName, Timestamp, Token, TokenTag, breakage};
use stagedoor_texts::Language;
use stagedoor_webhook::{ClientAddress, ClientLimit, Limit, Receiver};

use crate::{
    language,
    page::{self, Page},
    resolver::LinkResolver,
};

/// Source name of the events of links.
pub const SOURCE: &str = "links";

/// Maximum number of requests a second for links of ours.
const RATE: u32 = 2_000;
/// Maximum number of looks a second of one client. Thousands of fans share an address of a mobile network.
const LOOKS: NonZeroU32 = NonZeroU32::new(50).expect("not zero");
const COOKIE: &str = "stagedoor_browser";
/// Seconds within which two looks at a public link count as one.
const ONE_LOOK: i64 = 60;

pub(crate) struct LinksState {
    pub(crate) resolver: LinkResolver,
    pub(crate) receiver: Receiver,
    pub(crate) limit: DefaultDirectRateLimiter,
    pub(crate) looks: ClientLimit,
    /// Limit on recorded looks at public links, because anybody can make them without end.
    written: ClientLimit,
    /// Limit on made-up links. They do not count against the limit of real links.
    refusals: ClientLimit,
    /// Limit on repeated actions of one link.
    pub(crate) words: Limit<String>,
    browsers: AtomicU64,
    pub(crate) source: SourceName,
}

pub(crate) async fn open(
    State(state): State<Arc<LinksState>>,
    Path(token): Path<String>,
    method: Method,
    Query(query): Query<std::collections::BTreeMap<String, String>>,
    client: Option<Extension<ClientAddress>>,
    headers: HeaderMap,
) -> Response {
    let language = language::of_request(query.get("lang").map(String::as_str), &headers);
    let client = client.map(|Extension(client)| client);
    let response = state.answer(&token, &method, language, client, &headers).await;
    state.sealed(response)
}

impl LinksState {
    /// # Errors
    /// Never in practice: only if the source's own name is not valid.
    pub(crate) fn new(receiver: Receiver, resolver: LinkResolver) -> Result<Self, &'static str> {
        Ok(Self {
            resolver,
            receiver,
            limit: RateLimiter::direct(Quota::per_second(NonZeroU32::new(RATE).unwrap_or(NonZeroU32::MIN))),
            looks: ClientLimit::per_second(LOOKS),
            written: ClientLimit::looks(),
            refusals: ClientLimit::refusals(),
            words: Limit::words(),
            browsers: AtomicU64::new(0),
            source: SourceName::new(SOURCE)?,
        })
    }

    /// Adds headers that keep a link private: no cache, no index, no referrer.
    pub(crate) fn sealed(&self, mut response: Response) -> Response {
        let csp = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'self'; \
                   frame-ancestors 'none'";
        for (name, value) in [
            (header::CACHE_CONTROL, "no-store"),
            (header::REFERRER_POLICY, "no-referrer"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::CONTENT_SECURITY_POLICY, csp),
            (header::HeaderName::from_static("x-robots-tag"), "noindex, nofollow"),
        ] {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        if self.resolver.is_secure() {
            let year = HeaderValue::from_static("max-age=31536000");
            response.headers_mut().insert(header::STRICT_TRANSPORT_SECURITY, year);
        }
        response
    }

    async fn answer(
        &self,
        text: &str,
        method: &Method,
        language: Language,
        client: Option<ClientAddress>,
        headers: &HeaderMap,
    ) -> Response {
        let counted = |outcome| self.receiver.counters.count(SOURCE, outcome);
        let now = self.receiver.clock.now();
        let Some((token, campaign, purpose, expires_at)) = self.resolver.read(text) else {
            return self.unknown(client, language);
        };
        // A loopback address belongs to a proxy that is not in trusted_proxies, and stands for all clients.
        let one = client.filter(|client| !client.0.to_canonical().is_loopback());
        // A client that looks too often does not use up the common limit.
        if one.is_some_and(|client| !self.looks.admits(client)) || self.limit.check().is_err() {
            return self.too_many(1, language);
        }
        if now >= expires_at {
            counted("expired_link");
            return (StatusCode::GONE, page::expired(language)).into_response();
        }
        let known = browser(headers);
        let browser = known.clone().unwrap_or_else(|| self.new_browser(&token, now));
        let is_robot = stagedoor_webhook::robots::is_robot(headers);
        if is_robot {
            counted("robot");
        } else if method != Method::HEAD && self.is_written(purpose, one) {
            self.looked_at(&token, &campaign.name, purpose, &browser, now).await;
        }
        match (purpose, self.resolver.shop(campaign)) {
            (Purpose::Shop, Some(shop)) => {
                (StatusCode::FOUND, [(header::LOCATION, shop)], String::new()).into_response()
            }
            (Purpose::Shop, None) => (StatusCode::NOT_FOUND, page::unknown(language)).into_response(),
            _ => {
                let tagged = token.tagged(TokenTag::of_browser(&browser));
                let buttons = self.resolver.buttons(campaign, &tagged, language);
                let is_personal = purpose == Purpose::Chat;
                let page = Page { campaign, buttons, language, is_personal };
                let mut response = page.render().into_response();
                if known.is_none()
                    && !is_robot
                    && *method != Method::HEAD
                    && let Ok(value) =
                        self.cookie(browser, &token, expires_at.as_second() - now.as_second(), is_personal).parse()
                {
                    response.headers_mut().insert(header::SET_COOKIE, value);
                }
                response
            }
        }
    }

    /// True if the look is recorded. The page is shown in both cases.
    fn is_written(&self, purpose: Purpose, client: Option<ClientAddress>) -> bool {
        let is_bounded = purpose == Purpose::Public && !breakage::is_on("public-looks-without-end");
        let is_written = client.is_none_or(|client| !is_bounded || self.written.admits(client));
        if !is_written {
            self.receiver.counters.count(SOURCE, "unwritten");
        }
        is_written
    }

    /// The answer to a link that is not ours.
    pub(crate) fn unknown(&self, client: Option<ClientAddress>, language: Language) -> Response {
        let counts_for_all = breakage::is_on("made-up-links-count") && self.limit.check().is_err();
        if counts_for_all || client.is_some_and(|client| !self.refusals.admits(client)) {
            return self.too_many(60, language);
        }
        self.receiver.counters.count(SOURCE, "unknown_link");
        (StatusCode::NOT_FOUND, page::unknown(language)).into_response()
    }

    pub(crate) fn too_many(&self, seconds: u32, language: Language) -> Response {
        self.receiver.counters.count(SOURCE, "TooMany");
        let after = [(header::RETRY_AFTER, HeaderValue::from(seconds))];
        (StatusCode::TOO_MANY_REQUESTS, after, page::sorry(language)).into_response()
    }

    /// Records a look at a link. Robots' looks do not count. A person's second look within a minute is the same fact.
    pub(crate) async fn looked_at(
        &self,
        token: &Token,
        campaign: &str,
        purpose: Purpose,
        browser: &str,
        now: Timestamp,
    ) {
        let clicked = LinkClicked { token: token.clone(), campaign: campaign.to_owned(), purpose, show: None };
        let minute = (now.as_second() / ONE_LOOK).to_string();
        let id = EventId::derive(&self.source, &["click", token.as_str(), browser, &minute]);
        let event = Event::new(&self.source, id, now, Body::LinkClicked(clicked));
        // The person gets the page even if the click is lost.
        match self.receiver.queue.send(vec![event]).await {
            Ok(()) => self.receiver.counters.count(SOURCE, "clicked"),
            Err(error) => {
                self.receiver.counters.count(SOURCE, "queue_failed");
                tracing::error!(%error, campaign, "the queue did not take a click");
            }
        }
    }

    fn new_browser(&self, token: &Token, now: Timestamp) -> String {
        let number = self.browsers.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let drawn = self.resolver.key.draw(&[
            b"browser",
            token.as_str().as_bytes(),
            &now.as_nanosecond().to_be_bytes(),
            &number,
        ]);
        hex::encode(drawn)
    }

    /// The cookie that shows that two chats through one personal link were started in one browser, and that joins two
    /// looks within a minute. So it is sent only to that link and lives no longer than needed.
    fn cookie(&self, browser: String, token: &Token, left: i64, is_personal: bool) -> String {
        let seconds = if is_personal { left } else { ONE_LOOK };
        let is_for_all = breakage::is_on("cookie-follows-for-a-year");
        let seconds = if is_for_all { 31_536_000 } else { seconds };
        let path = if is_for_all { "/l".to_owned() } else { format!("/l/{}", token.as_str()) };
        // RFC 6265, section 4.1.1. The browser's name and the token hold no characters that would end a part.
        let secure = if self.resolver.is_secure() { "; Secure" } else { "" };
        format!("{COOKIE}={browser}; HttpOnly; SameSite=Lax{secure}; Path={path}; Max-Age={seconds}")
    }
}

/// The name that an earlier page stored in this browser.
fn browser(headers: &HeaderMap) -> Option<String> {
    let all = headers.get(header::COOKIE)?.to_str().ok()?;
    // RFC 6265, section 4.2.1.
    let mut parts = all.split(';').filter_map(|part| part.trim().split_once('='));
    let (_, value) = parts.find(|(name, _)| *name == COOKIE)?;
    (value.len() == 32 && value.bytes().all(|b| b.is_ascii_hexdigit())).then(|| value.to_owned())
}
