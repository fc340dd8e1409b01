//! Erases a person from the facts of others: as the former buyer of an order, or in a manager's decision.

use std::collections::BTreeSet;

use stagedoor_engine::{Person, PersonId};
use stagedoor_model::{Fact, Identifier, breakage};
use stagedoor_ports::{Commit, PortError, Result, Saved, Versioned};

use crate::Sync;

/// Number of tries when other processes change the same people.
const ATTEMPTS: usize = 5;

impl Sync {
    /// Removes `names` from the facts of all people who are connected with these people.
    pub(crate) async fn strike(&self, people: &[Versioned<Person>], names: &BTreeSet<Identifier>) -> Result<()> {
        if breakage::is_on("erased-in-orders-of-others") {
            return Ok(());
        }
        let own: BTreeSet<PersonId> = people.iter().map(|person| person.value.id).collect();
        let records = || people.iter().flat_map(|person| person.value.records.values());
        let mentioned: BTreeSet<Identifier> = records().flat_map(|record| record.mentions()).collect();
        let mut others: BTreeSet<PersonId> = self.store.resolve(&mentioned).await?.owners.into_values().collect();
        for person in people {
            others.extend(person.value.blocked_with.iter().chain(&person.value.parted));
        }
        others.retain(|id| !own.contains(id));
        for _ in 0..ATTEMPTS {
            let found = self.store.load(&others).await?;
            let struck = found.into_iter().filter_map(|one| Some((without(&one.value, names)?, Some(one.version))));
            let people: Vec<(Person, Option<u64>)> = struck.collect();
            if people.is_empty() {
                return Ok(());
            }
            if self
                .store
                .save(vec![Commit { people, ..Commit::default() }])
                .await?
                .iter()
                .all(|one| *one == Saved::Done)
            {
                return Ok(());
            }
        }
        Err(PortError::Retry("the facts of a connected person keep changing; erase again".into()))
    }
}

/// The person without these names in their facts. `None` if no fact contains them.
fn without(person: &Person, names: &BTreeSet<Identifier>) -> Option<Person> {
    let mut struck = person.clone();
    struck.records.retain(|_, record| match &record.fact {
        Fact::Decided { verdict, .. } => verdict.identifiers().into_iter().all(|one| !names.contains(one)),
        _ => true,
    });
    for record in struck.records.values_mut() {
        let standing = record.buyers.last().cloned();
        record.buyers.retain(|buyer| Some(buyer) == standing.as_ref() || buyer.identifiers.is_disjoint(names));
    }
    struck.former.retain(|one| !names.contains(one));
    (struck != *person).then_some(struck)
}
