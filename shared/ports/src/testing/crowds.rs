//! Shared identifiers.

use std::collections::{BTreeMap, BTreeSet};

use stagedoor_engine::Person;

use super::{at, email, put};
use crate::{Commit, Saved, Store};

pub(super) async fn suite<S: Store, F: AsyncFn() -> S>(fresh: &F) {
    a_crowd_stays_one_after_its_people_change_and_until_it_is_lifted(&fresh().await).await;
}

async fn a_crowd_stays_one_after_its_people_change_and_until_it_is_lifted(store: &dyn Store) {
    let person = put(store, 1).await;
    let marks = BTreeSet::from([email(1), email(1).typed()]);
    let commit = Commit { shared_identifiers: marks.iter().cloned().collect(), ..Commit::default() };
    assert_eq!(store.save(vec![commit]).await.expect("saved"), vec![Saved::Done]);
    assert_eq!(store.crowds(10).await.expect("read"), marks);
    assert_eq!(store.crowds(1).await.expect("read").len(), 1);
    // A fold that still took it for one person's identifier releases it.
    let commit = Commit {
        people: vec![(Person { born: at(50), ..person.clone() }, Some(1))],
        released: vec![email(1)],
        ..Commit::default()
    };
    let saved = store.save(vec![commit]).await.expect("answered");
    assert_eq!(store.resolve(&marks).await.expect("resolved").shared, marks, "the mark stays for good: {saved:?}");
    let version = store.load(&BTreeSet::from([person.id])).await.expect("loaded").remove(0).version;
    let commit = Commit {
        people: vec![(person.clone(), Some(version))],
        claims: vec![(email(1), person.id, None)],
        lifted: marks.into_iter().collect(),
        ..Commit::default()
    };
    assert_eq!(store.save(vec![commit]).await.expect("saved"), vec![Saved::Done]);
    let claims = store.resolve(&BTreeSet::from([email(1), email(1).typed()])).await.expect("resolved");
    assert_eq!((claims.owners, claims.shared), (BTreeMap::from([(email(1), person.id)]), BTreeSet::new()));
    assert!(store.crowds(10).await.expect("read").is_empty());
}
