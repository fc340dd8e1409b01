//! YooKassa: an unsigned notification. It is trusted only behind a secret in its path, and only as a pointer. `sync`
//! fetches the payment before it settles anything.
//!
//! Source: yookassa.ru/developers/using-api/webhooks ("Проверка подлинности": ask for the object's status by its id);
//! event names: the official Python SDK 3.13.0, `WebhookNotificationEventType`.

use serde::Deserialize;
use stagedoor_model::{Body, Event, PaymentNoticed};
use stagedoor_webhook::{
    Accepts, Delivery, NotUnderstood, Provider, Reject, SecretShape, Source, Verified, VerifiedDelivery, lenient,
    signature,
};

/// Options that `stagedoor-source-clients` uses to call YooKassa. They are listed here so that a misspelt option is
/// found.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "only the shape is checked here")]
struct Options {
    shop_id: String,
    key: String,
    orders_of: String,
    #[serde(default)]
    base_url: Option<String>,
    #[serde(default)]
    test: bool,
}

struct Yookassa(Source);

pub fn build(source: &Source) -> Result<Box<dyn Provider>, String> {
    let options = source.options::<Options>()?;
    if options.shop_id.trim().is_empty() || options.key.trim().is_empty() {
        return Err("options.shop_id and options.key are needed, and neither is empty".into());
    }
    source.secrets_have(SecretShape::PATH)?;
    Ok(Box::new(Yookassa(source.clone())))
}

#[derive(Deserialize)]
struct Notice {
    event: String,
    object: Pointer,
}

#[derive(Deserialize)]
struct Pointer {
    id: String,
}

impl Provider for Yookassa {
    fn accepts(&self) -> Accepts {
        Accepts::Json
    }

    fn verify_head(&self, head: &Delivery) -> Result<(), Reject> {
        signature::shown(Some(&head.tail), &self.0.secrets).map(drop)
    }

    fn verify(&self, delivery: &Delivery) -> Result<Verified, Reject> {
        signature::shown(Some(&delivery.tail), &self.0.secrets)
    }

    fn parse(&self, delivery: &VerifiedDelivery) -> Result<Vec<Event>, NotUnderstood> {
        let (notice, lost) = lenient::<Notice>(&delivery.object()?, &[])?;
        let refund = match notice.event.as_str() {
            "payment.succeeded" | "payment.canceled" | "payment.waiting_for_capture" => false,
            "refund.succeeded" => true,
            _ => return Err("an event that is not known".into()),
        };
        let id = notice.object.id;
        // Ids are UUIDs. A stranger must not choose a part of YooKassa's URL.
        if id.len() > 64 || id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            return Err("object.id is no id".into());
        }
        let body = Body::PaymentNoticed(PaymentNoticed { payment: id.clone(), refund });
        let event = delivery.event(&["payment", &notice.event, &id], delivery.received_at(), body);
        NotUnderstood::left_out(lost, vec![event])
    }
}
