//! SendPulse, e-mail service. Source: sendpulse.com/knowledge-base/email-service/additional/webhooks (an array, each
//! minute or at 100 events; it prints `open`, `redirect`, `unsubscribe`, `spam`). There is no signature: the last part
//! of the path is the secret. The names of the other events are not fully published, so unknown events are kept.

use serde_json::Value;
use stagedoor_model::{Body, Event, LetterReported, MailMessageState};
use stagedoor_webhook::{
    Accepts, Delivery, NotUnderstood, Provider, Reject, SecretShape, Shape, Source, Verified, VerifiedDelivery, odd,
    read::{id, text, told_second},
    signature,
};

use crate::report::{NoOptions, bare_link, complained, email, letter, membership, permanent, unsubscribed};

const OPTIONAL: Shape = Shape {
    texts: &["task_id", "link_id", "link_url", "book_id", "smtp_server_response"],
    numbers: &["timestamp"],
    instants: &[],
    lists: &[],
    flags: &[],
};

struct Sendpulse(Source);

pub fn build(source: &Source) -> Result<Box<dyn Provider>, String> {
    let NoOptions {} = source.options()?;
    source.secrets_have(SecretShape::PATH)?;
    Ok(Box::new(Sendpulse(source.clone())))
}

impl Provider for Sendpulse {
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
        // SendPulse may send one object instead of an array.
        let batch = delivery.list()?;
        let lost = batch.iter().flat_map(|one| odd(one, &OPTIONAL)).collect();
        let (mut events, mut understood) = (Vec::new(), true);
        for one in &batch {
            let (Some(kind), Some(body)) = (text(one, "/event"), told(one)) else {
                understood = false;
                continue;
            };
            let part = |pointer: &str| id(one, pointer).unwrap_or_default();
            // Events have no id. Equal content about the same address in the same second is the same fact.
            let parts =
                [kind, part("/task_id"), part("/email"), part("/timestamp"), part("/link_id"), part("/book_id")];
            let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
            let told_at = told_second(one, "/timestamp");
            events.extend(body.map(|body| delivery.event_told_at(&parts, told_at, body)));
        }
        NotUnderstood::unless_odd(understood, "an event of another shape", lost, events)
    }
}

/// The content of an event. `Some(None)` means that there is nothing to report.
fn told(one: &Value) -> Option<Option<Body>> {
    let kind = text(one, "/event")?;
    if kind == "task_status_update" {
        return Some(None);
    }
    let to = email(&text(one, "/email")?)?;
    let book = || id(one, "/book_id");
    let state = match kind.as_str() {
        "delivered" => MailMessageState::Delivered,
        "open" => MailMessageState::Opened,
        "redirect" => MailMessageState::Clicked,
        "soft_bounces" => MailMessageState::SoftBounced,
        "hard_bounces" => permanent(None, &[text(one, "/smtp_server_response")]),
        "spam" => return Some(Some(complained(to))),
        "unsubscribe" => return Some(Some(unsubscribed(to, book()))),
        "new_emails" => return Some(Some(membership(to, book().into_iter().collect(), true))),
        // The owner removed the address from the list. The person did not withdraw.
        "delete" => return Some(Some(membership(to, book().into_iter().collect(), false))),
        _ => return None,
    };
    Some(Some(Body::LetterReported(LetterReported {
        campaign: id(one, "/task_id"),
        link: text(one, "/link_url").and_then(|link| bare_link(&link)),
        ..letter(to, state)
    })))
}
