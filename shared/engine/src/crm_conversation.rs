//! Shows conversations in the CRM: the chat on the contact, the messages in notes, and a task for what the bot did not
//! understand.

use std::collections::BTreeSet;

use jiff::{SignedDuration, tz::TimeZone};
use serde::{Deserialize, Serialize};
use stagedoor_model::{
    Conversation, Fact, Kind, Message, MessageContent, Messenger, ProfileLink, SourceName, Timestamp, breakage,
    clean_name,
};
use stagedoor_texts::{Language, crm, notes, tasks};

use crate::{Catalog, Intent, Person, PersonId, turns};

/// The shortest time between two tasks of one person, in seconds. One task covers everything that was asked meanwhile.
const TASK_EVERY_SECONDS: i64 = 4 * 3_600;

/// The chats of a person, for the fields of their contact.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chats {
    /// The channels, such as `Telegram, VK`.
    pub channels: String,
    /// The addresses of the chats, such as `Telegram: @ranevskaya, https://t.me/ranevskaya`.
    pub chat: String,
    /// The text of the person's last message.
    pub last_message: String,
    /// The time of that message.
    pub last_message_at: Option<Timestamp>,
}

/// A note as the CRM should hold it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoteDraft {
    pub person: PersonId,
    pub text: String,
    /// The marks of the messages that it holds.
    pub lines: BTreeSet<String>,
}

/// The most characters of a note. CRMs accept some twenty thousand. After a lost answer the hub looks for exactly the
/// text that it sent.
const NOTE: usize = 16_000;
/// The time after which no more pictures of an album come, in milliseconds.
const ALBUM: i64 = 3_000;
/// How many characters of a message id tell it from the other messages of a person.
const MARK: usize = 10;
/// How long a note may mention a form. Older forms were received before notes mentioned forms.
const FORM: SignedDuration = SignedDuration::from_hours(72);
/// The most characters of a form in a note.
const FORM_TEXT: usize = 12_000;

fn mark(line: &Message) -> String {
    let from = line.id.len().saturating_sub(MARK);
    line.id.get(from..).unwrap_or(&line.id).to_owned()
}

/// Returns the marks of all messages in a person's chats, and of the forms that a note may still mention.
pub(crate) fn marks(person: &Person, now: Timestamp) -> BTreeSet<String> {
    // A mark has no language.
    let forms = forms(person, Language::default(), now).map(|(line, _)| mark(&line));
    chatty(person).flat_map(|(_, conversation)| &conversation.lines).map(mark).chain(forms).collect()
}

/// Labels of a form that are not the visitor's words, or that stand elsewhere.
const NO_WORDS: [&str; 8] = ["company", "inn", "kpp", "scenario", "message", "variant", "sending", "city"];

/// Returns what a person wrote into forms, one message a form, with the name of the form.
fn forms(person: &Person, language: Language, now: Timestamp) -> impl Iterator<Item = (Message, String)> {
    let is_told = !breakage::is_on("forms-words-in-no-note");
    let records = person.records.values().filter(move |record| is_told && now.duration_since(record.at) < FORM);
    records.filter_map(move |record| {
        let Fact::Submission(submission) = &record.fact else { return None };
        let said = |key: &String| !key.starts_with("utm_") && !NO_WORDS.contains(&key.as_str());
        let words = submission.labels.iter().filter(|(key, _)| said(key) && !submission.quiet);
        let words: Vec<String> = words.map(|(key, text)| format!("{key}: {text}")).collect();
        let mut text = words.join("; ");
        if text.chars().count() > FORM_TEXT {
            text = text.chars().take(FORM_TEXT).chain(notes::form_cut().to(language).chars()).collect();
        }
        let name = submission.form.as_deref().and_then(clean_name).unwrap_or_else(|| record.source.to_string());
        let said = MessageContent::Text(text);
        let line = Message { at: record.at, order: 0, id: record.key.0.clone(), said, files: vec![] };
        (!words.is_empty()).then(|| (line, notes::form(name).to(language)))
    })
}

/// A task for a manager as the CRM should hold it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskDraft {
    pub person: PersonId,
    pub text: String,
    /// The time and id of the message that was not understood.
    pub about: (Timestamp, String),
    /// The key of the money trouble that it is about, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// Returns the common name of a chat's channel.
pub fn channel_title(kind: Kind) -> &'static str {
    kind.messenger().map_or("SMS", Messenger::title)
}

/// Returns the chats in messengers, and SMS conversations in which the person ever wrote. Messages from us alone are no
/// conversation.
fn chatty(person: &Person) -> impl Iterator<Item = (&SourceName, &Conversation)> {
    person
        .conversations()
        .filter(|(_, conversation)| conversation.chat.kind().is_chat() || conversation.heard_at.is_some())
}

/// Returns the chats of a person, or `None` if the person has none.
pub fn chats(person: &Person, language: Language) -> Option<Chats> {
    let mut chats = Chats::default();
    let mut channels = BTreeSet::new();
    let mut lines = Vec::new();
    for (_, conversation) in chatty(person).filter(|(_, conversation)| conversation.heard_at.is_some()) {
        let channel = channel_title(conversation.chat.kind());
        let closed = conversation.may_write.is_some_and(|(_, may)| !may);
        channels.insert(if closed { crm::chat_closed(channel).to(language) } else { channel.to_owned() });
        lines.push(format!("{channel}: {}", address(conversation)));
        if let Some((at, words)) = conversation.last_words(|kind| notes::content(kind).to(language))
            && Some(at) > chats.last_message_at
        {
            (chats.last_message, chats.last_message_at) = (words, Some(at));
        }
    }
    lines.sort();
    chats.channels = channels.into_iter().collect::<Vec<_>>().join(", ");
    chats.chat = lines.join("\n");
    (!chats.channels.is_empty()).then_some(chats)
}

/// True if a stranger's chat needs a contact of its own: the person said more than a start or an answer about who they
/// are. A person who is about to give their phone would otherwise get a contact too early, and then a second one.
pub(crate) fn calls_for_contact(person: &Person, catalog: &Catalog) -> bool {
    chatty(person).any(|(_, conversation)| {
        let heard = turns(&catalog.bot_script, conversation, person).into_iter().map(|turn| turn.heard);
        let mut said =
            heard.filter(|heard| matches!(heard, Intent::Other | Intent::Doubt | Intent::Keyword | Intent::Menu(_)));
        said.next().is_some()
    })
}

/// Returns the address at which a manager finds the chat.
fn address(conversation: &Conversation) -> String {
    let profile = conversation.profile.as_ref().map(|(_, profile)| profile);
    let username = profile.and_then(|profile| profile.username.as_deref());
    let nickname = profile.and_then(|profile| profile.nickname.as_deref());
    let (kind, id) = (conversation.chat.kind(), conversation.chat.value());
    // An id of WhatsApp that hides the phone opens no chat.
    let messenger = kind.messenger().filter(|_| kind != Kind::WhatsappUser);
    let link = messenger.and_then(|messenger| messenger.info().profile);
    let url = link.and_then(|link| match link {
        ProfileLink::ByUsername(base) => Some(format!("{base}{}", username?)),
        ProfileLink::ById(base) => Some(format!("{base}{id}")),
    });
    url.unwrap_or_else(|| {
        let named = nickname.and_then(clean_name).filter(|_| !breakage::is_on("invisible-address"));
        named.unwrap_or_else(|| id.to_owned())
    })
}

/// Returns a note with the messages and forms that no note holds yet, or `None` if there are none. `noted` holds the
/// marks of messages in notes. Clocks differ, so an earlier message may come after a later one was noted.
pub(crate) fn note(person: &Person, noted: &BTreeSet<String>, catalog: &Catalog, now: Timestamp) -> Option<NoteDraft> {
    if settles_at(person, noted, now).is_some() {
        return None;
    }
    let of_chats = chatty(person).flat_map(|(_, conversation)| {
        conversation.lines.iter().map(|line| (line.clone(), channel_title(conversation.chat.kind()).to_owned()))
    });
    let mut fresh: Vec<(Message, String)> = of_chats
        .chain(forms(person, catalog.language, now))
        .filter(|(line, _)| !matches!(line.said, MessageContent::Allowed) && !noted.contains(&mark(line)))
        .collect();
    fresh.sort();
    let mut text: Vec<String> =
        chatty(person).filter_map(|(_, conversation)| missing(conversation, noted, catalog)).collect();
    let mut length: usize = text.iter().map(|text| text.chars().count() + 1).sum();
    let mut lines = BTreeSet::new();
    for (line, channel) in fresh {
        let words = spoken(&line, &channel, catalog);
        length += words.chars().count() + 1;
        // The next note holds the rest.
        if length > NOTE && !lines.is_empty() {
            break;
        }
        lines.insert(mark(&line));
        text.push(words);
    }
    (!lines.is_empty()).then(|| NoteDraft { person: person.id, text: text.join("\n"), lines })
}

/// Returns when the pictures that a person sends one after the other are likely complete. `None` means that there is
/// nothing to wait for.
pub(crate) fn settles_at(person: &Person, noted: &BTreeSet<String>, now: Timestamp) -> Option<Timestamp> {
    let pictures = chatty(person).flat_map(|(_, conversation)| &conversation.lines).filter(|line| {
        matches!(line.said, MessageContent::Other(..))
            && !noted.contains(&mark(line))
            && !breakage::is_on("album-is-many-notes")
    });
    let at = pictures.map(|line| line.at).max()?;
    // If a clock is ahead or behind, the age of a picture is unknown.
    let is_fresh = (now.as_millisecond() - at.as_millisecond()).abs() < ALBUM;
    is_fresh.then(|| Timestamp::from_millisecond(at.as_millisecond() + ALBUM).unwrap_or(at))
}

/// Returns the text that stands for messages dropped before a note held them. Many came while the CRM was down.
fn missing(conversation: &Conversation, noted: &BTreeSet<String>, catalog: &Catalog) -> Option<String> {
    let first = conversation.lines.first().filter(|line| !noted.contains(&mark(line)))?;
    conversation.dropped_at.filter(|at| *at <= first.at && !breakage::is_on("dropped-lines-unsaid"))?;
    let channel = channel_title(conversation.chat.kind());
    Some(notes::missing(channel).to(catalog.language))
}

fn spoken(line: &Message, channel: &str, catalog: &Catalog) -> String {
    let zone = catalog.zone.clone().unwrap_or(TimeZone::UTC);
    let at = line.at.to_zoned_datetime(zone).strftime("%d.%m %H:%M %Z").to_string();
    let language = catalog.language;
    match &line.said {
        // This is not one of our links: a person typed a word, or the link belongs to a campaign of somebody else.
        MessageContent::Started { token: Some(token), .. }
            if token.header().is_none() && !breakage::is_on("words-for-token-unheard") =>
        {
            notes::opened_with(at, channel, token.to_string()).to(language)
        }
        MessageContent::Started { token: Some(_), .. } => notes::opened_through_link(at, channel).to(language),
        MessageContent::Started { token: None, .. } => notes::opened(at, channel).to(language),
        MessageContent::Text(text) | MessageContent::Button(text) => format!("{at} {channel} ▸ {text}"),
        MessageContent::Pressed { payload, label } => format!("{at} {channel} ▸ {label} [{payload}]"),
        MessageContent::Other(kind, caption) => {
            let files: Vec<String> = line.files.iter().map(|file| format!(" ({file})")).collect();
            let kind = notes::content(kind).to(language);
            format!("{at} {channel} ▸ [{kind}] {}{}", caption.as_deref().unwrap_or(""), files.concat())
        }
        MessageContent::Contact(given) => format!("{at} {channel} ▸ {}", given.value()),
        MessageContent::Hub(text) => format!("{at} {channel} ◂ {text}"),
        MessageContent::Undelivered(None) => notes::undelivered(at, channel).to(language),
        MessageContent::Undelivered(Some(code)) => {
            notes::undelivered_because(at, channel, code.to_string()).to(language)
        }
        MessageContent::Allowed => String::new(),
    }
}

/// The reason for a task about a chat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Trouble {
    NotUnderstood,
    Doubt,
    Loop,
}

/// Returns a task for a manager if the bot did not understand something since the last task. `tasked` is the message of
/// the last task.
pub(crate) fn task(person: &Person, tasked: Option<&(Timestamp, String)>, catalog: &Catalog) -> Option<TaskDraft> {
    let open = |at: Timestamp| tasked.is_none_or(|(last, _)| at.as_second() - last.as_second() >= TASK_EVERY_SECONDS);
    let mut asked: Vec<(Timestamp, String, &'static str, Trouble)> = Vec::new();
    for (_, conversation) in chatty(person) {
        let channel = channel_title(conversation.chat.kind());
        asked.extend(turns(&catalog.bot_script, conversation, person).into_iter().filter_map(|turn| {
            let trouble = match turn.heard {
                Intent::Doubt => Trouble::Doubt,
                _ if turn.is_loop => Trouble::Loop,
                Intent::Other => Trouble::NotUnderstood,
                _ => return None,
            };
            Some((turn.at, turn.cause, channel, trouble))
        }));
    }
    asked.sort();
    let (at, id, channel, trouble) = asked.into_iter().find(|(at, ..)| open(*at))?;
    let text = match trouble {
        Trouble::Doubt => tasks::doubt(channel),
        Trouble::Loop => tasks::loop_of_robots(channel),
        Trouble::NotUnderstood => tasks::not_understood(channel),
    };
    let text = text.to(catalog.language);
    Some(TaskDraft { person: person.id, text, about: (at, id), trouble: None })
}
