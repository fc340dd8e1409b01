//! Tracked links: `/l/<token>` is the page of messenger buttons, or the way to the ticket shop. A token says its campaign,
//! purpose and age by itself, so no database stands between a fan and the page; opening it is an event in the queue.

mod buttons;
mod consent;
mod desk;
mod page;

use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::{
    Router,
    extract::{Path, Query, State},
    response::{IntoResponse, Response},
    routing::get,
};
use cookie::{Cookie, SameSite, time::Duration};
pub use desk::Desk;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use stagedoor_engine::Campaign;
use stagedoor_model::{Body, Event, EventId, LinkClicked, Purpose, SourceName, Timestamp, Token, TokenTag};
use stagedoor_webhook::Receiver;

use crate::page::{Language, Page};

/// The source of the events of links.
pub const SOURCE: &str = "links";

/// Requests a second that are let in.
const RATE: u32 = 2_000;
const COOKIE: &str = "stagedoor_browser";

pub(crate) struct Hall {
    desk: Desk,
    receiver: Receiver,
    limit: DefaultDirectRateLimiter,
    browsers: AtomicU64,
    source: SourceName,
}

/// # Errors
/// Never, unless the source's own name is no name.
pub fn router(receiver: Receiver, desk: Desk) -> Result<Router, &'static str> {
    let limit = RateLimiter::direct(Quota::per_second(NonZeroU32::new(RATE).unwrap_or(NonZeroU32::MIN)));
    let source = SourceName::new(SOURCE)?;
    let hall = Arc::new(Hall { desk, receiver, limit, browsers: AtomicU64::new(0), source });
    let consents = consent::router(&hall);
    Ok(Router::new().route("/l/{token}", get(open)).with_state(hall).merge(consents))
}

async fn open(
    State(hall): State<Arc<Hall>>,
    Path(token): Path<String>,
    method: Method,
    Query(query): Query<std::collections::BTreeMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    let language = Language::of(query.get("lang").map(String::as_str), &headers);
    let response = hall.answer(&token, &method, language, &headers).await;
    sealed(response)
}

/// A link is its reader's alone: it is not kept, not indexed, and not told to where it leads.
fn sealed(mut response: Response) -> Response {
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
        ),
        (header::HeaderName::from_static("x-robots-tag"), "noindex, nofollow"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

impl Hall {
    async fn answer(&self, text: &str, method: &Method, language: Language, headers: &HeaderMap) -> Response {
        let counted = |outcome| self.receiver.counters.count(SOURCE, outcome);
        if self.limit.check().is_err() {
            counted("TooMany");
            return (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "1")], page::sorry(language)).into_response();
        }
        let now = self.receiver.clock.now();
        let Some((token, campaign, purpose, expires_at)) = self.desk.read(text) else {
            counted("unknown_link");
            return (StatusCode::NOT_FOUND, page::unknown(language)).into_response();
        };
        if now >= expires_at {
            counted("expired_link");
            return (StatusCode::GONE, page::expired(language)).into_response();
        }
        let known = browser(headers);
        let browser = known.clone().unwrap_or_else(|| self.new_browser(&token, now));
        let is_robot = stagedoor_webhook::robots::is_robot(headers);
        if is_robot {
            counted("robot");
        } else if method != Method::HEAD {
            self.count(&token, campaign, purpose, &browser, now).await;
        }
        match (purpose, self.desk.shop(campaign)) {
            (Purpose::Shop, Some(shop)) => {
                (StatusCode::FOUND, [(header::LOCATION, shop)], String::new()).into_response()
            }
            (Purpose::Shop, None) => (StatusCode::NOT_FOUND, page::unknown(language)).into_response(),
            _ => {
                let tagged = token.tagged(TokenTag::of_browser(&browser));
                let buttons = self.desk.buttons(campaign, &tagged, language);
                let is_personal = purpose == Purpose::Chat;
                let page = Page { campaign, buttons, language, is_personal };
                let mut response = page.render().into_response();
                if known.is_none()
                    && let Ok(value) = self.cookie(browser).parse()
                {
                    response.headers_mut().insert(header::SET_COOKIE, value);
                }
                response
            }
        }
    }

    /// A robot's look counts for nothing; a person's second within a minute is the same.
    async fn count(&self, token: &Token, campaign: &Campaign, purpose: Purpose, browser: &str, now: Timestamp) {
        let clicked = LinkClicked { token: token.clone(), campaign: campaign.name.clone(), purpose, show: None };
        let minute = (now.as_second() / 60).to_string();
        let id = EventId::derive(&self.source, &["click", token.as_str(), browser, &minute]);
        let event = Event::new(&self.source, id, now, Body::LinkClicked(clicked));
        // Whoever came for a page gets it also when their click is lost.
        match self.receiver.queue.send(vec![event]).await {
            Ok(()) => self.receiver.counters.count(SOURCE, "clicked"),
            Err(error) => {
                self.receiver.counters.count(SOURCE, "queue_failed");
                tracing::error!(%error, campaign = campaign.name, "the queue did not take a click");
            }
        }
    }

    fn new_browser(&self, token: &Token, now: Timestamp) -> String {
        let number = self.browsers.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let drawn =
            self.desk.key.draw(&[b"browser", token.as_str().as_bytes(), &now.as_nanosecond().to_be_bytes(), &number]);
        hex::encode(drawn)
    }

    fn cookie(&self, browser: String) -> String {
        Cookie::build((COOKIE, browser))
            .path("/l")
            .http_only(true)
            .secure(self.desk.is_secure())
            .same_site(SameSite::Lax)
            .max_age(Duration::days(365))
            .to_string()
    }
}

/// What an earlier page left in this browser.
fn browser(headers: &HeaderMap) -> Option<String> {
    let all = headers.get(header::COOKIE)?.to_str().ok()?;
    let own = Cookie::split_parse(all).filter_map(Result::ok).find(|cookie| cookie.name() == COOKIE)?;
    let value = own.value();
    (value.len() == 32 && value.bytes().all(|b| b.is_ascii_hexdigit())).then(|| value.to_owned())
}
