//! pretix. Its webhook is unsigned and names only the order. `sync` fetches the order itself.
//!
//! Source: docs.pretix.eu/dev/api/webhooks.html; bodies recorded from pretix 2026.8.0. An answer of 410 disables the
//! webhook. Other answers than 2xx are retried for three days. `notification_id` stays the same over retries.

use serde::Deserialize;
use stagedoor_model::{Body, Event, OrderNoticed, ShowChanged, ShowRef};
use stagedoor_webhook::{
    Accepts, Delivery, NotUnderstood, Provider, Reject, SecretShape, Source, Verified, VerifiedDelivery, lenient,
    signature,
};

/// Options that `stagedoor-source-clients` uses to call pretix. They are listed here so that a misspelt option is
/// found.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "only the shape is checked here")]
struct Options {
    base_url: String,
    organizer: String,
    token: String,
}

struct Pretix {
    source: Source,
}

pub fn build(source: &Source) -> Result<Box<dyn Provider>, String> {
    let options = source.options::<Options>()?;
    // pretix allows letters, digits, dots and dashes in the short name of an organizer.
    let is_slug = |text: &str| {
        text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)) && text.bytes().any(|b| b != b'.')
    };
    if !is_slug(&options.organizer) {
        return Err("options.organizer is the short name in the address of your shop, without slashes".into());
    }
    if options.token.trim().is_empty() {
        return Err("options.token is empty".into());
    }
    source.secrets_have(SecretShape::PATH)?;
    Ok(Box::new(Pretix { source: source.clone() }))
}

#[derive(Deserialize)]
struct Notice {
    /// Number of the notification. The event's id is made of it.
    #[serde(default)]
    notification_id: Option<u64>,
    action: String,
    #[serde(default)]
    event: Option<String>,
    #[serde(default)]
    code: Option<String>,
    /// The date within a series of events.
    #[serde(default)]
    subevent: Option<u64>,
}

impl Provider for Pretix {
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
        let (notice, lost) = lenient::<Notice>(&delivery.object()?, &["event", "code", "subevent"])?;
        let body = match (notice.action.as_str(), notice.event, notice.code) {
            (action, Some(event), Some(order)) if is_of_order(action) => {
                Body::OrderNoticed(OrderNoticed { order, scope: Some(event) })
            }
            ("pretix.event.changed", Some(event), _) => noticed(event),
            // The tickets of a series name its dates, each by the event and its number.
            ("pretix.subevent.changed", Some(event), _) => match notice.subevent {
                Some(number) => noticed(format!("{event}/{number}")),
                None => return Err("a date of a series without its number".into()),
            },
            (action, _, _) if IRRELEVANT.iter().any(|prefix| action.starts_with(prefix)) => return Ok(vec![]),
            _ => return Err("an action that is not known".into()),
        };
        let at = delivery.received_at();
        let event = match notice.notification_id {
            Some(number) => delivery.event(&["notification", &number.to_string()], at, body),
            None => delivery.event_by_content(&["notification", &notice.action, &at.to_string()], at, body),
        };
        NotUnderstood::left_out(lost, vec![event])
    }
}

fn noticed(show: String) -> Body {
    Body::ShowNoticed(ShowChanged { show: ShowRef::id(show) })
}

fn is_of_order(action: &str) -> bool {
    action.starts_with("pretix.event.order.") || action.starts_with("pretix.event.checkin")
}

/// Prefixes of actions that do not concern a person's deals. Nobody has a ticket for a date that is new. pretix deletes
/// no date that somebody ordered.
const IRRELEVANT: [&str; 9] = [
    "pretix.voucher.",
    "pretix.event.orders.waitinglist.",
    "pretix.customer.",
    "pretix.giftcards.",
    "pretix.event.live.",
    "pretix.event.testmode.",
    "pretix.event.added",
    "pretix.subevent.added",
    "pretix.subevent.deleted",
];
