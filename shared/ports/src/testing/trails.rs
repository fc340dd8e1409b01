//! Whose rows of the journal are whose.

use std::collections::BTreeSet;

use stagedoor_model::{EventId, Timestamp};

use super::{at, email, form_event, newcomer, put};
use crate::{Commit, JournalRow, Outcome, Saved, Store};

pub(super) async fn suite<S: Store, F: AsyncFn() -> S>(fresh: &F) {
    each_person_has_their_own_rows_of_a_commit(&fresh().await).await;
    a_person_of_a_thousand_events_has_all_of_their_rows(&fresh().await).await;
}

/// Two people whom a guard keeps apart are saved together.
async fn each_person_has_their_own_rows_of_a_commit(store: &dyn Store) {
    let ((one, first), (two, second)) = (newcomer(1), newcomer(2));
    let commit = Commit {
        journal: first.journal.into_iter().chain(second.journal).collect(),
        people: first.people.into_iter().chain(second.people).collect(),
        claims: first.claims.into_iter().chain(second.claims).collect(),
        ..Commit::default()
    };
    assert_eq!(store.save(vec![commit]).await.expect("saved"), vec![Saved::Done]);
    let ids = |rows: Vec<JournalRow>| rows.into_iter().map(|row| row.event.id).collect::<Vec<EventId>>();
    assert_eq!(ids(store.journal_of(one.id).await.expect("read")), vec![form_event(1).id]);
    assert_eq!(ids(store.journal_of(two.id).await.expect("read")), vec![form_event(2).id]);
    // Erasing one of them leaves the other's proofs.
    store.erase(&BTreeSet::from([one.id]), &BTreeSet::from([email(1)]), &BTreeSet::new()).await.expect("erased");
    assert_eq!(ids(store.journal_of(two.id).await.expect("read")), vec![form_event(2).id]);
    assert!(store.event(&form_event(2).id).await.expect("read").is_some());
}

/// Rows of these events about one person, saved as a batch.
pub async fn save_events(
    store: &dyn Store,
    id: stagedoor_engine::PersonId,
    events: std::ops::Range<u32>,
    folded_at: Timestamp,
) {
    let found = store.load(&BTreeSet::from([id])).await.expect("loaded").remove(0);
    let row =
        |n| JournalRow { event: form_event(n), folded_at, outcome: Outcome::Folded, person: Some(id), note: None };
    let commit = Commit {
        journal: events.map(row).collect(),
        people: vec![(found.value, Some(found.version))],
        ..Commit::default()
    };
    assert_eq!(store.save(vec![commit]).await.expect("saved"), vec![Saved::Done]);
}

async fn a_person_of_a_thousand_events_has_all_of_their_rows(store: &dyn Store) {
    let (one, two) = (put(store, 1).await, put(store, 2).await);
    for n in 0..10 {
        save_events(store, one.id, 100 + n * 100..200 + n * 100, at(1_000 + i64::from(n))).await;
    }
    let rows = store.journal_of(one.id).await.expect("read");
    let ids: BTreeSet<EventId> = rows.iter().map(|row| row.event.id.clone()).collect();
    assert_eq!(ids, (100..1_100).chain([1]).map(|n| form_event(n).id).collect());
    assert_eq!(rows.len(), 1_001, "each once");
    assert!(rows.is_sorted_by(|a, b| a.folded_at >= b.folded_at), "the latest first");
    store.erase(&BTreeSet::from([one.id]), &BTreeSet::from([email(1)]), &BTreeSet::new()).await.expect("erased");
    let all: Vec<EventId> = (100..1_100).chain([1, 2]).map(|n| form_event(n).id).collect();
    assert_eq!(store.journaled(&all).await.expect("read"), BTreeSet::from([form_event(2).id]));
    assert_eq!(store.totals().await.expect("counted").events, 1);
    assert!(store.journal_of(two.id).await.expect("read").len() == 1);
}
