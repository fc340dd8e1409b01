//! What the journal says became of an event.

use stagedoor_engine::{Refusal, Why};
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

/// Sentences without values: the journal's note is shown and logged.
pub fn note(refusals: &[&Refusal]) -> Option<String> {
    let sentences: Vec<String> = refusals.iter().map(|refusal| sentence(refusal)).collect();
    (!sentences.is_empty()).then(|| sentences.join("; "))
}

fn sentence(refusal: &Refusal) -> String {
    let kind = refusal.identifier.kind().name();
    match &refusal.why {
        Why::TooManyPhones => format!("not joined by {kind}: the person would have too many phones"),
        Why::TooManyEmails => format!("not joined by {kind}: the person would have too many e-mails"),
        Why::TwoOf(other, scope) => format!(
            "not joined by {kind}: both sides have another {} of {scope}, a manager has to decide",
            other.name().replace('_', " ")
        ),
        Why::LinkUsedBefore => "the chat was not joined by its link: another chat used it before".to_owned(),
        Why::LinkExpired => "the chat was not joined by its link: it is too old".to_owned(),
        Why::Decided => format!("not joined by {kind}: a manager said that they are two people"),
        Why::Claimed => format!("not joined by {kind}: it was only typed, and somebody else proves it"),
        Why::LinkOfAnother(other) => {
            format!("the chat was not joined by its link: the link's owner has another {}", other.name())
        }
    }
}
