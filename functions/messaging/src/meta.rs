//! The common part of Messenger, Instagram and WhatsApp: app, signature and handshake; and the updates of pages.
//! Source: developers.facebook.com/docs/messenger-platform/webhooks and fbsamples/messenger-platform-samples.
//! `X-Hub-Signature-256: sha256=<hex HMAC-SHA256(app secret, raw body)>` covers the raw bytes (the sender escapes
//! non-ASCII). The handshake is a GET with `hub.mode`, `hub.verify_token`, `hub.challenge`. The older `X-Hub-Signature`
//! (sha1) is not enough.

use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::Value;
use stagedoor_model::{
    Body, ChatChanged, ChatRef, ChatStarted, Content, Delivered, Event, MessageHeard, MessageReported, Messenger,
    Profile, Timestamp, Token, breakage,
};
use stagedoor_webhook::{
    Accepts, Answer, Delivery, NotUnderstood, Provider, Reject, Secret, Shape, Source, Verified, VerifiedDelivery, odd,
    signature::{Encoding, HmacScheme},
};
use subtle::ConstantTimeEq;

use crate::read::{chat, edited, has_list, id, is_true, joined, list, other, pressed, quoted, text, told_millisecond};

/// How an app of Meta signs.
pub const SIGNATURE: HmacScheme = HmacScheme::sha256(Encoding::Hex).in_header("x-hub-signature-256").after("sha256=");

/// Verifies `X-Hub-Signature-256` with each of the secrets.
pub fn verify(delivery: &Delivery, secrets: &[Secret]) -> Result<Verified, Reject> {
    SIGNATURE.verify(delivery, secrets)
}

/// Answers the handshake. Only a request with the verify token gets its challenge back.
pub fn handshake(delivery: &Delivery, verify_token: &str) -> Option<Answer> {
    if delivery.method != Method::GET {
        return None;
    }
    let query: Vec<(String, String)> = url::form_urlencoded::parse(delivery.query.as_bytes()).into_owned().collect();
    let field = |name: &str| query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let shown = field("hub.verify_token").unwrap_or("");
    let right = field("hub.mode") == Some("subscribe")
        && bool::from(shown.as_bytes().ct_eq(verify_token.as_bytes()))
        && !verify_token.is_empty();
    let challenge = field("hub.challenge").filter(|text| text.len() <= 256);
    let (status, body) = match challenge.filter(|_| right) {
        Some(challenge) => (StatusCode::OK, challenge.to_owned()),
        None => (StatusCode::FORBIDDEN, String::new()),
    };
    Some(Answer { status, headers: vec![("content-type", "text/plain".into())], body })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "outreach and the page of links read them")]
struct Options {
    /// The text that was typed as "Verify token" in the app's dashboard. It protects only the handshake.
    verify_token: String,
    /// Name of the page or account, as in m.me/<name> and ig.me/m/<name>.
    name: String,
    /// Id of the page. If absent, updates of any page of the app are accepted.
    page: Option<String>,
    /// The access token, as a secret reference.
    token: Option<String>,
    /// Another server than graph.facebook.com.
    api: Option<String>,
}

/// Optional fields of one update.
const OPTIONAL: Shape = Shape {
    texts: &[
        "message/mid",
        "message/text",
        "message/referral/ref",
        "message/quick_reply/payload",
        "message/attachments/*/type",
        "message/attachments/*/title",
        "message/attachments/*/payload/url",
        "message/attachments/*/payload/title",
        "postback/mid",
        "postback/payload",
        "postback/title",
        "postback/referral/ref",
        "referral/ref",
        "optin/ref",
        "optin/notification_messages_status",
        "delivery/mids/*",
        "read/mid",
    ],
    numbers: &[
        "timestamp",
        "delivery/watermark",
        "read/watermark",
        "message/attachments/*/payload/coordinates/lat",
        "message/attachments/*/payload/coordinates/long",
    ],
    instants: &[],
    lists: &["message/attachments", "delivery/mids"],
    flags: &["message/is_echo", "message/is_deleted"],
};

/// A Messenger page or an Instagram account. They differ in the object's name and in the content of some updates.
struct Page {
    source: Source,
    options: Options,
    messenger: Messenger,
    object: &'static str,
}

/// Creates the provider.
///
/// # Errors
/// A message that names the wrong option.
pub fn page(source: &Source, messenger: Messenger, object: &'static str) -> Result<Box<dyn Provider>, String> {
    let options: Options = source.options()?;
    if options.verify_token.is_empty() || options.name.is_empty() {
        return Err("options.verify_token and options.name (as in m.me/<name> or ig.me/m/<name>) are needed".into());
    }
    Ok(Box::new(Page { source: source.clone(), options, messenger, object }))
}

impl Provider for Page {
    fn accepts(&self) -> Accepts {
        Accepts::Json
    }

    fn handshake(&self, delivery: &Delivery) -> Option<Answer> {
        handshake(delivery, &self.options.verify_token)
    }

    fn secret_is_of_the_account(&self) -> bool {
        true
    }

    fn verify_head(&self, head: &Delivery) -> Result<(), Reject> {
        SIGNATURE.offered(head)
    }

    fn verify(&self, delivery: &Delivery) -> Result<Verified, Reject> {
        verify(delivery, &self.source.secrets)
    }

    fn parse(&self, delivery: &VerifiedDelivery) -> Result<Vec<Event>, NotUnderstood> {
        self.updates(delivery)
    }
}

/// The parts of an event's id, and its content.
type Fact = (Vec<String>, Body);

/// Updates about a chat that have no meaning for the hub.
const ASIDE: [&str; 9] = [
    "reaction",
    "account_linking",
    "pass_thread_control",
    "take_thread_control",
    "request_thread_control",
    "app_roles",
    "response_feedback",
    "message_echo",
    "policy_enforcement",
];

impl Page {
    fn updates(&self, delivery: &VerifiedDelivery) -> Result<Vec<Event>, NotUnderstood> {
        let envelope = delivery.object()?;
        if text(&envelope, "/object").as_deref() != Some(self.object) {
            return Err("an object of another kind".into());
        }
        let (mut events, mut lost) = (Vec::new(), Vec::new());
        let mut strange = !has_list(&envelope, "/entry");
        for entry in list(&envelope, "/entry") {
            let foreign =
                self.options.page.is_some() && id(entry, "/id").is_some_and(|id| Some(id) != self.options.page);
            if foreign {
                continue;
            }
            // While another app answers a chat, such as the inbox of a manager, its updates come in `standby`.
            let beside = || list(entry, "/standby").map(|update| (update, true));
            let is_known = ["/messaging", "/changes"].iter().any(|kind| has_list(entry, kind));
            strange |= !is_known && beside().next().is_none();
            // Pages and the dashboard's test button send `changes`, which is kept.
            strange |= list(entry, "/changes").next().is_some() && !breakage::is_on("changes-are-dropped");
            for (update, is_beside) in list(entry, "/messaging").map(|update| (update, false)).chain(beside()) {
                let told_at = told_millisecond(update, "/timestamp");
                lost.extend(odd(update, &OPTIONAL));
                let facts = self.update(update);
                let facts = if is_beside { facts.map(unanswered) } else { facts };
                match facts {
                    Some(facts) => {
                        for (fact, body) in facts {
                            let parts: Vec<&str> = fact.iter().map(String::as_str).collect();
                            let told_at = watermark(update, &body).or(told_at);
                            let event = delivery.event_told_at(&parts, told_at, body);
                            events.push(event.ordered(delivery.order(events.len())));
                        }
                    }
                    None => strange = true,
                }
            }
        }
        NotUnderstood::unless_odd(!strange, "an update of an unknown kind", lost, events)
    }

    /// Facts with the parts of their ids. `None` for an update of an unknown kind.
    fn update(&self, update: &Value) -> Option<Vec<Fact>> {
        if let Some(enforced) = update.get("policy_enforcement") {
            let action = text(enforced, "/action").unwrap_or_default();
            tracing::error!(source = self.source.name.as_str(), action, "the platform acts against this page");
            return Some(vec![]);
        }
        // The checkbox plugin gives a reference instead of a person.
        if update.pointer("/sender/id").is_none_or(Value::is_null) && update.pointer("/sender/user_ref").is_some() {
            return Some(vec![]);
        }
        let person = id(update, "/sender/id").and_then(|id| self.person(&id))?;
        if let Some(message) = update.get("message") {
            return self.message(person, message, update);
        }
        if let Some(message) = update.get("message_edit") {
            let mid = id(message, "/mid").unwrap_or_default();
            let fact =
                vec!["edit".to_owned(), mid.clone(), id(message, "/num_edit").unwrap_or_default(), stamp(update)];
            let content = edited(text(message, "/text"), vec![])?;
            let heard = MessageHeard { chat: person, message: mid, content };
            return Some(vec![(fact, Body::MessageReceived(heard))]);
        }
        let fact = |kind: &str, more: String| vec![kind.to_owned(), person.id.value().to_owned(), stamp(update), more];
        if let Some(postback) = update.get("postback") {
            let mid = id(postback, "/mid").unwrap_or_else(|| stamp(update));
            return Some(vec![(vec!["postback".into(), mid.clone()], self.postback(person.clone(), postback, mid))]);
        }
        if let Some(referral) = update.get("referral") {
            let came = text(referral, "/ref");
            return Some(vec![(fact("referral", came.clone().unwrap_or_default()), started(person, came, true))]);
        }
        if let Some(optin) = update.get("optin") {
            let told = self.optin(person.clone(), optin, fact("optin", optin.to_string()));
            let is_known = told.is_some() || text(optin, "/type").is_some();
            return is_known.then(|| told.into_iter().collect());
        }
        if let Some(delivered) = update.get("delivery") {
            return Some(reports(&person, delivered, Delivered::Delivered, &fact("delivery", String::new())));
        }
        if let Some(read) = update.get("read") {
            return Some(reports(&person, read, Delivered::Seen, &fact("read", String::new())));
        }
        let aside = update.as_object().is_some_and(|update| ASIDE.iter().any(|kind| update.contains_key(*kind)));
        aside.then(Vec::new)
    }

    fn person(&self, id: &str) -> Option<ChatRef> {
        chat(self.messenger, &self.source, id, Profile::default())
    }

    /// The facts of a message. `None` if it holds nothing known.
    fn message(&self, person: ChatRef, message: &Value, update: &Value) -> Option<Vec<Fact>> {
        // The page's own messages come back as echoes. An unsent message is gone.
        if is_true(message, "/is_echo")
            || is_true(message, "/is_deleted")
            || id(update, "/sender/id") == self.options.page
        {
            return Some(vec![]);
        }
        let mid = id(message, "/mid").unwrap_or_else(|| stamp(update));
        let mut facts = Vec::new();
        if let Some(came) = text(message, "/referral/ref") {
            facts.push((vec!["referral".into(), mid.clone()], started(person.clone(), Some(came), true)));
        }
        let words = text(message, "/text");
        let inside = |one: &Value| joined([text(one, "/title"), text(one, "/payload/title")].into_iter().flatten());
        let place = |axis: &str, one: &Value| id(one, &format!("/payload/coordinates/{axis}"));
        let attached = || list(message, "/attachments");
        let beside = attached().filter_map(inside);
        let beside = beside.chain(attached().flat_map(|one| [place("lat", one), place("long", one)]).flatten());
        let files = attached().filter_map(|one| text(one, "/payload/url").or_else(|| text(one, "/url")));
        let content = match text(message, "/quick_reply/payload") {
            Some(payload) => pressed(Some(payload), words),
            None => match words {
                Some(words) if attached().next().is_none() => Some(Content::Text(words)),
                words => {
                    let sticker = message.get("sticker_id").map(|_| "sticker".to_owned());
                    let kind = sticker.or(attached().find_map(|one| text(one, "/type")));
                    let kind = kind.unwrap_or_else(|| "attachment".to_owned());
                    let is_empty = words.is_none() && attached().next().is_none() && kind == "attachment";
                    (!is_empty).then(|| other(&kind, joined(words.into_iter().chain(beside)), files.collect()))
                }
            },
        };
        facts.extend(content.map(|content| {
            let heard = MessageHeard { chat: person, message: mid.clone(), content };
            (vec!["message".into(), mid], Body::MessageReceived(heard))
        }));
        (!facts.is_empty()).then_some(facts)
    }

    fn postback(&self, person: ChatRef, postback: &Value, mid: String) -> Body {
        let payload = text(postback, "/payload").unwrap_or_default();
        let came = text(postback, "/referral/ref");
        if came.is_some() || payload.to_uppercase().contains("GET_STARTED") {
            return started(person, came, false);
        }
        let content = pressed(Some(payload.clone()).filter(|payload| !payload.is_empty()), text(postback, "/title"));
        let content = content.unwrap_or(Content::Button(payload));
        Body::MessageReceived(MessageHeard { chat: person, message: mid, content })
    }

    fn optin(&self, person: ChatRef, optin: &Value, fact: Vec<String>) -> Option<Fact> {
        let status = text(optin, "/notification_messages_status");
        let changed = |chat| ChatChanged { chat, marketing_only: true };
        let body = match (status.as_deref(), text(optin, "/ref")) {
            (Some("STOP_NOTIFICATIONS"), _) => Body::ChatStopped(changed(person)),
            (Some("RESUME_NOTIFICATIONS"), _) => Body::ChatResumed(changed(person)),
            (_, Some(came)) => started(person, Some(came), false),
            _ => return None,
        };
        Some((fact, body))
    }
}

fn started(chat: ChatRef, came: Option<String>, only_opened: bool) -> Body {
    let token = came.and_then(|came| Token::parse(&came));
    Body::ChatStarted(ChatStarted { chat, token, may_write: true, only_opened })
}

/// The facts of an update that another app answers. The bot says nothing to a quote, so a stop is a fact of its own.
fn unanswered(facts: Vec<Fact>) -> Vec<Fact> {
    let mut kept = Vec::new();
    for (parts, body) in facts {
        match body {
            Body::MessageReceived(heard) => {
                let (content, is_stop) = quoted(heard.content);
                if is_stop {
                    let changed = ChatChanged { chat: heard.chat.clone(), marketing_only: true };
                    kept.push(([&parts[..], &["stop".to_owned()]].concat(), Body::ChatStopped(changed)));
                }
                kept.push((parts, Body::MessageReceived(MessageHeard { content, ..heard })));
            }
            // The other app greets the person.
            Body::ChatStarted(_) => {}
            body => kept.push((parts, body)),
        }
    }
    kept
}

fn stamp(update: &Value) -> String {
    id(update, "/timestamp").unwrap_or_default()
}

/// The time up to which a report counts that names no message. A message that was sent later was not read.
fn watermark(update: &Value, body: &Body) -> Option<Timestamp> {
    let Body::MessageReported(told) = body else { return None };
    let pointer = if told.state == Delivered::Seen { "/read/watermark" } else { "/delivery/watermark" };
    told_millisecond(update, pointer).filter(|_| told.message.is_none())
}

/// Reports by message if they are named, or else up to the watermark.
fn reports(person: &ChatRef, report: &Value, state: Delivered, fact: &[String]) -> Vec<Fact> {
    let mids = list(report, "/mids").filter_map(Value::as_str).map(str::to_owned);
    let mut named: Vec<Option<String>> = mids.chain(id(report, "/mid")).map(Some).collect();
    if named.is_empty() {
        named.push(None);
    }
    let one = |message: Option<String>| {
        let mut parts = fact.to_vec();
        parts.extend(message.clone().or_else(|| id(report, "/watermark")));
        let reported = MessageReported { chat: person.clone(), message, state, code: None, decision: None };
        (parts, Body::MessageReported(reported))
    };
    named.into_iter().map(one).collect()
}
