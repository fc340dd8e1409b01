//! Stripe: events signed by `Stripe-Signature: t=<unix>,v1=<hex>[,v1=<hex>…]` over `t.body` with HMAC-SHA256; other schemes are
//! ignored, and what is older than five minutes is refused.
//!
//! Source: docs.stripe.com/webhooks, "Verify webhook signatures manually"; the official Python SDK 16.1.0, `_webhook.py`. Fields:
//! docs.stripe.com/api/checkout/sessions/object, …/charges/object.

use serde::Deserialize;
use serde_json::Value;
use stagedoor_model::{Body, Event, Money, Payment, PaymentKind, PaymentReported, SourceName, Timestamp};
use stagedoor_webhook::{
    Accepts, Delivery, NotUnderstood, Provider, Reject, Source, Verified, VerifiedDelivery,
    read::{id, second, text},
    signature,
};

/// Seconds (`Webhook.DEFAULT_TOLERANCE` of the SDK).
const TOLERANCE: i64 = 300;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    /// The source whose orders are paid here.
    orders_of: SourceName,
}

struct Stripe {
    source: Source,
    orders_of: SourceName,
}

pub fn build(source: &Source) -> Result<Box<dyn Provider>, String> {
    let options: Options = source.options()?;
    Ok(Box::new(Stripe { source: source.clone(), orders_of: options.orders_of }))
}

impl Provider for Stripe {
    fn accepts(&self) -> Accepts {
        Accepts::Json
    }

    fn verify(&self, delivery: &Delivery) -> Result<Verified, Reject> {
        let header = delivery.header("stripe-signature").ok_or(Reject::MissingSignature)?;
        let all = |key: &'static str| {
            let parts = header.split(',').filter_map(|part| part.trim().split_once('='));
            parts.filter(move |(name, _)| *name == key).map(|(_, value)| value)
        };
        let stamp = all("t").next().ok_or(Reject::MalformedSignature)?;
        let at: i64 = stamp.parse().map_err(|_| Reject::MalformedSignature)?;
        signature::within(at, TOLERANCE, delivery.received_at)?;
        let parts: [&[u8]; 3] = [stamp.as_bytes(), b".", &delivery.body];
        let mut outcome = Err(Reject::MissingSignature);
        for given in all("v1") {
            outcome = signature::hmac_sha256_hex_of(&parts, Some(given), &self.source.secrets);
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }

    fn parse(&self, delivery: &VerifiedDelivery) -> Result<Vec<Event>, NotUnderstood> {
        let event: Value = serde_json::from_slice(delivery.body())?;
        let kind = text(&event, "/type").ok_or(NotUnderstood::from("no type"))?;
        let at = second(&event, "/created", delivery.received_at());
        let object = event.pointer("/data/object").ok_or(NotUnderstood::from("no data.object"))?;
        let reported = match kind.as_str() {
            "checkout.session.completed" | "checkout.session.async_payment_succeeded" => self.paid(object, at)?,
            "charge.refunded" => Some(self.returned(object, at)?),
            "checkout.session.async_payment_failed" | "checkout.session.expired" => None,
            _ => return Err("a type that is not known".into()),
        };
        let fact = |body: PaymentReported| {
            let minor = body.detail.amount.minor.to_string();
            let parts = ["payment", body.payment.as_str(), minor.as_str()].map(str::to_owned);
            delivery.event(&parts.each_ref().map(String::as_str), at, Body::PaymentReported(body))
        };
        Ok(reported.into_iter().map(fact).collect())
    }
}

impl Stripe {
    fn paid(&self, session: &Value, at: Timestamp) -> Result<Option<PaymentReported>, NotUnderstood> {
        // A bank transfer's session is complete before its money came.
        match text(session, "/payment_status").as_deref() {
            Some("paid") => {}
            Some("unpaid" | "no_payment_required") => return Ok(None),
            _ => return Err("a payment_status that is not known".into()),
        }
        let order = text(session, "/client_reference_id").or_else(|| text(session, "/metadata/order_id"));
        let payment = id(session, "/payment_intent").or_else(|| id(session, "/id"));
        self.reported(order, payment, money(session, "/amount_total")?, at, PaymentKind::Received).map(Some)
    }

    /// The sum of all refunds of a charge so far: told again it stands in the place of the last.
    fn returned(&self, charge: &Value, at: Timestamp) -> Result<PaymentReported, NotUnderstood> {
        let payment = id(charge, "/id").map(|charge| format!("{charge}/refunded"));
        let amount = money(charge, "/amount_refunded")?;
        self.reported(text(charge, "/metadata/order_id"), payment, amount, at, PaymentKind::Returned)
    }

    fn reported(
        &self,
        order: Option<String>,
        payment: Option<String>,
        amount: Money,
        at: Timestamp,
        kind: PaymentKind,
    ) -> Result<PaymentReported, NotUnderstood> {
        let order = order.filter(|order| !order.is_empty());
        let order = order.ok_or(NotUnderstood::from("it names no order (client_reference_id, metadata.order_id)"))?;
        let payment = payment.ok_or(NotUnderstood::from("it has no id"))?;
        Ok(PaymentReported { shop: Some(self.orders_of.clone()), order, payment, detail: Payment { at, kind, amount } })
    }
}

/// Amounts are in minor units already (docs.stripe.com/currencies).
fn money(object: &Value, path: &str) -> Result<Money, NotUnderstood> {
    let currency = text(object, "/currency").unwrap_or_default().to_uppercase();
    let minor = object.pointer(path).and_then(Value::as_i64).ok_or(NotUnderstood::from("no amount"))?;
    Money::from_minor(minor, &currency).map_err(|error| NotUnderstood::new(format!("amount: {error}")))
}
