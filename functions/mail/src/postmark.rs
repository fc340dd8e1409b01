//! Postmark webhooks. Sources: postmarkapp.com/developer/webhooks/webhooks-overview, …/bounce-webhook,
//! …/subscription-change-webhook; anymail/django-anymail (types). There is no signature, only basic authentication in
//! the configured URL. An answer of 403 would end the retries, so a wrong password is answered with 401.

use serde_json::Value;
use stagedoor_model::{Body, Event, LetterReported, MailMessageState, Timestamp, breakage};
use stagedoor_webhook::{
    Accepts, Delivery, NotUnderstood, Provider, Reject, Shape, Source, Verified, VerifiedDelivery, odd,
    read::{id, is_true, text},
    signature,
};

use crate::report::{NoOptions, bare_link, campaign, complained, email, is_machine, letter, permanent, unsubscribed};

const OPTIONAL: Shape = Shape {
    texts: &[
        "ID",
        "MessageID",
        "Tag",
        "Metadata/campaign",
        "OriginalLink",
        "UserAgent",
        "Details",
        "MessageStream",
        "Origin",
        "SuppressionReason",
        "Type",
    ],
    numbers: &[],
    instants: &["DeliveredAt", "BouncedAt", "ReceivedAt", "ChangedAt"],
    lists: &[],
    flags: &["SuppressSending"],
};

struct Postmark(Source);

pub fn build(source: &Source) -> Result<Box<dyn Provider>, String> {
    let NoOptions {} = source.options()?;
    Ok(Box::new(Postmark(source.clone())))
}

impl Provider for Postmark {
    fn accepts(&self) -> Accepts {
        Accepts::Json
    }

    fn verify_head(&self, head: &Delivery) -> Result<(), Reject> {
        signature::basic(head, &self.0.secrets).map(drop)
    }

    fn verify(&self, delivery: &Delivery) -> Result<Verified, Reject> {
        signature::basic(delivery, &self.0.secrets)
    }

    fn parse(&self, delivery: &VerifiedDelivery) -> Result<Vec<Event>, NotUnderstood> {
        let one = delivery.object()?;
        let kind = text(&one, "/RecordType").ok_or("no RecordType")?;
        let lost = odd(&one, &OPTIONAL);
        let Some(body) = told(&kind, &one).ok_or("a record of another shape")? else {
            return NotUnderstood::left_out(lost, vec![]);
        };
        let when = ["/DeliveredAt", "/BouncedAt", "/ReceivedAt", "/ChangedAt"].iter().find_map(|at| text(&one, at));
        let told_at: Option<Timestamp> = when.as_deref().and_then(|at| at.parse().ok());
        // Only bounces have an id. E-mail, recipient and time identify the other events.
        let who = text(&one, "/Email").or(text(&one, "/Recipient")).unwrap_or_default();
        let letter = text(&one, "/MessageID").unwrap_or_default();
        let own = id(&one, "/ID").unwrap_or_default();
        let parts = [kind.as_str(), &own, &letter, &who, when.as_deref().unwrap_or("")];
        // The sender's block and the person's own withdrawal may fall into the same second.
        let what = ["/SuppressSending", "/SuppressionReason", "/Origin", "/MessageStream"];
        let what = what.map(|part| one.pointer(part).map(ToString::to_string).unwrap_or_default());
        let is_change = kind == "SubscriptionChange" && !breakage::is_on("second-word-of-a-second");
        let what: Vec<&str> = what.iter().filter(|_| is_change).map(String::as_str).collect();
        // A bounce has an id, so a repeated bounce is no new fact, even without its time.
        let event = match own.is_empty() {
            true => delivery.event_told_at(&[&parts[..], &what[..]].concat(), told_at, body),
            false => delivery.event(&parts, told_at.unwrap_or(delivery.received_at()), body),
        };
        NotUnderstood::left_out(lost, vec![event])
    }
}

/// The content of an event. `Some(None)` means that there is nothing to report.
fn told(kind: &str, one: &Value) -> Option<Option<Body>> {
    let to = email(&text(one, "/Email").or(text(one, "/Recipient"))?)?;
    let state = match kind {
        "Delivery" => MailMessageState::Delivered,
        "Open" => MailMessageState::Opened,
        "Click" => MailMessageState::Clicked,
        "SpamComplaint" => return Some(Some(complained(to))),
        "Bounce" => match text(one, "/Type")?.as_str() {
            "BadEmailAddress" => MailMessageState::HardBounced,
            // The description is the same for all of them.
            "HardBounce" => permanent(None, &[text(one, "/Details")]),
            "Transient" | "DnsError" => MailMessageState::Deferred,
            "Unsubscribe" => return Some(Some(unsubscribed(to, None))),
            "SpamComplaint" => return Some(Some(complained(to))),
            "ManuallyDeactivated" | "Blocked" => MailMessageState::Rejected,
            // Automatic answers are no bounces.
            "AutoResponder" | "AddressChange" | "Subscribe" | "ChallengeVerification" | "OpenRelayTest" => {
                return Some(None);
            }
            // `SpamNotification` is the word of a server's filter, not of a person.
            _ => MailMessageState::SoftBounced,
        },
        "SubscriptionChange" => {
            let is_said =
                one.get("SuppressSending").is_some_and(|it| it.is_boolean() || text(one, "/SuppressSending").is_some());
            let suppressed = is_true(one, "/SuppressSending");
            return match (suppressed, text(one, "/SuppressionReason").as_deref()) {
                (true, Some("ManualSuppression")) if text(one, "/Origin").as_deref() == Some("Recipient") => {
                    Some(Some(unsubscribed(to, text(one, "/MessageStream"))))
                }
                (true, Some("SpamComplaint")) => Some(Some(complained(to))),
                // The origin of a withdrawal must be known, because a withdrawal must not be missed.
                _ if !is_said => None,
                (true, Some("ManualSuppression")) if text(one, "/Origin").is_none() => None,
                // The bounce has a webhook of its own. A lifted block is no consent.
                (_, Some("HardBounce" | "ManualSuppression")) | (false, _) => Some(None),
                _ => None,
            };
        }
        _ => return None,
    };
    let machine = is_machine(text(one, "/UserAgent").as_deref());
    Some(Some(Body::LetterReported(LetterReported {
        by_machine: machine && matches!(state, MailMessageState::Opened | MailMessageState::Clicked),
        letter: text(one, "/MessageID"),
        campaign: campaign(one, &["/Metadata/campaign", "/Tag"]),
        link: text(one, "/OriginalLink").and_then(|link| bare_link(&link)),
        code: text(one, "/Type").filter(|_| kind == "Bounce"),
        ..letter(to, state)
    })))
}
