//! Twilio, programmable messaging. Sources: twilio.com/docs/usage/security (the signature is base64(HMAC-SHA1(auth
//! token, URL ‖ sorted fields)), with the URL exactly as configured there),
//! twilio.com/docs/messaging/guides/track-outbound-message-status, …/advanced-opt-out (`OptOutType`), …/webhook-request
//! (`MediaUrl0`, `MediaContentType0`), twilio.com/docs/api/errors (30003 unreachable, 30005 unknown, 30006 landline,
//! 21610 stopped before). States may arrive out of order.

use std::collections::BTreeMap;

use serde::Deserialize;
use stagedoor_model::{Body, Content, Event, LetterReported, MailMessageState};
use stagedoor_webhook::{
    Accepts, Answer, Delivery, NotUnderstood, Provider, Reject, Source, Verified, VerifiedDelivery,
    signature::{Encoding, HmacScheme},
};

use crate::report::{letter, phone, sms, stopped, unanswered};

/// Signed are the URL and the sorted fields.
const SIGNATURE: HmacScheme = HmacScheme::sha1(Encoding::Base64).in_header("x-twilio-signature");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    /// URL of this source as Twilio has it. Behind a gateway the request does not show it.
    url: String,
}

struct Twilio {
    source: Source,
    url: String,
}

pub fn build(source: &Source) -> Result<Box<dyn Provider>, String> {
    let Options { url } = source.options()?;
    if !url.starts_with("https://") && !url.starts_with("http://127.0.0.1") {
        return Err("options.url: the address that Twilio calls, with https://".into());
    }
    Ok(Box::new(Twilio { source: source.clone(), url }))
}

fn fields(body: &[u8]) -> Vec<(String, String)> {
    url::form_urlencoded::parse(body).map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
}

impl Provider for Twilio {
    fn accepts(&self) -> Accepts {
        Accepts::Form
    }

    fn secret_is_of_the_account(&self) -> bool {
        true
    }

    fn verify_head(&self, head: &Delivery) -> Result<(), Reject> {
        SIGNATURE.offered(head)
    }

    fn verify(&self, delivery: &Delivery) -> Result<Verified, Reject> {
        let mut sorted = fields(&delivery.body);
        sorted.sort();
        sorted.dedup();
        let mut message = self.url.clone();
        sorted.iter().for_each(|(name, value)| message.extend([name.as_str(), value.as_str()]));
        SIGNATURE.check(delivery.header(SIGNATURE.header()), &[message.as_bytes()], &self.source.secrets)
    }

    fn parse(&self, delivery: &VerifiedDelivery) -> Result<Vec<Event>, NotUnderstood> {
        let fields = fields(delivery.body());
        let field = |name: &str| {
            fields.iter().find(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| value.as_str())
        };
        let id = field("MessageSid").or(field("SmsSid")).ok_or("no MessageSid")?;
        let at = delivery.received_at();
        let number = |name: &'static str| field(name).and_then(|number| phone(number, self.source.region));
        if let Some(status) = field("MessageStatus") {
            let body = reported(number("To").ok_or("no To")?, id, status, field("ErrorCode"))?;
            return Ok(vec![delivery.event(&["status", id, status], at, body)]);
        }
        let content = content(&fields, field("Body"), field("MediaContentType0"));
        let content = content.ok_or("neither a status nor a message")?;
        let from = number("From").ok_or("no From")?;
        let bodies = match field("OptOutType") {
            Some("STOP") => stopped(from, id, content),
            // Twilio itself answers these words. After START it sends again, which is no consent to advertising.
            Some("START" | "HELP") => vec![unanswered(from, id, content)],
            _ => sms(from, id, content),
        };
        let event = |(n, body): (usize, Body)| {
            let own: &[&str] = if n == 0 { &[] } else { &["words"] };
            delivery.event(&[&["sms", id][..], own].concat(), at, body).ordered(delivery.order(n))
        };
        Ok(bodies.into_iter().enumerate().map(event).collect())
    }

    /// Without a `<Message>` Twilio sends no reply (twilio.com/docs/messaging/twiml).
    fn answer(&self, _: &Delivery) -> Answer {
        let headers = vec![("content-type", "text/xml".to_owned())];
        Answer { status: http::StatusCode::OK, headers, body: "<Response/>".into() }
    }
}

/// The words and the files of a message. `None` if it has neither. `kind` is the media type of the first file.
fn content(fields: &[(String, String)], words: Option<&str>, kind: Option<&str>) -> Option<Content> {
    let number = |name: &str| name.strip_prefix("MediaUrl")?.parse::<u8>().ok();
    let file = |(name, url): &(String, String)| Some((number(name).filter(|_| !url.is_empty())?, url.clone()));
    let files: BTreeMap<u8, String> = fields.iter().filter_map(file).collect();
    let caption = words.map(str::to_owned);
    if files.is_empty() {
        return caption.map(Content::Text);
    }
    let family = kind.and_then(|kind| kind.split('/').next()).filter(|one| ["image", "audio", "video"].contains(one));
    let kind = family.unwrap_or("file").to_owned();
    Some(Content::Other { kind, caption, files: files.into_values().collect() })
}

fn reported(
    to: stagedoor_model::Identifier,
    id: &str,
    status: &str,
    error: Option<&str>,
) -> Result<Body, NotUnderstood> {
    let state = match (status, error) {
        ("accepted" | "scheduled" | "queued" | "sending" | "sent", _) => MailMessageState::Sent,
        ("delivered", _) => MailMessageState::Delivered,
        ("read", _) => MailMessageState::Opened,
        // The person sent STOP to Twilio before.
        ("undelivered" | "failed", Some("21610")) => MailMessageState::Rejected,
        ("undelivered" | "failed", Some("30005" | "30006" | "21211" | "21614")) => MailMessageState::HardBounced,
        ("undelivered" | "failed", _) => MailMessageState::SoftBounced,
        ("canceled", _) => MailMessageState::Rejected,
        _ => return Err("a status of an unknown name".into()),
    };
    let (letter_id, code) = (Some(id.to_owned()), error.map(str::to_owned));
    Ok(Body::LetterReported(LetterReported { letter: letter_id, code, ..letter(to, state) }))
}
