//! SMSC.ru: callbacks to the client's handler (smsc.ru/api/http/, "Отправка статусов на сайт клиента"). Every public
//! copy of that page is cut, so the numbers of the states are from memory, and unknown ones are kept. There is no
//! reliable signature: the last part of the path is the secret.

use serde::Deserialize;
use stagedoor_model::{Body, Content, Event, LetterReported, MailMessageState, Timestamp};
use stagedoor_webhook::{
    Accepts, Delivery, Form, NotUnderstood, Provider, Reject, SecretShape, Source, Verified, VerifiedDelivery,
    signature,
};

use crate::report::{letter, phone, sms, zone, zoned};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    /// The account's time zone, in which SMSC gives times.
    zone: Option<String>,
}

struct Smsc {
    source: Source,
    zone: jiff::tz::TimeZone,
}

pub fn build(source: &Source) -> Result<Box<dyn Provider>, String> {
    let options: Options = source.options()?;
    source.secrets_have(SecretShape::PATH)?;
    Ok(Box::new(Smsc { source: source.clone(), zone: zone(options.zone.as_deref(), "Europe/Moscow")? }))
}

impl Provider for Smsc {
    fn accepts(&self) -> Accepts {
        Accepts::Form
    }

    fn verify_head(&self, head: &Delivery) -> Result<(), Reject> {
        signature::shown(Some(&head.tail), &self.source.secrets).map(drop)
    }

    fn verify(&self, delivery: &Delivery) -> Result<Verified, Reject> {
        signature::shown(Some(&delivery.tail), &self.source.secrets)
    }

    fn parse(&self, delivery: &VerifiedDelivery) -> Result<Vec<Event>, NotUnderstood> {
        let form = Form::parse(delivery.body());
        let field = |name: &str| form.text(name).filter(|text| !text.is_empty());
        let to = field("phone").and_then(|number| phone(number, self.source.region)).ok_or("no phone")?;
        let stamp = field("time").unwrap_or_default();
        let told_at = zoned(stamp, &self.zone);
        let lost = if told_at.is_none() && !stamp.is_empty() { vec!["time".to_owned()] } else { vec![] };
        let at: Timestamp = told_at.unwrap_or(delivery.received_at());
        let id = field("id").or(field("sms_id")).unwrap_or_default();
        if let Some(words) = field("mes") {
            let parts = ["sms", id, to.value(), stamp, words];
            let event = |(n, body): (usize, Body)| {
                let own: &[&str] = if n == 0 { &[] } else { &["words"] };
                let parts = [&parts[..], own].concat();
                let event = match id.is_empty() {
                    true => delivery.event_told_at(&parts, told_at, body),
                    false => delivery.event(&parts, at, body),
                };
                event.ordered(delivery.order(n))
            };
            let bodies = sms(to.clone(), id, Content::Text(words.to_owned()));
            return NotUnderstood::left_out(lost, bodies.into_iter().enumerate().map(event).collect());
        }
        let status = field("status").ok_or("no status")?;
        let state = match status {
            "-1" | "0" => MailMessageState::Sent,
            "1" => MailMessageState::Delivered,
            "2" => MailMessageState::Opened,
            "4" => MailMessageState::Clicked,
            "3" | "20" | "25" => MailMessageState::SoftBounced,
            "22" => MailMessageState::HardBounced,
            "23" | "24" => MailMessageState::Rejected,
            _ => return Err("a status of an unknown number".into()),
        };
        let failed =
            matches!(state, MailMessageState::SoftBounced | MailMessageState::HardBounced | MailMessageState::Rejected);
        let body = Body::LetterReported(LetterReported {
            letter: Some(id.to_owned()).filter(|id| !id.is_empty()),
            code: failed.then(|| format!("{status}/{}", field("err").unwrap_or("0"))),
            ..letter(to.clone(), state)
        });
        NotUnderstood::left_out(lost, vec![delivery.event(&["status", id, to.value(), status], at, body)])
    }
}
