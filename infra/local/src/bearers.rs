//! Finds the people behind an address, for commands: one person, or several whom a guard keeps apart.

use stagedoor_engine::Person;
use stagedoor_model::{Identifier, breakage};
use stagedoor_ports::read_withdrawals;
use stagedoor_sync::UNREADABLE;

use crate::hub::Hub;

/// Everybody whose facts prove this identifier, its owner among them, with what was withdrawn through their
/// addresses.
///
/// # Errors
/// A sentence: the identifier is unknown, or the store cannot be read.
pub(crate) async fn bearers(hub: &Hub, identifier: &Identifier) -> Result<Vec<Person>, String> {
    let found = hub.sync.bearers(identifier).await.map_err(|error| error.to_string())?;
    let mut people: Vec<Person> = found.into_iter().map(|one| one.value).collect();
    if breakage::is_on("crowd-is-nobody") {
        let claims = hub.store.resolve(&[identifier.clone()].into()).await.map_err(|error| error.to_string())?;
        people.retain(|_| claims.owners.contains_key(identifier));
    }
    let mut asked: Vec<&mut Person> = people.iter_mut().collect();
    read_withdrawals(&*hub.store, &mut asked).await.map_err(|error| error.to_string())?;
    if !people.is_empty() {
        return Ok(people);
    }
    let is_stored = hub.sync.is_unreadable(identifier).await.map_err(|error| error.to_string())?;
    Err(if is_stored { UNREADABLE.to_owned() } else { format!("nobody is known by {identifier}") })
}

/// One line a person: other identifiers by which a command finds this person alone.
pub(crate) fn listed(people: &[Person], identifier: &Identifier) -> Vec<String> {
    let line = |person: &Person| {
        let strong = |one: &&Identifier| one.kind().is_strong() && *one != identifier;
        let others: Vec<String> = person.identifiers().into_iter().filter(strong).map(ToString::to_string).collect();
        format!("{} {} ({})", person.id, person.name().unwrap_or("without a name"), others.join(", "))
    };
    people.iter().map(line).collect()
}
