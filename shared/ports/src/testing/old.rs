//! Rows that are too old, and messages about an erased person.

use std::collections::BTreeSet;

use stagedoor_model::EventId;

use super::{at, form_event, newcomer};
use crate::{Outcome, Queue, Saved, Store};

/// Four rows of four instants; every other one is a delivery that was not understood. A store whose rows expire by
/// themselves removes none.
pub(super) async fn what_is_old_goes_and_nothing_younger(store: &dyn Store) {
    for n in 1..=4 {
        let (_, mut commit) = newcomer(n);
        for row in &mut commit.journal {
            row.folded_at = at(i64::from(n) * 100);
            if n % 2 == 0 {
                row.outcome = Outcome::Unrecognized;
            }
        }
        assert_eq!(store.save(vec![commit]).await.expect("saved"), vec![Saved::Done]);
    }
    let left = async || -> BTreeSet<EventId> {
        let rows = store.journal(10).await.expect("read");
        rows.into_iter().map(|row| row.event.id).collect()
    };
    let named = |all: &[u32]| all.iter().map(|n| form_event(*n).id).collect::<BTreeSet<_>>();
    let removed = store.sweep(at(300), None).await.expect("swept");
    let by_themselves = removed == 0;
    assert_eq!(left().await, if by_themselves { named(&[1, 2, 3, 4]) } else { named(&[2, 3, 4]) });
    store.sweep(at(301), Some(at(201))).await.expect("swept");
    assert_eq!(left().await, if by_themselves { named(&[1, 2, 3, 4]) } else { named(&[4]) });
    let people = store.scan_people(None, 10).await.expect("read").0;
    assert_eq!(people.len(), 4, "people stay");
}

/// A queue that cannot read waiting messages leaves them.
pub(super) async fn what_is_meant_is_dropped_and_nothing_else(queue: &dyn Queue) {
    queue.send((1..=3).map(form_event).collect()).await.expect("sent");
    let dropped = queue.drop_those(&|body: &str| body.contains("fan2@example.com")).await.expect("dropped");
    let mut left = BTreeSet::new();
    for _ in 0..20 {
        left.extend(queue.receive(10).await.expect("received").into_iter().map(|one| one.event.id));
    }
    let expected: &[u32] = if dropped == 0 { &[1, 2, 3] } else { &[1, 3] };
    assert_eq!(left, expected.iter().map(|n| form_event(*n).id).collect());
}
