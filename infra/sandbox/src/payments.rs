//! The reading part of YooKassa's API v3: HTTP Basic, 401 `invalid_credentials`, 404 `not_found`, a list by pages.
//! Sources: yookassa.ru/developers/api; errors: …/developers/using-api/response-handling/http-codes.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Json, Router,
    extract::{Path, Query, State},
    response::{IntoResponse, Response},
    routing::get,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

/// The accepted id and key of the shop.
const SHOP: (&str, &str) = ("100500", "yk-secret-key");

/// Payments and refunds of one shop, by their ids.
#[derive(Clone, Default)]
pub struct Payments(Arc<Mutex<BTreeMap<(&'static str, String), Value>>>);

impl Payments {
    fn all(&self) -> std::sync::MutexGuard<'_, BTreeMap<(&'static str, String), Value>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a captured payment, as `GET /payments/{id}` shows it.
    pub fn pay(&self, id: &str, order: &str, value: &str, at: &str) {
        let amount = json!({ "value": value, "currency": "RUB" });
        let payment = json!({ "id": id, "status": "succeeded", "paid": true, "amount": amount, "created_at": at,
            "captured_at": at, "metadata": { "order_id": order }, "refundable": true, "test": false });
        self.all().insert(("payments", id.to_owned()), payment);
    }

    pub fn refund(&self, id: &str, payment: &str, value: &str, at: &str) {
        let amount = json!({ "value": value, "currency": "RUB" });
        let refund =
            json!({ "id": id, "status": "succeeded", "amount": amount, "created_at": at, "payment_id": payment });
        self.all().insert(("refunds", id.to_owned()), refund);
    }

    pub fn router(&self) -> Router {
        Router::new()
            .route("/yookassa/payments", get(list))
            .route("/yookassa/payments/{id}", get(payment))
            .route("/yookassa/refunds", get(refunds))
            .route("/yookassa/refunds/{id}", get(refund))
            .with_state(self.clone())
    }
}

fn error(status: StatusCode, code: &str, description: &str) -> Response {
    let body = json!({ "type": "error", "id": "ab5a11cd", "code": code, "description": description });
    (status, Json(body)).into_response()
}

fn comes_in(headers: &HeaderMap) -> Result<(), Box<Response>> {
    let right = format!("Basic {}", STANDARD.encode(format!("{}:{}", SHOP.0, SHOP.1)));
    match headers.get("authorization").and_then(|value| value.to_str().ok()) {
        Some(given) if given == right => Ok(()),
        _ => Err(Box::new(error(StatusCode::UNAUTHORIZED, "invalid_credentials", "Error in shopId or secret key."))),
    }
}

fn one(payments: &Payments, kind: &'static str, id: String, headers: &HeaderMap) -> Response {
    if let Err(refused) = comes_in(headers) {
        return *refused;
    }
    match payments.all().get(&(kind, id)) {
        Some(found) => Json(found.clone()).into_response(),
        None => error(StatusCode::NOT_FOUND, "not_found", "It does not exist or is not yours."),
    }
}

async fn payment(State(payments): State<Payments>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    one(&payments, "payments", id, &headers)
}

async fn refund(State(payments): State<Payments>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    one(&payments, "refunds", id, &headers)
}

async fn list(
    State(payments): State<Payments>,
    Query(query): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    page(&payments, "payments", &query, &headers)
}

async fn refunds(
    State(payments): State<Payments>,
    Query(query): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    page(&payments, "refunds", &query, &headers)
}

fn page(payments: &Payments, of: &str, query: &BTreeMap<String, String>, headers: &HeaderMap) -> Response {
    if let Err(refused) = comes_in(headers) {
        return *refused;
    }
    let since = query.get("created_at.gte").cloned().unwrap_or_default();
    let limit: usize = query.get("limit").and_then(|limit| limit.parse().ok()).unwrap_or(10);
    let after = query.get("cursor").cloned().unwrap_or_default();
    let all = payments.all();
    let mut items: Vec<&Value> = all
        .iter()
        .filter(|((kind, id), _)| *kind == of && *id > after)
        .map(|(_, payment)| payment)
        .filter(|payment| payment.get("created_at").and_then(Value::as_str).unwrap_or_default() >= since.as_str())
        .collect();
    let more = items.len() > limit;
    items.truncate(limit.min(100));
    let next = items.last().filter(|_| more).and_then(|last| last.get("id")).cloned();
    match next {
        Some(next) => Json(json!({ "type": "list", "items": items, "next_cursor": next })).into_response(),
        None => Json(json!({ "type": "list", "items": items })).into_response(),
    }
}
