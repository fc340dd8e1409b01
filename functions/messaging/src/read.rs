//! What messengers' deliveries have in common.

use stagedoor_model::{ChatRef, Content, Identifier, Kind, Profile};
pub use stagedoor_webhook::read::{id, is_true, list, millisecond, number, second, text};

/// The chat with an id of the messenger's own. `scope` is the source where ids differ from bot to bot.
pub fn chat(kind: Kind, scope: &str, id: &str, profile: Profile) -> Option<ChatRef> {
    Some(ChatRef { profile, ..ChatRef::of(Identifier::opaque(kind, scope, id)?) })
}

pub fn other(kind: &str, caption: Option<String>) -> Content {
    Content::Other { kind: kind.to_owned(), caption }
}
