//! SendGrid, Event Webhook. Sources: twilio.com/docs/sendgrid/for-developers/tracking-events/event and
//! …/getting-started-event-webhook-security-features; sendgrid/sendgrid-nodejs, packages/eventwebhook (the rule and its
//! published vectors). The signature is ECDSA P-256 over SHA-256 of timestamp ‖ raw body, including the CRLF between
//! and after the events. An event may arrive several times a day under one `sg_event_id` (sendgrid/docs#2933).

use serde_json::Value;
use stagedoor_model::{Body, MailMessageState, breakage};
use stagedoor_webhook::{
    Accepts, Delivery, NotUnderstood, Provider, Reject, SecretShape, Shape, Source, Verified, VerifiedDelivery, odd,
    read::{id, is_true, text, told_second},
    signature,
};

use crate::report::{
    NoOptions, bare_link, campaign, complained, email, is_machine, letter, membership, permanent, unsubscribed,
};

/// How long SendGrid repeats a delivery, plus one hour, in seconds.
const REPEATED: i64 = 25 * 3_600;

const OPTIONAL: Shape = Shape {
    texts: &[
        "reason",
        "type",
        "status",
        "bounce_classification",
        "useragent",
        "sg_message_id",
        "url",
        "campaign",
        "marketing_campaign_id",
        "singlesend_id",
        "asm_group_id",
    ],
    numbers: &["timestamp"],
    instants: &[],
    lists: &[],
    flags: &["sg_machine_open"],
};

/// The shape of the key. A bare point of the curve is not enough.
const KEY: SecretShape = SecretShape::new(
    signature::is_p256_key,
    "is no public key as SendGrid shows it: base64 that begins with MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE; copy it from \
     Settings, Mail Settings, Event Webhook",
);

struct Sendgrid(Source);

pub fn build(source: &Source) -> Result<Box<dyn Provider>, String> {
    let NoOptions {} = source.options()?;
    source.secrets_have(KEY)?;
    Ok(Box::new(Sendgrid(source.clone())))
}

impl Provider for Sendgrid {
    fn accepts(&self) -> Accepts {
        Accepts::Json
    }

    fn verify_head(&self, head: &Delivery) -> Result<(), Reject> {
        signature::offered(head, "x-twilio-email-event-webhook-signature")
    }

    fn verify(&self, delivery: &Delivery) -> Result<Verified, Reject> {
        let stamp = delivery.header("x-twilio-email-event-webhook-timestamp").ok_or(Reject::MissingSignature)?;
        let at: i64 = stamp.parse().map_err(|_| Reject::MalformedSignature)?;
        signature::within(at, REPEATED, delivery.received_at)?;
        let message = [stamp.as_bytes(), &delivery.body].concat();
        signature::ecdsa_p256(&message, delivery.header("x-twilio-email-event-webhook-signature"), &self.0.secrets)
    }

    fn parse(&self, delivery: &VerifiedDelivery) -> Result<Vec<stagedoor_model::Event>, NotUnderstood> {
        let batch = delivery.list()?;
        let (mut events, mut understood) = (Vec::new(), true);
        let mut lost: Vec<String> = batch.iter().flat_map(|one| odd(one, &OPTIONAL)).collect();
        lost.extend(batch.iter().any(is_odd_category).then(|| "category".to_owned()));
        for one in &batch {
            let Some(body) = told(one) else {
                understood = false;
                continue;
            };
            // A person's withdrawal counts even if SendGrid's id of the event cannot be read.
            let own = id(one, "/sg_event_id");
            if own.is_none() && breakage::is_on("unsubscription-by-its-id-alone") {
                understood = false;
                continue;
            }
            let is_named = own.is_some();
            let fact = own.unwrap_or_else(|| {
                lost.push("sg_event_id".to_owned());
                let part =
                    |pointer: &str| id(one, pointer).or_else(|| id(one, &format!("{pointer}/0"))).unwrap_or_default();
                let group = part("/asm_group_id");
                format!("{} {} {} {group}", part("/event"), part("/email"), part("/timestamp"))
            });
            let told_at = told_second(one, "/timestamp");
            events.extend(body.map(|body| match is_named {
                true => delivery.event(&[&fact], told_at.unwrap_or(delivery.received_at()), body),
                false => delivery.event_told_at(&[&fact], told_at, body),
            }));
        }
        NotUnderstood::unless_odd(understood, "an event of another shape", lost, events)
    }
}

/// True if the category is neither a text nor a list of texts.
fn is_odd_category(one: &Value) -> bool {
    let is_plain = |it: &Value| it.is_string() || it.is_number() || it.is_null();
    one.get("category").is_some_and(|it| match it {
        Value::Array(all) => !all.iter().all(is_plain),
        Value::Object(fields) => !fields.is_empty(),
        it => !is_plain(it),
    })
}

/// True if an e-mail was dropped because of the address, not because of a header of ours: `Invalid`, `Invalid email
/// address`.
fn is_invalid_address(reason: &str) -> bool {
    let reason = reason.trim().trim_end_matches('.').to_lowercase();
    reason == "invalid" || (reason.starts_with("invalid ") && reason.ends_with("address"))
}

/// The content of an event. `Some(None)` means that there is nothing to report.
fn told(one: &Value) -> Option<Option<Body>> {
    let kind = text(one, "/event")?.trim().to_lowercase();
    if kind == "account_status_change" {
        return Some(None);
    }
    let to = email(&text(one, "/email").or_else(|| text(one, "/email/0"))?)?;
    let reason = text(one, "/reason").unwrap_or_default();
    let state = match kind.as_str() {
        "processed" => MailMessageState::Sent,
        "deferred" => MailMessageState::Deferred,
        "delivered" => MailMessageState::Delivered,
        "open" => MailMessageState::Opened,
        "click" => MailMessageState::Clicked,
        // A mail server blocks us for now. The address is valid.
        "bounce" if text(one, "/type").as_deref() == Some("blocked") => MailMessageState::SoftBounced,
        "bounce" => permanent(text(one, "/status").as_deref(), &[Some(reason), text(one, "/bounce_classification")]),
        // SendGrid held the e-mail back because of earlier knowledge. `Unsubscribed Address` is no new withdrawal.
        "dropped" if is_invalid_address(&reason) => MailMessageState::HardBounced,
        "dropped" => MailMessageState::Rejected,
        "spamreport" => return Some(Some(complained(to))),
        "unsubscribe" | "group_unsubscribe" => return Some(Some(unsubscribed(to, id(one, "/asm_group_id")))),
        // The provider allows e-mails again, which is no consent.
        "group_resubscribe" => {
            return Some(Some(membership(to, id(one, "/asm_group_id").into_iter().collect(), true)));
        }
        _ => return None,
    };
    let machine = is_true(one, "/sg_machine_open") || is_machine(text(one, "/useragent").as_deref());
    Some(Some(Body::LetterReported(stagedoor_model::LetterReported {
        by_machine: machine && matches!(state, MailMessageState::Opened | MailMessageState::Clicked),
        // The part before the first dot belongs to the sending call. The rest differs from event to event.
        letter: text(one, "/sg_message_id").and_then(|id| id.split('.').next().map(str::to_owned)),
        campaign: campaign(one, &["/campaign", "/marketing_campaign_id", "/singlesend_id", "/category", "/category/0"]),
        link: text(one, "/url").and_then(|link| bare_link(&link)),
        code: text(one, "/status"),
        ..letter(to, state)
    })))
}
