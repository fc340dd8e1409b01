//! Withdrawals are kept by address beside the people: see the engine's `consent::beside`.

use std::collections::{BTreeMap, BTreeSet};

use stagedoor_engine::{Entry, Person, cell_of_withdrawals, proven_addresses, withdrawn_beside};
use stagedoor_model::Identifier;

use crate::{Cell, PortError, Result, Store};

/// How often another process may be faster.
const ATTEMPTS: usize = 8;

fn read(cell: Option<&Cell>) -> BTreeSet<Entry> {
    cell.and_then(|cell| serde_json::from_str(&cell.value).ok()).unwrap_or_default()
}

/// Keeps what was withdrawn, by address.
///
/// # Errors
/// When the store fails, or other processes were faster each time.
pub async fn keep_withdrawals(store: &dyn Store, words: &BTreeMap<Identifier, BTreeSet<Entry>>) -> Result<()> {
    for (address, words) in words {
        let (name, mut attempts) = (cell_of_withdrawals(address), 0);
        loop {
            let cell = store.cell(&name).await?;
            let known = read(cell.as_ref());
            let all = withdrawn_beside(known.iter().chain(words).cloned());
            if all == known {
                break;
            }
            let value = serde_json::to_string(&all).map_err(|error| PortError::Fail(error.to_string()))?;
            if store.put_cell(&name, &value, cell.map(|cell| cell.version)).await? {
                break;
            }
            attempts += 1;
            if attempts >= ATTEMPTS {
                return Err(PortError::Retry("a withdrawal was not kept: other processes were faster".into()));
            }
        }
    }
    Ok(())
}

/// Reads what was withdrawn through addresses of these people, so that the ledger has it.
///
/// # Errors
/// When the store fails.
pub async fn read_withdrawals(store: &dyn Store, people: &mut [&mut Person]) -> Result<()> {
    let own: Vec<BTreeSet<String>> =
        people.iter().map(|person| proven_addresses(person).iter().map(cell_of_withdrawals).collect()).collect();
    let names: BTreeSet<String> = own.iter().flatten().cloned().collect();
    if names.is_empty() {
        return Ok(());
    }
    let cells = store.cells_of(&names).await?;
    for (person, names) in people.iter_mut().zip(own) {
        let words = names.iter().filter_map(|name| cells.get(name)).flat_map(|cell| read(Some(cell)));
        person.withdrawn_beside = words.collect();
    }
    Ok(())
}
