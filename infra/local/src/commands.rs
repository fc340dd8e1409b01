//! The actions of the subcommands, also for the console.

use std::{collections::BTreeSet, time::Duration};

use serde_json::Value;
use stagedoor_engine::{Person, explain};
use stagedoor_model::{Body, Email, EventId, Identifier, Phone, Region, SECOND_CRM, SourceName, Timestamp};
use stagedoor_ports::{DeadLetter, JournalRow, PortError};
use stagedoor_sync::{Backfilled, InCrm};
use stagedoor_texts::{Text, commands as texts};
use stagedoor_webhook::reread;

use crate::{
    bearers::{bearers, listed},
    functions,
    hub::Hub,
    terminal::escaped,
};

/// Reads an identifier: `phone:+7916…`, `customer/qtickets:235`, or a phone or e-mail as people write them.
///
/// # Errors
/// A sentence that says what was expected.
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

/// Parses a kept delivery again and queues the events that it now makes. Returns their number.
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
        // The event is forgotten first; otherwise the consumer takes it for a second delivery. Its effects stand
        // either way.
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
    // The events are sent first: the delivery is kept until they are durable under their new ids.
    hub.queue.send(events).await.map_err(|error| error.to_string())?;
    hub.store.forget(&id).await.map_err(|error| error.to_string())?;
    Ok(count)
}

/// Queues every event that was folded in this span once more. Effects that exist stand; missing ones are made good.
/// `until` is at most now, so that a replay does not replay itself. Returns the number of events.
///
/// # Errors
/// A sentence when the journal cannot be read or the queue does not take the events.
pub async fn replay_between(hub: &Hub, from: Timestamp, until: Timestamp) -> Result<usize, String> {
    let until = until.min(hub.sync.clock.now());
    let (mut from, mut sent) = (Some(from), 0);
    while let Some(start) = from {
        let (rows, next) = hub.store.journal_between(start, until, 500).await.map_err(|error| error.to_string())?;
        for row in rows {
            let id = row.event.id.clone();
            match replay_row(hub, row).await {
                Ok(count) => sent += count,
                Err(sentence) => tracing::warn!(%id, sentence, "not replayed"),
            }
        }
        from = next;
    }
    Ok(sent)
}

/// Dead letters in lines for a terminal: all of them, or one with the shape of its content. No line holds a person's
/// own text.
///
/// # Errors
/// A sentence when the queue cannot be read or the letter does not exist.
pub async fn dead_letters(hub: &Hub, id: Option<&str>) -> Result<Vec<String>, String> {
    let mut letters = Vec::new();
    for queue in [&hub.queues.events, &hub.queues.chats, &hub.queues.outbox] {
        letters.extend(queue.dead(1_000).await.map_err(|error| error.to_string())?);
    }
    if let Some(id) = id {
        let letter = letters.iter().find(|one| one.id == id).ok_or_else(|| format!("there is no dead letter {id}"))?;
        let Some(event) = &letter.event else {
            return Ok(vec![format!("{}: {} bytes that are no event", letter.id, letter.bytes)]);
        };
        let shape = serde_json::to_value(event).map(|value| shape_of(&value)).unwrap_or_default();
        let text = serde_json::to_string_pretty(&shape).unwrap_or_default();
        return Ok(vec![line_of(letter), text]);
    }
    let count = hub.status().await.map_err(|error| error.to_string())?.dead_letters;
    let mut lines = vec![format!("{count} dead letters")];
    lines.extend(letters.iter().map(line_of));
    Ok(lines)
}

fn line_of(letter: &DeadLetter) -> String {
    match &letter.event {
        Some(event) => format!(
            "{}  {}  from {}  event {}  of {}  trace {}",
            letter.id,
            event.kind(),
            event.source,
            event.id,
            event.time,
            event.trace_id()
        ),
        None => format!("{}  {} bytes that are no event", letter.id, letter.bytes),
    }
}

/// Attributes of the envelope that hold nothing personal.
const PLAIN: [&str; 6] = ["specversion", "id", "source", "time", "type", "traceparent"];

/// The same value with every text and number of its data struck out.
fn shape_of(event: &Value) -> Value {
    fn struck(value: &Value) -> Value {
        match value {
            Value::String(text) => Value::from(format!("‹text of {}›", text.chars().count())),
            Value::Number(_) => Value::from("‹number›"),
            Value::Array(items) => items.iter().map(struck).collect(),
            // Attribute names may be personal: labels are the field names that a form's author chose.
            Value::Object(map) => map.iter().map(|(name, value)| (name.clone(), struck(value))).collect(),
            other => other.clone(),
        }
    }
    let Some(map) = event.as_object() else { return struck(event) };
    let keep = |(name, value): (&String, &Value)| {
        (name.clone(), if PLAIN.contains(&name.as_str()) { value.clone() } else { struck(value) })
    };
    Value::Object(map.iter().map(keep).collect())
}

/// Erases a person. Returns lines for a terminal: what remains to do by hand.
///
/// # Errors
/// A sentence: several people have the identifier, there is no key, or the store fails.
pub async fn erase(hub: &Hub, identifier: &Identifier) -> Result<Vec<String>, String> {
    let people = bearers(hub, identifier).await.unwrap_or_default();
    if people.len() > 1 {
        let listed = listed(&people, identifier).join("; ");
        return Err(hub.say(texts::several(people.len(), identifier.to_string(), listed)));
    }
    erase_everyone(hub, identifier).await
}

/// Erases everybody who has this identifier, also people whom a guard keeps apart.
///
/// # Errors
/// A sentence: there is no key, or the store fails.
pub async fn erase_everyone(hub: &Hub, identifier: &Identifier) -> Result<Vec<String>, String> {
    let mut last = String::new();
    for _ in 0..TRIES {
        match hub.sync.erase(identifier).await {
            Ok(done) => {
                let mut lines = vec![match done.people {
                    0 => hub.say(texts::erased_unknown()),
                    _ => hub.say(texts::erased(done.identifiers)),
                }];
                if done.traces > 0 {
                    lines.push(hub.say(texts::erased_traces(done.traces)));
                }
                if !done.lists.is_empty() {
                    let names = done.lists.iter().cloned().collect::<Vec<_>>().join(", ");
                    lines.push(hub.say(texts::off_lists(names)));
                }
                lines.extend(left_in(hub, &done.first, &texts::the_crm()));
                lines.extend(left_in(hub, &done.second, &texts::second_crm()));
                return Ok(lines);
            }
            Err(PortError::Retry(reason)) => last = reason,
            Err(error) => return Err(error.to_string()),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Err(hub.say(texts::not_erased(last)))
}

/// Lines about what a CRM still holds of an erased person, and what somebody has to do about it.
fn left_in(hub: &Hub, crm: &InCrm, name: &Text) -> Vec<String> {
    let name = || name.clone();
    let by_hand = if crm.erases { texts::delete_refused(name()) } else { texts::delete_by_hand(name()) };
    let all = [
        (texts::deleted_there(name()), &crm.deleted),
        (by_hand, &crm.contacts),
        (texts::delete_deals(name()), &crm.deals),
        (texts::invoices_stay(name()), &crm.invoices),
        (texts::typed_by_others(name()), &crm.claimed_in),
    ];
    let told = all.into_iter().filter(|(_, ids)| !ids.is_empty());
    told.map(|(what, ids)| format!("{}: {}", hub.say(what), ids.join(", "))).collect()
}

/// How often a command tries to take the lease of a serving hub, a fifth of a second apart. Together longer than a
/// sync run.
const TRIES: usize = 600;

/// Mirrors the CRM's contacts, also beside a serving hub: the reconciler holds the CRM for one sync run at a time.
///
/// # Errors
/// A sentence when the CRM cannot be used for two minutes.
pub async fn backfill(hub: &Hub) -> Result<Backfilled, String> {
    let done = mirror(&hub.sync, &hub.mirror).await?;
    let (Some(second), Ok(source)) = (hub.sync.second(), SourceName::new(SECOND_CRM)) else { return Ok(done) };
    let other = mirror(&second, &source).await?;
    Ok(Backfilled {
        pages: done.pages + other.pages,
        contacts: done.contacts + other.contacts,
        deals: done.deals + other.deals,
    })
}

async fn mirror(sync: &stagedoor_sync::Sync, source: &SourceName) -> Result<Backfilled, String> {
    let mut last = String::new();
    for _ in 0..TRIES {
        match sync.backfill(source).await {
            Ok(done) => return Ok(done),
            Err(PortError::Retry(reason)) => last = reason,
            Err(error) => return Err(error.to_string()),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Err(format!("the CRM could not be mirrored: {last}"))
}

/// The result of a replay of everything unrecognised.
#[derive(Debug, Default)]
pub struct Replayed {
    pub understood: usize,
    /// One sentence for each delivery that is still not understood.
    pub still: Vec<String>,
}

/// Replays every unrecognised delivery.
///
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

/// What waits for a manager: rows that the CRM refused, and money without an order. Returns lines for a terminal.
///
/// # Errors
/// When the store fails.
pub async fn rejected(hub: &Hub) -> Result<Vec<String>, PortError> {
    let rejected = hub.store.rejected(1_000).await?;
    let lines = rejected.iter().flat_map(|(id, link)| {
        link.rejected().into_iter().map(move |one| format!("{id}  since {}  {}", one.at, one.reason))
    });
    let lines: Vec<String> = lines.collect();
    Ok(if lines.is_empty() { vec!["Nothing is parked.".to_owned()] } else { lines })
}

/// Puts every dead letter back into its queue. Returns their number.
///
/// # Errors
/// When a queue fails.
pub async fn redrive(hub: &Hub) -> Result<u64, PortError> {
    let mut count = 0;
    for queue in [&hub.queues.events, &hub.queues.chats, &hub.queues.outbox] {
        count += queue.redrive().await?;
    }
    Ok(count)
}

/// Takes every rejected row out, so that the next sync run tries it again. Returns the number of people.
///
/// # Errors
/// When the store fails.
pub async fn retry_parked(hub: &Hub) -> Result<usize, PortError> {
    let rejected = hub.store.rejected(10_000).await?;
    let ids: BTreeSet<_> = rejected.iter().map(|(id, _)| *id).collect();
    hub.store.save_crm_states(rejected.into_iter().map(|(id, link)| (id, link.unparked())).collect()).await?;
    let count = ids.len();
    // A person may have another id by now.
    let living = hub.store.load(&ids).await?.into_iter().map(|person| person.value.id).collect();
    hub.store.mark_dirty(living).await?;
    Ok(count)
}

/// The reasons why these records are one person, in lines for a terminal.
///
/// # Errors
/// A sentence when the identifier is unknown.
pub async fn explanation(hub: &Hub, identifier: &Identifier) -> Result<String, String> {
    let people = bearers(hub, identifier).await?;
    let several = match people.len() {
        1 => String::new(),
        count => hub.say(texts::kept_apart(count, identifier.to_string())) + "\n",
    };
    Ok(several + &people.iter().map(|person| lines(hub, person)).collect::<String>())
}

fn lines(hub: &Hub, person: &Person) -> String {
    let nameless = hub.say(texts::without_name());
    let mut lines = vec![format!("{} · {}", person.id, person.name().unwrap_or(&nameless))];
    for (index, step) in explain(person).into_iter().enumerate() {
        let at = person.records.get(&step.record).map(|record| record.at.to_string()).unwrap_or_default();
        lines.push(format!("  {} ({at})", step.record.0));
        match &step.to {
            Some(to) => {
                let shared: Vec<String> = step.shared.iter().map(ToString::to_string).collect();
                lines.push(format!("      {}", hub.say(texts::shares(shared.join(", "), &to.0))));
            }
            None if index == 0 => lines.push(format!("      {}", hub.say(texts::made_from()))),
            // A record that shares no identifier belongs here by its CRM row: `beside` names the owner.
            None => lines.push(format!("      {}", hub.say(texts::crm_row()))),
        }
    }
    let claims = person.claims().into_iter().map(|claim| match person.contested.contains(claim) {
        true => texts::typed_proven(claim.to_string()),
        false => texts::typed(claim.to_string()),
    });
    let merged = person.merged_ids.iter().map(|id| texts::was_joined(id.to_string()));
    let apart = person.blocked_with.iter().map(|id| texts::apart_from(id.to_string()));
    lines.extend(claims.chain(merged).chain(apart).map(|text| format!("  {}", hub.say(text))));
    // A name cannot begin a line of its own.
    lines.iter().map(|line| escaped(line) + "\n").collect()
}
