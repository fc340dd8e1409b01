//! Amazon SES through SNS. Sources: docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html (the string
//! to sign, versions 1 and 2), docs.aws.amazon.com/ses/latest/dg/event-publishing-retrieving-sns-contents.html. A
//! message names the URL of its signing certificate. The hub never fetches that URL, because the certificate is pinned
//! in `secrets` (two while AWS changes it). A message that names another host than SNS's or another topic than ours is
//! refused, even with a valid signature.

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
};

use serde::Deserialize;
use serde_json::Value;
use stagedoor_model::{Body, Event, Identifier, LetterReported, MailMessageState, Timestamp, TopicOffered, breakage};
use stagedoor_webhook::{
    Accepts, Delivery, NotUnderstood, Provider, Reject, Shape, Source, Verified, VerifiedDelivery, odd, parse_json,
    read::{is_true, list, text},
    scan,
    signature::{self, RsaDigest},
};

use crate::report::{bare_link, campaign, complained, email, is_machine, letter, permanent, unsubscribed};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    /// ARN of the topic, such as `arn:aws:sns:eu-central-1:123456789012:ses-feedback`.
    topic: String,
}

const OPTIONAL: Shape = Shape {
    texts: &[
        "mail/messageId",
        "mail/tags/campaign/*",
        "click/link",
        "open/userAgent",
        "click/userAgent",
        "bounce/bounceSubType",
        "bounce/bouncedRecipients/*/status",
        "bounce/bouncedRecipients/*/diagnosticCode",
        "complaint/complaintFeedbackType",
        "complaint/complaintSubType",
        "subscription/contactList",
    ],
    numbers: &[],
    instants: &[
        "mail/timestamp",
        "deliveryDelay/timestamp",
        "delivery/timestamp",
        "open/timestamp",
        "click/timestamp",
        "bounce/timestamp",
        "complaint/timestamp",
        "subscription/timestamp",
    ],
    lists: &[],
    flags: &["subscription/newTopicPreferences/unsubscribeAll"],
};

struct Ses {
    source: Source,
    topic: String,
}

pub fn build(source: &Source) -> Result<Box<dyn Provider>, String> {
    let Options { topic } = source.options()?;
    if !topic.starts_with("arn:aws") || topic.split(':').count() != 6 {
        return Err("options.topic: the ARN of the SNS topic, arn:aws:sns:<region>:<account>:<name>".into());
    }
    if let Some(number) = source.secrets.iter().position(|one| !signature::is_certificate(&one.reveal())) {
        return Err(format!("secrets[{number}] is no X.509 certificate: SNS's signing certificate, in PEM"));
    }
    Ok(Box::new(Ses { source: source.clone(), topic }))
}

/// Fields of a message: the signed ones in the order of their names, and those that describe the signature.
const FIELDS: [&str; 11] = [
    "Message",
    "MessageId",
    "SubscribeURL",
    "Subject",
    "Timestamp",
    "Token",
    "TopicArn",
    "Type",
    "Signature",
    "SignatureVersion",
    "SigningCertURL",
];

/// A message that is not verified yet.
struct Unproved([Option<String>; 11]);

impl Unproved {
    fn get(&self, name: &str) -> Option<&str> {
        let at = FIELDS.iter().position(|field| *field == name)?;
        self.0.get(at)?.as_deref()
    }

    /// The signed text, as `Key\nValue\n`. The subject is part of it only if there is one.
    fn signed(&self) -> Option<String> {
        let keys: &[&str] = match self.get("Type")? {
            "Notification" => &["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"],
            "SubscriptionConfirmation" | "UnsubscribeConfirmation" => {
                &["Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"]
            }
            _ => return None,
        };
        let mut whole = String::new();
        for key in keys {
            match self.get(key) {
                Some(value) => whole.extend([*key, "\n", value, "\n"]),
                None if *key == "Subject" => {}
                None => return None,
            }
        }
        Some(whole)
    }
}

/// True for `sns.<region>.amazonaws.com[.cn]` without prefix and port, and with SNS's own name for a certificate.
fn is_snss(address: &str) -> bool {
    let Ok(url) = url::Url::parse(address) else { return false };
    let host = url.host_str().unwrap_or("");
    let region = host
        .strip_prefix("sns.")
        .and_then(|rest| rest.strip_suffix(".amazonaws.com").or_else(|| rest.strip_suffix(".amazonaws.com.cn")));
    let is_region = |region: &str| {
        !region.is_empty() && region.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    url.scheme() == "https"
        && url.port().is_none()
        && url.username().is_empty()
        && url.password().is_none()
        && region.is_some_and(is_region)
        && url.path().starts_with("/SimpleNotificationService-")
        && url.path().ends_with(".pem")
}

impl Provider for Ses {
    fn accepts(&self) -> Accepts {
        Accepts::Text
    }

    fn secret_is_of_the_account(&self) -> bool {
        true
    }

    fn verify(&self, delivery: &Delivery) -> Result<Verified, Reject> {
        let told = Unproved(scan::json_fields(&delivery.body, FIELDS));
        let given = told.get("Signature").ok_or(Reject::MissingSignature)?;
        let certificate = told.get("SigningCertURL").ok_or(Reject::MalformedSignature)?;
        if !is_snss(certificate) || told.get("TopicArn") != Some(&self.topic) {
            return Err(Reject::WrongOrigin);
        }
        let digest = match told.get("SignatureVersion") {
            Some("1") => RsaDigest::Sha1,
            Some("2") => RsaDigest::Sha256,
            _ => return Err(Reject::MalformedSignature),
        };
        let signed = told.signed().ok_or(Reject::MalformedSignature)?;
        signature::rsa_certificate(signed.as_bytes(), Some(given), digest, &self.source.secrets)
    }

    fn parse(&self, delivery: &VerifiedDelivery) -> Result<Vec<Event>, NotUnderstood> {
        let message = delivery.object()?;
        let id = text(&message, "/MessageId").ok_or("no MessageId")?;
        let stamp = text(&message, "/Timestamp").and_then(|at| at.parse::<Timestamp>().ok());
        let at = stamp.unwrap_or(delivery.received_at());
        match text(&message, "/Type").as_deref() {
            Some("SubscriptionConfirmation") => {
                let token = text(&message, "/Token").ok_or("no Token")?;
                let body = Body::TopicOffered(TopicOffered { topic: self.topic.clone(), token });
                Ok(vec![delivery.event(&[&id], at, body)])
            }
            // The organiser did not ask for this. Without the topic, bounces and complaints no longer arrive.
            Some("UnsubscribeConfirmation") => {
                let source = self.source.name.as_str();
                tracing::error!(source, "SNS ended the subscription to the topic; subscribe again");
                Err("SNS ended the subscription to the topic; subscribe again".into())
            }
            _ => {
                let inner = text(&message, "/Message").ok_or("no Message")?;
                if inner.starts_with("Successfully validated SNS topic") {
                    return Ok(vec![]);
                }
                let inner = parse_json(inner.as_bytes())?;
                let (told, whole) = told(&inner, at).ok_or("a message of another shape")?;
                let event =
                    |(who, at, body): (Identifier, Timestamp, Body)| delivery.event(&[&id, who.value()], at, body);
                let events = told.into_iter().map(event).collect();
                NotUnderstood::unless_odd(
                    whole,
                    "an address or a topic of another shape",
                    odd(&inner, &OPTIONAL),
                    events,
                )
            }
        }
    }
}

type Parsed = Vec<(Identifier, Timestamp, Body)>;

/// The topics that somebody left with this change, and whether all topics could be read. `None` without preferences.
/// The spelling differs: `OptOut` in the guide, `OPT_OUT` in the API.
fn left_topics(inner: &Value) -> Option<(BTreeSet<String>, bool)> {
    let read = |topic: &Value| {
        let status = text(topic, "/subscriptionStatus")?.replace('_', "").to_lowercase();
        let topic = text(topic, "/topicName")?;
        matches!(status.as_str(), "optin" | "optout").then(|| (topic, status == "optout"))
    };
    let topics = |part: &str| -> Option<Vec<Option<(String, bool)>>> {
        let list = inner.pointer(&format!("/subscription/{part}/topicSubscriptionStatus"))?.as_array()?;
        Some(list.iter().map(read).collect())
    };
    let (now, before) = (topics("newTopicPreferences")?, topics("oldTopicPreferences").unwrap_or_default());
    let are_read = now.len() >= before.len() && now.iter().all(Option::is_some);
    let was_out: BTreeMap<String, bool> = before.into_iter().flatten().collect();
    // Somebody who joins one topic may get the defaults of others, which the earlier preferences do not name. Nobody
    // left those. Without any earlier preferences, each topic that is out counts as left.
    let joins = !was_out.is_empty()
        && now.iter().flatten().any(|(topic, is_out)| !is_out && was_out.get(topic) != Some(&false));
    let is_left = |topic: &String| was_out.get(topic).map_or(!joins, |was_out| !was_out);
    let left = now.into_iter().flatten().filter(|(topic, is_out)| *is_out && is_left(topic));
    Some((left.map(|(topic, _)| topic).collect(), are_read))
}

/// The readable part of a notification. The flag is true if that is all of it.
fn told(inner: &Value, received: Timestamp) -> Option<(Parsed, bool)> {
    let whole = Cell::new(true);
    let kind = text(inner, "/eventType").or(text(inner, "/notificationType"))?;
    let at = |part: &str| text(inner, &format!("/{part}/timestamp")).and_then(|at| at.parse().ok()).unwrap_or(received);
    let named = |pointer: &str| -> Option<Vec<Identifier>> {
        let all: Vec<String> =
            list(inner, pointer).filter_map(|one| text(one, "").or_else(|| text(one, "/emailAddress"))).collect();
        let known: Vec<Identifier> = all.iter().filter_map(|address| email(address)).collect();
        if known.len() != list(inner, pointer).count() {
            whole.set(false);
        }
        (!known.is_empty()).then_some(known)
    };
    let letters =
        |who: Vec<Identifier>, at: Timestamp, state: MailMessageState, machine: bool, code: Option<String>| {
            let one = |to: Identifier| {
                let body = Body::LetterReported(LetterReported {
                    by_machine: machine,
                    letter: text(inner, "/mail/messageId"),
                    campaign: campaign(inner, &["/mail/tags/campaign/0"]),
                    link: text(inner, "/click/link").and_then(|link| bare_link(&link)),
                    code: code.clone(),
                    ..letter(to.clone(), state)
                });
                (to, at, body)
            };
            who.into_iter().map(one).collect::<Parsed>()
        };
    let everybody = || named("/mail/destination");
    let told = match kind.as_str() {
        "Send" => letters(everybody()?, at("mail"), MailMessageState::Sent, false, None),
        "DeliveryDelay" => letters(
            named("/deliveryDelay/delayedRecipients")?,
            at("deliveryDelay"),
            MailMessageState::Deferred,
            false,
            None,
        ),
        "Delivery" => letters(named("/delivery/recipients")?, at("delivery"), MailMessageState::Delivered, false, None),
        "Reject" | "Rendering Failure" => {
            letters(everybody()?, at("mail"), MailMessageState::Rejected, false, Some(kind))
        }
        "Open" => {
            let machine = is_machine(text(inner, "/open/userAgent").as_deref());
            letters(everybody()?, at("open"), MailMessageState::Opened, machine, None)
        }
        "Click" => {
            let machine = is_machine(text(inner, "/click/userAgent").as_deref());
            letters(everybody()?, at("click"), MailMessageState::Clicked, machine, None)
        }
        "Bounce" => {
            let is_permanent = text(inner, "/bounce/bounceType")? == "Permanent";
            let kind = text(inner, "/bounce/bounceSubType").unwrap_or_default();
            let state = |code: Option<&str>, words: Option<String>| match kind.as_str() {
                _ if !is_permanent => MailMessageState::SoftBounced,
                // The address is on a list of SES's own, because of an earlier bounce.
                "Suppressed" | "OnAccountSuppressionList" => MailMessageState::Rejected,
                "NoEmail" => MailMessageState::HardBounced,
                _ => permanent(code, &[words]),
            };
            named("/bounce/bouncedRecipients")?;
            let one = |one: &Value| {
                let code = text(one, "/status");
                let who = text(one, "/emailAddress").and_then(|address| email(&address))?;
                let state = state(code.as_deref(), text(one, "/diagnosticCode"));
                Some(letters(vec![who], at("bounce"), state, false, code))
            };
            list(inner, "/bounce/bouncedRecipients").filter_map(one).flatten().collect()
        }
        // The opposite of a complaint: a person moved the e-mail out of the spam folder.
        "Complaint" if text(inner, "/complaint/complaintFeedbackType").as_deref() == Some("not-spam") => vec![],
        "Complaint" => {
            let who = named("/complaint/complainedRecipients")?;
            // SES did not send to an address on a list of its own. The person complained before, and not again.
            let kind = text(inner, "/complaint/complaintSubType").filter(|kind| kind == "OnAccountSuppressionList");
            if kind.is_some() {
                return Some((letters(who, at("complaint"), MailMessageState::Rejected, false, kind), whole.get()));
            }
            who.into_iter().map(|one| (one.clone(), at("complaint"), complained(one))).collect()
        }
        "Subscription" if is_true(inner, "/subscription/newTopicPreferences/unsubscribeAll") => {
            let list = text(inner, "/subscription/contactList");
            let one = |who: Identifier| (who.clone(), at("subscription"), unsubscribed(who, list.clone()));
            everybody()?.into_iter().map(one).collect()
        }
        "Subscription" if breakage::is_on("left-topic-unheard") => vec![],
        "Subscription" => {
            let (left, are_read) = left_topics(inner)?;
            whole.set(whole.get() && are_read);
            let one = |who: Identifier| (who.clone(), at("subscription"), unsubscribed(who, left.clone()));
            if left.is_empty() { vec![] } else { everybody()?.into_iter().map(one).collect() }
        }
        _ => return None,
    };
    Some((told, whole.get()))
}
