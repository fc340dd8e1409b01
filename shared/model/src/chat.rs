//! What happens in chats and through tracked links.

use std::collections::BTreeSet;

#[cfg(feature = "schemas")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Identifier, Proof, Purpose, QuietHours, ShowRef, SourceName, Timestamp, Token};

/// The person at the other end of a chat.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
pub struct ChatRef {
    /// The id under which the messenger takes messages for them.
    pub id: Identifier,
    /// What else the delivery said of them: a phone, another id of the same messenger.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub also: BTreeSet<Identifier>,
    #[serde(default, skip_serializing_if = "Profile::is_empty")]
    pub profile: Profile,
}

impl ChatRef {
    /// A card with this id of the messenger and nothing else.
    pub fn of(id: Identifier) -> Self {
        Self { id, also: BTreeSet::new(), profile: Profile::default() }
    }
}

/// How somebody calls themselves in a messenger. A nickname is no name: it never replaces one.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
#[serde(default)]
pub struct Profile {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nickname: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// BCP 47, as the messenger tells it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
}

impl Profile {
    /// True if it tells nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Somebody began a chat with the bot, perhaps through a link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
pub struct ChatStarted {
    pub chat: ChatRef,
    /// The token of the link through which they came, as they brought it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Token>,
    /// Whether the messenger lets us write already.
    pub may_write: bool,
    /// True if the chat only opened, through a link or an advertisement. Then the person asked for no messages.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub only_opened: bool,
}

/// What a message holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Content {
    Text(String),
    /// A button of ours: its payload.
    Button(String),
    /// A button whose label says something else than its payload: both were heard.
    Pressed {
        payload: String,
        label: String,
    },
    /// Anything else, by its kind in the messenger (`photo`, `voice`), with the words beside it.
    Other {
        kind: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        caption: Option<String>,
        /// Where the messenger keeps the files: their ids or addresses.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        files: Vec<String>,
    },
}

impl Content {
    /// Kind of a message that its author changed. The caption is its new text.
    pub const EDITED: &str = "edited";
    /// Kind of the words of another message that a message answers.
    pub const QUOTE: &str = "quote";
}

/// A message that somebody wrote to the bot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
pub struct MessageHeard {
    pub chat: ChatRef,
    /// The messenger's id of the message.
    pub message: String,
    pub content: Content,
}

/// A phone or an e-mail that somebody gave in a chat as their own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
pub struct ContactShared {
    pub chat: ChatRef,
    pub given: Identifier,
    /// How `given` is proved. The chat itself is proved by its channel.
    #[serde(default = "Proof::channel", skip_serializing_if = "Proof::is_channel")]
    pub proof: Proof,
}

/// A chat that the bot may write to again, or no longer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
pub struct ChatChanged {
    /// Under a new id, when that is what changed; the old one is in `also`.
    pub chat: ChatRef,
    /// Only marketing is meant: answers to what they ask may still be sent.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub marketing_only: bool,
}

/// How far a message came on its way to the reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Delivered {
    Sent,
    Delivered,
    Seen,
    Failed,
}

/// What a provider reports about a message that the hub sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
pub struct MessageReported {
    pub chat: ChatRef,
    /// The messenger's id of our message; `None`: all up to the event's time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    pub state: Delivered,
    /// The messenger's code of a failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The decision's id, where the messenger gives back what was sent with the message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<String>,
}

/// A button under a message. It opens an address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
pub struct Button {
    pub label: String,
    pub url: String,
}

/// A message that is to be sent. The event's id is the decision's: it is never sent twice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
pub struct MessageDecided {
    /// The source (the bot, the community, the page, the SMS gateway) through which it goes.
    pub through: SourceName,
    /// A messenger's id, a phone, or an e-mail.
    pub to: Identifier,
    pub text: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub button: Option<Button>,
    /// Choices to show as a keyboard, where the messenger has one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<String>,
    /// Show the messenger's own button that shares a phone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ask_phone: bool,
    /// The last time they wrote or pressed something: some messengers let us answer for a day only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schemas", schemars(with = "Option<String>"))]
    pub heard_at: Option<Timestamp>,
    /// After this it is not worth sending.
    #[cfg_attr(feature = "schemas", schemars(with = "String"))]
    pub until: Timestamp,
    /// The campaign or mailing on whose behalf, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub campaign: Option<String>,
    /// Of a letter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Advertising: right before it is sent, the consent ledger is asked once more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub marketing: bool,
    /// Where a letter is unsubscribed from by one POST (RFC 8058).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unsubscribe: Option<String>,
    /// It is not sent in these hours, but after them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quiet: Option<QuietHours>,
    /// It tells of a change. Once a later one was told, it is not sent any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notice: Option<Notice>,
    /// The text is for the recipient alone, such as a code: no conversation keeps it, and nobody is told of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_confidential: bool,
    /// Keyed hash of `to`, under which the store knows an erased address. `None`: nobody can be erased, or an earlier build
    /// decided it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tombstone: Option<String>,
}

/// Of what a message tells the latest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
pub struct Notice {
    /// Names what changed and for whom, without naming them.
    pub about: String,
    /// The same of those who were joined into this person: messages decided before the join name them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub joined: BTreeSet<String>,
    /// When it changed.
    #[cfg_attr(feature = "schemas", schemars(with = "String"))]
    pub changed_at: Timestamp,
}

impl MessageDecided {
    /// Nothing but words for somebody.
    pub fn new(through: SourceName, to: Identifier, text: String, until: Timestamp) -> Self {
        Self {
            through,
            to,
            text,
            button: None,
            choices: vec![],
            ask_phone: false,
            heard_at: None,
            until,
            campaign: None,
            subject: None,
            marketing: false,
            unsubscribe: None,
            quiet: None,
            notice: None,
            is_confidential: false,
            tombstone: None,
        }
    }
}

/// The outcome of a sending.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// With the messenger's id of the message.
    Sent(String),
    /// The answer was lost, and the messenger has no way to ask: it is not sent again.
    Unknown,
    /// It was not sent, and trying again will not help.
    Refused(String),
    /// They blocked us, are gone, or never let us write: the channel is withdrawn.
    Withdrawn(String),
    /// The hub itself left it out, and why: a later message says how things stand now.
    Dropped(String),
}

/// A message that the hub sent, or tried to send.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
pub struct MessageSent {
    pub decision: String,
    pub through: SourceName,
    pub to: Identifier,
    pub text: String,
    pub outcome: Outcome,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub campaign: Option<String>,
}

/// A personal link was made for somebody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
pub struct LinkIssued {
    /// Whose it is.
    pub identifiers: BTreeSet<Identifier>,
    pub token: Token,
    pub campaign: String,
    pub purpose: Purpose,
    #[cfg_attr(feature = "schemas", schemars(with = "String"))]
    pub expires_at: Timestamp,
    /// The letter that holds it has just gone out: told once more, by what sent it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_sent: bool,
}

/// A person (no robot) opened a link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
pub struct LinkClicked {
    pub token: Token,
    pub campaign: String,
    pub purpose: Purpose,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub show: Option<ShowRef>,
}

/// A promo code that the bot gave to somebody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
pub struct PromoIssued {
    pub identifiers: BTreeSet<Identifier>,
    pub campaign: String,
    pub code: String,
}
