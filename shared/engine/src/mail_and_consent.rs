//! What mail events, list events and consent events say about people.

use std::collections::BTreeSet;

use stagedoor_model::{
    Body, Event, Fact, Identifier, Kind, LetterReported, MailMessage, MailMessageState, Record, RecordKey, SendOutcome,
};

/// Returns what such an event says about a person. `None` for an event about no person.
pub(crate) fn record_of(event: &Event, body: &Body) -> Option<Record> {
    let source = event.source.as_str();
    let record = |key: String, identifiers: BTreeSet<Identifier>, fact: Fact| {
        Some(Record { identifiers, ..Record::new(RecordKey(key), event.source.clone(), event.time, fact) })
    };
    match body {
        Body::LetterReported(reported) => {
            // If e-mails have no id, the campaign's id is enough: a campaign sends one e-mail to each address.
            let which = reported.letter.as_ref().or(reported.campaign.as_ref()).map_or("", String::as_str);
            let fact = Fact::MailMessage(MailMessage::of(reported, event.time));
            record(format!("letter:{source}:{which}:{}", reported.to), BTreeSet::from([reported.to.clone()]), fact)
        }
        // A provider's webhook reports on e-mails that it took. Only the hub knows of those that it did not take.
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
            let key = format!("moved:{source}:{}:{}", changed.old, changed.new);
            let moved = record(key, BTreeSet::from([changed.old.clone()]), Fact::Moved)?;
            // The owner of the old address typed the new one. Nothing proves that it is theirs.
            let claims = BTreeSet::from([changed.new.clone()]);
            Some(Record { claims: claims.difference(&moved.identifiers).cloned().collect(), ..moved })
        }
        _ => None,
    }
}
