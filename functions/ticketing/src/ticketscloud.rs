//! Ticketscloud: an unsigned webhook `{type, data}`. It is trusted only behind a secret in its path, and only as a
//! pointer. `sync` fetches the order.
//!
//! Source of the envelope: public clients of the webhook (Arutemu64/fanfan-bot); of the order: ticketscloud/doc.

use serde::Deserialize;
use stagedoor_model::{Body, Event, OrderNoticed, breakage};
use stagedoor_webhook::{
    Accepts, Delivery, NotUnderstood, Provider, Reject, SecretShape, Source, Verified, VerifiedDelivery, lenient,
    signature,
};

/// Options that `stagedoor-source-clients` uses to call Ticketscloud. They are listed here so that a misspelt option is
/// found.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "only the shape is checked here")]
struct Options {
    base_url: String,
    key: String,
}

struct Ticketscloud {
    source: Source,
}

pub fn build(source: &Source) -> Result<Box<dyn Provider>, String> {
    if source.options::<Options>()?.key.trim().is_empty() {
        return Err("options.key is empty".into());
    }
    source.secrets_have(SecretShape::PATH)?;
    Ok(Box::new(Ticketscloud { source: source.clone() }))
}

#[derive(Deserialize)]
struct Notice {
    #[serde(rename = "type")]
    kind: String,
    data: Pointer,
}

#[derive(Deserialize)]
struct Pointer {
    id: String,
    #[serde(default)]
    status: String,
}

const KINDS: [&str; 5] = ["order_created", "order_in_progress", "order_done", "order_cancelled", "order_expired"];

impl Provider for Ticketscloud {
    fn accepts(&self) -> Accepts {
        Accepts::Json
    }

    fn verify_head(&self, head: &Delivery) -> Result<(), Reject> {
        signature::shown(Some(&head.tail), &self.source.secrets).map(drop)
    }

    fn verify(&self, delivery: &Delivery) -> Result<Verified, Reject> {
        signature::shown(Some(&delivery.tail), &self.source.secrets)
    }

    fn parse(&self, delivery: &VerifiedDelivery) -> Result<Vec<Event>, NotUnderstood> {
        let (notice, lost) = lenient::<Notice>(&delivery.object()?, &[])?;
        if !KINDS.contains(&notice.kind.as_str()) {
            return Err("a type that is not known".into());
        }
        if notice.data.id.len() != 24 || !notice.data.id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err("data.id is not 24 hexadecimal digits".into());
        }
        let Pointer { id: order, status } = notice.data;
        // A status may be reported twice, with another customer or other tickets. So the whole body identifies the
        // change.
        let told =
            if breakage::is_on("event-id-coarse") { "".into() } else { String::from_utf8_lossy(delivery.body()) };
        let parts = ["order", order.as_str(), notice.kind.as_str(), status.as_str(), &told];
        let body = Body::OrderNoticed(OrderNoticed { order: order.clone(), scope: None });
        NotUnderstood::left_out(lost, vec![delivery.event(&parts, delivery.received_at(), body)])
    }
}
