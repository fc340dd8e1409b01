//! Reports of an SMS gateway behind an adapter of the organiser (`[sms] provider = "http"`): an SMS arrived or failed.
//! JSON signed by Standard Webhooks. The contract is ours: docs/providers/gateway.md.

use stagedoor_model::{Body, Event, LetterReported, MailMessageState, Timestamp};
use stagedoor_webhook::{
    Accepts, Delivery, NotUnderstood, Provider, Reject, Shape, Source, Verified, VerifiedDelivery, odd,
    read::{id, is_true, text},
    signature,
};

use crate::report::{NoOptions, letter, phone};

const OPTIONAL: Shape = Shape { texts: &["code"], numbers: &[], instants: &["at"], lists: &[], flags: &["permanent"] };

struct Gateway(Source);

pub fn build(source: &Source) -> Result<Box<dyn Provider>, String> {
    let NoOptions {} = source.options()?;
    Ok(Box::new(Gateway(source.clone())))
}

impl Provider for Gateway {
    fn accepts(&self) -> Accepts {
        Accepts::Json
    }

    fn verify_head(&self, head: &Delivery) -> Result<(), Reject> {
        signature::offered(head, "webhook-signature")
    }

    fn verify(&self, delivery: &Delivery) -> Result<Verified, Reject> {
        signature::standard_webhooks(delivery, &self.0.secrets)
    }

    fn says_what_is_strange(&self) -> bool {
        true
    }

    fn kept_headers(&self) -> &'static [&'static str] {
        &["content-type", "webhook-id"]
    }

    fn parse(&self, delivery: &VerifiedDelivery) -> Result<Vec<Event>, NotUnderstood> {
        let one = delivery.object()?;
        let own = text(&one, "/id").or_else(|| id(&one, "/id")).ok_or("no id")?;
        let number = text(&one, "/phone").or_else(|| id(&one, "/phone")).ok_or("no phone")?;
        let to = phone(&number, self.0.region).ok_or("a phone that cannot be read")?;
        let status = text(&one, "/status").ok_or("no status")?;
        let state = match status.as_str() {
            "delivered" => MailMessageState::Delivered,
            "failed" if is_true(&one, "/permanent") => MailMessageState::HardBounced,
            "failed" => MailMessageState::SoftBounced,
            _ => return Err("a status of another name; known are delivered and failed".into()),
        };
        let at = text(&one, "/at").and_then(|at| at.parse::<Timestamp>().ok()).unwrap_or(delivery.received_at());
        let code = text(&one, "/code").or_else(|| id(&one, "/code")).filter(|_| state != MailMessageState::Delivered);
        let body =
            Body::LetterReported(LetterReported { letter: Some(own.clone()), code, ..letter(to.clone(), state) });
        let event = delivery.event_by_content(&["report", &own, to.value(), &status], at, body);
        NotUnderstood::left_out(odd(&one, &OPTIONAL), vec![event])
    }
}
