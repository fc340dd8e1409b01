//! Links for one-click unsubscription (RFC 8058) and for the confirmation of an address (double opt-in).
//!
//! A GET shows a page with a button and changes nothing, because mail scanners follow every link. A POST carries out
//! the action. It comes from a mail provider with `List-Unsubscribe=One-Click`, as a form or as multipart (RFC 8058,
//! section 3.1, without cookies and questions), or from the page's own button. A click may be lost when the queue
//! fails, but a POST may not: its answer is then a 503.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Extension, Router,
    extract::{Path, Query},
    response::{IntoResponse, Response},
    routing::get,
};
use http::{HeaderMap, StatusCode};
use stagedoor_model::{
    Body, Channel, ConsentRecorded, Decision, Event, EventId, Identifier, Kind, MARKETING, Purpose, Timestamp, Token,
    breakage,
};
use stagedoor_texts::Language;
use stagedoor_webhook::ClientAddress;

use crate::{
    consent_action::ConsentAction,
    language, page,
    state::{LinksState, SOURCE},
};

type Client = Option<Extension<ClientAddress>>;

type Asked = Query<BTreeMap<String, String>>;

pub fn router(state: &Arc<LinksState>) -> Router {
    let page = |wish: ConsentAction| {
        let (asking, doing) = (Arc::clone(state), Arc::clone(state));
        let ask = move |Path(token): Path<String>, query: Asked, client: Client, headers: HeaderMap| async move {
            asking.sealed(asking.ask(wish, &token, client, language(&query, &headers), &headers).await)
        };
        let fulfil = move |Path(token): Path<String>, query: Asked, client: Client, headers: HeaderMap| async move {
            let done = doing.fulfil(wish, &token, client, language(&query, &headers), &headers).await;
            doing.sealed(done)
        };
        get(ask).post(fulfil)
    };
    Router::new()
        .route("/u/{token}", page(ConsentAction::Unsubscribe))
        .route("/c/{token}", page(ConsentAction::Confirm))
}

fn language(query: &Asked, headers: &HeaderMap) -> Language {
    language::of_request(query.get("lang").map(String::as_str), headers)
}

impl LinksState {
    async fn ask(
        &self,
        wish: ConsentAction,
        text: &str,
        client: Client,
        language: Language,
        headers: &HeaderMap,
    ) -> Response {
        match self.admit(wish, text, client, language) {
            Ok(token) => {
                // The look names no person. But it shows which scanners follow all links of an e-mail.
                let one = client.map(|Extension(client)| client).filter(|one| !one.0.to_canonical().is_loopback());
                let is_much = one.is_some_and(|one| !self.looks.admits(one));
                if !stagedoor_webhook::robots::is_robot(headers) && !is_much {
                    let now = self.receiver.clock.now();
                    self.looked_at(&token, "consent", Purpose::Consent, "", now).await;
                }
                page::asked(language, wish).into_response()
            }
            Err(refusal) => *refusal,
        }
    }

    async fn fulfil(
        &self,
        wish: ConsentAction,
        text: &str,
        client: Client,
        language: Language,
        headers: &HeaderMap,
    ) -> Response {
        let evidence = evidence(wish, client.as_ref(), headers);
        let token = match self.admit(wish, text, client, language) {
            Ok(token) => token,
            Err(refusal) => return *refusal,
        };
        if !self.words.admits_word(token.as_str()) && !breakage::is_on("one-link-without-end") {
            return self.too_many(600, language);
        }
        let now = self.receiver.clock.now();
        match self.receiver.queue.send(vec![self.said(wish, &token, evidence, now)]).await {
            Ok(()) => {
                self.receiver
                    .counters
                    .count(SOURCE, if wish == ConsentAction::Confirm { "confirmed" } else { "unsubscribed" });
                page::done(language, wish).into_response()
            }
            Err(error) => {
                self.receiver.counters.count(SOURCE, "queue_failed");
                tracing::error!(%error, "the queue did not take what somebody said about letters");
                (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "30")], page::sorry(language)).into_response()
            }
        }
    }

    /// The token, unless it is not ours or has expired. The ledger finds the person by the token. Our own links have no
    /// limit by address, because one mail provider unsubscribes many people.
    fn admit(
        &self,
        wish: ConsentAction,
        text: &str,
        client: Client,
        language: Language,
    ) -> Result<Token, Box<Response>> {
        let Some((token, expires_at)) = self.resolver.read_consent(text, wish) else {
            return Err(Box::new(self.unknown(client.map(|Extension(client)| client), language)));
        };
        if self.limit.check().is_err() {
            return Err(Box::new(self.too_many(1, language)));
        }
        if self.receiver.clock.now() >= expires_at {
            self.receiver.counters.count(SOURCE, "expired_link");
            return Err(Box::new((StatusCode::GONE, page::expired(language)).into_response()));
        }
        Ok(token)
    }

    /// The event of one press. Each press counts anew, because the person may consent again between two of them.
    fn said(&self, wish: ConsentAction, token: &Token, evidence: BTreeMap<String, String>, now: Timestamp) -> Event {
        let (decision, method, what) = match wish {
            ConsentAction::Unsubscribe => (Decision::Withdrawn, "one-click", "unsubscribed"),
            ConsentAction::Confirm => (Decision::Confirmed, "double-opt-in", "confirmed"),
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
            evidence,
        };
        let minute_only = breakage::is_on("second-click-unheard");
        let moment = if minute_only { now.as_second() / 60 } else { now.as_millisecond() };
        let id = EventId::derive(&self.source, &[what, token.as_str(), &moment.to_string()]);
        Event::new(&self.source, id, now, Body::ConsentRecorded(recorded))
    }
}

/// Maximum length of a browser's name that is kept, in characters.
const USER_AGENT: usize = 200;

/// Evidence of a confirmation: the client's network and the browser's name. The entry has the time. A withdrawal needs
/// no evidence, so nothing is kept of the client.
fn evidence(
    wish: ConsentAction,
    client: Option<&Extension<ClientAddress>>,
    headers: &HeaderMap,
) -> BTreeMap<String, String> {
    if wish != ConsentAction::Confirm || breakage::is_on("confirmation-without-evidence") {
        return BTreeMap::new();
    }
    let network = client.map(|Extension(client)| client.cut().to_string());
    let agent = headers.get(http::header::USER_AGENT).and_then(|agent| agent.to_str().ok());
    let agent = agent.map(|agent| agent.chars().take(USER_AGENT).collect::<String>()).filter(|agent| !agent.is_empty());
    let named = |name: &str, value: Option<String>| value.map(|value| (name.to_owned(), value));
    named("network", network).into_iter().chain(named("user_agent", agent)).collect()
}
