//! Withdrawals of consent by address, stored beside the people. The engine's `consent::beside` has the rules.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;
use stagedoor_engine::{Entry, Person, cell_of_withdrawals, proven_addresses, unreadable_word, withdrawn_beside};
use stagedoor_model::{Identifier, breakage};

use crate::{KeyValue, KeyValues, PortError, Result};

/// The number of writes that another process may win before the caller gives up.
const ATTEMPTS: usize = 8;

/// The stored withdrawals of one address.
#[derive(Default)]
struct Kept {
    words: BTreeSet<Entry>,
    /// Withdrawals that this version cannot read, unchanged. Another version may read them.
    unreadable: Vec<Value>,
}

fn read(key_value: Option<&KeyValue>) -> Kept {
    let mut kept = Kept::default();
    let Some(key_value) = key_value else { return kept };
    if breakage::is_on("unreadable-withdrawal-lost") {
        kept.words = serde_json::from_str(&key_value.value).unwrap_or_default();
        return kept;
    }
    match serde_json::from_str::<Vec<Value>>(&key_value.value) {
        Err(_) => kept.unreadable.push(Value::String(key_value.value.clone())),
        Ok(all) => {
            for one in all {
                match Entry::deserialize(&one) {
                    Ok(word) => _ = kept.words.insert(word),
                    Err(_) => kept.unreadable.push(one),
                }
            }
        }
    }
    kept
}

impl Kept {
    fn text(words: &BTreeSet<Entry>, unreadable: &[Value]) -> Result<String> {
        let words = words.iter().map(serde_json::to_value).collect::<std::result::Result<Vec<_>, _>>();
        let mut all = words.map_err(|error| PortError::Fail(error.to_string()))?;
        all.extend(unreadable.iter().cloned());
        Ok(Value::Array(all).to_string())
    }
}

/// Stores withdrawals by address. Stored values that cannot be read stay beside them.
///
/// # Errors
/// When the store fails, or other processes were faster each time.
pub async fn keep_withdrawals(store: &dyn KeyValues, words: &BTreeMap<Identifier, BTreeSet<Entry>>) -> Result<()> {
    for (address, words) in words {
        let (name, mut attempts) = (cell_of_withdrawals(address), 0);
        loop {
            let key_value = store.key_value(&name).await?;
            let known = read(key_value.as_ref());
            let all = withdrawn_beside(known.words.iter().chain(words).cloned());
            if all == known.words {
                break;
            }
            let value = Kept::text(&all, &known.unreadable)?;
            if store.compare_and_set(&name, &value, key_value.map(|key_value| key_value.version)).await? {
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

/// Reads the stored withdrawals of these people's addresses into the people. If one cannot be read, the person counts
/// as having withdrawn everything.
///
/// # Errors
/// When the store fails.
pub async fn read_withdrawals(store: &dyn KeyValues, people: &mut [&mut Person]) -> Result<()> {
    let own: Vec<BTreeSet<String>> =
        people.iter().map(|person| proven_addresses(person).iter().map(cell_of_withdrawals).collect()).collect();
    let names: BTreeSet<String> = own.iter().flatten().cloned().collect();
    if names.is_empty() {
        return Ok(());
    }
    let key_values = store.key_values_of(&names).await?;
    for (person, names) in people.iter_mut().zip(own) {
        let (mut words, mut unreadable) = (BTreeSet::new(), 0);
        for kept in names.iter().filter_map(|name| key_values.get(name)).map(|key_value| read(Some(key_value))) {
            words.extend(kept.words);
            unreadable += kept.unreadable.len();
        }
        if unreadable > 0 {
            tracing::error!(
                person = %person.id, unreadable,
                "kept withdrawals cannot be read by this version: the person gets no advertising until they can"
            );
            words.insert(unreadable_word());
        }
        person.withdrawn_beside = words;
    }
    Ok(())
}
