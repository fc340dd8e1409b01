//! Segments and consents by command: who is in, why, and what somebody ever said about being written to.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use stagedoor_engine::{Link, Person, Standing, addresses, is_suppressed, ledger, standing};
use stagedoor_model::{Channel, Identifier, MARKETING};

use crate::hub::Hub;

/// People of one page.
const PAGE: usize = 500;

/// Who is in a segment: a line a person.
///
/// # Errors
/// A sentence: no such segment, or the store cannot be read.
pub async fn members(hub: &Hub, segment: &str) -> Result<Vec<String>, String> {
    known(hub, segment)?;
    let (mut lines, mut after) = (Vec::new(), None);
    loop {
        let (page, next) = hub.store.everybody(after, PAGE).await.map_err(|error| error.to_string())?;
        let links = hub.store.links(&page).await.map_err(|error| error.to_string())?;
        let is_in =
            |id: &stagedoor_engine::PersonId| links.get(id).and_then(|link| link.segments.get(segment)).copied();
        let ids: BTreeSet<_> = page.into_iter().filter(|id| is_in(id).is_some()).collect();
        for person in hub.store.load(&ids).await.map_err(|error| error.to_string())? {
            let person = person.value;
            if let Some(since) = is_in(&person.id) {
                lines.push(format!("{} {} (since {since})", person.id, person.name().unwrap_or("without a name")));
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

/// Why somebody is in a segment or not, test by test.
///
/// # Errors
/// A sentence: no such segment, or nobody is known by this.
pub async fn why(hub: &Hub, segment: &str, identifier: &Identifier) -> Result<Vec<String>, String> {
    known(hub, segment)?;
    let (person, link) = found(hub, identifier).await?;
    let mut lines = vec![match link.segments.get(segment) {
        Some(since) => format!("{} is in {segment} since {since}", person.id),
        None => format!("{} is not in {segment}", person.id),
    }];
    let catalog = hub.sync.catalog().await.map_err(|error| error.to_string())?;
    lines.extend(stagedoor_sync::why(&catalog, segment, &person, &link, hub.sync.clock.now()));
    Ok(lines)
}

pub(crate) async fn found(hub: &Hub, identifier: &Identifier) -> Result<(Person, Link), String> {
    let wanted = BTreeSet::from([identifier.clone()]);
    let claims = hub.store.resolve(&wanted).await.map_err(|error| error.to_string())?;
    let id = claims.owners.get(identifier).copied().ok_or_else(|| format!("nobody is known by {identifier}"))?;
    let people = hub.store.load(&BTreeSet::from([id])).await.map_err(|error| error.to_string())?;
    let person = people.into_iter().next().ok_or_else(|| format!("nobody is known by {identifier}"))?.value;
    let links = hub.store.links(&BTreeSet::from([person.id])).await.map_err(|error| error.to_string())?;
    let link = links.get(&person.id).cloned().unwrap_or_default();
    Ok((person, link))
}

/// Every word of somebody's about being written to, with what proves it, and how each address stands: as evidence.
///
/// # Errors
/// A sentence: nobody is known by this, or the store cannot be read.
pub async fn evidence(hub: &Hub, identifier: &Identifier) -> Result<Value, String> {
    let (person, _) = found(hub, identifier).await?;
    Ok(evidence_of(hub, &person))
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
