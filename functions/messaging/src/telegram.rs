//! Telegram Bot API. Sources: core.telegram.org/bots/api (setWebhook: `secret_token` comes back in
//! `X-Telegram-Bot-Api-Secret-Token`; Update; Deep Linking: `/start <payload>`), and for what the pages leave out
//! tdlib/telegram-bot-api, the server that sends the webhooks: one Update a request, repeated for a day until any 2xx, and
//! one that fails holds back its chat's queue. So every authentic update is answered 200, understood or not.

use serde::Deserialize;
use serde_json::Value;
use stagedoor_model::{
    Body, ChatChanged, ChatRef, ChatStarted, ContactShared, Content, Event, Identifier, Kind, MessageHeard, Phone,
    Profile, Token,
};
use stagedoor_webhook::{
    Accepts, Delivery, NotUnderstood, Provider, Reject, Source, Verified, VerifiedDelivery, signature,
};

use crate::read::{id, is_true, number, other, second, text};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "outreach and the page of links read them")]
struct Options {
    /// The bot's username.
    bot: String,
    /// The token of the Bot API; a secret reference.
    token: Option<String>,
    /// Another server than api.telegram.org.
    api: Option<String>,
}

struct Telegram {
    source: Source,
}

pub fn build(source: &Source) -> Result<Box<dyn Provider>, String> {
    let options: Options = source.options()?;
    let fits = options.bot.len() >= 5 && options.bot.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if !fits {
        return Err("options.bot is the bot's username without @, such as \"stagedoor_tour_bot\"".into());
    }
    Ok(Box::new(Telegram { source: source.clone() }))
}

/// Kinds of update that say nothing about a person's chat with the bot.
const ASIDE: [&str; 20] = [
    "edited_message",
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

/// What a message may hold beside text.
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

impl Provider for Telegram {
    fn accepts(&self) -> Accepts {
        Accepts::Json
    }

    fn verify(&self, delivery: &Delivery) -> Result<Verified, Reject> {
        signature::shown(delivery.header("x-telegram-bot-api-secret-token"), &self.source.secrets)
    }

    fn parse(&self, delivery: &VerifiedDelivery) -> Result<Vec<Event>, NotUnderstood> {
        let update: Value = serde_json::from_slice(delivery.body())?;
        let update_id = id(&update, "/update_id").ok_or("no update_id")?;
        let event = |at, body| vec![delivery.event(&["update", &update_id], at, body)];
        let now = delivery.received_at();
        if let Some(message) = update.get("message") {
            let at = second(message, "/date", now);
            return Ok(self.message(message).map_or_else(Vec::new, |body| event(at, body)));
        }
        if let Some(query) = update.get("callback_query") {
            // The message's own date is when the button was shown, not when it was pressed.
            return Ok(self.pressed(query).map_or_else(Vec::new, |body| event(now, body)));
        }
        if let Some(change) = update.get("my_chat_member") {
            let at = second(change, "/date", now);
            return Ok(self.membership(change).map_or_else(Vec::new, |body| event(at, body)));
        }
        let known = update.as_object().is_some_and(|update| ASIDE.iter().any(|kind| update.contains_key(*kind)));
        if known { Ok(vec![]) } else { Err("an update of an unknown kind".into()) }
    }
}

impl Telegram {
    /// The person, if this is their own private chat with the bot.
    fn person(&self, from: &Value, chat: Option<&Value>) -> Option<ChatRef> {
        let user = number(from, "/id").filter(|id| *id > 0)?;
        let own = chat.is_none_or(|chat| {
            number(chat, "/id") == Some(user) && text(chat, "/type").is_none_or(|kind| kind == "private")
        });
        if is_true(from, "/is_bot") || !own {
            return None;
        }
        let names: Vec<String> =
            ["/first_name", "/last_name"].iter().filter_map(|pointer| text(from, pointer)).collect();
        let profile = Profile {
            nickname: Some(names.join(" ")).filter(|name| !name.is_empty()),
            username: text(from, "/username"),
            language: text(from, "/language_code"),
        };
        Some(ChatRef { profile, ..ChatRef::of(Identifier::opaque(Kind::Telegram, "", &user.to_string())?) })
    }

    fn message(&self, message: &Value) -> Option<Body> {
        if message.get("sender_chat").is_some() {
            return None;
        }
        let chat = self.person(message.get("from")?, message.get("chat"))?;
        let said = text(message, "/text");
        if let Some(payload) = said.as_deref().and_then(start) {
            // Who forwards a command forwards somebody else's token.
            let own = message.get("forward_origin").is_none() && message.get("forward_date").is_none();
            let token = Token::parse(payload).filter(|_| own);
            return Some(Body::ChatStarted(ChatStarted { chat, token, may_write: true }));
        }
        if let Some(phone) = self.own_phone(message, &chat) {
            return Some(Body::ContactShared(ContactShared { chat, given: Identifier::phone(phone) }));
        }
        let content = match said {
            Some(text) => Content::Text(text),
            // Anything else is a service message: a pin, a new photo of the chat.
            None => other(MEDIA.iter().find(|kind| message.get(**kind).is_some())?, text(message, "/caption")),
        };
        let message = id(message, "/message_id")?;
        Some(Body::MessageReceived(MessageHeard { chat, message, content }))
    }

    /// Only a contact that bears the sender's own id is their own phone.
    fn own_phone(&self, message: &Value, chat: &ChatRef) -> Option<Phone> {
        let contact = message.get("contact")?;
        let owner = id(contact, "/user_id").filter(|owner| owner == chat.id.value());
        let number = text(contact, "/phone_number").filter(|_| owner.is_some())?;
        // It comes with or without its plus.
        Phone::parse(&format!("+{}", number.trim_start_matches('+')), self.source.region).ok()
    }

    fn pressed(&self, query: &Value) -> Option<Body> {
        let chat = self.person(query.get("from")?, query.pointer("/message/chat"))?;
        let content = Content::Button(text(query, "/data")?);
        query.get("message")?;
        Some(Body::MessageReceived(MessageHeard { chat, message: id(query, "/id")?, content }))
    }

    fn membership(&self, change: &Value) -> Option<Body> {
        let chat = self.person(change.get("from")?, change.get("chat"))?;
        let changed = ChatChanged { chat, marketing_only: false };
        match text(change, "/new_chat_member/status")?.as_str() {
            "kicked" | "left" => Some(Body::ChatStopped(changed)),
            "member" => Some(Body::ChatResumed(changed)),
            _ => None,
        }
    }
}

/// What follows `/start`, if the text is that command.
fn start(text: &str) -> Option<&str> {
    let rest = text.strip_prefix("/start")?;
    (rest.is_empty() || rest.starts_with(char::is_whitespace)).then(|| rest.trim())
}
