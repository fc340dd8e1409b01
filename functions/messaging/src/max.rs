//! MAX Bot API. Sources: dev.max.ru/docs-api (subscriptions, Update, Message), as OpenAPI in
//! max-messenger-bot/max-bot-api-schemas; the official SDKs max-messenger/max-bot-api-client-go and @maxhub/max-bot-api.
//! `X-Max-Bot-Api-Secret` shows the secret of the subscription. Each request holds one Update without a delivery id. MAX
//! counts only 200 within 30 seconds, repeats up to ten times, and ends the subscription after eight hours without a
//! 200. So every authentic update is answered 200, understood or not.

use serde::Deserialize;
use serde_json::Value;
use stagedoor_model::{
    Body, ChatChanged, ChatRef, ChatStarted, ContactShared, Content, Event, Identifier, MessageHeard, Messenger, Phone,
    Profile, Proof, Timestamp, Token, breakage,
};
use stagedoor_webhook::{
    Accepts, Delivery, NotUnderstood, Provider, Reject, SecretShape, Shape, Source, Verified, VerifiedDelivery, odd,
    signature::{self, Encoding, HmacScheme},
};

use crate::read::{chat, edited, id, is_true, joined, list, number, other, pressed, text, told_millisecond, words};

const HEADER: &str = "x-max-bot-api-secret";
/// How MAX signs contact cards, under the bot's token.
const CARD: HmacScheme = HmacScheme::sha256(Encoding::Hex);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "outreach and the page of links read them")]
struct Options {
    /// Username of the bot, as in max.ru/<bot>.
    bot: String,
    /// The token of the bot, as a secret reference. It sends. In `secrets` it also proves contact cards.
    token: Option<String>,
    /// Another server than platform-api2.max.ru.
    api: Option<String>,
    /// File with root certificates for that server (PEM).
    ca_file: Option<String>,
}

const OPTIONAL: Shape = Shape {
    texts: &[
        "payload",
        "user_locale",
        "user/first_name",
        "user/last_name",
        "user/name",
        "user/username",
        "callback/callback_id",
        "callback/user/first_name",
        "callback/user/last_name",
        "callback/user/name",
        "callback/user/username",
        "message/sender/first_name",
        "message/sender/last_name",
        "message/sender/name",
        "message/sender/username",
        "message/body/mid",
        "message/body/text",
        "message/body/attachments/*/payload/url",
        "message/body/attachments/*/payload/token",
        "message/body/attachments/*/payload/code",
        "message/body/attachments/*/payload/vcf_info",
        "message/body/attachments/*/payload/hash",
        "message/body/attachments/*/payload/max_info/user_id",
        "message/body/attachments/*/payload/buttons/*/*/text",
        "message/body/attachments/*/payload/buttons/*/*/payload",
        "message/body/attachments/*/filename",
        "message/body/attachments/*/title",
        "message/body/attachments/*/description",
        "message/link/type",
        "message/link/message/text",
        "message/link/message/attachments/*/payload/url",
        "message/link/message/attachments/*/payload/token",
    ],
    numbers: &[
        "timestamp",
        "callback/timestamp",
        "message/timestamp",
        "message/body/attachments/*/latitude",
        "message/body/attachments/*/longitude",
    ],
    instants: &[],
    lists: &["message/body/attachments", "message/link/message/attachments"],
    flags: &["user/is_bot", "callback/user/is_bot", "message/sender/is_bot"],
};

/// The shape of a secret that POST /subscriptions accepts (schema: `^[a-zA-Z0-9_-]{5,256}$`). Tokens have it, too.
const SECRET: SecretShape = SecretShape::new(
    |text| {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        (5..=256).contains(&text.len()) && text.bytes().all(fits)
    },
    "is no secret that MAX takes: 5 to 256 letters, digits, \"_\" and \"-\"",
);

/// Kinds of update that say nothing of a person's chat with the bot: groups, channels, and what a person hides or
/// silences on their own screen. A muted chat still gets messages.
const ASIDE: [&str; 10] = [
    "bot_added",
    "bot_removed",
    "user_added",
    "user_removed",
    "chat_title_changed",
    "message_chat_created",
    "message_removed",
    "dialog_cleared",
    "dialog_muted",
    "dialog_unmuted",
];

/// Kinds of attachment.
const ATTACHMENTS: [&str; 9] =
    ["image", "video", "audio", "file", "sticker", "contact", "share", "location", "inline_keyboard"];

/// What a message may do with another one.
const LINKS: [&str; 2] = ["forward", "reply"];

struct Max {
    source: Source,
}

pub fn build(source: &Source) -> Result<Box<dyn Provider>, String> {
    let options: Options = source.options()?;
    source.secrets_have(SECRET)?;
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if options.bot.is_empty() || !options.bot.bytes().all(fits) {
        return Err("options.bot is the bot's username without @, as in max.ru/<bot>".into());
    }
    Ok(Box::new(Max { source: source.clone() }))
}

impl Provider for Max {
    fn accepts(&self) -> Accepts {
        Accepts::Json
    }

    fn verify_head(&self, head: &Delivery) -> Result<(), Reject> {
        signature::shown(head.header(HEADER), &self.source.secrets).map(drop)
    }

    fn verify(&self, delivery: &Delivery) -> Result<Verified, Reject> {
        signature::shown(delivery.header(HEADER), &self.source.secrets)
    }

    fn parse(&self, delivery: &VerifiedDelivery) -> Result<Vec<Event>, NotUnderstood> {
        let update = delivery.object()?;
        let kind = text(&update, "/update_type").ok_or("no update_type")?;
        let facts = match kind.as_str() {
            "bot_started" => self.started(&update)?,
            "bot_stopped" | "dialog_removed" => self.stopped(&update)?,
            "message_created" => self.message(&update)?,
            "message_edited" => self.edited(&update)?,
            "message_callback" => self.pressed(&update)?,
            known if ASIDE.contains(&known) => vec![],
            _ => return Err("an update of an unknown kind".into()),
        };
        // Groups and bots may send what they want.
        let understood = facts.is_empty() || !has_strange_parts(&update);
        let facts = facts.into_iter().enumerate().map(|(n, fact)| {
            let parts: Vec<&str> = fact.parts.iter().map(String::as_str).collect();
            delivery.event_told_at(&parts, fact.told_at, fact.body).ordered(delivery.order(n))
        });
        let strange = "attachments or a link of an unknown type";
        NotUnderstood::unless_odd(understood, strange, odd(&update, &OPTIONAL), facts.collect())
    }
}

/// True if a message holds something that is none of [`ATTACHMENTS`] or [`LINKS`]. Its words are not known.
fn has_strange_parts(update: &Value) -> bool {
    let is_known = |one: &Value, known: &[&str]| text(one, "/type").is_some_and(|kind| known.contains(&kind.as_str()));
    let beside = ["/message/body/attachments", "/message/link/message/attachments"];
    let mut attached = beside.into_iter().flat_map(|place| list(update, place));
    let link = update.pointer("/message/link").filter(|link| link.is_object());
    attached.any(|one| !is_known(one, &ATTACHMENTS)) || link.is_some_and(|link| !is_known(link, &LINKS))
}

/// A fact, with the parts of its event's id.
struct Fact {
    parts: Vec<String>,
    told_at: Option<Timestamp>,
    body: Body,
}

impl Max {
    /// A person's chat. `None` for a bot.
    fn person(&self, update: &Value, user: Option<&Value>) -> Result<Option<ChatRef>, NotUnderstood> {
        let user = user.ok_or("no person")?;
        let number = number(user, "/user_id").filter(|id| *id > 0).ok_or("a person without an id")?;
        if is_true(user, "/is_bot") {
            return Ok(None);
        }
        let names = joined_names(user).or_else(|| text(user, "/name"));
        let profile =
            Profile { nickname: names, username: text(user, "/username"), language: text(update, "/user_locale") };
        Ok(chat(Messenger::Max, &self.source, &number.to_string(), profile))
    }

    fn started(&self, update: &Value) -> Result<Vec<Fact>, NotUnderstood> {
        let Some(chat) = self.person(update, update.get("user"))? else { return Ok(vec![]) };
        let told_at = told_millisecond(update, "/timestamp");
        let parts = vec!["bot_started".to_owned(), chat.id.value().to_owned(), stamp(update)];
        let payload = text(update, "/payload");
        let token = payload.as_deref().and_then(Token::parse);
        let words = payload.filter(|_| token.is_none() && !breakage::is_on("words-behind-start-unheard"));
        let said = words.map(|words| {
            let content = Content::Text(words);
            Body::MessageReceived(MessageHeard { chat: chat.clone(), message: String::new(), content })
        });
        let said = said.map(|body| Fact { parts: beside(&parts, "said"), told_at, body });
        let body = Body::ChatStarted(ChatStarted { chat, token, may_write: true, only_opened: false });
        Ok([Fact { parts, told_at, body }].into_iter().chain(said).collect())
    }

    /// A stopped bot is told twice, as `bot_stopped` and as `dialog_removed`. Within one second they are one fact.
    fn stopped(&self, update: &Value) -> Result<Vec<Fact>, NotUnderstood> {
        let Some(chat) = self.person(update, update.get("user"))? else { return Ok(vec![]) };
        let told_at = told_millisecond(update, "/timestamp");
        let second = told_at.map(|at| at.as_second().to_string()).unwrap_or_default();
        let second = if breakage::is_on("max-stop-told-twice") { stamp(update) } else { second };
        let parts = vec!["stopped".to_owned(), chat.id.value().to_owned(), second];
        let body = Body::ChatStopped(ChatChanged { chat, marketing_only: false });
        Ok(vec![Fact { parts, told_at, body }])
    }

    /// The author of a message in a dialog with the bot. `None` for groups, channels and bots.
    fn author(&self, update: &Value, message: &Value) -> Result<Option<ChatRef>, NotUnderstood> {
        match text(message, "/recipient/chat_type").as_deref() {
            Some("chat" | "channel") => Ok(None),
            Some("dialog") => self.person(update, message.get("sender")),
            _ => Err("a chat of an unknown type".into()),
        }
    }

    fn message(&self, update: &Value) -> Result<Vec<Fact>, NotUnderstood> {
        let message = update.get("message").ok_or("no message")?;
        let Some(chat) = self.author(update, message)? else { return Ok(vec![]) };
        let told_at = told_millisecond(message, "/timestamp").or_else(|| told_millisecond(update, "/timestamp"));
        let mid = id(message, "/body/mid").unwrap_or_default();
        let key = if mid.is_empty() { stamp(update) } else { mid.clone() };
        let parts = vec!["message_created".to_owned(), chat.id.value().to_owned(), key];
        let shared = attachments(message).find_map(|one| self.own_phone(one, &chat));
        let content = content(message, shared.is_some());
        if content.is_none() && shared.is_none() {
            return Err("a message of an unknown kind".into());
        }
        let heard = content.map(|content| {
            let body = Body::MessageReceived(MessageHeard { chat: chat.clone(), message: mid, content });
            Fact { parts: parts.clone(), told_at, body }
        });
        let shared = shared.map(|(phone, proof)| {
            let body = Body::ContactShared(ContactShared { chat, given: Identifier::phone(phone), proof });
            Fact { parts: beside(&parts, "contact"), told_at, body }
        });
        Ok(shared.into_iter().chain(heard).collect())
    }

    /// The phone of a card that is the sender's own. MAX proves it by a signature under the bot's token.
    fn own_phone(&self, attached: &Value, chat: &ChatRef) -> Option<(Phone, Proof)> {
        if text(attached, "/type").as_deref() != Some("contact") {
            return None;
        }
        id(attached, "/payload/max_info/user_id").filter(|owner| owner == chat.id.value())?;
        // The signature covers these bytes, line ends included.
        let card = attached.pointer("/payload/vcf_info")?.as_str()?;
        let given = text(attached, "/payload/hash");
        let is_signed = CARD.check(given.as_deref(), &[card.as_bytes()], &self.source.secrets).is_ok();
        let is_signed = is_signed || breakage::is_on("max-card-unsigned-proves");
        let phone = lines(card).find_map(|(name, value)| {
            let digits = value.trim_start_matches("tel:").trim_start_matches('+');
            (name == "TEL").then(|| Phone::parse(&format!("+{digits}"), self.source.region).ok()).flatten()
        })?;
        Some((phone, if is_signed { Proof::Channel } else { Proof::Claimed }))
    }

    /// The new text of an edited message.
    fn edited(&self, update: &Value) -> Result<Vec<Fact>, NotUnderstood> {
        let message = update.get("message").ok_or("no message")?;
        let Some(chat) = self.author(update, message)? else { return Ok(vec![]) };
        let mid = id(message, "/body/mid").unwrap_or_default();
        let (words, files) = match content(message, false).ok_or("an edit of an unknown kind")? {
            Content::Other { caption, files, .. } => (caption, files),
            Content::Text(words) => (Some(words), vec![]),
            Content::Button(_) | Content::Pressed { .. } => (None, vec![]),
        };
        let parts = vec!["message_edited".to_owned(), chat.id.value().to_owned(), mid.clone(), stamp(update)];
        let told_at = told_millisecond(update, "/timestamp");
        let heard = edited(words, files).map(|content| {
            let body = Body::MessageReceived(MessageHeard { chat, message: mid, content });
            Fact { parts, told_at, body }
        });
        Ok(heard.into_iter().collect())
    }

    /// A pressed button. Its message may be deleted, and then its label is not known.
    fn pressed(&self, update: &Value) -> Result<Vec<Fact>, NotUnderstood> {
        let press = update.get("callback").ok_or("no callback")?;
        let kind = text(update, "/message/recipient/chat_type");
        if matches!(kind.as_deref(), Some("chat" | "channel")) {
            return Ok(vec![]);
        }
        let Some(chat) = self.person(update, press.get("user"))? else { return Ok(vec![]) };
        let payload = text(press, "/payload");
        let label = label(update, payload.as_deref());
        let content = pressed(payload, label).ok_or("a button without a payload")?;
        let message = id(press, "/callback_id").unwrap_or_default();
        // A button may be pressed twice, and it is not known whether its callback_id differs then.
        let parts =
            vec!["message_callback".to_owned(), chat.id.value().to_owned(), message.clone(), stamp_of(press, update)];
        let told_at = told_millisecond(press, "/timestamp").or_else(|| told_millisecond(update, "/timestamp"));
        let body = Body::MessageReceived(MessageHeard { chat, message, content });
        Ok(vec![Fact { parts, told_at, body }])
    }
}

/// The time of an update as it was sent. It is a part of the id, because updates have no id of their own.
fn stamp(update: &Value) -> String {
    id(update, "/timestamp").unwrap_or_default()
}

fn stamp_of(press: &Value, update: &Value) -> String {
    id(press, "/timestamp").unwrap_or_else(|| stamp(update))
}

fn beside(parts: &[String], what: &str) -> Vec<String> {
    parts.iter().cloned().chain([what.to_owned()]).collect()
}

fn joined_names(user: &Value) -> Option<String> {
    let names: Vec<String> = ["/first_name", "/last_name"].iter().filter_map(|pointer| text(user, pointer)).collect();
    (!names.is_empty()).then(|| names.join(" "))
}

fn attachments(message: &Value) -> impl Iterator<Item = &Value> {
    list(message, "/body/attachments")
}

/// The label of the button with this payload.
fn label(update: &Value, payload: Option<&str>) -> Option<String> {
    let rows = list(update, "/message/body/attachments").flat_map(|one| list(one, "/payload/buttons"));
    let mut buttons = rows.filter_map(Value::as_array).flatten();
    text(buttons.find(|button| text(button, "/payload").as_deref() == payload)?, "/text")
}

/// The content of a message. A contact that was understood is left out.
fn content(message: &Value, is_shared: bool) -> Option<Content> {
    let said = text(message, "/body/text");
    let kind_of = |one: &Value| text(one, "/type").unwrap_or_else(|| "attachment".to_owned());
    // A share beside a text is the preview of a link in it. Keyboards are those of bots.
    let is_own = |one: &&Value| match kind_of(one).as_str() {
        "inline_keyboard" => false,
        "contact" => !is_shared,
        "share" => said.is_none(),
        _ => true,
    };
    let attached: Vec<&Value> = attachments(message).filter(is_own).collect();
    let is_passed_on = text(message, "/link/type").as_deref() == Some("forward");
    let passed_on = message.pointer("/link/message").filter(|_| is_passed_on && !breakage::is_on("forwards-unheard"));
    let kind = attached.first().map(|one| kind_of(one)).or_else(|| passed_on.map(|_| "forwarded".to_owned()));
    let Some(kind) = kind else { return said.map(Content::Text) };
    let beside = passed_on.map(|one| list(one, "/attachments").collect::<Vec<_>>()).unwrap_or_default();
    let quoted = passed_on.into_iter().filter_map(|one| text(one, "/text"));
    let quoted = joined(quoted.chain(beside.iter().filter_map(|one| attachment_words(one))));
    let quoted = quoted.map(|said| said.lines().map(|line| format!("> {line}")).collect::<Vec<_>>().join("\n"));
    let inside = attached.iter().filter_map(|one| attachment_words(one));
    let caption = joined(said.into_iter().chain(inside).chain(quoted));
    let files = attached.iter().chain(&beside).flat_map(|one| files(one));
    Some(other(&kind, caption, files.collect()))
}

/// Words of an attachment that people wrote or chose.
fn attachment_words(one: &Value) -> Option<String> {
    let inside = words(one, &["/filename", "/title", "/description", "/latitude", "/longitude"]);
    let card = one.pointer("/payload/vcf_info").and_then(Value::as_str);
    let card = card.map(|card| lines(card).map(|(name, value)| format!("{name}: {value}")).collect::<Vec<_>>());
    let name = card.is_none().then(|| one.pointer("/payload/max_info").and_then(joined_names)).flatten();
    let is_share = text(one, "/type").as_deref() == Some("share");
    let address = text(one, "/payload/url").filter(|_| is_share);
    joined(inside.into_iter().chain(card.into_iter().flatten()).chain(name).chain(address))
}

/// Under what MAX keeps a file: its token or code, and its address.
fn files(one: &Value) -> Vec<String> {
    let is_share = text(one, "/type").as_deref() == Some("share");
    let own = ["/payload/token", "/payload/code", "/payload/url"].into_iter().filter(|_| !is_share);
    own.filter_map(|pointer| id(one, pointer)).collect()
}

/// Names and values of a card (RFC 6350), without what only frames it. A line that begins with a blank continues the
/// one before.
fn lines(card: &str) -> impl Iterator<Item = (String, String)> {
    let unfolded = card.replace("\r\n", "\n").replace("\n ", "").replace("\n\t", "");
    let fields = unfolded.lines().filter_map(|line| {
        let (left, value) = line.split_once(':')?;
        let name = left.split(';').next().unwrap_or(left).rsplit('.').next().unwrap_or(left).trim().to_uppercase();
        let is_frame = matches!(name.as_str(), "BEGIN" | "END" | "VERSION" | "PRODID");
        (!is_frame && !value.trim().is_empty()).then(|| (name, value.trim().to_owned()))
    });
    fields.collect::<Vec<_>>().into_iter()
}
