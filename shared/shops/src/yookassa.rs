//! YooKassa's API v3: the payment or the refund that a notification named, as it is there.
//!
//! Source: yookassa.ru/developers/api: `GET /payments/{id}`, `GET /refunds/{id}`, `GET /payments` (`created_at.gte`, `limit`, `cursor`,
//! `next_cursor`), HTTP Basic with the shop's id and its secret key; the official Python SDK 3.13.0.

use std::sync::Arc;

use async_trait::async_trait;
use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::SignedDuration;
use serde::Deserialize;
use stagedoor_model::{
    Body, Money, OrderNoticed, Payment, PaymentKind, PaymentNoticed, PaymentReported, ShowRef, SourceName, Timestamp,
};
use stagedoor_ports::{Found, OrderDesk, PortError, PullPage, Result};
use stagedoor_webhook::Source;

use crate::http::Shop;

const API: &str = "https://api.yookassa.ru/v3";
const PAGE: &str = "100";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    shop_id: String,
    key: String,
    /// The source whose orders are paid here.
    orders_of: SourceName,
    #[serde(default)]
    base_url: Option<String>,
    /// Whether payments of a test shop settle anything.
    #[serde(default)]
    test: bool,
}

struct Yookassa {
    shop: Shop,
    orders_of: SourceName,
    test: bool,
}

pub fn build(source: &Source) -> std::result::Result<Arc<dyn OrderDesk>, String> {
    let options: Options = source.options()?;
    let basic = STANDARD.encode(format!("{}:{}", options.shop_id, options.key));
    let shop = Shop::new(options.base_url.as_deref().unwrap_or(API), format!("Basic {basic}"))?;
    Ok(Arc::new(Yookassa { shop, orders_of: options.orders_of, test: options.test }))
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

/// What the shop gave the payment when it made it.
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

#[derive(Deserialize)]
struct List {
    items: Vec<PaymentAnswer>,
    #[serde(default)]
    next_cursor: Option<String>,
}

impl Yookassa {
    fn received(&self, payment: &PaymentAnswer) -> Result<Option<(Body, Timestamp)>> {
        let at = payment.captured_at.unwrap_or(payment.created_at);
        match (&payment.metadata.order_id, payment.status.as_str()) {
            (Some(order), "succeeded") if !payment.test || self.test => {
                self.reported(order, &payment.id, &payment.amount, at, PaymentKind::Received).map(Some)
            }
            _ => Ok(None),
        }
    }

    fn reported(
        &self,
        order: &str,
        payment: &str,
        amount: &Amount,
        at: Timestamp,
        kind: PaymentKind,
    ) -> Result<(Body, Timestamp)> {
        let amount = Money::from_major(&amount.value, &amount.currency);
        let amount = amount.map_err(|error| PortError::Fail(format!("the amount of a payment: {error}")))?;
        let detail = Payment { at, kind, amount };
        let (shop, order, payment) = (Some(self.orders_of.clone()), order.to_owned(), payment.to_owned());
        Ok((Body::PaymentReported(PaymentReported { shop, order, payment, detail }), at))
    }
}

#[async_trait]
impl OrderDesk for Yookassa {
    async fn order(&self, _: &OrderNoticed) -> Result<Found> {
        Ok(Found::Nothing("a payment provider knows no orders"))
    }

    async fn show(&self, _: &ShowRef) -> Result<Option<Body>> {
        Ok(None)
    }

    async fn payment(&self, noticed: &PaymentNoticed) -> Result<Option<(Body, Timestamp)>> {
        if !noticed.refund {
            let payment = self.shop.get::<PaymentAnswer>(&["payments", &noticed.payment], &[]).await?;
            return payment.map_or(Ok(None), |payment| self.received(&payment));
        }
        let refund = self.shop.get::<RefundAnswer>(&["refunds", &noticed.payment], &[]).await?;
        let Some(refund) = refund.filter(|refund| refund.status == "succeeded") else { return Ok(None) };
        // A refund names its payment, and the payment its order.
        let payment = self.shop.get::<PaymentAnswer>(&["payments", &refund.payment_id], &[]).await?;
        let payment = payment.filter(|payment| !payment.test || self.test);
        let Some(order) = payment.and_then(|payment| payment.metadata.order_id) else { return Ok(None) };
        self.reported(&order, &refund.id, &refund.amount, refund.created_at, PaymentKind::Returned).map(Some)
    }

    /// Payments that no notification told of; refunds are told by theirs.
    async fn pull(&self, since: Timestamp, page: Option<String>) -> Result<PullPage> {
        let since = since.to_string();
        let mut query = vec![("created_at.gte", since.as_str()), ("status", "succeeded"), ("limit", PAGE)];
        if let Some(page) = &page {
            query.push(("cursor", page));
        }
        let Some(list) = self.shop.get::<List>(&["payments"], &query).await? else {
            return Ok(PullPage { bodies: vec![], next: None });
        };
        let mut bodies = Vec::new();
        for payment in &list.items {
            bodies.extend(self.received(payment)?.map(|(body, at)| (payment.id.clone(), at, body)));
        }
        Ok(PullPage { bodies, next: list.next_cursor })
    }

    fn overlap(&self) -> SignedDuration {
        // A payment is listed by when it was begun, and may be captured a week later.
        SignedDuration::from_hours(24 * 7)
    }
}
