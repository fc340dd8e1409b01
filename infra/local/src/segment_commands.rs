//! Commands about segments and consents: the members, the reasons, and everything that a person said about messages.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use stagedoor_engine::{CrmState, Person, Standing, addresses, is_suppressed, ledger, standing};
use stagedoor_model::{Channel, Identifier, MARKETING};
use stagedoor_texts::commands as texts;

use crate::{bearers::bearers, hub::Hub};

/// People on one page.
const PAGE: usize = 500;

/// The members of a segment, one line a person.
///
/// # Errors
/// A sentence: no such segment, or the store cannot be read.
pub async fn members(hub: &Hub, segment: &str) -> Result<Vec<String>, String> {
    known(hub, segment)?;
    let (mut lines, mut after) = (Vec::new(), None);
    loop {
        let (page, next) = hub.store.scan_people(after, PAGE).await.map_err(|error| error.to_string())?;
        let links = hub.store.crm_states(&page).await.map_err(|error| error.to_string())?;
        let is_in =
            |id: &stagedoor_engine::PersonId| links.get(id).and_then(|link| link.segments.get(segment)).copied();
        let ids: BTreeSet<_> = page.into_iter().filter(|id| is_in(id).is_some()).collect();
        for person in hub.store.load(&ids).await.map_err(|error| error.to_string())? {
            let person = person.value;
            if let Some(since) = is_in(&person.id) {
                let name = person.name().map_or_else(|| hub.say(texts::without_name()), str::to_owned);
                lines.push(hub.say(texts::member(person.id.to_string(), name, since.to_string())));
            }
        }
        after = next;
        if after.is_none() {
            lines.sort();
            return Ok(lines);
        }
    }
}

fn known(hub: &Hub, segment: &str) -> Result<(), String> {
    let all = &hub.config.catalog.segments;
    if all.iter().any(|one| one.name == segment) {
        return Ok(());
    }
    let names: Vec<&str> = all.iter().map(|one| one.name.as_str()).collect();
    Err(format!("there is no [segment.{segment}]; known are {}", names.join(", ")))
}

/// Why a person is in a segment or not, test by test.
///
/// # Errors
/// A sentence: no such segment, or the identifier is unknown.
pub async fn why(hub: &Hub, segment: &str, identifier: &Identifier) -> Result<Vec<String>, String> {
    known(hub, segment)?;
    let catalog = hub.sync.catalog().await.map_err(|error| error.to_string())?;
    let mut lines = Vec::new();
    for (person, link) in found(hub, identifier).await? {
        lines.push(match link.segments.get(segment) {
            Some(since) => hub.say(texts::is_in(person.id.to_string(), segment, since.to_string())),
            None => hub.say(texts::is_not_in(person.id.to_string(), segment)),
        });
        lines.extend(stagedoor_sync::why(&catalog, segment, &person, &link, hub.sync.clock.now()));
    }
    Ok(lines)
}

/// All people with this identifier. There are several where a guard keeps them apart.
pub(crate) async fn found(hub: &Hub, identifier: &Identifier) -> Result<Vec<(Person, CrmState)>, String> {
    let people = bearers(hub, identifier).await?;
    let ids: BTreeSet<_> = people.iter().map(|person| person.id).collect();
    let mut links = hub.store.crm_states(&ids).await.map_err(|error| error.to_string())?;
    let with_link = |person: Person| {
        let link = links.remove(&person.id).unwrap_or_default();
        (person, link)
    };
    Ok(people.into_iter().map(with_link).collect())
}

/// One document as it is; several documents combined in one.
pub(crate) fn together(mut documents: Vec<Value>) -> Value {
    if documents.len() > 1 {
        return json!({ "people": documents });
    }
    documents.pop().unwrap_or_default()
}

/// All consents and withdrawals of a person, with their proof, and the state of each address, as evidence.
///
/// # Errors
/// A sentence: the identifier is unknown, or the store cannot be read.
pub async fn evidence(hub: &Hub, identifier: &Identifier) -> Result<Value, String> {
    let people = bearers(hub, identifier).await?;
    Ok(together(people.iter().map(|person| evidence_of(hub, person)).collect()))
}

pub(crate) fn evidence_of(hub: &Hub, person: &Person) -> Value {
    let (entries, policy) = (ledger(person), &hub.config.catalog.consent);
    let now = Channel::ALL.map(|channel| {
        let standing = match standing(&entries, MARKETING, channel, None, policy, None) {
            Standing::Unknown => "unknown",
            Standing::Unconfirmed(_) => "unconfirmed",
            Standing::Given(_) => "given",
            Standing::Withdrawn(_) => "withdrawn",
        };
        let open: Vec<String> =
            addresses(person, channel, policy).iter().map(|address| address.value().to_owned()).collect();
        (channel.name().to_owned(), json!({ "standing": standing, "may_be_written_to": open }))
    });
    let dead = person.identifiers().into_iter().filter(|address| is_suppressed(person, address));
    let dead: Vec<&str> = dead.map(Identifier::value).collect();
    json!({
        "person": person.id, "told_at": hub.sync.clock.now(), "purpose": MARKETING,
        "now": serde_json::Map::from_iter(now), "suppressed": dead, "ledger": entries,
    })
}
