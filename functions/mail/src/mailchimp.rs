//! Mailchimp: webhooks of an audience. Source: mailchimp.com/developer/marketing/guides/sync-audience-data-webhooks
//! (fields of subscribe and unsubscribe; an answer is due in ten seconds; since 2026 `X-Mailchimp-Signature: t=…,v1=…`
//! for a webhook with a signing secret). Without a signing secret the last part of the path is the secret. When a
//! webhook is saved, Mailchimp checks its URL by GET.

use serde::Deserialize;
use stagedoor_model::{AddressChanged, Body, Event, LetterReported, breakage};
use stagedoor_webhook::{
    Accepts, Answer, Delivery, Form, NotUnderstood, Provider, Reject, SecretShape, Source, Verified, VerifiedDelivery,
    signature::{self, Encoding, HmacScheme},
};

use crate::report::{complained, email, letter, membership, permanent, unsubscribed, zoned};

const SIGNATURE: HmacScheme = HmacScheme::sha256(Encoding::Hex).in_header("x-mailchimp-signature");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    /// True if the webhook has a signing secret. Otherwise the secret is in the path.
    #[serde(default)]
    signed: bool,
}

struct Mailchimp {
    source: Source,
    options: Options,
}

pub fn build(source: &Source) -> Result<Box<dyn Provider>, String> {
    let options: Options = source.options()?;
    if !options.signed {
        source.secrets_have(SecretShape::PATH)?;
    }
    Ok(Box::new(Mailchimp { source: source.clone(), options }))
}

impl Provider for Mailchimp {
    fn accepts(&self) -> Accepts {
        Accepts::Form
    }

    fn handshake(&self, delivery: &Delivery) -> Option<Answer> {
        (delivery.method == http::Method::GET).then(|| Answer::json("{}"))
    }

    fn secret_is_of_the_account(&self) -> bool {
        self.options.signed
    }

    fn verify_head(&self, head: &Delivery) -> Result<(), Reject> {
        match self.options.signed {
            true => SIGNATURE.offered(head),
            false => signature::shown(Some(&head.tail), &self.source.secrets).map(drop),
        }
    }

    fn verify(&self, delivery: &Delivery) -> Result<Verified, Reject> {
        if !self.options.signed {
            return signature::shown(Some(&delivery.tail), &self.source.secrets);
        }
        SIGNATURE.verify_timed(delivery, signature::TOLERANCE_SECONDS, &self.source.secrets)
    }

    fn parse(&self, delivery: &VerifiedDelivery) -> Result<Vec<Event>, NotUnderstood> {
        let form = Form::parse(delivery.body());
        let kind = form.text("type").ok_or("no type")?;
        let data = form.get("data").ok_or("no data")?;
        let field = |name: &str| data.text_of(name).filter(|text| !text.is_empty());
        let fired_at = form.text("fired_at").unwrap_or_default();
        let told_at = zoned(fired_at, &jiff::tz::TimeZone::UTC);
        let lost = if told_at.is_none() && !fired_at.is_empty() { vec!["fired_at".to_owned()] } else { vec![] };
        // The list's own field has the same content as the webhook's.
        let merged = || data.children.get("merges").and_then(|merges| merges.text_of("EMAIL")).and_then(email);
        let who = |name: &'static str| {
            let told = field(name).and_then(email);
            told.or_else(|| merged().filter(|_| name == "email")).ok_or("no e-mail")
        };
        let list = || field("list_id").map(str::to_owned);
        let body = match (kind, field("reason")) {
            // Changes of profiles and results of campaigns are not used here.
            ("profile" | "campaign" | "pending", _) => return Ok(vec![]),
            ("subscribe", _) => membership(who("email")?, list().into_iter().collect(), true),
            ("unsubscribe", Some("abuse")) | ("cleaned", Some("abuse")) => complained(who("email")?),
            // The owner cleaned up the list. The person did not withdraw.
            ("unsubscribe", _) if field("action").is_some_and(is_hygiene) => {
                membership(who("email")?, list().into_iter().collect(), false)
            }
            ("unsubscribe", _) => unsubscribed(who("email")?, list()),
            ("cleaned", _) => Body::LetterReported(LetterReported {
                campaign: field("campaign_id").map(str::to_owned),
                code: Some("cleaned".into()),
                ..letter(who("email")?, permanent(None, &[]))
            }),
            ("upemail", _) => Body::AddressChanged(AddressChanged { old: who("old_email")?, new: who("new_email")? }),
            _ => return Err("a webhook of an unknown type".into()),
        };
        let part = |name: &str| field(name).unwrap_or("");
        let parts = [kind, fired_at, part("list_id"), field("email").or(field("new_email")).unwrap_or("")];
        // The owner's archiving and the person's own withdrawal may fall into the same second.
        let what = ["action", "reason", "old_email"].map(part);
        let what: &[&str] = if breakage::is_on("second-word-of-a-second") { &[] } else { &what };
        NotUnderstood::left_out(lost, vec![delivery.event_told_at(&[&parts[..], what].concat(), told_at, body)])
    }
}

fn is_hygiene(action: &str) -> bool {
    action == "delete" || (action == "archive" && !breakage::is_on("archive-withdraws"))
}
