//! VK Callback API. Sources: dev.vk.com/api/callback/getting-started (confirmation string, `ok`, `secret` in the body),
//! and the official schema VKCOM/vk-api-schema, callback/objects.json and messages/objects.json (`ref`, `ref_source`,
//! `key`). An event that was not answered with `ok` is repeated under the same `event_id`.

use serde::Deserialize;
use serde_json::Value;
use stagedoor_model::{
    Body, ChatChanged, ChatRef, ChatStarted, Content, Delivered, Event, MessageHeard, MessageReported, Messenger,
    Profile, Token, breakage,
};
use stagedoor_webhook::{
    Accepts, Answer, Delivery, NotUnderstood, Provider, Reject, Shape, Source, Verified, VerifiedDelivery, odd, scan,
    signature,
};

use crate::read::{chat, edited, id, joined, list, number, other, pressed, second, text, words};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "outreach and the page of links read them")]
struct Options {
    group: i64,
    /// The string on the settings page. VK asks for it once.
    confirmation: String,
    /// Short name of the community, as in vk.me/<name>.
    name: String,
    /// The community's access token, as a secret reference.
    token: Option<String>,
    /// Another server than api.vk.com.
    api: Option<String>,
}

const OPTIONAL: Shape = Shape {
    texts: &[
        "event_id",
        "object/key",
        "object/message/ref",
        "object/message/text",
        "object/message/id",
        "object/ref",
        "object/text",
        "object/event_id",
        "object/read_message_id",
        "object/message/geo/place/title",
        "object/message/attachments/*/type",
        "object/message/fwd_messages/*/text",
        "object/message/attachments/*/*/url",
        "object/message/attachments/*/*/link_mp3",
        "object/message/attachments/*/*/link_ogg",
        "object/message/attachments/*/*/title",
        "object/message/attachments/*/*/text",
        "object/message/attachments/*/*/description",
        "object/message/attachments/*/*/caption",
        "object/message/attachments/*/*/transcript",
        "object/message/attachments/*/*/message",
        "object/message/attachments/*/photo/sizes/*/url",
        "object/message/attachments/*/doc/url",
        "object/message/attachments/*/audio_message/link_mp3",
        "object/message/attachments/*/graffiti/url",
        "object/id",
        "object/message/fwd_messages/*/attachments/*/type",
        "object/message/fwd_messages/*/attachments/*/*/url",
        "object/message/fwd_messages/*/attachments/*/*/link_mp3",
        "object/message/fwd_messages/*/attachments/*/*/link_ogg",
        "object/message/fwd_messages/*/attachments/*/*/title",
        "object/message/fwd_messages/*/attachments/*/*/text",
        "object/message/fwd_messages/*/attachments/*/*/description",
        "object/message/fwd_messages/*/attachments/*/*/caption",
        "object/message/fwd_messages/*/attachments/*/*/transcript",
        "object/message/fwd_messages/*/attachments/*/*/message",
        "object/message/fwd_messages/*/attachments/*/photo/sizes/*/url",
        "object/message/fwd_messages/*/attachments/*/doc/url",
        "object/message/fwd_messages/*/attachments/*/audio_message/link_mp3",
        "object/message/fwd_messages/*/attachments/*/graffiti/url",
    ],
    numbers: &[
        "object/message/date",
        "object/date",
        "object/client_info/lang_id",
        "object/message/geo/coordinates/latitude",
        "object/message/geo/coordinates/longitude",
        "object/message/attachments/*/photo/sizes/*/width",
        "object/update_time",
        "object/message/fwd_messages/*/attachments/*/photo/sizes/*/width",
    ],
    instants: &[],
    lists: &[
        "object/message/attachments",
        "object/message/fwd_messages",
        "object/attachments",
        "object/fwd_messages",
        "object/message/attachments/*/photo/sizes",
        "object/message/fwd_messages/*/attachments",
        "object/message/fwd_messages/*/attachments/*/photo/sizes",
    ],
    flags: &[],
};

struct Vk {
    source: Source,
    options: Options,
}

pub fn build(source: &Source) -> Result<Box<dyn Provider>, String> {
    let options: Options = source.options()?;
    if options.group <= 0 || options.confirmation.is_empty() || options.name.is_empty() {
        return Err("options.group (the community's id), options.confirmation and options.name are needed".into());
    }
    Ok(Box::new(Vk { source: source.clone(), options }))
}

/// Prefixes of events that do not concern a chat.
const ASIDE: [&str; 16] = [
    "message_reply",
    "message_typing_state",
    "message_reaction_event",
    "wall_",
    "photo_",
    "video_",
    "audio_",
    "market_",
    "board_",
    "group_",
    "poll_",
    "like_",
    "donut_",
    "app_payload",
    "vkpay_",
    "lead_forms_",
];

const YES: &[&str] = &["начать", "start", "/start", "старт"];

impl Provider for Vk {
    fn accepts(&self) -> Accepts {
        Accepts::Json
    }

    fn handshake(&self, delivery: &Delivery) -> Option<Answer> {
        // A new server has no secret yet, so the community's id decides.
        let [kind, group] = scan::json_fields(&delivery.body, ["type", "group_id"]);
        let own = group.and_then(|group| group.parse().ok()) == Some(self.options.group);
        (kind.as_deref() == Some("confirmation") && own).then(|| plain(&self.options.confirmation))
    }

    fn secret_fields(&self) -> Vec<String> {
        vec!["secret".into()]
    }

    fn verify(&self, delivery: &Delivery) -> Result<Verified, Reject> {
        let [secret, group] = scan::json_fields(&delivery.body, ["secret", "group_id"]);
        let verified = signature::shown(secret.as_deref(), &self.source.secrets)?;
        let own = group.is_none_or(|group| group.parse() == Ok(self.options.group));
        if own { Ok(verified) } else { Err(Reject::WrongOrigin) }
    }

    fn parse(&self, delivery: &VerifiedDelivery) -> Result<Vec<Event>, NotUnderstood> {
        let envelope = delivery.object()?;
        let kind = text(&envelope, "/type").ok_or("no type")?;
        let object = envelope.get("object").ok_or("no object")?;
        let one = |body: Option<Body>| body.map(|body| vec![body]).ok_or("an event without its person");
        let bodies = match kind.as_str() {
            "message_new" => self.message(object)?,
            "message_edit" => self.edited(object)?,
            // A press or a read in a group chat belongs to no single person.
            "message_event" | "message_read" if is_group(object) => vec![],
            "message_event" => one(self.pressed(object))?,
            "message_allow" => one(self.allowed(object))?,
            "message_deny" | "user_block" => one(self.changed(object).map(Body::ChatStopped))?,
            "message_read" => one(self.seen(object))?,
            "user_unblock" => vec![],
            _ if ASIDE.iter().any(|family| kind.starts_with(family)) => vec![],
            _ => return Err("an event of an unknown type".into()),
        };
        let message = object.get("message").unwrap_or(object);
        let said_at = second(message, "/date", delivery.received_at());
        let at = if kind == "message_edit" { second(message, "/update_time", delivery.received_at()) } else { said_at };
        let fact = id(&envelope, "/event_id").or_else(|| {
            // Before API 5.103 there was no event_id. One message may be edited often.
            if kind == "message_edit" {
                return None;
            }
            let (message, peer) = (id(message, "/id")?, id(message, "/peer_id").or_else(|| id(message, "/user_id"))?);
            Some(format!("{kind} {peer} {message}"))
        });
        let is_named = fact.is_some();
        let fact = fact.unwrap_or_else(|| format!("{kind} {}", object));
        let counter = number(message, "/conversation_message_id").or_else(|| number(message, "/id"));
        let counter = counter.and_then(|number| u64::try_from(number).ok()).unwrap_or(0);
        let event = |(n, body): (usize, Body)| {
            let order = counter.saturating_mul(8).saturating_add(n as u64 * 2);
            let number = n.to_string();
            let parts = [fact.as_str(), number.as_str()];
            // A block without id and time. It may happen again after the person has allowed messages again.
            let event = match is_named || !matches!(body, Body::ChatStopped(_)) {
                true => delivery.event(&parts, at, body),
                false => delivery.event_told_at(&parts, None, body),
            };
            event.ordered(order)
        };
        let events: Vec<Event> = bodies.into_iter().enumerate().map(event).collect();
        // An event without meaning for the hub has no odd fields.
        let lost = if events.is_empty() { vec![] } else { odd(&envelope, &OPTIONAL) };
        NotUnderstood::left_out(lost, events)
    }

    fn answer(&self, _: &Delivery) -> Answer {
        plain("ok")
    }
}

fn plain(text: &str) -> Answer {
    Answer {
        status: http::StatusCode::OK,
        headers: vec![("content-type", "text/plain; charset=utf-8".into())],
        body: text.into(),
    }
}

impl Vk {
    fn person(&self, user: i64, language: Option<&str>) -> Option<ChatRef> {
        let profile = Profile { language: language.map(str::to_owned), ..Profile::default() };
        // Communities have negative ids, and group chats ids above two thousand million.
        (1..2_000_000_000).contains(&user).then(|| chat(Messenger::Vk, &self.source, &user.to_string(), profile))?
    }

    fn message(&self, object: &Value) -> Result<Vec<Body>, NotUnderstood> {
        // Before API 5.103 the object was the message itself.
        let message = object.get("message").unwrap_or(object);
        let from = number(message, "/from_id").ok_or("a message without a sender")?;
        if number(message, "/out").unwrap_or(0) != 0 || from < 0 || is_group(message) {
            return Ok(vec![]);
        }
        let chat = self.sender(object, from)?;
        let (words, came) = (text(message, "/text"), text(message, "/ref"));
        let command = payload_command(message.get("payload"));
        let begins = command.as_deref() == Some("start")
            || words.as_deref().is_some_and(|words| YES.contains(&words.to_lowercase().as_str()));
        let mut bodies = Vec::new();
        if came.is_some() || begins {
            let token = came.and_then(|came| Token::parse(&came));
            let started = ChatStarted { chat: chat.clone(), token, may_write: true, only_opened: !begins };
            bodies.push(Body::ChatStarted(started));
        }
        // The word that starts a chat is not part of the conversation. Its attachments are.
        let content = match begins {
            true => content(message, None, None).filter(|_| !breakage::is_on("beginning-eats-picture")),
            false => Some(content(message, words, command).ok_or("a message of an unknown kind")?),
        };
        let message = id(message, "/id").unwrap_or_default();
        let heard = |content| Body::MessageReceived(MessageHeard { chat, message, content });
        bodies.extend(content.map(heard));
        Ok(bodies)
    }

    /// The new text of an edited message.
    fn edited(&self, object: &Value) -> Result<Vec<Body>, NotUnderstood> {
        let message = object.get("message").unwrap_or(object);
        let from = number(message, "/from_id").ok_or("a message without a sender")?;
        if number(message, "/out").unwrap_or(0) != 0 || from < 0 || is_group(message) {
            return Ok(vec![]);
        }
        let chat = self.sender(object, from)?;
        let (words, files) = match content(message, text(message, "/text"), None) {
            Some(Content::Text(words)) => (Some(words), vec![]),
            Some(Content::Other { caption, files, .. }) => (caption, files),
            _ => return Err("an edit of an unknown kind".into()),
        };
        let message = id(message, "/id").unwrap_or_default();
        let heard = |content| Body::MessageReceived(MessageHeard { chat, message, content });
        Ok(edited(words, files).map(heard).into_iter().collect())
    }

    fn sender(&self, object: &Value, from: i64) -> Result<ChatRef, NotUnderstood> {
        // dev.vk.com/reference: lang_id 0 is Russian, 1 Ukrainian, 2 Belarusian, 3 English.
        let language = match number(object, "/client_info/lang_id") {
            Some(0) => Some("ru"),
            Some(1) => Some("uk"),
            Some(2) => Some("be"),
            Some(3) => Some("en"),
            _ => None,
        };
        self.person(from, language).ok_or_else(|| "a sender of an unknown kind".into())
    }

    fn pressed(&self, object: &Value) -> Option<Body> {
        let user = number(object, "/user_id")?;
        let content = Content::Button(payload_command(object.get("payload"))?);
        let message = id(object, "/event_id").unwrap_or_default();
        Some(Body::MessageReceived(MessageHeard { chat: self.person(user, None)?, message, content }))
    }

    fn allowed(&self, object: &Value) -> Option<Body> {
        let chat = self.person(number(object, "/user_id")?, None)?;
        Some(match text(object, "/key").and_then(|key| Token::parse(&key)) {
            Some(token) => {
                let token = Some(token);
                Body::ChatStarted(ChatStarted { chat, token, may_write: true, only_opened: false })
            }
            None => Body::ChatResumed(ChatChanged { chat, marketing_only: false }),
        })
    }

    fn changed(&self, object: &Value) -> Option<ChatChanged> {
        Some(ChatChanged { chat: self.person(number(object, "/user_id")?, None)?, marketing_only: false })
    }

    fn seen(&self, object: &Value) -> Option<Body> {
        let user = number(object, "/from_id")?;
        let message = id(object, "/read_message_id");
        let state = Delivered::Seen;
        Some(Body::MessageReported(MessageReported {
            chat: self.person(user, None)?,
            message,
            state,
            code: None,
            decision: None,
        }))
    }
}

/// True for a group chat: its peer is not the sender.
fn is_group(object: &Value) -> bool {
    let who = number(object, "/from_id").or_else(|| number(object, "/user_id"));
    // An event with an unreadable sender is kept, and does not count as a group chat.
    number(object, "/peer_id").zip(who).is_some_and(|(peer, who)| peer != who)
}

fn content(message: &Value, said: Option<String>, command: Option<String>) -> Option<Content> {
    if command.is_some() {
        return pressed(command, said);
    }
    let attached: Vec<&Value> = list(message, "/attachments").collect();
    let place = message.get("geo").map(|_| "location".to_owned());
    let is_passed_on = list(message, "/fwd_messages").next().is_some();
    let passed_on: Vec<String> = list(message, "/fwd_messages").filter_map(passed_on).collect();
    let passed_on = if breakage::is_on("forwards-unheard") { vec![] } else { passed_on };
    let kind = attached.iter().find_map(|one| text(one, "/type")).or(place);
    let kind = kind.or_else(|| (is_passed_on && !breakage::is_on("forwards-unheard")).then(|| "forwarded".to_owned()));
    let Some(kind) = kind else { return said.map(Content::Text) };
    let inside = attached.iter().filter_map(|one| attachment_words(one));
    let place = words(message, &["/geo/place/title"]);
    let place = place.into_iter().chain(
        ["latitude", "longitude"].into_iter().filter_map(|axis| id(message, &format!("/geo/coordinates/{axis}"))),
    );
    let caption = joined(said.into_iter().chain(inside).chain(place).chain(passed_on));
    let mut files: Vec<String> = attached.iter().filter_map(|one| attachment_file(one)).collect();
    list(message, "/fwd_messages").for_each(|one| files_passed_on(one, &mut files));
    Some(other(&kind, caption, files))
}

/// The words of a forwarded message, of its attachments, and of all messages that it forwards itself.
fn passed_on(message: &Value) -> Option<String> {
    let mut all = Vec::new();
    words_passed_on(message, &mut all);
    let said = joined(all)?;
    Some(said.lines().map(|line| format!("> {line}")).collect::<Vec<_>>().join("\n"))
}

fn words_passed_on(message: &Value, all: &mut Vec<String>) {
    all.extend(text(message, "/text"));
    all.extend(list(message, "/attachments").filter_map(attachment_words));
    for one in list(message, "/fwd_messages") {
        match breakage::is_on("deep-forwards-unheard") {
            true => all.extend(text(one, "/text")),
            false => words_passed_on(one, all),
        }
    }
}

fn files_passed_on(message: &Value, all: &mut Vec<String>) {
    if !breakage::is_on("deep-forwards-unheard") {
        all.extend(list(message, "/attachments").filter_map(attachment_file));
        list(message, "/fwd_messages").for_each(|one| files_passed_on(one, all));
    }
}

fn attachment_words(one: &Value) -> Option<String> {
    let own = one.get(text(one, "/type")?.as_str())?;
    words(own, &["/title", "/text", "/description", "/caption", "/transcript", "/message"])
}

/// The URL of a file, of a photo's largest size.
fn attachment_file(one: &Value) -> Option<String> {
    let own = one.get(text(one, "/type")?.as_str())?;
    let largest = list(own, "/sizes").max_by_key(|size| number(size, "/width").unwrap_or(0));
    let named = || Some(format!("{}{}_{}", text(one, "/type")?, number(own, "/owner_id")?, number(own, "/id")?));
    let address = largest.and_then(|size| text(size, "/url")).or_else(|| text(own, "/url"));
    address.or_else(|| text(own, "/link_mp3")).or_else(|| text(own, "/link_ogg")).or_else(named)
}

/// The command in a payload. The payload is a JSON text in messages, and an object in callback buttons. Ours has a
/// command.
fn payload_command(payload: Option<&Value>) -> Option<String> {
    match payload? {
        Value::String(inner) => {
            let read: Value = serde_json::from_str(inner).ok()?;
            text(&read, "/command")
        }
        object => text(object, "/command"),
    }
}
