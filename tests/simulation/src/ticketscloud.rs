//! A Ticketscloud in a world. Its webhooks only point to an order, its lists hold orders and refunds, and no answer
//! has an order's last change.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    Json, Router,
    extract::{Query, State},
    response::{IntoResponse, Response},
    routing::get,
};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use stagedoor_model::Timestamp;

use crate::{
    act::Actors,
    deliver,
    orders::{OrderFact, roubles},
    world::{Human, SHOWS},
};

/// Rows on a page of a list, regardless of the request.
const PAGE: usize = 3;

/// Rows of a list by id, each with the time that the list sorts by.
type Rows = BTreeMap<String, (Timestamp, Value)>;

#[derive(Default)]
struct Inner {
    orders: Rows,
    refunds: Rows,
}

#[derive(Clone, Default)]
pub struct Ticketscloud(Arc<Mutex<Inner>>);

/// The order's id. Its first four bytes are the second of the order.
pub fn id(fact: &OrderFact) -> String {
    format!("{:08x}{:016x}", fact.placed_at.as_second(), fact.id)
}

/// A time in UTC, as Ticketscloud writes it.
fn told(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

impl Ticketscloud {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the present state of an order.
    fn put(&self, human: &Human, fact: &OrderFact) {
        let mut inner = self.inner();
        for ticket in &fact.tickets {
            let Some(at) = ticket.refunded_at else { continue };
            let refund = json!({
                "id": format!("r{}", ticket.id), "order": id(fact), "tickets": [format!("t{}", ticket.id)],
                "refund_nominal": roubles(ticket.price), "finished_at": told(at), "status": "approved",
            });
            inner.refunds.insert(format!("r{}", ticket.id), (at, refund));
        }
        inner.orders.insert(id(fact), (fact.placed_at, order(human, fact)));
    }

    pub fn router(&self) -> Router {
        Router::new()
            .route("/v2/resources/orders", get(orders))
            .route("/v2/resources/refund_requests", get(refunds))
            .with_state(self.clone())
    }
}

async fn orders(
    State(cloud): State<Ticketscloud>,
    query: Query<BTreeMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    page(&cloud.inner().orders, "created_at", &query, &headers)
}

async fn refunds(
    State(cloud): State<Ticketscloud>,
    query: Query<BTreeMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    page(&cloud.inner().refunds, "finished_at", &query, &headers)
}

fn page(rows: &Rows, by: &str, query: &BTreeMap<String, String>, headers: &HeaderMap) -> Response {
    if headers.get("authorization").is_none_or(|given| given != "key simulated-ticketscloud-key") {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let window = query.get(by).and_then(|window| window.split_once(',')).unwrap_or_default();
    let at = |text: &str| format!("{text}Z").parse::<Timestamp>().unwrap_or_default();
    let (from, until) = (at(window.0), at(window.1));
    let page = query.get("page").and_then(|page| page.parse::<usize>().ok()).unwrap_or(1);
    let mut listed: Vec<&(Timestamp, Value)> = rows.values().filter(|(at, _)| (from..=until).contains(at)).collect();
    listed.sort_by_key(|(at, _)| *at);
    let total = listed.len();
    let data: Vec<&Value> = listed.into_iter().skip((page - 1) * PAGE).take(PAGE).map(|(_, row)| row).collect();
    Json(json!({ "data": data, "pagination": { "page": page, "page_size": PAGE, "total": total }, "refs": {} }))
        .into_response()
}

fn order(human: &Human, fact: &OrderFact) -> Value {
    let own = |of: fn(&str) -> bool| fact.identifiers.iter().find(|one| of(one)).cloned();
    let ticket = |one: &crate::orders::TicketFact| json!({ "id": format!("t{}", one.id), "full": roubles(one.price) });
    json!({
        "id": id(fact), "number": fact.id, "status": status(fact), "created_at": told(fact.placed_at),
        "event": fact.tickets.first().and_then(|one| SHOWS.get(one.show)).map(|show| show.ticketscloud),
        "done_at": fact.paid_at.map(told), "values": { "full": roubles(fact.total()) }, "promocodes": [],
        "settings": { "customer": {
            "name": human.name, "email": own(|one| one.contains('@')), "phone": own(|one| one.starts_with('+')),
        } },
        "tickets": fact.tickets.iter().map(ticket).collect::<Vec<_>>(),
    })
}

/// The order's status, in the order and in webhooks.
pub fn status(fact: &OrderFact) -> &'static str {
    match (fact.cancelled, fact.paid_at) {
        (true, _) => "cancelled",
        (_, Some(_)) => "done",
        _ => "in_progress",
    }
}

impl Actors {
    /// Changes an order in Ticketscloud, and sends the notification. Refunds have no webhook.
    pub fn send_ticketscloud(&mut self, human: &Human, fact: &OrderFact) {
        self.shared.apis.ticketscloud.put(human, fact);
        if fact.refunded_at().is_none() {
            let (number, fact) = (self.serial(), fact.clone());
            self.point(format!("\"{}\"", id(&fact)), move |_| deliver::ticketscloud(&fact, number));
        }
    }
}
