//! Commands for managers' decisions about identity.

use std::collections::BTreeSet;

use stagedoor_engine::{PersonId, is_suppressed};
use stagedoor_model::{
    Body, Event, EventId, Fact, Identifier, IdentityDecided, LetterReported, MailMessageState, SourceName, Verdict,
};
use stagedoor_texts::{Text, commands as texts};

use crate::hub::Hub;

/// The limit of shared identifiers that one command lists.
const LISTED: usize = 10_000;

/// Records the decision that two identifiers are one person. Returns lines for a terminal.
///
/// # Errors
/// A sentence: one of the identifiers is unknown, or the store fails.
pub async fn join(hub: &Hub, one: &Identifier, other: &Identifier, by: &str) -> Result<Vec<String>, String> {
    must_differ(hub, one, other)?;
    let before = [person_of(hub, one).await?, person_of(hub, other).await?];
    let event = decision(hub, Verdict::SamePerson(one.clone(), other.clone()), by)?;
    let [first, second] = weighed(hub, &event, [one, other]).await?;
    if first != second {
        let pairs = partings_of(hub, &before.into()).await?;
        return Err(hub.say(texts::not_joined(pairs.join("; "))));
    }
    record(hub, event, &BTreeSet::new()).await?;
    Ok([texts::one_person(first.to_string()), texts::crm_follows()].map(|text| hub.say(text)).into())
}

/// Records the decision that two identifiers are two people. Returns lines for a terminal.
///
/// # Errors
/// A sentence: one of the identifiers is unknown, or a single fact holds both.
pub async fn part(hub: &Hub, one: &Identifier, other: &Identifier, by: &str) -> Result<Vec<String>, String> {
    must_differ(hub, one, other)?;
    person_of(hub, one).await?;
    person_of(hub, other).await?;
    let event = decision(hub, Verdict::DifferentPeople(one.clone(), other.clone()), by)?;
    let [first, second] = weighed(hub, &event, [one, other]).await?;
    if first == second {
        return Err(hub.say(texts::not_parted(other.to_string())));
    }
    record(hub, event, &BTreeSet::new()).await?;
    let parted = texts::two_people(first.to_string(), second.to_string());
    Ok([parted, texts::crm_follows()].map(|text| hub.say(text)).into())
}

/// Shared identifiers, one a line.
///
/// # Errors
/// A sentence when the store cannot be read.
pub async fn crowds(hub: &Hub) -> Result<Vec<String>, String> {
    let marks = hub.store.crowds(LISTED).await.map_err(|error| error.to_string())?;
    let line = |mark: &Identifier| match mark.to_string().strip_prefix("typed:") {
        Some(value) => hub.say(texts::typed_crowd(value)),
        None => mark.to_string(),
    };
    Ok(marks.iter().map(line).collect())
}

/// Records the decision that a shared identifier belongs to one person. Reads all people, to find those who have it.
///
/// # Errors
/// A sentence: the identifier is not shared, or the store fails.
pub async fn lift(hub: &Hub, identifier: &Identifier, by: &str) -> Result<Vec<String>, String> {
    let marks = BTreeSet::from([identifier.clone(), identifier.typed()]);
    let known = hub.store.resolve(&marks).await.map_err(|error| error.to_string())?;
    if known.shared.is_empty() {
        return Err(hub.say(texts::no_crowd(identifier.to_string())));
    }
    let (mut among, mut after) = (BTreeSet::new(), None);
    loop {
        let (ids, next) = hub.store.scan_people(after, 500).await.map_err(|error| error.to_string())?;
        let people = hub.store.load(&ids).await.map_err(|error| error.to_string())?;
        let have = people.iter().filter(|person| person.value.identifiers_and_claims().contains(identifier));
        among.extend(have.map(|person| person.value.id));
        after = next;
        if after.is_none() {
            break;
        }
    }
    record(hub, decision(hub, Verdict::NotShared(identifier.clone()), by)?, &among).await?;
    Ok(vec![hub.say(texts::lifted(among.len()))])
}

/// Allows letters to an address again whose earlier letters came back. Returns lines for a terminal.
///
/// # Errors
/// A sentence: the address is unknown or not suppressed, or the store fails.
pub async fn reopen(hub: &Hub, address: &Identifier) -> Result<Vec<String>, String> {
    let owner = person_of(hub, address).await?;
    let people = hub.store.load(&BTreeSet::from([owner])).await.map_err(|error| error.to_string())?;
    if !people.first().is_some_and(|person| is_suppressed(&person.value, address)) {
        return Err(hub.say(texts::not_held_back(address.to_string())));
    }
    let (source, now) = (SourceName::new("manager")?, hub.sync.clock.now());
    let id = EventId::derive(&source, &["reopened", &address.to_string(), &now.to_string()]);
    let reported = LetterReported {
        to: address.clone(),
        state: MailMessageState::Reopened,
        by_machine: false,
        letter: None,
        campaign: Some("reopened".to_owned()),
        link: None,
        code: None,
    };
    let event = Event::new(&source, id, now, Body::LetterReported(reported));
    hub.sync.fold_decision(event, &BTreeSet::new()).await.map_err(|error| error.to_string())?;
    Ok([texts::reopened(), texts::reopened_provider()].map(|text| hub.say(text)).into())
}

fn must_differ(hub: &Hub, one: &Identifier, other: &Identifier) -> Result<(), String> {
    if one == other { Err(hub.say(texts::same_identifier())) } else { Ok(()) }
}

fn unknown(identifier: &Identifier) -> Text {
    texts::unknown(identifier.to_string())
}

async fn person_of(hub: &Hub, identifier: &Identifier) -> Result<PersonId, String> {
    let claims = hub.store.resolve(&BTreeSet::from([identifier.clone()])).await.map_err(|error| error.to_string())?;
    if claims.shared.contains(identifier) {
        return Err(hub.say(texts::shared(identifier.to_string())));
    }
    let owner = claims.owners.get(identifier).ok_or_else(|| hub.say(unknown(identifier)))?;
    let people = hub.store.load(&BTreeSet::from([*owner])).await.map_err(|error| error.to_string())?;
    people.first().map(|person| person.value.id).ok_or_else(|| hub.say(unknown(identifier)))
}

fn decision(hub: &Hub, verdict: Verdict, by: &str) -> Result<Event, String> {
    let source = SourceName::new("manager")?;
    let now = hub.sync.clock.now();
    let names: Vec<String> = verdict.identifiers().into_iter().map(ToString::to_string).collect();
    let id = EventId::derive(&source, &[&names.join(" "), &now.to_string()]);
    let body = Body::IdentityDecided(IdentityDecided { verdict, by: by.to_owned() });
    Ok(Event::new(&source, id, now, body))
}

async fn record(hub: &Hub, event: Event, among: &BTreeSet<PersonId>) -> Result<(), String> {
    hub.sync.fold_decision(event, among).await.map_err(|error| error.to_string())
}

/// The owners of these identifiers after a decision. A decision that changes nothing is not recorded: it would act
/// later, unexpectedly.
async fn weighed(hub: &Hub, event: &Event, names: [&Identifier; 2]) -> Result<[PersonId; 2], String> {
    let wanted = names.into_iter().cloned().collect();
    let owners = hub.sync.weigh_decision(event, &wanted).await.map_err(|error| error.to_string())?;
    let owner = |name: &Identifier| owners.get(name).copied().ok_or_else(|| hub.say(unknown(name)));
    Ok([owner(names[0])?, owner(names[1])?])
}

/// The commands that take back the decisions that keep these people apart.
async fn partings_of(hub: &Hub, people: &BTreeSet<PersonId>) -> Result<Vec<String>, String> {
    let people = hub.store.load(people).await.map_err(|error| error.to_string())?;
    let decided = people.iter().flat_map(|person| person.value.records.values()).filter_map(|one| match &one.fact {
        Fact::Decided { verdict: Verdict::DifferentPeople(one, other), .. } => {
            Some(format!("stagedoor join {one} {other}"))
        }
        _ => None,
    });
    let decided: BTreeSet<String> = decided.collect();
    Ok(decided.into_iter().collect())
}
