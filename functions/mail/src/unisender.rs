//! UniSender, its foreign twin Selzy, and UniSender Go. Sources: unisender.com/ru/support/api/common/setHook (an answer
//! of exactly 200 within three seconds; else a retry every ten minutes for a day, then the hook is stopped) and
//! godocs.unisender.ru (web-api, webhooks). `auth` is md5 of the raw body with the API key in its place. md5 with a key
//! is weak, so a secret in the path can be required too. Events have no id.

use serde::Deserialize;
use serde_json::Value;
use stagedoor_model::{
    Body, Channel, ConsentRecorded, Email, Event, Identifier, LetterReported, MailMessageState, breakage,
};
use stagedoor_webhook::{
    Accepts, Answer, Delivery, NotUnderstood, Provider, Reject, Shape, Source, Verified, VerifiedDelivery, odd,
    read::{has_list, id, list, text},
    scan, signature,
};

use crate::report::{
    bare_link, complained, email, is_machine, letter, membership, permanent, phone, unsubscribed, zone, zoned,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    /// The account's time zone, in which UniSender gives times.
    zone: Option<String>,
}

const OPTIONAL: Shape = Shape {
    texts: &[
        "event_time",
        "campaign_id",
        "job_id",
        "url",
        "list_ids/*",
        "delivery_info/user_agent",
        "delivery_info/delivery_status",
        "delivery_info/destination_response",
        "metadata/campaign",
    ],
    numbers: &[],
    instants: &[],
    lists: &["list_ids"],
    flags: &[],
};

struct Unisender {
    source: Source,
    zone: jiff::tz::TimeZone,
}

pub fn build(source: &Source) -> Result<Box<dyn Provider>, String> {
    let options: Options = source.options()?;
    Ok(Box::new(Unisender { source: source.clone(), zone: zone(options.zone.as_deref(), "UTC")? }))
}

impl Provider for Unisender {
    fn accepts(&self) -> Accepts {
        Accepts::Json
    }

    /// UniSender Go checks the URL by GET before it accepts it.
    fn handshake(&self, delivery: &Delivery) -> Option<Answer> {
        (delivery.method == http::Method::GET).then(|| Answer::json("{}"))
    }

    fn secret_is_of_the_account(&self) -> bool {
        true
    }

    fn verify(&self, delivery: &Delivery) -> Result<Verified, Reject> {
        let auth = scan::json_field(&delivery.body, "auth");
        signature::md5_in_body(delivery, auth.as_deref(), &self.source.secrets)
    }

    fn parse(&self, delivery: &VerifiedDelivery) -> Result<Vec<Event>, NotUnderstood> {
        let whole = delivery.object()?;
        let mut told: Vec<&Value> = Vec::new();
        let mut understood = true;
        if whole.get("event_name").is_some() {
            // "Single event": all fields are on the top level.
            told.push(&whole);
        } else {
            let users: Vec<&Value> = list(&whole, "/events_by_user").collect();
            let of = |user: &&Value| ["/Events", "/events"].iter().any(|name| has_list(user, name));
            understood = !users.is_empty() && users.iter().all(of);
            told.extend(users.iter().flat_map(|user| list(user, "/Events").chain(list(user, "/events"))));
        }
        let (mut events, mut lost) = (Vec::new(), Vec::new());
        for one in told {
            lost.extend(odd(one.get("event_data").unwrap_or(one), &OPTIONAL));
            match self.event(delivery, one) {
                Some(told) => events.extend(told),
                None => understood = false,
            }
        }
        NotUnderstood::unless_odd(understood, "an event of another shape", lost, events)
    }
}

impl Unisender {
    /// The events of one item. There are several if one field names several people, and none if there is nothing to
    /// report.
    fn event(&self, delivery: &VerifiedDelivery, one: &Value) -> Option<Vec<Event>> {
        let name = text(one, "/event_name")?;
        let data = one.get("event_data").unwrap_or(one);
        let is_go = name == "transactional_email_status";
        let bodies = match name.as_str() {
            // These concern the account, a campaign or a domain, not a person.
            "campaign_status"
            | "campaign"
            | "user_info"
            | "user_payment"
            | "email_check"
            | "transactional_spam_block" => {
                return Some(vec![]);
            }
            "unsubscribe" => self.left(data)?,
            _ => vec![body(&name, data, email(&text(data, "/email")?)?)?],
        };
        let stamp = text(data, "/event_time").or(text(one, "/event_time")).unwrap_or_default();
        let utc = jiff::tz::TimeZone::UTC;
        let told_at = zoned(&stamp, if is_go { &utc } else { &self.zone });
        let part = |pointer: &str| id(data, pointer).unwrap_or_default();
        let who = if part("/email").is_empty() { part("/phone") } else { part("/email") };
        let lists: Vec<String> = lists(data).collect();
        let parts =
            [name, stamp, who, part("/campaign_id"), part("/job_id"), part("/status"), part("/url"), lists.join(",")];
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let numbered = bodies.into_iter().enumerate();
        let events = numbered.map(|(number, body)| match number {
            0 => delivery.event_told_at(&parts, told_at, body),
            _ => delivery.event_told_at(&[&parts[..], &[&number.to_string()]].concat(), told_at, body),
        });
        Some(events.collect())
    }
}

impl Unisender {
    /// The people who unsubscribed, as far as they can be read. A UniSender contact may have a phone and no e-mail.
    fn left(&self, data: &Value) -> Option<Vec<Body>> {
        let phone = || id(data, "/phone").and_then(|number| phone(&number, self.source.region));
        let addresses = Email::parse_all(&text(data, "/email").unwrap_or_default());
        if !addresses.is_empty() {
            let all = addresses.into_iter().map(|address| unsubscribed(Identifier::email(address), lists(data)));
            return Some(all.collect());
        }
        if breakage::is_on("phone-leaves-unheard") {
            return None;
        }
        Some(vec![Body::ConsentRecorded(ConsentRecorded {
            lists: lists(data).collect(),
            ..ConsentRecorded::withdrawn(phone()?, Channel::Sms, "unsubscribe")
        })])
    }
}

fn lists(data: &Value) -> impl Iterator<Item = String> {
    list(data, "/list_ids").filter_map(|one| id(one, ""))
}

fn body(name: &str, data: &Value, to: Identifier) -> Option<Body> {
    let status = text(data, "/status").unwrap_or_default();
    let (state, code) = match (name, status.as_str()) {
        ("subscribe", _) => return Some(membership(to, lists(data).collect(), true)),
        (_, "ok_unsubscribed" | "unsubscribed") => return Some(unsubscribed(to, None)),
        (_, "ok_fbl" | "spam") => return Some(complained(to)),
        // Only Go reports this, about an address that was unsubscribed before. It is no consent.
        (_, "subscribed") => return Some(membership(to, lists(data).collect(), true)),
        // Go reports the details in the words of UniSender.
        ("email_status" | "transactional_email_status", "hard_bounced") => (hard_bounced(data), true),
        ("email_status" | "transactional_email_status", _) => state(&status)?,
        _ => return None,
    };
    let machine = is_machine(text(data, "/delivery_info/user_agent").as_deref());
    Some(Body::LetterReported(LetterReported {
        by_machine: machine && matches!(state, MailMessageState::Opened | MailMessageState::Clicked),
        letter: id(data, "/job_id"),
        campaign: text(data, "/metadata/campaign").or(id(data, "/campaign_id")),
        link: text(data, "/url").and_then(|link| bare_link(&link)),
        code: code.then_some(status),
        ..letter(to, state)
    }))
}

fn hard_bounced(data: &Value) -> MailMessageState {
    // Go's "hard_bounced" means no more than "permanent".
    let status = text(data, "/delivery_info/delivery_status").filter(|status| status != "hard_bounced");
    let told = status.and_then(|status| state(&status)).map(|(state, _)| state);
    let failed =
        |state: &MailMessageState| matches!(state, MailMessageState::HardBounced | MailMessageState::SoftBounced);
    let said = text(data, "/delivery_info/destination_response");
    told.filter(failed).unwrap_or_else(|| permanent(None, &[said]))
}

/// The state for a status. The flag is true if the status is worth keeping beside it.
fn state(status: &str) -> Option<(MailMessageState, bool)> {
    Some(match status {
        "ok_sent" | "sent" => (MailMessageState::Sent, false),
        "ok_delivered" | "delivered" => (MailMessageState::Delivered, false),
        "ok_spam_folder" => (MailMessageState::Delivered, true),
        "ok_read" | "opened" => (MailMessageState::Opened, false),
        "ok_link_visited" | "clicked" => (MailMessageState::Clicked, false),
        "not_sent" | "err_will_retry" | "err_resend" | "soft_bounced" => (MailMessageState::Deferred, true),
        "err_user_unknown" | "err_user_inactive" | "err_domain_inactive" => (MailMessageState::HardBounced, true),
        "err_mailbox_full" | "err_spam_rejected" | "err_spam_folder" | "err_delivery_failed" | "err_lost" => {
            (MailMessageState::SoftBounced, true)
        }
        "err_unsubscribed" | "err_skip_letter" | "err_not_allowed" => (MailMessageState::Rejected, true),
        _ => return None,
    })
}
