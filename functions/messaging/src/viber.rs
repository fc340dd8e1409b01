//! Viber Bot API. Sources: developers.viber.com/docs/api/rest-bot-api (callbacks, welcome message, deep links:
//! creators.viber.com), and the official SDKs Viber/viber-bot-python and viber-bot-node. `X-Viber-Content-Signature` is
//! the hex of HMAC-SHA256(auth token, raw body). The query parameter `sig` is accepted for it too. A callback is
//! repeated for an hour until it is answered 200. An opened chat does not allow messages yet, but the answer to that
//! callback may be one message.

use serde::Deserialize;
use serde_json::{Value, json};
use stagedoor_model::{
    Body, ChatChanged, ChatRef, ChatStarted, ContactShared, Content, Delivered, Event, Identifier, MessageHeard,
    MessageReported, Messenger, Phone, Profile, Proof, Token, breakage,
};
use stagedoor_webhook::{
    Accepts, Answer, Delivery, NotUnderstood, Provider, Reject, Shape, Source, Verified, VerifiedDelivery, odd,
    parse_json,
    signature::{Encoding, HmacScheme},
};

use crate::read::{chat, id, is_true, joined, other, text, told_millisecond};

const SIGNATURE: HmacScheme = HmacScheme::sha256(Encoding::Hex).in_header("x-viber-content-signature");

/// Tracking data that our keyboard sends when it asks for a phone. Without it a contact card may be anybody's.
const ASKED: &str = "ask-phone";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "outreach and the page of links read them")]
struct Options {
    /// URI of the bot, as in `viber://pa?chatURI=`.
    uri: String,
    /// The sender's name that fans see, at most 28 characters.
    name: String,
    /// The auth token for sending, as a secret reference. It is the same as in `secrets`.
    token: Option<String>,
    /// Text for a person who opens the chat, before messages are allowed.
    welcome: Option<String>,
    /// Label of the button below it. A press on it allows messages.
    begin: Option<String>,
    /// Another server than chatapi.viber.com.
    api: Option<String>,
}

const OPTIONAL: Shape = Shape {
    texts: &[
        "message_token",
        "context",
        "user/name",
        "user/language",
        "sender/name",
        "sender/language",
        "message/tracking_data",
        "message/media",
        "message/file_name",
        "message/contact/name",
        "message/contact/phone_number",
        "message/location/lat",
        "message/location/lon",
        "message/text",
    ],
    numbers: &["timestamp"],
    instants: &[],
    lists: &[],
    flags: &["subscribed"],
};

struct Viber {
    source: Source,
    options: Options,
}

pub fn build(source: &Source) -> Result<Box<dyn Provider>, String> {
    let options: Options = source.options()?;
    if options.uri.is_empty() || options.name.is_empty() || options.name.chars().count() > 28 {
        return Err("options.uri and options.name are needed; a name has at most 28 characters".into());
    }
    Ok(Box::new(Viber { source: source.clone(), options }))
}

impl Provider for Viber {
    fn accepts(&self) -> Accepts {
        Accepts::Json
    }

    fn verify(&self, delivery: &Delivery) -> Result<Verified, Reject> {
        let in_query = || {
            let pairs = delivery.query.split('&').find_map(|pair| pair.strip_prefix("sig="));
            pairs.map(str::to_owned)
        };
        let given = delivery.header(SIGNATURE.header()).map(str::to_owned).or_else(in_query);
        SIGNATURE.check(given.as_deref(), &[&delivery.body], &self.source.secrets)
    }

    fn parse(&self, delivery: &VerifiedDelivery) -> Result<Vec<Event>, NotUnderstood> {
        let callback = delivery.object()?;
        let kind = text(&callback, "/event").ok_or("no event")?;
        let token = id(&callback, "/message_token").unwrap_or_default();
        let told_at = told_millisecond(&callback, "/timestamp");
        let who =
            id(&callback, "/user_id").or_else(|| id(&callback, "/user/id")).or_else(|| id(&callback, "/sender/id"));
        let body = match kind.as_str() {
            "webhook" | "action" | "client_status" => return Ok(vec![]),
            "conversation_started" => self.started(&callback),
            "subscribed" => self.changed(callback.get("user")).map(Body::ChatResumed),
            "unsubscribed" => self.changed(Some(&json!({ "id": id(&callback, "/user_id") }))).map(Body::ChatStopped),
            "message" => self.message(&callback, &token),
            "delivered" => self.reported(&callback, &token, Delivered::Delivered),
            "seen" => self.reported(&callback, &token, Delivered::Seen),
            "failed" => self.reported(&callback, &token, Delivered::Failed),
            _ => return Err("a callback of an unknown kind".into()),
        };
        let body = body.ok_or("a callback without its person")?;
        // The token of a status is that of our message, so only all three parts identify a fact.
        let parts = [kind.as_str(), &token, who.as_deref().unwrap_or("")];
        let stamp = id(&callback, "/timestamp").unwrap_or_default();
        let event = match token.is_empty() {
            true => delivery.event_told_at(&[&parts[..], &[stamp.as_str()]].concat(), told_at, body),
            false => delivery.event(&parts, told_at.unwrap_or(delivery.received_at()), body),
        };
        let event = event.ordered(delivery.order(0));
        NotUnderstood::left_out(odd(&callback, &OPTIONAL), vec![event])
    }

    fn answer(&self, delivery: &Delivery) -> Answer {
        let callback: Value = parse_json(&delivery.body).unwrap_or_default();
        let opens = text(&callback, "/event").as_deref() == Some("conversation_started");
        match &self.options.welcome {
            Some(welcome) if opens && !is_true(&callback, "/subscribed") => Answer::json(&self.welcome(welcome)),
            _ => Answer::json("{}"),
        }
    }
}

impl Viber {
    fn begin(&self) -> &str {
        self.options.begin.as_deref().unwrap_or("▶")
    }

    fn welcome(&self, text: &str) -> String {
        let label = self.begin();
        let button = json!({ "ActionType": "reply", "ActionBody": label, "Text": label });
        let keyboard = json!({ "Type": "keyboard", "DefaultHeight": false, "Buttons": [button] });
        let sender = json!({ "name": self.options.name });
        json!({ "min_api_version": 1, "sender": sender, "type": "text", "text": text, "keyboard": keyboard })
            .to_string()
    }

    fn person(&self, user: &Value) -> Option<ChatRef> {
        let profile = Profile {
            // Viber shows this name for people who hide theirs (creators.viber.com, "Content Personalization").
            nickname: text(user, "/name").filter(|name| !name.eq_ignore_ascii_case("subscriber")),
            username: None,
            language: text(user, "/language"),
        };
        // The id is base64 with + / =. It is not decoded.
        chat(Messenger::Viber, &self.source, &id(user, "/id")?, profile)
    }

    fn started(&self, callback: &Value) -> Option<Body> {
        let chat = self.person(callback.get("user")?)?;
        let token = text(callback, "/context").and_then(|context| Token::parse(&context));
        let may_write = is_true(callback, "/subscribed");
        Some(Body::ChatStarted(ChatStarted { chat, token, may_write, only_opened: true }))
    }

    fn changed(&self, user: Option<&Value>) -> Option<ChatChanged> {
        Some(ChatChanged { chat: self.person(user?)?, marketing_only: false })
    }

    fn message(&self, callback: &Value, token: &str) -> Option<Body> {
        let chat = self.person(callback.get("sender")?)?;
        let message = callback.get("message")?;
        let kind = text(message, "/type")?;
        let phone = text(message, "/contact/phone_number")
            .filter(|_| text(message, "/tracking_data").as_deref() == Some(ASKED))
            .and_then(|number| Phone::parse(&format!("+{}", number.trim_start_matches('+')), self.source.region).ok());
        if let Some(phone) = phone {
            // `tracking_data` shows that the card answers our question, but not whose card it is.
            let proof = if breakage::is_on("viber-card-proves") { Proof::Channel } else { Proof::Claimed };
            return Some(Body::ContactShared(ContactShared { chat, given: Identifier::phone(phone), proof }));
        }
        let words = text(message, "/text");
        if words.as_deref() == Some(self.begin()) {
            // The button of the welcome text allows messages and has no other meaning.
            return Some(Body::ChatResumed(ChatChanged { chat, marketing_only: false }));
        }
        let content = match words {
            Some(words) if kind == "text" => Content::Text(words),
            said => {
                let inside = ["/file_name", "/contact/name", "/contact/phone_number", "/location/lat", "/location/lon"];
                let inside = crate::read::words(message, &inside);
                other(&kind, joined(said.into_iter().chain(inside)), text(message, "/media").into_iter().collect())
            }
        };
        Some(Body::MessageReceived(MessageHeard { chat, message: token.to_owned(), content }))
    }

    fn reported(&self, callback: &Value, token: &str, state: Delivered) -> Option<Body> {
        let chat = self.person(&json!({ "id": id(callback, "/user_id") }))?;
        let message = Some(token.to_owned()).filter(|token| !token.is_empty());
        Some(Body::MessageReported(MessageReported { chat, message, state, code: None, decision: None }))
    }
}
