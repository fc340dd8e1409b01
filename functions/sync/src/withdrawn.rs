//! Applies a withdrawal to all people whose facts prove the address that came with it, even if a guard keeps them
//! apart.

use std::collections::{BTreeMap, BTreeSet};

use stagedoor_engine::{Entry, Folded, Guards, Person, PersonId, bearers_of, proven_addresses, withdrawals};
use stagedoor_model::{Identifier, RecordKey, breakage};
use stagedoor_ports::{Claims, Commit, Result, Versioned, keep_withdrawals};

use crate::Sync;

type People = BTreeMap<PersonId, Versioned<Person>>;

impl Sync {
    /// Stores the withdrawals of these commits by address, and marks the people who have one of the addresses. This
    /// happens before the commits are saved. After a crash the same event does the same again.
    pub(crate) async fn hear_withdrawals(
        &self,
        commits: &[(Vec<usize>, Commit)],
        fresh: &BTreeSet<RecordKey>,
        before: &People,
    ) -> Result<()> {
        let known: BTreeMap<Identifier, BTreeSet<Entry>> = merged(before.values().map(|one| &one.value), fresh);
        let after = || commits.iter().flat_map(|(_, commit)| &commit.people).map(|(person, _)| person);
        let mut words = merged(after(), fresh);
        for (address, words) in &mut words {
            words.retain(|word| known.get(address).is_none_or(|known| !known.contains(word)));
        }
        words.retain(|_, words| !words.is_empty());
        if words.is_empty() || breakage::is_on("withdrawal-stays-with-person") {
            return Ok(());
        }
        keep_withdrawals(&*self.store, &words).await?;
        let addresses: BTreeSet<Identifier> = words.into_keys().collect();
        let owners: BTreeSet<PersonId> = self.store.resolve(&addresses).await?.owners.into_values().collect();
        let mut reached = owners.clone();
        for address in &addresses {
            reached.extend(self.store.audience(&bearers_of(address)).await?);
        }
        let loaded = self.store.load(&owners).await?;
        for person in after().chain(loaded.iter().map(|one| &one.value)) {
            if !proven_addresses(person).is_disjoint(&addresses) {
                reached.extend(person.blocked_with.iter().chain(&person.parted));
            }
        }
        // New people are not stored yet, and are marked when they are saved.
        let living = self.store.load(&reached).await?.into_iter().map(|one| one.value.id).collect();
        self.store.mark_dirty(living).await
    }

    /// All people whose facts prove an address, for commands. People to whom the address does not lead are included.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn bearers(&self, address: &Identifier) -> Result<Vec<Versioned<Person>>> {
        let mut ids: BTreeSet<PersonId> =
            self.store.resolve(&BTreeSet::from([address.clone()])).await?.owners.into_values().collect();
        let owners = self.store.load(&ids).await?;
        ids.extend(owners.iter().flat_map(|one| one.value.blocked_with.iter().chain(&one.value.parted)));
        ids.extend(self.store.audience(&bearers_of(address)).await?);
        let is_owner = |one: &Versioned<Person>| owners.iter().any(|owner| owner.value.id == one.value.id);
        let mut found = self.store.load(&ids).await?;
        found.retain(|one| is_owner(one) || one.value.identifiers().contains(address));
        // The store may return a person twice: under their own id and under the id of a person joined into them.
        found.sort_by_key(|one| one.value.id);
        found.dedup_by_key(|one| one.value.id);
        Ok(found)
    }
}

fn merged<'p>(
    people: impl Iterator<Item = &'p Person>,
    fresh: &BTreeSet<RecordKey>,
) -> BTreeMap<Identifier, BTreeSet<Entry>> {
    let mut words = BTreeMap::<Identifier, BTreeSet<Entry>>::new();
    for (address, entries) in people.flat_map(|person| withdrawals(person, fresh)) {
        words.entry(address).or_default().extend(entries);
    }
    words
}

/// People to note as bearers of an address that does not lead to them, because it is shared or blocked.
pub(crate) fn new_bearers(
    folded: &Folded,
    before: &[PersonId],
    known: &People,
    claims: &Claims,
    guards: &Guards,
) -> BTreeSet<(String, PersonId)> {
    let is_marked =
        |marks: &BTreeSet<Identifier>, one: &Identifier| marks.contains(one) || marks.contains(&one.typed());
    let leads_nowhere = |one: &Identifier| is_marked(&claims.shared, one) || guards.blocked.contains(one);
    let changed: BTreeSet<PersonId> = folded.people.iter().map(|person| person.id).collect();
    let unchanged = before.iter().filter(|id| !changed.contains(id) && !folded.redirects.contains_key(id));
    // If a value turns out to be shared, it is new to all of its bearers.
    let unchanged =
        unchanged.filter(|_| !folded.shared_identifiers.is_empty()).filter_map(|id| Some(&known.get(id)?.value));
    let mut bearers = BTreeSet::new();
    for person in folded.people.iter().chain(unchanged) {
        let earlier = known.get(&person.id).map(|one| proven_addresses(&one.value)).unwrap_or_default();
        for address in proven_addresses(person) {
            let is_new = is_marked(&folded.shared_identifiers, &address)
                || leads_nowhere(&address) && !earlier.contains(&address);
            if is_new {
                bearers.insert((bearers_of(&address), person.id));
            }
        }
    }
    bearers
}
