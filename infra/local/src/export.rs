//! Exports all that is kept of one person, at a request under 152-FZ art. 14 or GDPR art. 15 and 20.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use stagedoor_engine::{CrmState, Person, deals};
use stagedoor_model::{Event, Identifier, SourceName, Timestamp};
use stagedoor_sync::Sync;

use crate::{
    hub::Hub,
    segment_commands::{evidence_of, found, together},
};

/// Everything that the hub holds of a person, what the CRM holds now, and their mailing lists, as one JSON document.
///
/// # Errors
/// A sentence: the identifier is unknown, or the store or the CRM cannot be read.
pub async fn export(hub: &Hub, identifier: &Identifier) -> Result<Value, String> {
    let mut all = Vec::new();
    for (person, link) in found(hub, identifier).await? {
        all.push(of_person(hub, &person, &link).await?);
    }
    Ok(together(all))
}

async fn of_person(hub: &Hub, person: &Person, link: &CrmState) -> Result<Value, String> {
    let catalog = hub.sync.catalog().await.map_err(|error| error.to_string())?;
    let rows = hub.store.journal_of(person.id).await.map_err(|error| error.to_string())?;
    let mut events: Vec<Event> = rows.into_iter().map(|row| row.event).collect();
    events.sort_by_key(|event| event.time);
    let mut contacts: BTreeSet<u64> = person.contacts();
    contacts.extend(link.contact.id);
    contacts.extend(&link.doubles);
    let leads: BTreeSet<u64> = link.deals.values().filter_map(|deal| deal.id).collect();
    let crm = exported(&hub.sync, &contacts, &leads).await?;
    let second = match (hub.sync.second(), &link.second) {
        (Some(second), Some(known)) => {
            let contacts = known.contact.id.into_iter().chain(known.doubles.iter().copied()).collect();
            let deals = known.deals.values().filter_map(|deal| deal.id).collect();
            exported(&second, &contacts, &deals).await?
        }
        _ => Value::Null,
    };
    let claimed = claimed_by_others(hub, person).await.map_err(|error| error.to_string())?;
    let own: Vec<Value> = deals(person, &catalog).values().map(|deal| json!(deal)).collect();
    Ok(json!({
        "told_at": hub.sync.clock.now(),
        "person": person.id,
        "name": person.name(),
        "identifiers": person.identifiers().into_iter().map(ToString::to_string).collect::<Vec<_>>(),
        "claims": person.claims().into_iter().map(ToString::to_string).collect::<Vec<_>>(),
        "claimed_by_others": claimed,
        "records": person.records.values().collect::<Vec<_>>(),
        "deals": own,
        "consent": evidence_of(hub, person),
        "segments": link.segments,
        "mailing_lists": link.lists,
        "written": link.written,
        "crm": { "contacts": contacts, "deals": leads, "held": crm },
        "second_crm": second,
        "events": events,
    }))
}

/// Identifiers of this person that others typed as their own; `erase` removes them there. Reveals nothing else of the
/// others.
async fn claimed_by_others(hub: &Hub, person: &Person) -> stagedoor_ports::Result<Vec<Value>> {
    let own = person.identifiers();
    let near = hub.store.load(&person.blocked_with).await?;
    let records = near.iter().flat_map(|one| one.value.records.values());
    let claims = records.flat_map(|record| record.claims.iter().map(move |one| (record.at, &record.source, one)));
    let claims: BTreeSet<_> = claims.filter(|(.., one)| own.contains(one)).collect();
    let told = |(at, source, one): (Timestamp, &SourceName, &Identifier)| json!({ "identifier": one.to_string(), "at": at, "source": source });
    Ok(claims.into_iter().map(told).collect())
}

/// What a CRM holds. The lease keeps other processes out meanwhile, so that all calls stay within the CRM's rate.
async fn exported(sync: &Sync, contacts: &BTreeSet<u64>, deals: &BTreeSet<u64>) -> Result<Value, String> {
    let held = sync.alone_in_crm(sync.crm.export(contacts, deals)).await.map_err(|error| error.to_string())?;
    held.map_err(|error| error.to_string())
}
