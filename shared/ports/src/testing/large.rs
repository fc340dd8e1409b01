//! People with megabytes of facts that cannot be compressed.

use std::collections::BTreeSet;

use stagedoor_engine::{CrmState, Person, PersonId};

use super::{at, email, newcomer, put};
use crate::{Commit, Removal, Saved, Store};

/// So many letters, which take at least half as many bytes when compressed.
pub fn noise(letters: usize, seed: u64) -> String {
    let mix = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = |n: u64| format!("{:016x}", mix(n.wrapping_add(seed << 32)));
    let mut text: String = (0..letters.div_ceil(16) as u64).map(word).collect();
    text.truncate(letters);
    text
}

/// The same person with a name of this many letters.
pub fn of_size(person: &Person, letters: usize, seed: u64) -> Person {
    let mut person = person.clone();
    for record in person.records.values_mut() {
        record.name = Some((record.at, noise(letters, seed)));
    }
    person
}

pub(super) async fn suite<S: Store, F: AsyncFn() -> S>(fresh: &F) {
    a_person_of_megabytes_comes_back_as_they_were_saved(&fresh().await).await;
    a_person_of_megabytes_is_joined_and_erased_as_others_are(&fresh().await).await;
    many_large_people_of_one_commit_are_saved_together(&fresh().await).await;
    what_is_known_of_the_crm_may_be_megabytes(&fresh().await).await;
}

async fn save(store: &dyn Store, person: &Person, version: Option<u64>) -> Saved {
    let commit = Commit { people: vec![(person.clone(), version)], ..Commit::default() };
    store.save(vec![commit]).await.expect("answered").remove(0)
}

async fn loaded(store: &dyn Store, id: PersonId) -> Option<Person> {
    store.load(&BTreeSet::from([id])).await.expect("loaded").pop().map(|one| one.value)
}

async fn a_person_of_megabytes_comes_back_as_they_were_saved(store: &dyn Store) {
    let small = put(store, 1).await;
    let large = of_size(&small, 5 << 20, 1);
    assert!(store.has_room(&serde_json::to_vec(&large).expect("JSON")));
    assert_eq!(save(store, &large, Some(1)).await, Saved::Done);
    assert!(loaded(store, small.id).await.as_ref() == Some(&large), "they grew");
    assert_eq!(save(store, &of_size(&small, 1 << 20, 2), Some(1)).await, Saved::Conflict);
    assert!(loaded(store, small.id).await.as_ref() == Some(&large), "a lost writing changes nothing");
    let dirty = store.claim_dirty(10, Some(at(1_000))).await.expect("taken");
    assert!(dirty.first().is_some_and(|one| one.person == large && one.version == 2));
    let other = of_size(&small, 1 << 20, 3);
    assert_eq!(save(store, &other, Some(2)).await, Saved::Done);
    assert!(loaded(store, small.id).await.as_ref() == Some(&other), "they changed");
    assert_eq!(save(store, &small, Some(3)).await, Saved::Done);
    assert!(loaded(store, small.id).await.as_ref() == Some(&small), "they are small again");
    assert!(store.unreadable(&BTreeSet::from([small.id])).await.expect("read").is_empty());
    assert!(!store.has_room(&vec![b'x'; (16 << 20) + 1]));
}

async fn a_person_of_megabytes_is_joined_and_erased_as_others_are(store: &dyn Store) {
    let (one, two) = (put(store, 1).await, put(store, 2).await);
    let (first, second) = (of_size(&one, 1 << 20, 1), of_size(&two, 1 << 20, 2));
    assert_eq!(save(store, &first, Some(1)).await, Saved::Done);
    assert_eq!(save(store, &second, Some(1)).await, Saved::Done);
    let joined = Person {
        records: first.records.clone().into_iter().chain(second.records).collect(),
        merged_ids: BTreeSet::from([two.id]),
        ..first
    };
    let commit = |version| Commit {
        people: vec![(joined.clone(), Some(version))],
        removed: vec![Removal { id: two.id, version: 2, into: one.id }],
        ..Commit::default()
    };
    assert_eq!(store.save(vec![commit(1)]).await.expect("answered"), vec![Saved::Conflict]);
    assert_eq!(store.save(vec![commit(2)]).await.expect("answered"), vec![Saved::Done]);
    assert!(loaded(store, two.id).await.as_ref() == Some(&joined), "under both of their ids");
    let people = BTreeSet::from([one.id, two.id]);
    store.erase(&people, &BTreeSet::from([email(1), email(2)]), &BTreeSet::new()).await.expect("erased");
    assert_eq!(loaded(store, one.id).await, None);
    // The same address then makes a new person.
    assert_eq!(store.save(vec![newcomer(1).1]).await.expect("answered"), vec![Saved::Done]);
    assert!(loaded(store, one.id).await.as_ref() == Some(&one));
}

/// One transaction of DynamoDB could not take them if each were as large as one item may be.
async fn many_large_people_of_one_commit_are_saved_together(store: &dyn Store) {
    let people: Vec<Person> = (1..=60).map(|n| of_size(&newcomer(n).0, 200 << 10, n.into())).collect();
    let commit = |version| Commit {
        people: people.iter().map(|person| (person.clone(), version)).collect(),
        ..Commit::default()
    };
    assert_eq!(store.save(vec![commit(None)]).await.expect("answered"), vec![Saved::Done]);
    assert_eq!(store.save(vec![commit(None)]).await.expect("answered"), vec![Saved::Conflict]);
    let found = store.load(&people.iter().map(|person| person.id).collect()).await.expect("loaded");
    assert_eq!(found.len(), people.len());
    assert!(found.iter().all(|one| people.contains(&one.value)));
}

async fn what_is_known_of_the_crm_may_be_megabytes(store: &dyn Store) {
    let person = put(store, 1).await;
    let of = |letters, seed| {
        let mut link = CrmState::default();
        link.contact.named = Some(noise(letters, seed));
        link
    };
    let large = of(2 << 20, 1);
    store.save_crm_states(vec![(person.id, large.clone())]).await.expect("saved");
    assert!(store.save_crm_states(vec![(person.id, of(1 << 20, 2))]).await.is_err(), "somebody wrote meanwhile");
    let read = async || store.crm_states(&BTreeSet::from([person.id])).await.expect("read").remove(&person.id);
    assert!(read().await == Some(CrmState { revision: 1, ..large }));
    let small = of(10, 3);
    store.save_crm_states(vec![(person.id, CrmState { revision: 1, ..small.clone() })]).await.expect("saved");
    assert!(read().await == Some(CrmState { revision: 2, ..small }));
}
