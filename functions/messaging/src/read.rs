//! What messengers' deliveries have in common.

use serde_json::Value;
use stagedoor_model::{ChatRef, Content, Identifier, Kind, Profile, breakage};
pub use stagedoor_webhook::read::{has_list, id, is_true, list, number, second, text, told_millisecond};

/// The chat with an id of the messenger's own. `scope` is the source where ids differ from bot to bot.
pub fn chat(kind: Kind, scope: &str, id: &str, profile: Profile) -> Option<ChatRef> {
    Some(ChatRef { profile, ..ChatRef::of(Identifier::opaque(kind, scope, id)?) })
}

/// Something beside text. `files` are ids or addresses under which the messenger keeps it.
pub fn other(kind: &str, caption: Option<String>, files: Vec<String>) -> Content {
    if breakage::is_on("words-beside-are-lost") {
        return Content::Other { kind: kind.to_owned(), caption: None, files: vec![] };
    }
    Content::Other { kind: kind.to_owned(), caption, files }
}

/// A message that its author changed. `None` without words: nothing is known to have been said anew.
pub fn edited(words: Option<String>, files: Vec<String>) -> Option<Content> {
    words.filter(|_| !breakage::is_on("edits-unheard")).map(|words| other(Content::EDITED, Some(words), files))
}

/// The shortest label that a messenger leaves of a longer one, in characters.
const CUT: usize = 19;

/// Our own buttons bear their label as the payload; messengers cut a long label.
fn is_label_of(label: &str, payload: &str) -> bool {
    label == payload || (label.chars().count() >= CUT && payload.starts_with(label.trim_end_matches('…')))
}

/// A button that was pressed: what we put behind it, and what the person read on it. `None` without both.
pub fn pressed(payload: Option<String>, label: Option<String>) -> Option<Content> {
    let label = label.filter(|_| !breakage::is_on("labels-unheard"));
    match (payload, label) {
        (Some(payload), Some(label)) if !is_label_of(&label, &payload) => Some(Content::Pressed { payload, label }),
        (Some(payload), _) => Some(Content::Button(payload)),
        (None, label) => label.map(Content::Button),
    }
}

/// What stands at these places, in one line each; `None` where nothing does.
pub fn words(value: &Value, pointers: &[&str]) -> Option<String> {
    joined(pointers.iter().filter_map(|pointer| text(value, pointer).or_else(|| id(value, pointer))))
}

pub fn joined(parts: impl IntoIterator<Item = String>) -> Option<String> {
    let parts: Vec<String> = parts.into_iter().collect();
    (!parts.is_empty()).then(|| parts.join("\n"))
}
