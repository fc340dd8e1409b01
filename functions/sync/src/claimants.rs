//! Strikes an erased person's addresses from the facts of strangers. A stranger may have typed such an address as
//! their own. The strangers stay.

use std::collections::BTreeSet;

use stagedoor_engine::{CrmState, Pending, Person, PersonId};
use stagedoor_model::{Body, Content, Event, Fact, Identifier, Kind, Message, MessageContent, Record, breakage};
use stagedoor_ports::{Commit, JournalRow, PortError, Result, Saved, Versioned};

use crate::{Sync, traces::Addresses};

/// Number of tries when other processes change the same people.
const ATTEMPTS: usize = 5;
/// Replaces words that contain an erased address.
const STRUCK: &str = "…";

/// Contacts in the CRM of people who claimed an erased address. The address may stand in a field, a note or a task.
#[derive(Debug, Default)]
pub(crate) struct Marked {
    pub first: BTreeSet<u64>,
    pub second: BTreeSet<u64>,
}

impl Sync {
    /// People who claim one of `names` and are not among `people`.
    pub(crate) async fn claimants(
        &self,
        people: &[Versioned<Person>],
        names: &BTreeSet<Identifier>,
    ) -> Result<Vec<Versioned<Person>>> {
        let own: BTreeSet<PersonId> = people.iter().map(|person| person.value.id).collect();
        let near: BTreeSet<PersonId> = people.iter().flat_map(|person| person.value.blocked_with.clone()).collect();
        let found = self.store.load(&near.difference(&own).copied().collect()).await?;
        Ok(found.into_iter().filter(|one| !own.contains(&one.value.id) && claims(&one.value, names)).collect())
    }

    /// Removes `names` from the facts of these people. Claims go last, so that a next attempt still finds the people
    /// by them.
    pub(crate) async fn strike_claims(
        &self,
        claimants: &BTreeSet<PersonId>,
        names: &BTreeSet<Identifier>,
    ) -> Result<Marked> {
        let mut marked = Marked::default();
        if claimants.is_empty() || breakage::is_on("erased-in-claims-of-others") {
            return Ok(marked);
        }
        let addresses = self.addresses(names);
        for id in claimants {
            let rows = self.store.journal_of(*id).await?.into_iter();
            let struck = rows.filter_map(|row| {
                let event = event_without(&row.event, names, &addresses)?;
                Some(JournalRow { event, note: row.note.clone().filter(|note| !addresses.are_in(note)), ..row })
            });
            let journal: Vec<JournalRow> = struck.collect();
            for row in &journal {
                self.store.forget(&row.event.id).await?;
            }
            if !journal.is_empty() {
                self.store.save(vec![Commit { journal, ..Commit::default() }]).await?;
            }
        }
        for (id, mut link) in self.store.crm_states(claimants).await? {
            marked.first.extend(link.contact.id.iter().chain(&link.doubles));
            if let Some(second) = &link.second {
                marked.second.extend(second.contact.id.iter().chain(&second.doubles));
            }
            let before = link.clone();
            strike_link(&mut link, names, &addresses);
            if link != before {
                self.store.save_crm_states(vec![(id, link)]).await?;
            }
        }
        for _ in 0..ATTEMPTS {
            let found = self.store.load(claimants).await?.into_iter();
            let struck = found.filter_map(|one| {
                let before = one.value.clone();
                let after = person_without(one.value, names, &addresses);
                (after != before).then_some((after, Some(one.version)))
            });
            let people: Vec<(Person, Option<u64>)> = struck.collect();
            let commits = people.into_iter().map(|person| Commit { people: vec![person], ..Commit::default() });
            if self.store.save(commits.collect()).await?.iter().all(|saved| *saved == Saved::Done) {
                return Ok(marked);
            }
        }
        Err(PortError::Retry("the claims of others keep changing; erase again".into()))
    }
}

fn claims(person: &Person, names: &BTreeSet<Identifier>) -> bool {
    person.records.values().any(|record| !record.claims.is_disjoint(names))
}

/// True if only these names, and CRM rows, identify the person. Such a person is a form of an erased person.
pub(crate) fn is_nobody_else(person: &Person, names: &BTreeSet<Identifier>) -> bool {
    let all = person.identifiers_and_claims();
    all.into_iter().filter(|one| one.kind().is_strong() && !is_row(one)).all(|one| names.contains(one))
}

fn is_row(identifier: &Identifier) -> bool {
    matches!(identifier.kind(), Kind::CrmContact | Kind::CrmLead)
}

fn person_without(mut person: Person, names: &BTreeSet<Identifier>, addresses: &Addresses) -> Person {
    person.contested.retain(|one| !names.contains(one));
    person.records.values_mut().for_each(|record| strike_record(record, names, addresses));
    person
}

fn strike_record(record: &mut Record, names: &BTreeSet<Identifier>, addresses: &Addresses) {
    record.claims.retain(|one| !names.contains(one));
    record.echoes.retain(|one| !names.contains(one));
    record.stood.retain(|one| !names.contains(one));
    record.name.take_if(|(_, name)| addresses.are_in(name));
    match &mut record.fact {
        Fact::Submission(submission) => submission.labels.retain(|_, text| !addresses.are_in(text)),
        Fact::CrmContact { phones, emails, .. } => {
            phones.retain(|text| !addresses.are_in(text));
            emails.retain(|text| !addresses.are_in(text));
        }
        Fact::Conversation(conversation) => {
            let lines = std::mem::take(&mut conversation.lines).into_iter();
            conversation.lines = lines.filter_map(|line| line_without(line, names, addresses)).collect();
        }
        _ => {}
    }
}

fn line_without(mut line: Message, names: &BTreeSet<Identifier>, addresses: &Addresses) -> Option<Message> {
    match &mut line.said {
        MessageContent::Contact(given) if names.contains(given) => return None,
        MessageContent::Text(text)
        | MessageContent::Button(text)
        | MessageContent::Other(_, Some(text))
        | MessageContent::Hub(text) => strike(text, addresses),
        MessageContent::Pressed { payload, label } => {
            strike(payload, addresses);
            strike(label, addresses);
        }
        _ => {}
    }
    Some(line)
}

fn strike(text: &mut String, addresses: &Addresses) {
    if addresses.are_in(text) {
        STRUCK.clone_into(text);
    }
}

/// The event without the addresses. `None` if the event does not contain them.
fn event_without(event: &Event, names: &BTreeSet<Identifier>, addresses: &Addresses) -> Option<Event> {
    if !addresses.are_mentioned_by(event) {
        return None;
    }
    let mut event = event.clone();
    event.subject.take_if(|subject| addresses.are_in(subject));
    match &mut event.body {
        Body::FormSubmitted(form) | Body::CartAbandoned(form) => {
            form.identifiers.retain(|one| !names.contains(one));
            form.name.take_if(|name| addresses.are_in(name));
            form.labels.retain(|_, text| !addresses.are_in(text));
        }
        Body::MessageReceived(heard) => match &mut heard.content {
            Content::Text(text) | Content::Button(text) | Content::Other { caption: Some(text), .. } => {
                strike(text, addresses);
            }
            Content::Pressed { payload, label } => {
                strike(payload, addresses);
                strike(label, addresses);
            }
            Content::Other { .. } => {}
        },
        Body::MessageSent(sent) => strike(&mut sent.text, addresses),
        _ => {}
    }
    if addresses.are_mentioned_by(&event) {
        event.body = Body::Erased;
    }
    Some(event)
}

fn strike_link(link: &mut CrmState, names: &BTreeSet<Identifier>, addresses: &Addresses) {
    for values in [&mut link.contact_values, &mut link.left_out, &mut link.cleared, &mut link.removed] {
        values.values_mut().for_each(|values| values.retain(|value| !addresses.are_in(value)));
    }
    link.offered.retain(|value| !addresses.are_in(value));
    // A contact without a name carries an address in its place.
    link.contact.named.take_if(|name| addresses.are_in(name));
    if let Some(pending) = &mut link.contact.pending {
        let Pending { at: _, late_until: _, values, named, marketed: _, orders: _, paid_orders: _ } = pending;
        values.retain(|value| !addresses.are_in(value));
        named.take_if(|name| addresses.are_in(name));
    }
    link.troubles.retain(|key| !addresses.are_in(key));
    link.lists.values_mut().for_each(|places| places.retain(|email, _| !addresses.are_in(email)));
    link.written.retain(|occasion, _| !addresses.are_in(occasion));
    link.written.values_mut().for_each(|written| written.steps.retain(|step| !names.contains(&step.to)));
    if let Some(second) = &mut link.second {
        strike_link(second, names, addresses);
    }
}
