//! Helpers that the deliveries of several messengers share.

use serde_json::Value;
use stagedoor_model::{ChatRef, Content, Identifier, Messenger, Profile, breakage, is_stop_word};
use stagedoor_webhook::Source;
pub use stagedoor_webhook::read::{has_list, id, is_true, list, number, second, text, told_millisecond};

/// A person's chat with the bot of a source.
pub fn chat(messenger: Messenger, source: &Source, id: &str, profile: Profile) -> Option<ChatRef> {
    Some(ChatRef { profile, ..ChatRef::of(Identifier::chat(messenger, source.name.as_str(), id)?) })
}

/// Content that is not text. `files` are ids or URLs under which the messenger keeps it.
pub fn other(kind: &str, caption: Option<String>, files: Vec<String>) -> Content {
    if breakage::is_on("words-beside-are-lost") {
        return Content::Other { kind: kind.to_owned(), caption: None, files: vec![] };
    }
    Content::Other { kind: kind.to_owned(), caption, files }
}

/// A message that its author edited. `None` without words, because no new words are known.
pub fn edited(words: Option<String>, files: Vec<String>) -> Option<Content> {
    words.filter(|_| !breakage::is_on("edits-unheard")).map(|words| other(Content::EDITED, Some(words), files))
}

/// What a person says where somebody else answers, and whether it stops advertising. The bot says nothing to a quote.
pub fn quoted(content: Content) -> (Content, bool) {
    let (said, files) = match content {
        Content::Text(words) | Content::Button(words) => (vec![words], vec![]),
        Content::Pressed { payload, label } => (vec![label, payload], vec![]),
        Content::Other { kind, caption, files } => (vec![caption.unwrap_or(kind)], files),
    };
    let is_stop = said.iter().any(|words| is_stop_word(words));
    (other(Content::QUOTE, joined(said), files), is_stop)
}

/// Length in characters to which messengers cut a longer label at least.
const CUT: usize = 19;

/// True if the label is that of the payload. Our own buttons have their label as payload, and messengers cut a long
/// label.
fn is_label_of(label: &str, payload: &str) -> bool {
    label == payload || (label.chars().count() >= CUT && payload.starts_with(label.trim_end_matches('…')))
}

/// A pressed button: the payload that we set, and the label that the person read. `None` if both are absent.
pub fn pressed(payload: Option<String>, label: Option<String>) -> Option<Content> {
    let label = label.filter(|_| !breakage::is_on("labels-unheard"));
    match (payload, label) {
        (Some(payload), Some(label)) if !is_label_of(&label, &payload) => Some(Content::Pressed { payload, label }),
        (Some(payload), _) => Some(Content::Button(payload)),
        (None, label) => label.map(Content::Button),
    }
}

/// The values at these places, one a line. `None` if there are none.
pub fn words(value: &Value, pointers: &[&str]) -> Option<String> {
    joined(pointers.iter().filter_map(|pointer| text(value, pointer).or_else(|| id(value, pointer))))
}

/// The parts, one a line. `None` if there are none.
pub fn joined(parts: impl IntoIterator<Item = String>) -> Option<String> {
    let parts: Vec<String> = parts.into_iter().collect();
    (!parts.is_empty()).then(|| parts.join("\n"))
}
