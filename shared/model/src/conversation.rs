//! A chat, a link, a promo code as facts about somebody: what their events join into, in any order.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{Identifier, Profile, Purpose, SentMessage, Timestamp, Token, TokenTag, sent_message};

/// Lines of a chat that a person keeps: as many as may come while a CRM is out. The journal has all of them.
const LINES: usize = 240;
/// Tokens of a chat that are remembered.
const TOKENS: usize = 8;
/// Characters of a line that a person keeps: no messenger takes a longer one.
const TEXT: usize = 10_000;
/// Characters of all lines together, so that a person stays as small as stores can keep. The latest stay.
const ALL_TEXT: usize = 60_000;
/// Characters of the latest words that stand in a field of a contact.
const FIELD: usize = 400;
/// Words about being written to that a chat keeps. The journal has all of them.
const WORDS: usize = 400;

/// One line of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Message {
    pub at: Timestamp,
    /// The messenger's own counter: clocks of whole seconds do not say what was said first.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub order: u64,
    /// The event's id.
    pub id: String,
    pub said: MessageContent,
    /// Where the messenger keeps the files that came with it: their ids or addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Message {
    /// Characters of it.
    fn length(&self) -> usize {
        match &self.said {
            MessageContent::Text(text)
            | MessageContent::Button(text)
            | MessageContent::Other(_, Some(text))
            | MessageContent::Hub(text) => text.chars().count(),
            MessageContent::Pressed { payload, label } => payload.chars().count() + label.chars().count(),
            _ => 0,
        }
    }
}

/// What a line of a chat holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageContent {
    /// They opened the chat, perhaps with a token.
    Started {
        token: Option<Token>,
        /// True if the person pressed or typed nothing: a link or an advertisement opened the chat.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        only_opened: bool,
    },
    /// The messenger let us write.
    Allowed,
    Text(String),
    Button(String),
    /// A button whose label says something else than its payload.
    Pressed {
        payload: String,
        label: String,
    },
    /// A picture, a voice message: its kind, and the words beside it.
    Other(String, Option<String>),
    /// They gave a phone or an e-mail.
    Contact(Identifier),
    /// We wrote.
    Hub(String),
    /// What we wrote did not arrive, with the messenger's code.
    Undelivered(Option<String>),
}

impl MessageContent {
    /// Whether it is their own act and not ours.
    pub fn is_theirs(&self) -> bool {
        !matches!(self, MessageContent::Hub(_) | MessageContent::Undelivered(_))
    }

    /// Whether they said something, beyond opening the chat.
    pub fn is_speech(&self) -> bool {
        matches!(
            self,
            MessageContent::Text(_)
                | MessageContent::Button(_)
                | MessageContent::Pressed { .. }
                | MessageContent::Other(..)
                | MessageContent::Contact(_)
        )
    }
}

/// What was said in a chat, or done to it, about being written to there. Of the same instant the later variant counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChatWord {
    /// The chat was opened, or opened again after a block.
    Opened,
    /// Advertising is wanted again.
    Resumed,
    /// The bot was blocked.
    Blocked,
    /// No more advertising is wanted.
    Stopped,
}

/// When a chat first came through a link, and from which browser.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LinkUse {
    pub at: Timestamp,
    pub tag: Option<TokenTag>,
}

/// A chat of one person with one source.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Conversation {
    /// Where to write.
    pub chat: Identifier,
    /// The latest that the messenger told.
    pub profile: Option<(Timestamp, Profile)>,
    /// By the token's text.
    pub uses: BTreeMap<String, LinkUse>,
    pub lines: BTreeSet<Message>,
    /// From when on the messenger lets us write.
    pub open_since: Option<Timestamp>,
    /// The latest word on whether we may write: a block, a stop, an unblock.
    pub may_write: Option<(Timestamp, bool)>,
    /// The latest word on marketing alone.
    pub marketing: Option<(Timestamp, bool)>,
    /// When they were last active.
    pub heard_at: Option<Timestamp>,
    /// When they first said something.
    pub spoke_at: Option<Timestamp>,
    /// Up to when they have read what we wrote, where the messenger tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen_at: Option<Timestamp>,
    /// The last time that a message of ours was not taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused_at: Option<Timestamp>,
    /// The last time that nobody could know whether a message of ours was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unanswered_at: Option<Timestamp>,
    /// Messages of ours, by the messenger's ids.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub messages: BTreeMap<String, SentMessage>,
    /// Every word about being written to: the consent ledger is made of them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub words: BTreeSet<(Timestamp, ChatWord)>,
    /// When the latest line was said that is not kept here any more because too many came after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropped_at: Option<Timestamp>,
}

impl Conversation {
    /// A chat in which nothing was said yet.
    pub fn of(chat: Identifier) -> Self {
        Self {
            chat,
            profile: None,
            uses: BTreeMap::new(),
            lines: BTreeSet::new(),
            open_since: None,
            may_write: None,
            marketing: None,
            heard_at: None,
            spoke_at: None,
            seen_at: None,
            refused_at: None,
            unanswered_at: None,
            messages: BTreeMap::new(),
            words: BTreeSet::new(),
            dropped_at: None,
        }
    }

    /// With one more word about being written to.
    #[must_use]
    pub fn saying(mut self, at: Timestamp, word: ChatWord) -> Self {
        match word {
            ChatWord::Opened => {
                self.open_since = Some(self.open_since.map_or(at, |known| known.min(at)));
                self.may_write = self.may_write.max(Some((at, true)));
            }
            ChatWord::Blocked => self.may_write = self.may_write.max(Some((at, false))),
            ChatWord::Resumed => self.marketing = self.marketing.max(Some((at, true))),
            ChatWord::Stopped => self.marketing = self.marketing.max(Some((at, false))),
        }
        self.words.insert((at, word));
        self
    }

    /// Every word, with the last ones of a record that an earlier build stored.
    pub fn all_words(&self) -> BTreeSet<(Timestamp, ChatWord)> {
        let blocked = self.may_write.filter(|(_, may)| !may).map(|(at, _)| (at, ChatWord::Blocked));
        let said = |(at, may)| (at, if may { ChatWord::Resumed } else { ChatWord::Stopped });
        let last = blocked.into_iter().chain(self.marketing.map(said));
        if crate::breakage::is_on("talk-forgets-withdrawals") {
            return last.collect();
        }
        last.chain(self.words.iter().copied()).collect()
    }

    /// With one more line.
    #[must_use]
    pub fn with(mut self, mut line: Message) -> Self {
        let most = if crate::breakage::is_on("lines-are-cut") { 400 } else { TEXT };
        match &mut line.said {
            MessageContent::Text(text)
            | MessageContent::Button(text)
            | MessageContent::Other(_, Some(text))
            | MessageContent::Hub(text) => {
                *text = shortened(text, most);
            }
            MessageContent::Pressed { payload, label } => {
                (*payload, *label) = (shortened(payload, most), shortened(label, most));
            }
            _ => {}
        }
        if line.said.is_theirs() {
            self.heard_at = self.heard_at.max(Some(line.at));
        }
        if line.said.is_speech() {
            self.spoke_at = Some(self.spoke_at.map_or(line.at, |known| known.min(line.at)));
        }
        if let MessageContent::Started { token: Some(token), .. } = &line.said {
            let used = LinkUse { at: line.at, tag: token.tag().cloned() };
            self.uses.insert(token.as_str().to_owned(), used);
        }
        self.lines.insert(line);
        self
    }

    /// Associative, commutative, idempotent.
    #[must_use]
    pub fn join(mut self, other: Self) -> Self {
        self.words = self.all_words().into_iter().chain(other.all_words()).collect();
        while self.words.len() > WORDS {
            self.words.pop_first();
        }
        self.chat = self.chat.min(other.chat);
        self.profile = self.profile.max(other.profile);
        for (token, used) in other.uses {
            let known = self.uses.entry(token).or_insert_with(|| used.clone());
            if used < *known {
                *known = used;
            }
        }
        while self.uses.len() > TOKENS {
            // The earliest stay: it is the first use that counts.
            let last = self.uses.iter().max_by_key(|(token, used)| (used.at, *token)).map(|(token, _)| token.clone());
            last.and_then(|token| self.uses.remove(&token));
        }
        for line in other.lines {
            // One that was delivered again, with another time of receipt.
            match self.lines.iter().find(|known| known.id == line.id).cloned() {
                Some(known) if known <= line => {}
                Some(known) => {
                    self.lines.remove(&known);
                    self.lines.insert(line);
                }
                None => _ = self.lines.insert(line),
            }
        }
        let most = if crate::breakage::is_on("unnoted-lines-dropped") { 24 } else { LINES };
        let mut length: usize = self.lines.iter().map(Message::length).sum();
        self.dropped_at = self.dropped_at.max(other.dropped_at);
        while self.lines.len() > most || length > ALL_TEXT {
            let Some(line) = self.lines.pop_first() else { break };
            length -= line.length();
            self.dropped_at = self.dropped_at.max(Some(line.at));
        }
        let earliest = |a: Option<Timestamp>, b: Option<Timestamp>| [a, b].into_iter().flatten().min();
        self.open_since = earliest(self.open_since, other.open_since);
        self.spoke_at = earliest(self.spoke_at, other.spoke_at);
        self.may_write = self.may_write.max(other.may_write);
        self.marketing = self.marketing.max(other.marketing);
        self.heard_at = self.heard_at.max(other.heard_at);
        self.seen_at = self.seen_at.max(other.seen_at);
        self.refused_at = self.refused_at.max(other.refused_at);
        self.unanswered_at = self.unanswered_at.max(other.unanswered_at);
        sent_message::join(&mut self.messages, other.messages);
        self
    }

    /// Whether the messenger would take a message, as far as we were told.
    pub fn is_open(&self) -> bool {
        self.open_since.is_some() && self.may_write.is_none_or(|(_, may)| may)
    }

    /// The latest of their words, for a manager's eyes. `content` names what is no text, such as `photo`.
    pub fn last_words(&self, content: impl Fn(&str) -> String) -> Option<(Timestamp, String)> {
        let latest = self.lines.iter().rev().find_map(|line| match &line.said {
            MessageContent::Text(text) | MessageContent::Button(text) | MessageContent::Pressed { label: text, .. } => {
                Some((line.at, text.clone()))
            }
            MessageContent::Other(kind, caption) => {
                Some((line.at, caption.clone().unwrap_or_else(|| format!("[{}]", content(kind)))))
            }
            MessageContent::Contact(_) => Some((line.at, format!("[{}]", content("contact")))),
            _ => None,
        });
        latest.map(|(at, words)| (at, shortened(&words, FIELD)))
    }
}

/// At most so many characters, with a mark where something is missing.
fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

/// A personal link, and how often it was opened.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TrackedLink {
    pub token: Token,
    pub campaign: String,
    pub purpose: Purpose,
    /// `None` until the issue itself is known.
    pub expires_at: Option<Timestamp>,
    pub first_opened: Option<Timestamp>,
    pub last_opened: Option<Timestamp>,
    /// When the letter that holds it went out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_at: Option<Timestamp>,
}

/// Seconds after sending in which a look at a letter's link is a scanner's: the relay has hardly handed the letter on.
const SCANNER_SECONDS: i64 = 10;

impl TrackedLink {
    /// Scanners follow every link of a letter before they let it through, and call themselves browsers.
    fn is_scanned(&self, at: Timestamp) -> bool {
        let is_soon = |sent: Timestamp| at.as_second().saturating_sub(sent.as_second()) <= SCANNER_SECONDS;
        self.sent_at.is_some_and(is_soon) && !crate::breakage::is_on("scanned-link-counts")
    }

    /// When a person first opened it, as far as that can be known.
    pub fn first_look(&self) -> Option<Timestamp> {
        self.first_opened.filter(|at| !self.is_scanned(*at)).or_else(|| self.last_look())
    }

    /// When a person last opened it.
    pub fn last_look(&self) -> Option<Timestamp> {
        self.last_opened.filter(|at| !self.is_scanned(*at))
    }

    /// What both tell of one link.
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        let opened = [self.first_opened, other.first_opened];
        // Whoever opens it knows the campaign's number; on whose behalf it was made, only the issue says.
        let campaign = match (self.expires_at.is_some(), other.expires_at.is_some()) {
            (true, false) => self.campaign,
            (false, true) => other.campaign,
            _ => self.campaign.min(other.campaign),
        };
        Self {
            token: self.token.min(other.token),
            campaign,
            purpose: self.purpose.min(other.purpose),
            expires_at: self.expires_at.max(other.expires_at),
            first_opened: opened.into_iter().flatten().min(),
            last_opened: self.last_opened.max(other.last_opened),
            sent_at: [self.sent_at, other.sent_at].into_iter().flatten().min(),
        }
    }
}

/// A promo code that somebody was given.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Promo {
    pub campaign: String,
    pub code: String,
    pub issued_at: Timestamp,
}
