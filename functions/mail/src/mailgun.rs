//! Mailgun webhooks. Sources: documentation.mailgun.com (user-manual/webhooks, securing-webhooks; retries after 5, 10,
//! 15 min, 1, 2, 4 h; an answer of 406 ends them); anymail/django-anymail (field paths, legacy form). The signature is
//! hex(HMAC-SHA256(signing key, timestamp ‖ token)). It covers neither the body nor the event, so a known pair could
//! carry another body. So the event's id is the token alone: a second body under the same token is the same fact and
//! changes nothing.

use serde_json::{Value, json};
use stagedoor_model::{Body, Event, LetterReported, MailMessageState, Timestamp};
use stagedoor_webhook::{
    Accepts, Delivery, NotUnderstood, Provider, Reject, Shape, Source, Verified, VerifiedDelivery, odd, parse_json,
    read::{id, second, text},
    scan,
    signature::{self, Encoding, HmacScheme},
};

use crate::report::{NoOptions, bare_link, campaign, complained, email, is_machine, letter, permanent, unsubscribed};

/// How long a delivery is repeated under its signed pair, plus one hour, in seconds.
const REPEATED: i64 = 9 * 3_600;

const OPTIONAL: Shape = Shape {
    texts: &[
        "severity",
        "reason",
        "url",
        "user-variables/campaign",
        "tags/*",
        "client-info/bot",
        "client-info/user-agent",
        "message/headers/message-id",
        "delivery-status/code",
        "delivery-status/message",
        "delivery-status/description",
        "delivery-status/enhanced-code",
    ],
    numbers: &["timestamp"],
    instants: &[],
    lists: &[],
    flags: &[],
};

struct Mailgun(Source);

pub fn build(source: &Source) -> Result<Box<dyn Provider>, String> {
    let NoOptions {} = source.options()?;
    Ok(Box::new(Mailgun(source.clone())))
}

/// Reads JSON unchanged, and puts the fields of the older form into its shape. Of equal fields the last counts, because
/// the sender's own variables stand before Mailgun's.
fn read(body: &[u8], is_form: bool) -> Result<Value, serde_json::Error> {
    if !is_form {
        return parse_json(body);
    }
    let fields: serde_json::Map<String, Value> = url::form_urlencoded::parse(body)
        .map(|(name, value)| (name.into_owned(), Value::String(value.into_owned())))
        .collect();
    let signature = json!({ "timestamp": fields.get("timestamp"), "token": fields.get("token"), "signature": fields.get("signature") });
    Ok(json!({ "signature": signature, "event-data": fields }))
}

impl Provider for Mailgun {
    fn accepts(&self) -> Accepts {
        Accepts::JsonOrForm
    }

    fn secret_is_of_the_account(&self) -> bool {
        true
    }

    fn verify(&self, delivery: &Delivery) -> Result<Verified, Reject> {
        let [stamp, token, signature] = match delivery.is_form() {
            true => ["timestamp", "token", "signature"].map(|name| scan::form_field(&delivery.body, name)),
            false => {
                scan::json_fields(&delivery.body, ["signature/timestamp", "signature/token", "signature/signature"])
            }
        };
        let (stamp, token) = (stamp.ok_or(Reject::MissingSignature)?, token.ok_or(Reject::MissingSignature)?);
        let (stamp, token) = (stamp.trim(), token.trim());
        let at: i64 = stamp.parse().map_err(|_| Reject::MalformedSignature)?;
        signature::within(at, REPEATED, delivery.received_at)?;
        let message: [&[u8]; 2] = [stamp.as_bytes(), token.as_bytes()];
        HmacScheme::sha256(Encoding::Hex).check(signature.as_deref(), &message, &self.0.secrets)
    }

    fn parse(&self, delivery: &VerifiedDelivery) -> Result<Vec<Event>, NotUnderstood> {
        let whole = read(delivery.body(), delivery.is_form())?;
        let token = text(&whole, "/signature/token").ok_or("no token")?;
        let data = whole.get("event-data").ok_or("no event-data")?;
        let at: Timestamp = second(data, "/timestamp", delivery.received_at());
        let body = told(data).ok_or("an event of another shape")?;
        NotUnderstood::left_out(odd(data, &OPTIONAL), vec![delivery.event(&[&token], at, body)])
    }
}

fn told(data: &Value) -> Option<Body> {
    let kind = text(data, "/event")?;
    let to = email(&text(data, "/recipient")?)?;
    let reason = text(data, "/reason").unwrap_or_default();
    let state = match (kind.as_str(), text(data, "/severity").as_deref()) {
        ("accepted" | "stored", _) => MailMessageState::Sent,
        ("delivered", _) => MailMessageState::Delivered,
        ("opened", _) => MailMessageState::Opened,
        ("clicked", _) => MailMessageState::Clicked,
        ("complained", _) => return Some(complained(to)),
        ("unsubscribed", _) => {
            return Some(unsubscribed(to, text(data, "/mailing-list").or_else(|| text(data, "/mailing-list/address"))));
        }
        // Mailgun held the e-mail back because of an earlier bounce, complaint or unsubscribe.
        ("rejected", _) => MailMessageState::Rejected,
        ("failed", _) if reason.starts_with("suppress-") => MailMessageState::Rejected,
        // Mailgun gave up because the e-mail was too old.
        ("failed", Some("permanent")) if reason == "old" => MailMessageState::SoftBounced,
        ("failed", Some("permanent")) | ("bounced", _) => {
            let status = |name: &str| text(data, &format!("/delivery-status/{name}"));
            let said = [status("message"), status("description"), text(data, "/error"), Some(reason)];
            permanent(status("enhanced-code").as_deref(), &said)
        }
        ("failed", _) => MailMessageState::Deferred,
        ("dropped", _) => MailMessageState::Rejected,
        _ => return None,
    };
    // `client-info.bot` names privacy proxies and scanners. Gmail's proxy is excluded, because it fetches when a person
    // looks.
    let bot = text(data, "/client-info/bot").is_some_and(|bot| !bot.is_empty() && bot != "gmail");
    let machine = bot || is_machine(text(data, "/client-info/user-agent").or(text(data, "/user-agent")).as_deref());
    Some(Body::LetterReported(LetterReported {
        by_machine: machine && matches!(state, MailMessageState::Opened | MailMessageState::Clicked),
        letter: text(data, "/message/headers/message-id").or(text(data, "/Message-Id")),
        campaign: campaign(data, &["/user-variables/campaign", "/tags/0", "/tag"]),
        link: text(data, "/url").and_then(|link| bare_link(&link)),
        code: id(data, "/delivery-status/code").or(id(data, "/code")),
        ..letter(to, state)
    }))
}
