//! Journal rows of each person.

use std::collections::BTreeSet;

use stagedoor_model::{EventId, Timestamp};

use stagedoor_engine::{Person, PersonId};

use super::{at, email, form_event, newcomer, put};
use crate::{Commit, JournalRow, Outcome, Removal, Saved, Store};

pub(super) async fn suite<S: Store, F: AsyncFn() -> S>(fresh: &F) {
    each_person_has_their_own_rows_of_a_commit(&fresh().await).await;
    a_person_of_a_thousand_events_has_all_of_their_rows(&fresh().await).await;
    rows_about_people_whom_a_commit_leaves_as_they_were_are_theirs(&fresh().await).await;
    the_latest_are_told_though_later_ones_were_erased(&fresh().await).await;
    a_row_about_somebody_who_was_erased_meanwhile_is_a_conflict(&fresh().await).await;
}

fn row_of(n: u32, person: PersonId) -> JournalRow {
    let folded_at = at(1_000 + i64::from(n));
    JournalRow { event: form_event(n), folded_at, outcome: Outcome::Folded, person: Some(person), note: None }
}

async fn save_all(store: &dyn Store, commits: Vec<Commit>) {
    let all = vec![Saved::Done; commits.len()];
    assert_eq!(store.save(commits).await.expect("saved"), all);
}

/// The numbers of the events among `among` that a person's journal rows have.
async fn numbers_of(store: &dyn Store, id: PersonId, among: std::ops::Range<u32>) -> Vec<u32> {
    let rows = store.journal_of(id).await.expect("read");
    let has = |n: &u32| rows.iter().any(|row| row.event.id == form_event(*n).id);
    let found: Vec<u32> = among.filter(has).collect();
    assert_eq!(found.len(), rows.len(), "each once, and no others");
    found
}

/// A click in a mailing, a repeated order, a segment entered: the person stays unchanged, and the row is theirs.
async fn rows_about_people_whom_a_commit_leaves_as_they_were_are_theirs(store: &dyn Store) {
    let people = [put(store, 1).await, put(store, 2).await, put(store, 3).await, put(store, 4).await];
    let [one, two, three, four] = people.each_ref().map(|person| person.id);
    let nobody = JournalRow { outcome: Outcome::Nobody, person: None, ..row_of(12, one) };
    save_all(
        store,
        vec![
            Commit { journal: vec![row_of(10, one), row_of(11, two), nobody], ..Commit::default() },
            Commit {
                journal: vec![row_of(13, three), row_of(14, one)],
                people: vec![(people[2].clone(), Some(1))],
                ..Commit::default()
            },
        ],
    )
    .await;
    let joined = Person { merged_ids: BTreeSet::from([two]), ..people[0].clone() };
    let together = Commit {
        journal: vec![row_of(15, three), row_of(16, one)],
        people: vec![(joined, Some(1))],
        removed: vec![Removal { id: two, version: 1, into: one }],
        ..Commit::default()
    };
    save_all(store, vec![together]).await;
    // The event named the person who has since been joined.
    let late = Commit { journal: vec![row_of(17, two)], ..Commit::default() };
    save_all(store, vec![late]).await;
    let many = Commit { journal: (100..500).map(|n| row_of(n, four)).collect(), ..Commit::default() };
    save_all(store, vec![many]).await;
    assert_eq!(numbers_of(store, one, 1..20).await, [1, 2, 10, 11, 14, 16, 17]);
    assert_eq!(numbers_of(store, three, 1..20).await, [3, 13, 15]);
    assert_eq!(numbers_of(store, four, 1..600).await, [4].into_iter().chain(100..500).collect::<Vec<_>>());
    store.erase(&BTreeSet::from([one, two, four]), &BTreeSet::new(), &BTreeSet::new()).await.expect("erased");
    let all: Vec<EventId> = (1..20).chain(100..500).map(|n| form_event(n).id).collect();
    let left = [3, 12, 13, 15].map(|n| form_event(n).id);
    assert_eq!(store.journaled(&all).await.expect("read"), BTreeSet::from(left));
}

async fn the_latest_are_told_though_later_ones_were_erased(store: &dyn Store) {
    let others = [put(store, 1).await, put(store, 2).await, put(store, 3).await].map(|one| one.id);
    let one = put(store, 4).await.id;
    for n in 0..10 {
        save_events(store, one, 100 + n * 10..110 + n * 10, at(1_000 + i64::from(n))).await;
    }
    store.erase(&BTreeSet::from([one]), &BTreeSet::new(), &BTreeSet::new()).await.expect("erased");
    let rows = store.journal(2).await.expect("read");
    assert_eq!(rows.iter().map(|row| row.person).collect::<Vec<_>>(), [Some(others[2]), Some(others[1])]);
    assert_eq!(store.journal(100).await.expect("read").len(), 3);
    assert!(store.journal(0).await.expect("read").is_empty());
}

/// Otherwise a row about them would stand until retention ends, and a second erasure would not find it.
async fn a_row_about_somebody_who_was_erased_meanwhile_is_a_conflict(store: &dyn Store) {
    let (one, two) = (put(store, 1).await, put(store, 2).await);
    store.erase(&BTreeSet::from([one.id]), &BTreeSet::from([email(1)]), &BTreeSet::new()).await.expect("erased");
    let alone = Commit { journal: vec![row_of(10, one.id)], ..Commit::default() };
    let beside =
        Commit { journal: vec![row_of(11, one.id)], people: vec![(two.clone(), Some(1))], ..Commit::default() };
    let saved = store.save(vec![alone, beside]).await.expect("answered");
    assert_eq!(saved, vec![Saved::Conflict, Saved::Conflict]);
    let ids = [10, 11].map(|n| form_event(n).id);
    assert!(store.journaled(&ids).await.expect("read").is_empty());
    assert!(store.load(&BTreeSet::from([one.id])).await.expect("read").is_empty(), "nobody comes of a row");
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
    // Erasing one of them leaves the proofs of the other.
    store.erase(&BTreeSet::from([one.id]), &BTreeSet::from([email(1)]), &BTreeSet::new()).await.expect("erased");
    assert_eq!(ids(store.journal_of(two.id).await.expect("read")), vec![form_event(2).id]);
    assert!(store.event(&form_event(2).id).await.expect("read").is_some());
}

/// Journal rows of these events about one person, saved as a batch.
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
