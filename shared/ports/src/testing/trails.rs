//! Whose rows of the journal are whose.

use std::collections::BTreeSet;

use stagedoor_model::EventId;

use super::{email, form_event, newcomer};
use crate::{Commit, JournalRow, Saved, Store};

/// Two people whom a guard keeps apart are saved together.
pub(super) async fn each_person_has_their_own_rows_of_a_commit(store: &dyn Store) {
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
