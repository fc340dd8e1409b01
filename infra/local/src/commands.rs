//! What the subcommands do, also for the console.

use std::{collections::BTreeSet, time::Duration};

use stagedoor_engine::{Link, Person, explain};
use stagedoor_model::{Body, Email, EventId, Identifier, Phone, Region};
use stagedoor_ports::{JournalRow, PortError};
use stagedoor_sync::Backfilled;
use stagedoor_webhook::reread;

use crate::{functions, hub::Hub};

/// `phone:+7916…`, `customer/qtickets:235`, or plainly a phone or an e-mail as people write them.
///
/// # Errors
/// What was expected.
pub fn read_identifier(text: &str, region: Region) -> Result<Identifier, String> {
    let exact = text.parse::<Identifier>();
    if let Ok(identifier) = exact {
        return Ok(identifier);
    }
    if let Ok(email) = Email::parse(text) {
        return Ok(Identifier::email(email));
    }
    let phone = Phone::parse(text, region).map(Identifier::phone).ok();
    phone.ok_or_else(|| exact.err().map(|error| error.to_string()).unwrap_or_default())
}

/// Parses a kept delivery again and sends what it is now understood as.
///
/// # Errors
/// A sentence: what the parser still does not understand, or that nothing is kept under this id.
pub async fn replay_one(hub: &Hub, id: &EventId) -> Result<usize, String> {
    let row = hub.store.event(id).await.map_err(|error| error.to_string())?;
    let row = row.ok_or_else(|| format!("no event {id} is in the journal"))?;
    replay_row(hub, row).await
}

async fn replay_row(hub: &Hub, row: JournalRow) -> Result<usize, String> {
    let id = row.event.id.clone();
    let Body::Unrecognized(kept) = &row.event.body else {
        // Forgotten first, or the consumer would take it for a second delivery. Its effects stand either way.
        hub.store.forget(&id).await.map_err(|error| error.to_string())?;
        hub.queue.send(vec![row.event]).await.map_err(|error| error.to_string())?;
        return Ok(1);
    };
    let (function, name) = kept.route.split_once('/').unwrap_or(("", &kept.route));
    let known = hub.config.sources.iter().find(|one| one.function == function && one.source.name.as_str() == name);
    let source = &known.ok_or_else(|| format!("the source {} is no longer configured", kept.route))?.source;
    let provider = functions::provider(function, source)?;
    let events = reread(provider.as_ref(), &source.name, kept, row.event.time).map_err(|why| format!("{id}: {why}"))?;
    let count = events.len();
    // Sent first: until it is durable under its new ids, the delivery is kept.
    hub.queue.send(events).await.map_err(|error| error.to_string())?;
    hub.store.forget(&id).await.map_err(|error| error.to_string())?;
    Ok(count)
}

/// Mirrors the CRM's contacts, also beside a hub that serves: the reconciler holds the CRM for a round at a time.
///
/// # Errors
/// A sentence when the CRM cannot be used for half a minute.
pub async fn backfill(hub: &Hub) -> Result<Backfilled, String> {
    let mut last = String::new();
    for _ in 0..150 {
        match hub.sync.backfill(&hub.mirror).await {
            Ok(done) => return Ok(done),
            Err(PortError::Retry(reason)) => last = reason,
            Err(error) => return Err(error.to_string()),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Err(format!("the CRM could not be mirrored: {last}"))
}

/// What a replay of everything unrecognized came to.
#[derive(Debug, Default)]
pub struct Replayed {
    pub understood: usize,
    /// Sentences, one a delivery that is still not understood.
    pub still: Vec<String>,
}

/// # Errors
/// When the journal cannot be read.
pub async fn replay_unrecognized(hub: &Hub) -> Result<Replayed, PortError> {
    let mut replayed = Replayed::default();
    for row in hub.store.unrecognized(10_000).await? {
        match replay_row(hub, row).await {
            Ok(_) => replayed.understood += 1,
            Err(sentence) => replayed.still.push(sentence),
        }
    }
    Ok(replayed)
}

/// Takes every parked row out, so that it is tried again.
///
/// # Errors
/// When the store fails.
pub async fn retry_parked(hub: &Hub) -> Result<usize, PortError> {
    let parked = hub.store.parked(10_000).await?;
    let unpark = |mut link: Link| {
        link.contact.parked = None;
        link.deals.values_mut().for_each(|deal| deal.parked = None);
        link
    };
    let ids: BTreeSet<_> = parked.iter().map(|(id, _)| *id).collect();
    hub.store.save_links(parked.into_iter().map(|(id, link)| (id, unpark(link))).collect()).await?;
    let count = ids.len();
    // Somebody may live under another id by now.
    let living = hub.store.load(&ids).await?.into_iter().map(|person| person.value.id).collect();
    hub.store.mark_dirty(living).await?;
    Ok(count)
}

/// Why is this one person? In lines for a terminal.
///
/// # Errors
/// A sentence when nobody is known by the identifier.
pub async fn explanation(hub: &Hub, identifier: &Identifier) -> Result<String, String> {
    let wanted = BTreeSet::from([identifier.clone()]);
    let claims = hub.store.resolve(&wanted).await.map_err(|error| error.to_string())?;
    if claims.weak.contains(identifier) {
        return Err(format!("{identifier} was seen on too many people: it names nobody and joins nobody"));
    }
    let id = claims.owners.get(identifier).copied().ok_or_else(|| format!("nobody is known by {identifier}"))?;
    let people = hub.store.load(&BTreeSet::from([id])).await.map_err(|error| error.to_string())?;
    let person = people.into_iter().next().ok_or_else(|| format!("nobody is known by {identifier}"))?.value;
    Ok(lines(&person))
}

fn lines(person: &Person) -> String {
    let mut text = format!("{} · {}\n", person.id, person.name().unwrap_or("without a name"));
    for step in explain(person) {
        let at = person.records.get(&step.record).map(|record| record.at.to_string()).unwrap_or_default();
        text.push_str(&format!("  {} ({at})\n", step.record.0));
        match &step.to {
            Some(to) => {
                let shared: Vec<String> = step.shared.iter().map(ToString::to_string).collect();
                text.push_str(&format!("      shares {} with {}\n", shared.join(", "), to.0));
            }
            None => text.push_str("      the record that the person was made from\n"),
        }
    }
    for id in &person.absorbed {
        text.push_str(&format!("  was joined with {id}\n"));
    }
    for id in &person.neighbours {
        text.push_str(&format!("  kept apart from {id} by a guard\n"));
    }
    text
}
