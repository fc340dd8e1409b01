//! Stripe: events signed by `Stripe-Signature: t=<unix>,v1=<hex>[,v1=<hex>…]` over `t.body` with HMAC-SHA256. Other
//! schemes are ignored. Events older than five minutes are refused.
//!
//! Source: docs.stripe.com/webhooks, "Verify webhook signatures manually"; the official Python SDK 16.1.0,
//! `_webhook.py`. Fields: docs.stripe.com/api/checkout/sessions/object, …/charges/object, …/refunds/object,
//! …/disputes/object; types: docs.stripe.com/api/events/types.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;
use stagedoor_model::{Body, Event, Money, Payment, PaymentKind, PaymentReported, SourceName, Timestamp, breakage};
use stagedoor_webhook::{
    Accepts, Delivery, NotUnderstood, Provider, Reject, SecretShape, Shape, Source, Verified, VerifiedDelivery, odd,
    read::{id, second, text},
    signature::{Encoding, HmacScheme},
};

/// Maximum age of a signature in seconds (`Webhook.DEFAULT_TOLERANCE` of the SDK).
const TOLERANCE: i64 = 300;

/// The signatures within the header, whose form is `t=<unix>,v1=<hex>`.
const SIGNATURE: HmacScheme = HmacScheme::sha256(Encoding::Hex).in_header("stripe-signature");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    /// The source whose orders are paid here.
    orders_of: SourceName,
}

const OPTIONAL: Shape = Shape {
    texts: &[
        "data/object/client_reference_id",
        "data/object/metadata/order_id",
        "data/object/object",
        "data/object/id",
        "data/object/payment_intent",
        "data/object/charge",
        "data/object/latest_charge",
        "data/object/invoice",
        "data/object/subscription",
    ],
    numbers: &["created", "data/object/amount", "data/object/amount_captured"],
    instants: &[],
    lists: &[],
    flags: &["data/object/captured"],
};

struct Stripe {
    source: Source,
    orders_of: SourceName,
}

/// The shape of a webhook secret. An API key of Stripe cannot verify a signature.
const SIGNS: SecretShape = SecretShape::new(
    |text| !["sk_", "rk_", "pk_"].iter().any(|start| text.starts_with(start)),
    "is a key of Stripe's API: the signing secret of the webhook begins with whsec_",
);

pub fn build(source: &Source) -> Result<Box<dyn Provider>, String> {
    let options: Options = source.options()?;
    source.secrets_have(SIGNS)?;
    Ok(Box::new(Stripe { source: source.clone(), orders_of: options.orders_of }))
}

impl Provider for Stripe {
    fn accepts(&self) -> Accepts {
        Accepts::Json
    }

    fn verify_head(&self, head: &Delivery) -> Result<(), Reject> {
        SIGNATURE.offered(head)
    }

    fn verify(&self, delivery: &Delivery) -> Result<Verified, Reject> {
        SIGNATURE.verify_timed(delivery, TOLERANCE, &self.source.secrets)
    }

    fn parse(&self, delivery: &VerifiedDelivery) -> Result<Vec<Event>, NotUnderstood> {
        let event = delivery.object()?;
        let kind = text(&event, "/type").ok_or(NotUnderstood::from("no type"))?;
        // A time in the future is replaced by the time of receipt, so that it does not block later changes.
        let at = second(&event, "/created", delivery.received_at()).min(delivery.received_at());
        let object = event.pointer("/data/object").ok_or(NotUnderstood::from("no data.object"))?;
        let reported = match kind.as_str() {
            "checkout.session.completed" | "checkout.session.async_payment_succeeded" => self.session(object, at)?,
            "payment_intent.succeeded" => self.intent(object, at)?,
            "charge.refunded" => self.returned(object, at)?,
            "refund.failed" | "charge.refund.updated" | "refund.updated" => self.refund(object, at)?,
            "charge.dispute.created" => Some(self.dispute(object, at, PaymentKind::Disputed)?),
            "charge.dispute.closed" => self.closed(object, at)?,
            _ if FAMILIES.iter().any(|family| kind.starts_with(family)) => None,
            _ => return Err("a type that is not known".into()),
        };
        let fact = |body: PaymentReported| {
            let (minor, created) = (body.detail.amount.minor.to_string(), at.to_string());
            // The sum of refunds may be the same twice, with a failed refund between.
            let payment = body.payment.clone();
            let parts = ["payment", kind.as_str(), payment.as_str(), minor.as_str(), created.as_str()];
            delivery.event(&parts, at, Body::PaymentReported(body))
        };
        // An event without meaning for the hub has no odd fields.
        let lost = if reported.is_some() { odd(&event, &OPTIONAL) } else { vec![] };
        NotUnderstood::left_out(lost, reported.into_iter().map(fact).collect())
    }
}

/// Prefixes of types that move no money of an order, or repeat another type. An endpoint may be subscribed to all
/// types.
const FAMILIES: [&str; 20] = [
    "account.",
    "balance.",
    "billing_portal.",
    "capability.",
    "cash_balance.",
    "charge.",
    "checkout.session.",
    "coupon.",
    "customer.",
    "invoice.",
    "payment_intent.",
    "payment_link.",
    "payment_method.",
    "payout.",
    "price.",
    "product.",
    "radar.",
    "refund.",
    "setup_intent.",
    "topup.",
];

impl Stripe {
    fn session(&self, session: &Value, at: Timestamp) -> Result<Option<PaymentReported>, NotUnderstood> {
        // The session of a bank transfer is complete before the money arrives.
        match text(session, "/payment_status").as_deref() {
            Some("paid") => {}
            Some("unpaid" | "no_payment_required") => return Ok(None),
            _ => return Err("a payment_status that is not known".into()),
        }
        // The session of a subscription names only the invoice, which the payment intent names, too.
        let payment = ["/payment_intent", "/invoice", "/id"].into_iter().find_map(|path| id(session, path));
        self.reported(session, payment, money(session, "/amount_total")?, at, PaymentKind::Received).map(Some)
    }

    /// Reports a payment under the id that its session has for it, so that both count once. The order may be known by
    /// the session or the shop, or by nobody: then the money is shown.
    fn intent(&self, intent: &Value, at: Timestamp) -> Result<Option<PaymentReported>, NotUnderstood> {
        let amount = money(intent, "/amount_received").or_else(|_| money(intent, "/amount"))?;
        let payment = ["/invoice", "/id"].into_iter().find_map(|path| id(intent, path));
        self.reported(intent, payment, amount, at, PaymentKind::Received).map(Some)
    }

    /// Reports the sum of all refunds of a charge so far. A new report replaces the last one. Stripe also counts the
    /// part of a hold that was never captured, which no buyer paid.
    fn returned(&self, charge: &Value, at: Timestamp) -> Result<Option<PaymentReported>, NotUnderstood> {
        if charge.pointer("/captured").and_then(Value::as_bool) == Some(false) {
            return Ok(None);
        }
        let payment = id(charge, "/id").map(|charge| returned_of(&charge));
        let mut returned = money(charge, "/amount_refunded")?;
        if let (Ok(held), Ok(captured)) = (money(charge, "/amount"), money(charge, "/amount_captured"))
            && !breakage::is_on("released-hold-is-refund")
        {
            let released = held.minor.saturating_sub(captured.minor).max(0);
            // A smaller sum cannot hold it.
            returned.minor = if returned.minor >= released { returned.minor - released } else { returned.minor };
        }
        self.reported(charge, payment, returned, at, PaymentKind::Returned).map(Some)
    }

    /// Reports only a failed refund. For all other refunds the charge reports.
    fn refund(&self, refund: &Value, at: Timestamp) -> Result<Option<PaymentReported>, NotUnderstood> {
        if !matches!(text(refund, "/status").as_deref(), Some("failed" | "canceled")) {
            return Ok(None);
        }
        let own = id(refund, "/id").ok_or(NotUnderstood::from("it has no id"))?;
        let charge = id(refund, "/charge").or_else(|| id(refund, "/payment_intent"));
        let payment = charge.map(|charge| format!("{}/failed/{own}", returned_of(&charge)));
        self.reported(refund, payment, money(refund, "/amount")?, at, PaymentKind::ReturnFailed).map(Some)
    }

    fn dispute(&self, dispute: &Value, at: Timestamp, kind: PaymentKind) -> Result<PaymentReported, NotUnderstood> {
        let own = id(dispute, "/id");
        let payment = own.map(|id| if kind == PaymentKind::Returned { format!("{id}/lost") } else { id });
        self.reported(dispute, payment, money(dispute, "/amount")?, at, kind)
    }

    /// Reports a closed dispute. A lost dispute took the money, a won one left it.
    fn closed(&self, dispute: &Value, at: Timestamp) -> Result<Option<PaymentReported>, NotUnderstood> {
        match text(dispute, "/status").as_deref() {
            Some("lost") => self.dispute(dispute, at, PaymentKind::Returned).map(Some),
            _ => Ok(None),
        }
    }

    fn reported(
        &self,
        object: &Value,
        payment: Option<String>,
        amount: Money,
        at: Timestamp,
        kind: PaymentKind,
    ) -> Result<PaymentReported, NotUnderstood> {
        let payment = payment.ok_or(NotUnderstood::from("it has no id"))?;
        let mut references: BTreeSet<String> = REFERENCES.into_iter().filter_map(|path| id(object, path)).collect();
        // The id of a refund or a dispute does not identify a payment.
        let named = matches!(kind, PaymentKind::Received) || text(object, "/object").as_deref() == Some("charge");
        references.extend(id(object, "/id").filter(|_| named));
        let (shop, order) = (Some(self.orders_of.clone()), order_of(object));
        Ok(PaymentReported { shop, order, payment, references, detail: Payment { at, kind, amount } })
    }
}

/// Fields with other ids of the same payment. A session of a subscription has no payment intent, and the charge of its
/// refund names the invoice.
const REFERENCES: [&str; 5] = ["/payment_intent", "/charge", "/latest_charge", "/invoice", "/subscription"];

/// The shop's id of the order, if the object carries it.
fn order_of(object: &Value) -> Option<String> {
    let named = ["/client_reference_id", "/metadata/order_id"].into_iter().filter_map(|path| text(object, path));
    named.into_iter().find(|order| !order.is_empty())
}

/// The id under which the sum of a charge's refunds is kept.
fn returned_of(charge: &str) -> String {
    format!("{charge}/refunded")
}

/// An amount. Stripe gives amounts in minor units (docs.stripe.com/currencies). Three currencies are special: the
/// króna and the shilling come in hundredths that they do not have, the ariary comes without its fifths.
fn money(object: &Value, path: &str) -> Result<Money, NotUnderstood> {
    let currency = text(object, "/currency").unwrap_or_default().to_uppercase();
    // Minor units are whole numbers.
    let whole = |it: &Value| it.as_i64().or_else(|| it.as_str()?.trim().parse().ok());
    let minor = object.pointer(path).and_then(whole).ok_or(NotUnderstood::from("no amount"))?;
    let minor = match currency.as_str() {
        "ISK" | "UGX" if minor % 100 == 0 => minor / 100,
        "ISK" | "UGX" => return Err("amount: a fraction of a currency without fractions".into()),
        "MGA" => minor.saturating_mul(100),
        _ => minor,
    };
    Money::from_minor(minor, &currency).map_err(|error| NotUnderstood::new(format!("amount: {error}")))
}
