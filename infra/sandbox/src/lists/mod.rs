//! Stand-ins for mailing lists, with the originals' limits, errors and memory of unsubscribed people. Each file names
//! its sources.

mod listmonk;
mod mailchimp;
mod sendpulse;
mod unisender;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::{Request, State},
    http::StatusCode,
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post, put},
};
use tokio::net::TcpListener;

/// The state of an address on a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Subscribed,
    Unsubscribed,
    /// Taken off by the owner. The provider remembers the address.
    Archived,
}

/// The fault of the next call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListBreak {
    /// The call takes effect, and its answer is lost.
    AnswerLost,
    /// The call has no effect, and the answer is 500.
    Broken,
    /// The answer is 429, or the provider's own error for it.
    TooMany,
}

#[derive(Default)]
pub(crate) struct ListAccounts {
    /// Members by list and lower-cased address.
    pub members: BTreeMap<String, BTreeMap<String, Standing>>,
    /// listmonk's subscribers by address.
    pub ids: BTreeMap<String, u64>,
    /// Addresses that must never come back, or that no list takes.
    pub barred: BTreeSet<String>,
    /// Addresses that a test forbids to add. Each addition is a violation.
    pub forbidden: BTreeSet<String>,
    pub violations: Vec<String>,
    breaks: VecDeque<ListBreak>,
    recent: VecDeque<Instant>,
    calls: u64,
}

impl ListAccounts {
    pub fn standing(&self, list: &str, email: &str) -> Option<Standing> {
        self.members.get(list)?.get(&email.to_lowercase()).copied()
    }

    /// Sets the state of an address on a list. Nothing else adds members.
    pub fn put(&mut self, list: &str, email: &str, standing: Standing) {
        let email = email.to_lowercase();
        if standing == Standing::Subscribed && self.forbidden.contains(&email) {
            self.violations.push(email.clone());
        }
        self.members.entry(list.to_owned()).or_default().insert(email, standing);
    }

    /// True if more than `most` calls came within `span`.
    pub fn over(&mut self, most: usize, span: Duration) -> bool {
        let now = Instant::now();
        self.recent.push_back(now);
        while self.recent.front().is_some_and(|at| now.duration_since(*at) > span) {
            self.recent.pop_front();
        }
        self.recent.len() > most
    }
}

/// The stand-ins of all list providers.
#[derive(Clone, Default)]
pub struct Lists(Arc<Mutex<ListAccounts>>);

/// The key that all of these stand-ins accept.
pub const KEY: &str = "dev-list-key-us21";

impl Lists {
    pub(crate) fn books(&self) -> MutexGuard<'_, ListAccounts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn router(&self) -> Router {
        Router::new()
            .route("/3.0/lists/{list}", post(mailchimp::batch))
            .route(
                "/3.0/lists/{list}/members/{hash}",
                get(mailchimp::member).put(mailchimp::put).delete(mailchimp::archive),
            )
            .route("/3.0/batches", post(mailchimp::batches))
            .route("/api/importContacts", post(unisender::import))
            .route("/api/exclude", post(unisender::exclude))
            // The real API has a language before the path.
            .route("/{language}/api/importContacts", post(unisender::import))
            .route("/{language}/api/exclude", post(unisender::exclude))
            .route("/oauth/access_token", post(sendpulse::token))
            .route("/api/health", get(listmonk::health))
            .route("/addressbooks/{list}/emails", post(sendpulse::add).delete(sendpulse::remove))
            .route("/addressbooks/{list}/emails/unsubscribe", post(sendpulse::unsubscribe))
            .route("/api/subscribers", get(listmonk::query).post(listmonk::create))
            .route("/api/subscribers/lists", put(listmonk::lists))
            .layer(middleware::from_fn_with_state(self.clone(), faults))
            .with_state(self.clone())
    }

    /// Serves until the task is dropped.
    ///
    /// # Errors
    /// When the listener breaks.
    pub async fn serve(self, listener: TcpListener) -> std::io::Result<()> {
        axum::serve(listener, self.router()).await
    }

    /// Addresses that would get a letter to this list.
    pub fn mailed(&self, list: &str) -> BTreeSet<String> {
        let books = self.books();
        let all = books.members.get(list).into_iter().flatten();
        all.filter(|(_, standing)| **standing == Standing::Subscribed).map(|(email, _)| email.clone()).collect()
    }

    /// True if the provider knows that the address left, by the person's or the hub's action.
    pub fn ever_left(&self, list: &str, email: &str) -> bool {
        self.books().standing(list, email) == Some(Standing::Unsubscribed)
    }

    /// The person presses "unsubscribe" in a letter.
    pub fn leaves(&self, list: &str, email: &str) {
        self.books().put(list, email, Standing::Unsubscribed);
    }

    /// Makes all lists refuse this address.
    pub fn bar(&self, email: &str) {
        self.books().barred.insert(email.to_lowercase());
    }

    /// Makes adding this address a violation, or no longer one.
    pub fn forbid(&self, email: &str, forbidden: bool) {
        let mut books = self.books();
        let email = email.to_lowercase();
        if forbidden {
            books.forbidden.insert(email)
        } else {
            books.forbidden.remove(&email)
        };
    }

    /// Addresses that were added although a test forbade it.
    pub fn violations(&self) -> Vec<String> {
        self.books().violations.clone()
    }

    pub fn break_next(&self, breaks: impl IntoIterator<Item = ListBreak>) {
        self.books().breaks.extend(breaks);
    }

    pub fn calls(&self) -> u64 {
        self.books().calls
    }
}

async fn faults(State(lists): State<Lists>, request: Request, next: Next) -> Response {
    let fault = {
        let mut books = lists.books();
        books.calls += 1;
        books.breaks.pop_front()
    };
    match fault {
        None => next.run(request).await,
        Some(ListBreak::Broken) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        Some(ListBreak::TooMany) => StatusCode::TOO_MANY_REQUESTS.into_response(),
        Some(ListBreak::AnswerLost) => {
            _ = next.run(request).await;
            // The answer of a gateway that lost its upstream.
            StatusCode::BAD_GATEWAY.into_response()
        }
    }
}
