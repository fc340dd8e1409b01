//! Exports all that is kept of one person, at a request under 152-FZ art. 14 or GDPR art. 15 and 20.

use std::collections::BTreeSet;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use stagedoor_engine::{CrmState, Person, deals};
use stagedoor_model::{Body, Event, Identifier, SourceName, Timestamp};
use stagedoor_sync::{Sync, Traces};

use crate::{
    hub::Hub,
    segment_commands::{evidence_of, found, together},
};

/// Everything that the hub holds of a person, what the CRM holds now, and their mailing lists, as one JSON document. It
/// also shows the deliveries and messages that `erase` would remove, which may be there although nobody is known.
///
/// # Errors
/// A sentence: nothing holds the identifier, or the store, a queue or the CRM cannot be read.
pub async fn export(hub: &Hub, identifier: &Identifier) -> Result<Value, String> {
    let told = |error: stagedoor_ports::PortError| error.to_string();
    let traces = hub.sync.traces_of(identifier).await.map_err(told)?;
    let is_known = !hub.sync.bearers(identifier).await.map_err(told)?.is_empty();
    let is_known = is_known || hub.sync.is_unreadable(identifier).await.map_err(told)?;
    // The search for a person also says why nobody is found.
    let people = if is_known || traces.is_empty() { found(hub, identifier).await? } else { vec![] };
    let mut all = Vec::new();
    for (person, link) in people {
        all.push(of_person(hub, &person, &link).await?);
    }
    let mut document = match all.is_empty() {
        true => json!({ "told_at": hub.sync.clock.now(), "identifiers": [identifier] }),
        false => together(all),
    };
    if let Some(fields) = document.as_object_mut() {
        fields.insert("kept".to_owned(), kept(&traces));
        fields.insert("waiting".to_owned(), waiting(&traces));
    }
    Ok(document)
}

/// The deliveries that were not understood, with their bodies.
fn kept(traces: &Traces) -> Value {
    traces.kept.iter().map(|row| shown(json!(row.event), &row.event)).collect()
}

/// The messages that wait and the dead letters, each with the name of its queue.
fn waiting(traces: &Traces) -> Value {
    let message = |(queue, text): &(&'static str, String)| {
        let value: Value = serde_json::from_str(text).unwrap_or_else(|_| json!(text));
        let event = match serde_json::from_str::<Event>(text) {
            Ok(event) => shown(value, &event),
            Err(_) => value,
        };
        json!({ "queue": queue, "event": event })
    };
    traces.waiting.iter().map(message).collect()
}

/// An event with what people can read of it: the body of a delivery as text, and nothing that is for the recipient
/// alone.
fn shown(mut value: Value, event: &Event) -> Value {
    let (place, text) = match &event.body {
        Body::Unrecognized(kept) => {
            let bytes = STANDARD.decode(&kept.body).ok();
            ("/data/body", bytes.and_then(|bytes| String::from_utf8(bytes).ok()))
        }
        Body::MessageDecided(message) if message.is_confidential => ("/data/text", Some("…".to_owned())),
        _ => return value,
    };
    // A body that is no UTF-8 stays in base64.
    if let (Some(text), Some(field)) = (text, value.pointer_mut(place)) {
        *field = Value::String(text);
    }
    value
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
