//! What letters, lists and the consent ledger's own events say about people.

use std::collections::BTreeSet;

use stagedoor_model::{
    Body, Event, Fact, Identifier, Kind, LetterReported, MailMessage, MailMessageState, Record, RecordKey, SendOutcome,
};

/// What such an event says about a person; `None` for events that are about no one.
pub(crate) fn record_of(event: &Event, body: &Body) -> Option<Record> {
    let source = event.source.as_str();
    let record = |key: String, identifiers: BTreeSet<Identifier>, fact: Fact| {
        Some(Record { identifiers, ..Record::new(RecordKey(key), event.source.clone(), event.time, fact) })
    };
    match body {
        Body::LetterReported(reported) => {
            // Where letters have no id of their own, a campaign sends one to each.
            let which = reported.letter.as_ref().or(reported.campaign.as_ref()).map_or("", String::as_str);
            let fact = Fact::MailMessage(MailMessage::of(reported, event.time));
            record(format!("letter:{source}:{which}:{}", reported.to), BTreeSet::from([reported.to.clone()]), fact)
        }
        // What a provider reports of a letter that it took comes by its webhook; what it did not take, only we know.
        Body::MessageSent(sent) if sent.to.kind() == Kind::Email => {
            let state = match sent.outcome {
                SendOutcome::Withdrawn(_) => MailMessageState::HardBounced,
                SendOutcome::Refused(_) => MailMessageState::Rejected,
                SendOutcome::Unknown => MailMessageState::Unanswered,
                SendOutcome::Sent(_) | SendOutcome::Dropped(_) => return None,
            };
            let reported = LetterReported {
                to: sent.to.clone(),
                state,
                by_machine: false,
                letter: Some(sent.decision.clone()),
                campaign: sent.campaign.clone(),
                link: None,
                code: None,
            };
            let fact = Fact::MailMessage(MailMessage::of(&reported, event.time));
            record(format!("letter:{source}:{}:{}", sent.decision, sent.to), BTreeSet::from([sent.to.clone()]), fact)
        }
        Body::ConsentRecorded(recorded) => {
            record(format!("consent:{}", event.id), recorded.identifiers.clone(), Fact::Consent(recorded.clone()))
        }
        Body::MembershipReported(told) => {
            let lists = told.lists.iter().cloned().collect::<Vec<_>>().join(",");
            let fact = Fact::Membership { changed_at: event.time, lists: told.lists.clone(), member: told.member };
            record(format!("member:{source}:{lists}:{}", told.who), BTreeSet::from([told.who.clone()]), fact)
        }
        Body::AddressChanged(changed) => {
            let both = BTreeSet::from([changed.old.clone(), changed.new.clone()]);
            record(format!("moved:{source}:{}:{}", changed.old, changed.new), both, Fact::Moved)
        }
        _ => None,
    }
}
