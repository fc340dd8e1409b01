//! Telegram Bot API. Sources: core.telegram.org/bots/api (setWebhook: `secret_token` comes back in
//! `X-Telegram-Bot-Api-Secret-Token`; Update; Deep Linking: `/start <payload>`), and for details
//! tdlib/telegram-bot-api, the server that sends the webhooks. Each request holds one Update. It is repeated for a day
//! until any 2xx, and a failing one blocks its chat's queue. So every authentic update is answered 200, understood or
//! not.

use serde::Deserialize;
use serde_json::Value;
use stagedoor_model::{
    Body, ChatChanged, ChatRef, ChatStarted, ContactShared, Content, Event, Identifier, MessageHeard, Messenger, Phone,
    Profile, Proof, Token, breakage,
};
use stagedoor_webhook::{
    Accepts, Delivery, NotUnderstood, Provider, Reject, SecretShape, Shape, Source, Verified, VerifiedDelivery, odd,
    signature,
};

use crate::read::{chat as chat_of, edited, id, is_true, joined, list, number, other, pressed, second, text, words};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "outreach and the page of links read them")]
struct Options {
    /// Username of the bot.
    bot: String,
    /// The token of the Bot API, as a secret reference.
    token: Option<String>,
    /// Another server than api.telegram.org.
    api: Option<String>,
}

const OPTIONAL: Shape = Shape {
    texts: &[
        "message/from/first_name",
        "message/from/last_name",
        "message/from/username",
        "message/from/language_code",
        "callback_query/from/first_name",
        "callback_query/from/last_name",
        "callback_query/from/username",
        "callback_query/from/language_code",
        "my_chat_member/from/first_name",
        "my_chat_member/from/last_name",
        "my_chat_member/from/username",
        "my_chat_member/from/language_code",
        "message/caption",
        "message/message_id",
        "callback_query/id",
        "callback_query/message/reply_markup/inline_keyboard/*/*/text",
        "callback_query/message/reply_markup/inline_keyboard/*/*/callback_data",
        "message/voice/file_id",
        "message/video/file_id",
        "message/document/file_id",
        "message/audio/file_id",
        "message/animation/file_id",
        "message/video_note/file_id",
        "message/sticker/file_id",
        "message/photo/*/file_id",
        "message/document/file_name",
        "message/audio/title",
        "message/contact/phone_number",
        "message/contact/user_id",
        "message/contact/first_name",
        "message/contact/last_name",
        "message/contact/vcard",
        "message/venue/title",
        "message/venue/address",
        "message/poll/question",
        "message/poll/options/*/text",
        "message/quote/text",
        "edited_message/from/first_name",
        "edited_message/from/last_name",
        "edited_message/from/username",
        "edited_message/from/language_code",
        "edited_message/message_id",
        "edited_message/caption",
        "message/web_app_data/data",
        "message/web_app_data/button_text",
    ],
    numbers: &[
        "message/date",
        "edited_message/edit_date",
        "my_chat_member/date",
        "message/location/latitude",
        "message/location/longitude",
    ],
    instants: &[],
    lists: &["message/photo", "message/poll/options"],
    flags: &["message/from/is_bot"],
};

struct Telegram {
    source: Source,
}

/// The shape of a secret_token that setWebhook accepts (core.telegram.org/bots/api#setwebhook).
const SECRET: SecretShape = SecretShape::new(
    |text| text.len() <= 256 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-'),
    "is no secret_token that Telegram takes: up to 256 letters, digits, \"_\" and \"-\"",
);

pub fn build(source: &Source) -> Result<Box<dyn Provider>, String> {
    let options: Options = source.options()?;
    source.secrets_have(SECRET)?;
    let fits = options.bot.len() >= 5 && options.bot.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if !fits {
        return Err("options.bot is the bot's username without @, such as \"stagedoor_tour_bot\"".into());
    }
    Ok(Box::new(Telegram { source: source.clone() }))
}

/// Kinds of update that do not concern a person's chat with the bot.
const ASIDE: [&str; 19] = [
    "channel_post",
    "edited_channel_post",
    "business_connection",
    "business_message",
    "edited_business_message",
    "deleted_business_messages",
    "message_reaction",
    "message_reaction_count",
    "inline_query",
    "chosen_inline_result",
    "shipping_query",
    "pre_checkout_query",
    "purchased_paid_media",
    "poll",
    "poll_answer",
    "chat_member",
    "chat_join_request",
    "chat_boost",
    "removed_chat_boost",
];

/// Kinds of content of a message beside text.
const MEDIA: [&str; 15] = [
    "photo",
    "voice",
    "video",
    "sticker",
    "document",
    "audio",
    "animation",
    "video_note",
    "location",
    "venue",
    "contact",
    "dice",
    "poll",
    "web_app_data",
    "story",
];

/// Fields of service messages about the chat itself: pins, payments, permissions.
const SERVICE: [&str; 22] = [
    "pinned_message",
    "new_chat_members",
    "left_chat_member",
    "new_chat_title",
    "new_chat_photo",
    "delete_chat_photo",
    "group_chat_created",
    "supergroup_chat_created",
    "channel_chat_created",
    "message_auto_delete_timer_changed",
    "migrate_to_chat_id",
    "migrate_from_chat_id",
    "invoice",
    "successful_payment",
    "refunded_payment",
    "users_shared",
    "chat_shared",
    "connected_website",
    "write_access_allowed",
    "passport_data",
    "boost_added",
    "chat_background_set",
];

impl Provider for Telegram {
    fn accepts(&self) -> Accepts {
        Accepts::Json
    }

    fn verify_head(&self, head: &Delivery) -> Result<(), Reject> {
        signature::shown(head.header("x-telegram-bot-api-secret-token"), &self.source.secrets).map(drop)
    }

    fn verify(&self, delivery: &Delivery) -> Result<Verified, Reject> {
        signature::shown(delivery.header("x-telegram-bot-api-secret-token"), &self.source.secrets)
    }

    fn parse(&self, delivery: &VerifiedDelivery) -> Result<Vec<Event>, NotUnderstood> {
        let update = delivery.object()?;
        let update_id = id(&update, "/update_id").ok_or("no update_id")?;
        let now = delivery.received_at();
        let (at, body) = if let Some(message) = update.get("message") {
            (second(message, "/date", now), self.message(message)?)
        } else if let Some(message) = update.get("edited_message") {
            (second(message, "/edit_date", now), self.edited(message)?)
        } else if let Some(query) = update.get("callback_query") {
            // The message's own date is that of the button's display, not of the press.
            (now, self.pressed(query)?)
        } else if let Some(change) = update.get("my_chat_member") {
            (second(change, "/date", now), self.membership(change)?)
        } else {
            let known = update.as_object().is_some_and(|update| ASIDE.iter().any(|kind| update.contains_key(*kind)));
            return if known { Ok(vec![]) } else { Err("an update of an unknown kind".into()) };
        };
        // Updates are numbered. Their dates have only whole seconds, so the numbers give the order.
        let order = number(&update, "/update_id").and_then(|id| u64::try_from(id).ok()).unwrap_or(0).saturating_mul(2);
        let message = body.as_ref().zip(update.get("message"));
        let quoted = message.and_then(|(body, message)| quoted(body, message));
        let said = message.and_then(|(body, message)| beside_start(body, message));
        let started = body.map(|body| delivery.event(&["update", &update_id], at, body).ordered(order));
        let after = order.saturating_add(1);
        let said = said.map(|body| delivery.event(&["update", &update_id, "said"], at, body).ordered(after));
        let before = order.saturating_sub(1);
        let quoted = quoted.map(|body| delivery.event(&["update", &update_id, "quote"], at, body).ordered(before));
        NotUnderstood::left_out(odd(&update, &OPTIONAL), quoted.into_iter().chain(started).chain(said).collect())
    }
}

impl Telegram {
    /// The sender. `None` for a group, a channel or a bot.
    fn person(&self, from: Option<&Value>, chat: Option<&Value>) -> Result<Option<ChatRef>, NotUnderstood> {
        let kind = chat.and_then(|chat| text(chat, "/type"));
        if matches!(kind.as_deref(), Some("group" | "supergroup" | "channel")) {
            return Ok(None);
        }
        let from = from.ok_or("no sender")?;
        let user = number(from, "/id").filter(|id| *id > 0).ok_or("a sender without an id")?;
        let own = chat.is_none_or(|chat| number(chat, "/id") == Some(user));
        if !own || kind.is_some_and(|kind| kind != "private") {
            return Err("a chat of an unknown type".into());
        }
        if is_true(from, "/is_bot") {
            return Ok(None);
        }
        let names: Vec<String> =
            ["/first_name", "/last_name"].iter().filter_map(|pointer| text(from, pointer)).collect();
        let profile = Profile {
            nickname: Some(names.join(" ")).filter(|name| !name.is_empty()),
            username: text(from, "/username"),
            language: text(from, "/language_code"),
        };
        Ok(chat_of(Messenger::Telegram, &self.source, &user.to_string(), profile))
    }

    fn message(&self, message: &Value) -> Result<Option<Body>, NotUnderstood> {
        if message.get("sender_chat").is_some() {
            return Ok(None);
        }
        let Some(chat) = self.person(message.get("from"), message.get("chat"))? else { return Ok(None) };
        let said = text(message, "/text");
        if let Some(payload) = said.as_deref().and_then(start) {
            // A forwarded command carries another person's token.
            let own = message.get("forward_origin").is_none() && message.get("forward_date").is_none();
            let token = Token::parse(payload).filter(|_| own);
            let started = ChatStarted { chat, token, may_write: true, only_opened: false };
            return Ok(Some(Body::ChatStarted(started)));
        }
        if let Some(phone) = self.own_phone(message, &chat) {
            let (given, proof) = (Identifier::phone(phone), Proof::Channel);
            return Ok(Some(Body::ContactShared(ContactShared { chat, given, proof })));
        }
        let holds = |kinds: &[&'static str]| kinds.iter().copied().find(|kind| message.get(*kind).is_some());
        let content = match (said, holds(&MEDIA), holds(&SERVICE)) {
            (Some(text), _, _) => Content::Text(text),
            (None, Some(kind), _) => other(kind, media_words(message, kind), files(message, kind)),
            (None, None, Some(_)) => return Ok(None),
            (None, None, None) => return Err("a message of an unknown kind".into()),
        };
        let message = id(message, "/message_id").unwrap_or_default();
        Ok(Some(Body::MessageReceived(MessageHeard { chat, message, content })))
    }

    /// The new text of an edited message. A moving location has no new text.
    fn edited(&self, message: &Value) -> Result<Option<Body>, NotUnderstood> {
        let Some(chat) = self.person(message.get("from"), message.get("chat"))? else { return Ok(None) };
        let kind = MEDIA.iter().copied().find(|kind| message.get(*kind).is_some());
        let content =
            edited(text(message, "/text").or_else(|| text(message, "/caption")), files(message, kind.unwrap_or("")));
        if content.is_none() && kind.is_none() {
            return Err("an edit of an unknown kind".into());
        }
        let message = id(message, "/message_id").unwrap_or_default();
        Ok(content.map(|content| Body::MessageReceived(MessageHeard { chat, message, content })))
    }

    /// The sender's own phone: only a contact with the sender's id counts.
    fn own_phone(&self, message: &Value, chat: &ChatRef) -> Option<Phone> {
        let contact = message.get("contact")?;
        let owner = id(contact, "/user_id").filter(|owner| owner == chat.id.value());
        let number = text(contact, "/phone_number").filter(|_| owner.is_some())?;
        // The number comes with or without its plus.
        Phone::parse(&format!("+{}", number.trim_start_matches('+')), self.source.region).ok()
    }

    fn pressed(&self, query: &Value) -> Result<Option<Body>, NotUnderstood> {
        // A button of a message that somebody sent through an inline query belongs to no chat of ours.
        if query.get("inline_message_id").is_some() {
            return Ok(None);
        }
        let Some(chat) = self.person(query.get("from"), query.pointer("/message/chat"))? else { return Ok(None) };
        let data = text(query, "/data").ok_or("a button without data")?;
        let label = label(query, &data);
        let content = pressed(Some(data.clone()), label).unwrap_or(Content::Button(data));
        let message = id(query, "/id").unwrap_or_default();
        Ok(Some(Body::MessageReceived(MessageHeard { chat, message, content })))
    }

    fn membership(&self, change: &Value) -> Result<Option<Body>, NotUnderstood> {
        let Some(chat) = self.person(change.get("from"), change.get("chat"))? else { return Ok(None) };
        let changed = ChatChanged { chat, marketing_only: false };
        match text(change, "/new_chat_member/status").as_deref() {
            Some("kicked" | "left") => Ok(Some(Body::ChatStopped(changed))),
            Some("member") => Ok(Some(Body::ChatResumed(changed))),
            _ => Err("a membership of an unknown kind".into()),
        }
    }
}

/// Words after `/start` that are no token. They are a message.
fn beside_start(body: &Body, message: &Value) -> Option<Body> {
    let Body::ChatStarted(started) = body else { return None };
    let said = text(message, "/text")?;
    let words = start(&said).filter(|words| !words.is_empty() && Token::parse(words).is_none())?;
    if breakage::is_on("words-behind-start-unheard") {
        return None;
    }
    let (chat, message) = (started.chat.clone(), id(message, "/message_id").unwrap_or_default());
    Some(Body::MessageReceived(MessageHeard { chat, message, content: Content::Text(words.to_owned()) }))
}

/// The part of another message that the person quotes. The answer alone may be unclear.
fn quoted(body: &Body, message: &Value) -> Option<Body> {
    let Body::MessageReceived(heard) = body else { return None };
    let words = text(message, "/quote/text").filter(|_| !breakage::is_on("quotes-unheard"))?;
    let quote = words.lines().map(|line| format!("> {line}")).collect::<Vec<_>>().join("\n");
    let content = other(Content::QUOTE, Some(quote), vec![]);
    Some(Body::MessageReceived(MessageHeard { content, ..heard.clone() }))
}

/// The label of the button with this data.
fn label(query: &Value, data: &str) -> Option<String> {
    let mut buttons = list(query, "/message/reply_markup/inline_keyboard").filter_map(Value::as_array).flatten();
    text(buttons.find(|button| text(button, "/callback_data").as_deref() == Some(data))?, "/text")
}

/// The text after `/start`, if the message is that command.
fn start(text: &str) -> Option<&str> {
    let rest = text.strip_prefix("/start")?;
    (rest.is_empty() || rest.starts_with(char::is_whitespace)).then(|| rest.trim())
}

/// The words of a message without text: its caption, and other texts that people wrote or chose.
fn media_words(message: &Value, kind: &str) -> Option<String> {
    let own = message.get(kind).unwrap_or(&Value::Null);
    let inside: &[&str] = match kind {
        "contact" => &["/first_name", "/last_name", "/phone_number", "/vcard"],
        "location" => &["/latitude", "/longitude"],
        "venue" => &["/title", "/address", "/location/latitude", "/location/longitude"],
        "poll" => &["/question"],
        "dice" => &["/emoji", "/value"],
        "web_app_data" => &["/button_text", "/data"],
        "document" | "audio" => &["/file_name", "/title"],
        _ => &[],
    };
    let options = list(own, "/options").filter_map(|option| text(option, "/text"));
    let options = options.filter(|_| kind == "poll" && !breakage::is_on("quotes-unheard"));
    joined(text(message, "/caption").into_iter().chain(words(own, inside)).chain(options))
}

/// Ids of files. A photo's largest size comes last.
fn files(message: &Value, kind: &str) -> Vec<String> {
    let own = message.get(kind).unwrap_or(&Value::Null);
    let largest = own.as_array().and_then(|sizes| sizes.last()).unwrap_or(own);
    id(largest, "/file_id").into_iter().collect()
}
