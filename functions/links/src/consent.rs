//! Where a letter is unsubscribed from by one click (RFC 8058), and where an address is confirmed (double opt-in).
//!
//! A GET shows a page with a button and changes nothing: scanners of letters follow every link. A POST does it, whatever sent it:
//! a mail provider with `List-Unsubscribe=One-Click` as a form or as multipart (RFC 8058, section 3.1, without cookies and without
//! asking anything), or the page's own button. Unlike a click, it is not lost when the queue fails: the answer is then a 503.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Path, Query},
    response::{IntoResponse, Response},
    routing::get,
};
use http::{HeaderMap, StatusCode};
use stagedoor_model::{
    Body, Channel, ConsentRecorded, Decision, Event, EventId, Identifier, Kind, MARKETING, Timestamp, Token, breakage,
};

use crate::{
    Hall, SOURCE,
    page::{self, Language},
    sealed,
};

/// What a link in a letter is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    Unsubscribe,
    Confirm,
}

type Asked = Query<std::collections::BTreeMap<String, String>>;

pub fn router(hall: &Arc<Hall>) -> Router {
    let page = |wish: Wish| {
        let (asking, doing) = (Arc::clone(hall), Arc::clone(hall));
        let ask = move |Path(token): Path<String>, query: Asked, headers: HeaderMap| async move {
            sealed(asking.ask(wish, &token, language(&query, &headers)))
        };
        let fulfil = move |Path(token): Path<String>, query: Asked, headers: HeaderMap| async move {
            sealed(doing.fulfil(wish, &token, language(&query, &headers)).await)
        };
        get(ask).post(fulfil)
    };
    Router::new().route("/u/{token}", page(Wish::Unsubscribe)).route("/c/{token}", page(Wish::Confirm))
}

fn language(query: &Asked, headers: &HeaderMap) -> Language {
    Language::of(query.get("lang").map(String::as_str), headers)
}

impl Hall {
    fn ask(&self, wish: Wish, text: &str, language: Language) -> Response {
        match self.admit(text, language) {
            Ok(_) => page::asked(language, wish).into_response(),
            Err(refusal) => *refusal,
        }
    }

    async fn fulfil(&self, wish: Wish, text: &str, language: Language) -> Response {
        let token = match self.admit(text, language) {
            Ok(token) => token,
            Err(refusal) => return *refusal,
        };
        let now = self.receiver.clock.now();
        match self.receiver.queue.send(vec![self.said(wish, &token, now)]).await {
            Ok(()) => {
                self.receiver.counters.count(SOURCE, if wish == Wish::Confirm { "confirmed" } else { "unsubscribed" });
                page::done(language, wish).into_response()
            }
            Err(error) => {
                self.receiver.counters.count(SOURCE, "queue_failed");
                tracing::error!(%error, "the queue did not take what somebody said about letters");
                (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "30")], page::sorry(language)).into_response()
            }
        }
    }

    /// The token, unless it is none of ours or too old. Whose it is, the ledger finds by the token itself.
    fn admit(&self, text: &str, language: Language) -> Result<Token, Box<Response>> {
        let refuse = |status: StatusCode, what: &str, page: maud::Markup| {
            self.receiver.counters.count(SOURCE, what);
            Err(Box::new((status, page).into_response()))
        };
        if self.limit.check().is_err() {
            return refuse(StatusCode::TOO_MANY_REQUESTS, "TooMany", page::sorry(language));
        }
        let Some((token, expires_at)) = self.desk.read_consent(text) else {
            return refuse(StatusCode::NOT_FOUND, "unknown_link", page::unknown(language));
        };
        match self.receiver.clock.now() >= expires_at {
            true => refuse(StatusCode::GONE, "expired_link", page::expired(language)),
            false => Ok(token),
        }
    }

    /// Each time is a word of its own: somebody may consent anew between two of them.
    fn said(&self, wish: Wish, token: &Token, now: Timestamp) -> Event {
        let (decision, method, what) = match wish {
            Wish::Unsubscribe => (Decision::Withdrawn, "one-click", "unsubscribed"),
            Wish::Confirm => (Decision::Confirmed, "double-opt-in", "confirmed"),
        };
        let link = Identifier::opaque(Kind::Link, "", token.as_str());
        let recorded = ConsentRecorded {
            identifiers: link.into_iter().collect(),
            purpose: MARKETING.to_owned(),
            channel: Channel::Email,
            decision,
            method: method.to_owned(),
            wording: None,
            lists: std::collections::BTreeSet::new(),
            evidence: std::collections::BTreeMap::new(),
        };
        let minute_only = breakage::is_on("second-click-unheard");
        let moment = if minute_only { now.as_second() / 60 } else { now.as_millisecond() };
        let id = EventId::derive(&self.source, &[what, token.as_str(), &moment.to_string()]);
        Event::new(&self.source, id, now, Body::ConsentRecorded(recorded))
    }
}
