//! WhatsApp Cloud API. Sources: developers.facebook.com/docs/whatsapp/cloud-api/webhooks (messages, statuses,
//! user_preferences, system). For people who hide their phone: the business-scoped user id there (`user_id`,
//! `from_user_id`; fixtures of david-lev/pywa and chatwoot/chatwoot). `wa.me/<number>?text=…` fills in the first
//! message. The token stands in it between brackets, where the author can see and change it.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;
use stagedoor_model::{
    Body, ChatChanged, ChatRef, ChatStarted, Content, Delivered, Event, Identifier, Kind, MessageHeard,
    MessageReported, Messenger, Phone, Profile, Token, breakage,
    token::{FILLED_IN_ENGLISH, FILLED_IN_RUSSIAN},
};
use stagedoor_webhook::{
    Accepts, Answer, Delivery, NotUnderstood, Provider, Reject, Shape, Source, Verified, VerifiedDelivery, odd,
};

use crate::{
    meta,
    read::{edited, has_list, id, joined, list, other, pressed, second, text, words},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "outreach and the page of links read them")]
struct Options {
    /// The text that was typed as "Verify token" in the app's dashboard. It protects only the handshake.
    verify_token: String,
    /// Id of the phone number in the app. Updates of other numbers are ignored.
    phone_number_id: String,
    /// The number itself, as in wa.me/<number>.
    number: String,
    /// The access token, as a secret reference.
    token: Option<String>,
    /// Another server than graph.facebook.com.
    api: Option<String>,
}

/// Optional fields of one change.
const OPTIONAL: Shape = Shape {
    texts: &[
        "contacts/*/profile/name",
        "contacts/*/profile/username",
        "contacts/*/wa_id",
        "contacts/*/user_id",
        "messages/*/id",
        "messages/*/type",
        "messages/*/text/body",
        "statuses/*/id",
        "statuses/*/status",
        "statuses/*/biz_opaque_callback_data",
        "statuses/*/errors/*/code",
        "messages/*/from",
        "messages/*/from_user_id",
        "messages/*/group_id",
        "messages/*/button/payload",
        "messages/*/button/text",
        "messages/*/*/id",
        "messages/*/*/caption",
        "messages/*/*/filename",
        "messages/*/*/text",
        "messages/*/*/name",
        "messages/*/*/address",
        "messages/*/*/emoji",
        "messages/*/*/body",
        "messages/*/interactive/*/id",
        "messages/*/interactive/*/title",
        "messages/*/interactive/*/body",
        "messages/*/interactive/*/response_json",
        "messages/*/contacts/*/name/formatted_name",
        "messages/*/contacts/*/name/first_name",
        "messages/*/contacts/*/phones/*/phone",
        "messages/*/contacts/*/phones/*/wa_id",
        "messages/*/contacts/*/emails/*/email",
        "messages/*/order/product_items/*/product_retailer_id",
        "messages/*/order/product_items/*/quantity",
        "statuses/*/recipient_id",
        "statuses/*/recipient_user_id",
        "user_preferences/*/wa_id",
        "user_preferences/*/user_id",
        "user_preferences/*/value",
        "messages/*/audio/id",
        "messages/*/document/id",
        "messages/*/image/id",
        "messages/*/video/id",
        "messages/*/voice/id",
        "messages/*/sticker/id",
        "messages/*/interactive/button_reply/id",
        "messages/*/interactive/list_reply/id",
        "messages/*/interactive/nfm_reply/body",
    ],
    numbers: &[
        "messages/*/timestamp",
        "statuses/*/timestamp",
        "user_preferences/*/timestamp",
        "messages/*/location/latitude",
        "messages/*/location/longitude",
    ],
    instants: &[],
    lists: &[
        "contacts",
        "messages",
        "statuses",
        "messages/*/contacts",
        "messages/*/contacts/*/phones",
        "messages/*/contacts/*/emails",
        "messages/*/order/product_items",
        "user_preferences",
        "statuses/*/errors",
    ],
    flags: &[],
};

struct Whatsapp {
    source: Source,
    options: Options,
}

pub fn build(source: &Source) -> Result<Box<dyn Provider>, String> {
    let options: Options = source.options()?;
    let digits = !options.number.is_empty() && options.number.bytes().all(|b| b.is_ascii_digit());
    if options.verify_token.is_empty() || options.phone_number_id.is_empty() || !digits {
        return Err("options.verify_token, options.phone_number_id and options.number (digits only) are needed".into());
    }
    Ok(Box::new(Whatsapp { source: source.clone(), options }))
}

/// Prefixes of fields that do not concern a chat: templates, quality, the account, the phone app's history.
const ASIDE: [&str; 14] = [
    "account_",
    "business_",
    "message_template_",
    "template_",
    "phone_number_",
    "security",
    "flows",
    "history",
    "smb_",
    "messaging_handovers",
    "partner_solutions",
    "payment_configuration_update",
    "tracking_events",
    "calls",
];

type Fact = (Vec<String>, stagedoor_model::Timestamp, Body);

impl Provider for Whatsapp {
    fn accepts(&self) -> Accepts {
        Accepts::Json
    }

    fn handshake(&self, delivery: &Delivery) -> Option<Answer> {
        meta::handshake(delivery, &self.options.verify_token)
    }

    fn secret_is_of_the_account(&self) -> bool {
        true
    }

    fn verify_head(&self, head: &Delivery) -> Result<(), Reject> {
        meta::SIGNATURE.offered(head)
    }

    fn verify(&self, delivery: &Delivery) -> Result<Verified, Reject> {
        meta::verify(delivery, &self.source.secrets)
    }

    fn parse(&self, delivery: &VerifiedDelivery) -> Result<Vec<Event>, NotUnderstood> {
        let envelope = delivery.object()?;
        if text(&envelope, "/object").as_deref() != Some("whatsapp_business_account") {
            return Err("an object of another kind".into());
        }
        let (mut facts, mut lost) = (Vec::new(), Vec::new());
        let mut strange = !has_list(&envelope, "/entry");
        strange |= list(&envelope, "/entry").any(|entry| !has_list(entry, "/changes"));
        for change in list(&envelope, "/entry").flat_map(|entry| list(entry, "/changes")) {
            let Some(value) = change.get("value") else {
                strange = true;
                continue;
            };
            let foreign =
                id(value, "/metadata/phone_number_id").is_some_and(|number| number != self.options.phone_number_id);
            let is_read = matches!(text(change, "/field").as_deref(), Some("messages" | "user_preferences"));
            lost.extend(is_read.then(|| odd(value, &OPTIONAL)).into_iter().flatten().filter(|_| !foreign));
            match text(change, "/field").as_deref() {
                _ if foreign => {}
                Some("messages") => strange |= !self.messages(value, delivery, &mut facts),
                Some("user_preferences") => {
                    let told = self.preferences(value, delivery);
                    strange |= told.len() != list(value, "/user_preferences").count() || told.is_empty();
                    facts.extend(told);
                }
                Some(field) if ASIDE.iter().any(|family| field.starts_with(family)) => {}
                _ => strange = true,
            }
        }
        let event = |(n, (parts, at, body)): (usize, Fact)| {
            let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
            delivery.event(&parts, at, body).ordered(delivery.order(n))
        };
        let events = facts.into_iter().enumerate().map(event).collect();
        NotUnderstood::unless_odd(!strange, "a change of an unknown kind", lost, events)
    }
}

impl Whatsapp {
    /// Collects the facts of a value. Returns false if a part was not understood.
    fn messages(&self, value: &Value, delivery: &VerifiedDelivery, facts: &mut Vec<Fact>) -> bool {
        let mut understood = ["/messages", "/statuses", "/errors"].iter().any(|kind| has_list(value, kind));
        let now = delivery.received_at();
        for error in list(value, "/errors") {
            let code = id(error, "/code").unwrap_or_default();
            tracing::error!(source = self.source.name.as_str(), code, "the platform reports an error of the account");
        }
        for message in list(value, "/messages") {
            let at = second(message, "/timestamp", now);
            let mid = id(message, "/id").unwrap_or_else(|| at.to_string());
            let Some(bodies) = self.message(value, message, &mid) else {
                understood = false;
                continue;
            };
            let numbered = bodies.into_iter().enumerate();
            facts.extend(numbered.map(|(n, body)| (vec!["message".into(), mid.clone(), n.to_string()], at, body)));
        }
        for status in list(value, "/statuses") {
            let at = second(status, "/timestamp", now);
            let told = self.status(value, status);
            understood &= told.is_some();
            facts.extend(told.into_iter().flatten().map(|(parts, body)| (parts, at, body)));
        }
        understood
    }

    /// The chat of a person. A person has a phone (`wa_id`), an id, or both. Messages are sent to the phone if there is
    /// one.
    fn person(&self, wa_id: Option<String>, user: Option<String>, contact: Option<&Value>) -> Option<ChatRef> {
        let user = user.and_then(|id| Identifier::opaque(Kind::WhatsappUser, self.source.name.as_str(), &id));
        let phone = wa_id.as_ref().and_then(|id| Phone::parse(&format!("+{id}"), self.source.region).ok());
        let number = wa_id.and_then(|id| Identifier::chat(Messenger::Whatsapp, "", &id));
        let chat = number.clone().or_else(|| user.clone())?;
        let also: BTreeSet<Identifier> =
            [number, user, phone.map(Identifier::phone)].into_iter().flatten().filter(|one| *one != chat).collect();
        let profile = Profile {
            nickname: contact.and_then(|contact| text(contact, "/profile/name")),
            username: contact.and_then(|contact| text(contact, "/profile/username")),
            language: None,
        };
        Some(ChatRef { id: chat, also, profile })
    }

    fn sender(&self, value: &Value, message: &Value) -> Option<ChatRef> {
        let (from, user) = (id(message, "/from"), id(message, "/from_user_id"));
        let contact = list(value, "/contacts").find(|contact| {
            let (wa_id, id) = (id(contact, "/wa_id"), id(contact, "/user_id"));
            (from.is_some() && wa_id == from) || (user.is_some() && id == user)
        });
        let user = user.or_else(|| contact.and_then(|contact| id(contact, "/user_id")));
        self.person(from, user, contact)
    }

    /// The content of a message. `None` if it has no sender.
    fn message(&self, value: &Value, message: &Value, mid: &str) -> Option<Vec<Body>> {
        // A group chat belongs to no single person.
        if message.get("group_id").is_some() {
            return Some(vec![]);
        }
        let kind = text(message, "/type").unwrap_or_default();
        if kind == "system" {
            return self.renamed(message);
        }
        let chat = self.sender(value, message)?;
        let said = text(message, "/text/body");
        let mut bodies = Vec::new();
        let (token, said) = match said.as_deref().and_then(|text| Some((bracketed(text)?, text))) {
            Some((token, text)) => (Some(token.clone()), beside_token(text, &token)),
            None => (None, said),
        };
        if let Some(token) = token {
            let (chat, token) = (chat.clone(), Some(token));
            bodies.push(Body::ChatStarted(ChatStarted { chat, token, may_write: true, only_opened: false }));
            if said.is_none() {
                return Some(bodies);
            }
        }
        let content = match kind.as_str() {
            "reaction" | "revoke" => return Some(vec![]),
            "edit" => {
                let new = message.pointer("/edit/message").unwrap_or(&Value::Null);
                let own = new.get(text(new, "/type").unwrap_or_default()).unwrap_or(&Value::Null);
                let words = text(new, "/text/body").or_else(|| inside(own));
                let is_kept = edited(words, id(own, "/id").into_iter().collect());
                // An edit of an unknown shape is kept whole.
                Some(is_kept?)
            }
            "button" => pressed(text(message, "/button/payload"), text(message, "/button/text"))
                .or_else(|| Some(other("button", None, vec![]))),
            "interactive" => {
                let replies = ["/interactive/button_reply", "/interactive/list_reply"];
                let reply = replies.iter().find_map(|pointer| message.pointer(pointer));
                let chosen = reply.and_then(|reply| pressed(id(reply, "/id"), text(reply, "/title")));
                let filled =
                    || words(message, &["/interactive/nfm_reply/body", "/interactive/nfm_reply/response_json"]);
                chosen.or_else(|| Some(other("form", filled(), vec![])))
            }
            _ => said.map(Content::Text).or_else(|| {
                let own = message.get(&kind).unwrap_or(&Value::Null);
                let files = id(own, "/id").into_iter().collect();
                Some(other(if kind.is_empty() { "unknown" } else { &kind }, inside(own), files))
            }),
        };
        if message.get("referral").is_some() {
            let chat = chat.clone();
            bodies.push(Body::ChatStarted(ChatStarted { chat, token: None, may_write: true, only_opened: true }));
        }
        let heard = |content| Body::MessageReceived(MessageHeard { chat, message: mid.to_owned(), content });
        bodies.extend(content.map(heard));
        Some(bodies)
    }

    /// A change of a person's number or id. `None` if the person cannot be read, or the kind of change is unknown.
    fn renamed(&self, message: &Value) -> Option<Vec<Body>> {
        let system = message.get("system")?;
        let (new, old) = match text(system, "/type")?.as_str() {
            "user_changed_number" | "customer_changed_number" => {
                let new = id(system, "/wa_id").or_else(|| id(system, "/new_wa_id"));
                let old = id(message, "/from").or_else(|| id(system, "/customer"));
                (self.person(new, None, None)?, self.person(old, None, None)?)
            }
            "user_changed_user_id" => {
                let old = id(system, "/previous_user_id");
                (self.person(None, id(system, "/user_id"), None)?, self.person(None, old, None)?)
            }
            // The person has another device or installed the app again. The number is the same.
            "customer_identity_changed" | "user_identity_changed" => return Some(vec![]),
            _ => return None,
        };
        let mut chat = new;
        chat.also.insert(old.id);
        Some(vec![Body::ChatRenamed(ChatChanged { chat, marketing_only: false })])
    }

    /// The status of a message. `None` if its recipient or its state cannot be read.
    fn status(&self, value: &Value, status: &Value) -> Option<Vec<(Vec<String>, Body)>> {
        let (wa_id, user) = (id(status, "/recipient_id"), id(status, "/recipient_user_id"));
        let contact = list(value, "/contacts").find(|contact| wa_id.is_some() && id(contact, "/wa_id") == wa_id);
        let user = user.or_else(|| contact.and_then(|contact| id(contact, "/user_id")));
        let decision = text(status, "/biz_opaque_callback_data");
        let name = text(status, "/status")?;
        let state = match name.as_str() {
            // This state is a fact only if it settles a message whose answer was lost.
            "sent" if decision.is_some() => Delivered::Sent,
            "delivered" => Delivered::Delivered,
            "read" | "played" => Delivered::Seen,
            "failed" => Delivered::Failed,
            _ => return Some(vec![]),
        };
        let chat = self.person(wa_id, user, None)?;
        let message = id(status, "/id");
        let parts = vec!["status".to_owned(), message.clone().unwrap_or_default(), name];
        let code = list(status, "/errors").find_map(|error| id(error, "/code"));
        let mut facts = Vec::new();
        // 131050: the person stopped marketing messages (WhatsApp Cloud API, error codes).
        if code.as_deref() == Some("131050") {
            let mut parts = parts.clone();
            parts.push("stopped".into());
            facts.push((parts, Body::ChatStopped(ChatChanged { chat: chat.clone(), marketing_only: true })));
        }
        facts.push((parts, Body::MessageReported(MessageReported { chat, message, state, code, decision })));
        Some(facts)
    }

    fn preferences(&self, value: &Value, delivery: &VerifiedDelivery) -> Vec<Fact> {
        let change = |preference: &Value| {
            let at = second(preference, "/timestamp", delivery.received_at());
            let chat = self.person(id(preference, "/wa_id"), id(preference, "/user_id"), None)?;
            let (word, who) = (text(preference, "/value")?, chat.id.value().to_owned());
            let changed = ChatChanged { chat, marketing_only: true };
            let body = match word.as_str() {
                "stop" => Body::ChatStopped(changed),
                "resume" => Body::ChatResumed(changed),
                _ => return None,
            };
            Some((vec!["preference".into(), who, word, at.to_string()], at, body))
        };
        list(value, "/user_preferences").filter_map(change).collect()
    }
}

/// The `[token]` in a prefilled text. The last brackets count.
fn bracketed(text: &str) -> Option<Token> {
    let inside = text.rsplit_once('[')?.1.split_once(']')?.0;
    let is_ours = |token: &Token| token.header().is_some() || breakage::is_on("any-brackets-are-a-token");
    Token::parse(inside).filter(|token| token.to_string().len() >= 12 && is_ours(token))
}

/// The words beside the token, if they are more than the link's own prefilled words. If the brackets hold no token of
/// ours, the whole text.
fn beside_token(text: &str, token: &Token) -> Option<String> {
    if breakage::is_on("token-eats-message") {
        return None;
    }
    if token.header().is_none() {
        return Some(text.to_owned());
    }
    let (before, rest) = text.rsplit_once('[')?;
    let after = rest.split_once(']').map_or("", |(_, after)| after).trim();
    let before = [FILLED_IN_RUSSIAN, FILLED_IN_ENGLISH].into_iter().fold(before.trim(), |said, filled| {
        said.strip_suffix(filled).or_else(|| said.strip_prefix(filled)).unwrap_or(said).trim()
    });
    let is_said = |part: &&str| part.chars().any(char::is_alphanumeric);
    joined([before, after].into_iter().filter(is_said).map(str::to_owned))
}

/// The words of a message without text: a caption, a file's name, cards, places, an order.
fn inside(own: &Value) -> Option<String> {
    let plain = words(own, &["/caption", "/filename", "/text", "/name", "/address", "/emoji"]);
    let place = ["/latitude", "/longitude"].into_iter().filter_map(|axis| id(own, axis));
    let cards = list(own, "").filter_map(|card| {
        let name = words(card, &["/name/formatted_name", "/name/first_name"]);
        let phones = list(card, "/phones").filter_map(|one| text(one, "/phone").or_else(|| id(one, "/wa_id")));
        let emails = list(card, "/emails").filter_map(|one| text(one, "/email"));
        joined(name.into_iter().chain(phones).chain(emails))
    });
    let items = list(own, "/product_items").filter_map(|item| words(item, &["/product_retailer_id", "/quantity"]));
    joined(plain.into_iter().chain(place).chain(cards).chain(items))
}
