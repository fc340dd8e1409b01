//! YooKassa's API v3: the present state of the payment or refund that a notification names.
//!
//! Source: yookassa.ru/developers/api: `GET /payments/{id}`, `GET /refunds/{id}`, `GET /payments` and `GET /refunds`
//! (`created_at.gte`, `limit`, `cursor`, `next_cursor`), HTTP Basic with the shop's id and its secret key; the official
//! Python SDK 3.13.0.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::SignedDuration;
use serde::Deserialize;
use serde_json::{Value, json};
use stagedoor_model::{
    Body, Money, OrderNoticed, Payment, PaymentKind, PaymentNoticed, PaymentReported, ShowRef, SourceName, Timestamp,
};
use stagedoor_ports::{Found, HttpClient, OrderApi, PullPage, Result};
use stagedoor_webhook::Source;

use crate::{
    http::Shop,
    rows::{self, Odd},
};

const API: &str = "https://api.yookassa.ru/v3";
const PAGE: &str = "100";
/// Prefix of page tokens for refunds.
const REFUNDS: &str = "refunds:";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    shop_id: String,
    key: String,
    /// The source whose orders are paid here.
    orders_of: SourceName,
    #[serde(default)]
    base_url: Option<String>,
    /// True if payments of a test shop settle orders.
    #[serde(default)]
    test: bool,
}

struct Yookassa {
    name: SourceName,
    shop: Shop,
    orders_of: SourceName,
    test: bool,
    /// Known payments, so that a refund which is polled again costs at most one call.
    known: Mutex<BTreeMap<String, Known>>,
}

/// Maximum number of remembered payments.
const REMEMBERED: usize = 50_000;

#[derive(Clone)]
struct Known {
    /// True if the payment counts. Payments of a test shop do not.
    counts: bool,
    order: Option<String>,
}

pub fn build(source: &Source, http: &Arc<dyn HttpClient>) -> std::result::Result<Arc<dyn OrderApi>, String> {
    let options: Options = source.options()?;
    let basic = STANDARD.encode(format!("{}:{}", options.shop_id, options.key));
    let shop = Shop::new(options.base_url.as_deref().unwrap_or(API), format!("Basic {basic}"), http)?;
    let (name, known) = (source.name.clone(), Mutex::default());
    Ok(Arc::new(Yookassa { name, shop, orders_of: options.orders_of, test: options.test, known }))
}

#[derive(Deserialize)]
struct Amount {
    value: String,
    currency: String,
}

#[derive(Deserialize)]
struct PaymentAnswer {
    id: String,
    status: String,
    amount: Amount,
    created_at: Timestamp,
    #[serde(default)]
    captured_at: Option<Timestamp>,
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    test: bool,
}

/// Data that the shop gave the payment when it created it.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Metadata {
    order_id: Option<String>,
}

#[derive(Deserialize)]
struct RefundAnswer {
    id: String,
    payment_id: String,
    status: String,
    amount: Amount,
    created_at: Timestamp,
}

#[derive(Deserialize, Default)]
struct List {
    items: Vec<Value>,
    #[serde(default)]
    next_cursor: Option<String>,
}

/// The result of reading a row. `None` if it moved no money.
type Read = std::result::Result<Option<(Body, Timestamp)>, Odd>;

impl Yookassa {
    fn known(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Known>> {
        self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn remember(&self, payment: &PaymentAnswer) -> Known {
        let one = Known { counts: !payment.test || self.test, order: payment.metadata.order_id.clone() };
        let mut known = self.known();
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(payment.id.clone(), one.clone());
        one
    }

    async fn payment_of(&self, refund: &RefundAnswer) -> Result<std::result::Result<Option<Known>, Odd>> {
        let known = self.known().get(&refund.payment_id).cloned();
        if known.is_some() {
            return Ok(Ok(known));
        }
        let row = self.shop.get::<Value>(&["payments", &refund.payment_id], &[]).await?;
        let payment = row.map(|row| self.paid(&row)).transpose();
        Ok(payment.map(|payment| payment.map(|payment| self.remember(&payment))))
    }

    fn paid(&self, row: &Value) -> std::result::Result<PaymentAnswer, Odd> {
        rows::read(&self.name, row, &["test"])
    }

    fn received(&self, row: &Value) -> Read {
        let payment = self.paid(row)?;
        self.remember(&payment);
        let at = payment.captured_at.unwrap_or(payment.created_at);
        if payment.status != "succeeded" || payment.test && !self.test {
            return Ok(None);
        }
        let ids = (payment.id.as_str(), payment.id.as_str());
        self.reported(payment.metadata.order_id, ids, &payment.amount, at, PaymentKind::Received).map(Some)
    }

    /// Reads a refund. A refund names its payment, and the payment its order. If the payment names no order, the hub
    /// finds it by the payment.
    async fn refunded(&self, row: &Value) -> Result<Read> {
        let refund = match rows::read::<RefundAnswer>(&self.name, row, &[]) {
            Ok(refund) if refund.status == "succeeded" => refund,
            Ok(_) => return Ok(Ok(None)),
            Err(odd) => return Ok(Err(odd)),
        };
        let known = match self.payment_of(&refund).await? {
            Ok(known) => known,
            Err(odd) => return Ok(Err(Odd(format!("its payment: {}", odd.0)))),
        };
        let Some(Known { order, .. }) = known.filter(|known| known.counts) else { return Ok(Ok(None)) };
        let ids = (refund.id.as_str(), refund.payment_id.as_str());
        Ok(self.reported(order, ids, &refund.amount, refund.created_at, PaymentKind::Returned).map(Some))
    }

    /// Keeps an unreadable row by itself.
    fn told(&self, row: &Value, read: Read, is_refund: bool) -> Result<Option<(Body, Timestamp)>> {
        let (what, event) =
            if is_refund { ("a refund", "refund.succeeded") } else { ("a payment", "payment.succeeded") };
        read.or_else(|odd| {
            let notice = json!({ "event": event, "object": { "id": rows::id(row, "id") } });
            rows::kept(&self.name, what, odd, &notice).map(Some)
        })
    }

    /// Reports a payment. `own` is the id of the payment or the refund, `of` that of the payment.
    fn reported(
        &self,
        order: Option<String>,
        (own, of): (&str, &str),
        amount: &Amount,
        at: Timestamp,
        kind: PaymentKind,
    ) -> std::result::Result<(Body, Timestamp), Odd> {
        let amount = Money::from_major(&amount.value, &amount.currency);
        let amount = amount.map_err(|error| Odd(format!("an amount: {error}")))?;
        let detail = Payment { at, kind, amount };
        let (shop, payment, references) = (Some(self.orders_of.clone()), own.to_owned(), [of.to_owned()].into());
        let order = order.filter(|order| !order.trim().is_empty());
        Ok((Body::PaymentReported(PaymentReported { shop, order, payment, references, detail }), at))
    }
}

#[async_trait]
impl OrderApi for Yookassa {
    async fn order(&self, _: &OrderNoticed) -> Result<Found> {
        Ok(Found::Nothing("a payment provider knows no orders"))
    }

    async fn show(&self, _: &ShowRef) -> Result<Option<Body>> {
        Ok(None)
    }

    async fn payment(&self, noticed: &PaymentNoticed) -> Result<Option<(Body, Timestamp)>> {
        let what = if noticed.refund { "refunds" } else { "payments" };
        let Some(row) = self.shop.get::<Value>(&[what, &noticed.payment], &[]).await? else { return Ok(None) };
        let read = if noticed.refund { self.refunded(&row).await? } else { self.received(&row) };
        self.told(&row, read, noticed.refund)
    }

    /// Reads payments, then refunds, that no notification reported.
    async fn pull(&self, since: Timestamp, page: Option<String>) -> Result<PullPage> {
        let since = since.to_string();
        let refunds = page.as_deref().and_then(|page| page.strip_prefix(REFUNDS));
        let cursor = refunds.map(str::to_owned).or(page.clone()).filter(|cursor| !cursor.is_empty());
        let mut query = vec![("created_at.gte", since.as_str()), ("status", "succeeded"), ("limit", PAGE)];
        query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
        let mut bodies = Vec::new();
        let what = if refunds.is_some() { "refunds" } else { "payments" };
        let list = self.shop.get::<List>(&[what], &query).await?.unwrap_or_default();
        for row in &list.items {
            let read = if refunds.is_some() { self.refunded(row).await? } else { self.received(row) };
            let told = self.told(row, read, refunds.is_some())?;
            bodies.extend(told.map(|(body, at)| (rows::id(row, "id"), at, body)));
        }
        let next = match refunds {
            Some(_) => list.next_cursor.map(|cursor| format!("{REFUNDS}{cursor}")),
            None => list.next_cursor.or_else(|| Some(REFUNDS.to_owned())),
        };
        Ok(PullPage { bodies, next })
    }

    fn overlap(&self) -> SignedDuration {
        // A payment is listed by its start, and may be captured a week later.
        SignedDuration::from_hours(24 * 7)
    }
}
