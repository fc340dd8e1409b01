//! A pretix in a world. Its webhooks only point to an order, and its API returns the order.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{Path, Query, State},
    response::{IntoResponse, Response},
    routing::get,
};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use stagedoor_model::Timestamp;
use stagedoor_ports::Clock;

use crate::{
    act::Actors,
    clock::VirtualClock,
    deliver,
    orders::{OrderFact, roubles},
    world::{Human, SHOWS},
};

/// Orders on a page of the list.
const PAGE: usize = 3;

/// The states of one order, each with its time.
type History = Vec<(Timestamp, Value)>;

#[derive(Default)]
struct Inner {
    orders: BTreeMap<String, History>,
    /// How far the API is behind.
    behind: Duration,
}

#[derive(Clone)]
pub struct Pretix {
    clock: VirtualClock,
    inner: Arc<Mutex<Inner>>,
}

/// The order's code in pretix's format.
pub fn code(fact: &OrderFact) -> String {
    format!("P{}", fact.id)
}

impl Pretix {
    pub fn new(clock: VirtualClock) -> Self {
        Self { clock, inner: Arc::default() }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn fall_behind(&self, behind: Duration) {
        self.inner().behind = behind;
    }

    /// Sets the present state of an order.
    fn put(&self, human: &Human, fact: &OrderFact) {
        let now = self.clock.now();
        self.inner().orders.entry(code(fact)).or_default().push((now, order(human, fact, now)));
    }

    /// The states of orders that the API knows.
    fn known(&self) -> Vec<(Timestamp, Value)> {
        let inner = self.inner();
        let until = self.clock.now() - inner.behind;
        let last = |history: &History| history.iter().rev().find(|(at, _)| *at <= until).cloned();
        inner.orders.values().filter_map(last).collect()
    }

    pub fn router(&self) -> Router {
        Router::new()
            .route("/api/v1/organizers/stagedoor/orders/", get(orders))
            .route("/api/v1/organizers/stagedoor/events/{event}/", get(event))
            .route("/api/v1/organizers/stagedoor/events/{event}/orders/{code}/", get(one))
            .with_state(self.clone())
    }
}

fn not_found() -> Response {
    (StatusCode::NOT_FOUND, Json(json!({ "detail": "Not found." }))).into_response()
}

fn comes_in(headers: &HeaderMap) -> bool {
    headers.get("authorization").is_some_and(|given| given == "Token simulated-pretix-token")
}

async fn one(State(pretix): State<Pretix>, Path((_, code)): Path<(String, String)>, headers: HeaderMap) -> Response {
    let found = pretix.known().into_iter().find(|(_, order)| order.get("code") == Some(&json!(code)));
    match found.filter(|_| comes_in(&headers)) {
        Some((_, order)) => Json(order).into_response(),
        None => not_found(),
    }
}

async fn event(Path(event): Path<String>) -> Response {
    let name = json!({ "ru": event });
    Json(json!({ "slug": event, "name": name, "currency": "RUB", "timezone": "Europe/Moscow", "date_from": null }))
        .into_response()
}

/// Orders changed since an instant, by their last change.
async fn orders(State(pretix): State<Pretix>, Query(query): Query<BTreeMap<String, String>>) -> Response {
    let since = query.get("modified_since").and_then(|at| at.parse::<Timestamp>().ok()).unwrap_or_default();
    let page = query.get("page").and_then(|page| page.parse::<usize>().ok()).unwrap_or(1);
    let mut known = pretix.known();
    known.retain(|(at, _)| *at >= since);
    known.sort_by_key(|(at, _)| *at);
    let count = known.len();
    let results: Vec<Value> = known.into_iter().skip((page - 1) * PAGE).take(PAGE).map(|(_, order)| order).collect();
    let next = (page * PAGE < count).then(|| format!("http://apis.invalid/next?page={}", page + 1));
    Json(json!({ "count": count, "next": next, "previous": null, "results": results })).into_response()
}

fn order(human: &Human, fact: &OrderFact, now: Timestamp) -> Value {
    let own = |of: fn(&str) -> bool| fact.identifiers.iter().find(|one| of(one)).cloned();
    let live: i64 = fact.tickets.iter().filter(|one| one.refunded_at.is_none()).map(|one| one.price).sum();
    let status = match (fact.cancelled, fact.paid_at) {
        (true, _) => "c",
        (_, Some(_)) => "p",
        _ => "n",
    };
    let position = |(number, ticket): (usize, &crate::orders::TicketFact)| {
        json!({
            "positionid": number + 1, "price": roubles(ticket.price), "canceled": ticket.refunded_at.is_some(),
            "attendee_name": null, "subevent": null, "checkins": [],
        })
    };
    let payment = fact.paid_at.map(|at| {
        json!({ "local_id": 1, "state": "confirmed", "amount": roubles(fact.total()), "payment_date": at.to_string() })
    });
    let refund = |(number, ticket): (usize, &crate::orders::TicketFact)| {
        let at = ticket.refunded_at?.to_string();
        let amount = roubles(ticket.price);
        Some(json!({ "local_id": number + 1, "state": "done", "amount": amount, "created": at, "execution_date": at }))
    };
    json!({
        "code": code(fact), "event": fact.tickets.first().and_then(|one| SHOWS.get(one.show)).map(|show| show.pretix),
        "status": status, "testmode": false, "email": own(|one| one.contains('@')),
        "phone": own(|one| one.starts_with('+')), "customer": null, "datetime": fact.placed_at.to_string(),
        "last_modified": now.to_string(), "total": roubles(live), "invoice_address": { "name": human.name },
        "positions": fact.tickets.iter().enumerate().map(position).collect::<Vec<_>>(),
        "payments": payment.into_iter().collect::<Vec<_>>(),
        "refunds": fact.tickets.iter().enumerate().filter_map(refund).collect::<Vec<_>>(),
    })
}

impl Actors {
    /// Changes an order in pretix, and sends the notification.
    pub fn send_pretix(&mut self, human: &Human, fact: &OrderFact) {
        self.shared.apis.pretix.put(human, fact);
        let (number, fact) = (self.serial(), fact.clone());
        self.point(format!("\"{}\"", code(&fact)), move |_| deliver::pretix(&fact, number));
    }
}
