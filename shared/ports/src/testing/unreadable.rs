//! The behaviour of a store with people who cannot be read. Each store's own tests know how to damage them.

use std::collections::BTreeSet;

use stagedoor_engine::PersonId;

use super::{at, put, waiting};
use crate::{Dirty, READ_AGAIN, Store};

/// The first `count` people, waiting for the CRM in this order.
pub async fn put_people(store: &dyn Store, count: u32) -> Vec<PersonId> {
    let mut people = Vec::new();
    for n in 1..=count {
        people.push(put(store, n).await.id);
    }
    people
}

/// One of `people` is damaged; those in `readable` can be read.
#[allow(clippy::indexing_slicing, reason = "a test")]
pub async fn unreadable_suite(store: &dyn Store, people: &[PersonId], readable: &[usize], spoilt: usize) {
    let readable: Vec<PersonId> = readable.iter().map(|n| people[*n]).collect();
    let dirty = store.claim_dirty(100, Some(at(1_000))).await.expect("the others are taken");
    assert_eq!(dirty.iter().map(|one| one.person.id).collect::<Vec<_>>(), readable);
    let all: BTreeSet<PersonId> = people.iter().copied().collect();
    let unreadable = BTreeSet::from([people[spoilt]]);
    assert_eq!(store.unreadable(&all).await.expect("read"), unreadable);
    let loaded = store.load(&all).await.expect("the others are loaded");
    assert!(readable.iter().all(|id| loaded.iter().any(|one| one.value.id == *id)));
    let aside = store.set_aside(10).await.expect("read");
    assert_eq!(aside.len(), 1);
    assert_eq!((aside[0].kind.as_str(), aside[0].id.clone()), ("person", people[spoilt].to_string()));
    assert!(!aside[0].reason.is_empty() && !aside[0].reason.contains("fan"), "a reason without values");
    assert_eq!(store.totals().await.expect("counted").unreadable, 1);
    assert_eq!(store.totals().await.expect("counted").waiting, 3, "nobody is forgotten");
    store.mark_clean(dirty.iter().map(Dirty::taken).collect()).await.expect("settled");
    assert_eq!(store.totals().await.expect("counted").waiting, 1);
    // Unreadable people do not block others, even if few are taken at once.
    store.mark_dirty(readable.iter().copied().collect()).await.expect("marked");
    assert_eq!(store.claim_dirty(1, Some(at(1_000))).await.expect("taken").len(), 1);
    let marked: BTreeSet<PersonId> = waiting(store).await.into_iter().collect();
    assert_eq!(marked, readable.into_iter().collect());
}

/// The person who was set aside at `at(1000)` can be read again.
pub async fn readable_again_suite(store: &dyn Store, person: PersonId) {
    let later = Some(at(1_000) + READ_AGAIN);
    let dirty = store.claim_dirty(100, later).await.expect("taken");
    assert!(dirty.iter().any(|one| one.person.id == person));
    assert_eq!(store.set_aside(10).await.expect("read"), vec![]);
    store.mark_clean(dirty.iter().map(Dirty::taken).collect()).await.expect("settled");
    assert_eq!(store.totals().await.expect("counted").waiting, 0);
}
