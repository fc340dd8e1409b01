//! The outcome of an event in the journal.

use stagedoor_engine::{BlockedJoin, GuardReason};
use stagedoor_model::{Body, Event};
use stagedoor_ports::Outcome;

pub fn of(event: &Event, about_somebody: bool) -> Outcome {
    match event.body {
        Body::Unrecognized(_) => Outcome::Unrecognized,
        Body::ShowRescheduled(_) | Body::ShowCancelled(_) => Outcome::Show,
        _ if about_somebody => Outcome::Folded,
        _ => Outcome::Nobody,
    }
}

/// Sentences without values, because the journal's note is shown and logged.
pub fn note(blocked_joins: &[&BlockedJoin]) -> Option<String> {
    let sentences: Vec<String> = blocked_joins.iter().map(|blocked_join| sentence(blocked_join)).collect();
    (!sentences.is_empty()).then(|| sentences.join("; "))
}

fn sentence(blocked_join: &BlockedJoin) -> String {
    let kind = blocked_join.identifier.kind().name();
    match &blocked_join.why {
        GuardReason::TooManyPhones => format!("not joined by {kind}: the person would have too many phones"),
        GuardReason::TooManyEmails => format!("not joined by {kind}: the person would have too many e-mails"),
        GuardReason::TwoOf(other, scope) => format!(
            "not joined by {kind}: both sides have another {} of {scope}, a manager has to decide",
            other.name().replace('_', " ")
        ),
        GuardReason::LinkUsedBefore => "the chat was not joined by its link: another chat used it before".to_owned(),
        GuardReason::LinkExpired => "the chat was not joined by its link: it is too old".to_owned(),
        GuardReason::Decided => format!("not joined by {kind}: a manager said that they are two people"),
        GuardReason::Claimed => format!("not joined by {kind}: it was only typed, and somebody else proves it"),
        GuardReason::LinkOfAnother(other) => {
            format!("the chat was not joined by its link: the link's owner has another {}", other.name())
        }
    }
}
