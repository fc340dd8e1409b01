//! People who wait for the CRM: no mark is lost, and a person whose run fails delays nobody else.

use std::collections::BTreeSet;

use stagedoor_engine::{CrmState, Person, PersonId};
use stagedoor_model::Timestamp;

use super::{at, put, waiting};
use crate::{Commit, Dirty, Postponed, Removal, Saved, Store, Taken};

pub(super) async fn suite<S: Store, F: AsyncFn() -> S>(fresh: &F) {
    people_wait_until_settled_as_they_were_taken(&fresh().await).await;
    a_change_during_a_run_survives_it(&fresh().await).await;
    a_mark_during_a_run_survives_it(&fresh().await).await;
    a_mark_survives_the_runs_of_every_process_that_began_before_it(&fresh().await).await;
    a_due_time_during_a_run_survives_it(&fresh().await).await;
    a_mark_of_somebody_who_was_joined_meanwhile_is_a_mark_of_the_whole(&fresh().await).await;
    a_person_whose_runs_fail_goes_to_the_back_and_rests(&fresh().await).await;
    a_failed_run_is_counted_until_a_run_succeeds(&fresh().await).await;
    news_of_a_postponed_person_is_looked_at_at_once(&fresh().await).await;
    a_postponed_person_waits_as_long_as_they_waited(&fresh().await).await;
    what_is_known_of_the_crm_comes_back_as_it_was_saved(&fresh().await).await;
}

async fn what_is_known_of_the_crm_comes_back_as_it_was_saved(store: &dyn Store) {
    let (one, two) = (put(store, 1).await, put(store, 2).await);
    let again = Some(at(500));
    let known = CrmState { turns_at: again, look_again_at: again, untangled: [two.id].into(), ..CrmState::default() };
    store.save_crm_states(vec![(one.id, known.clone())]).await.expect("saved");
    let dirty = taken(store, Some(at(1_000))).await;
    let found = dirty.into_iter().find(|dirty| dirty.person.id == one.id).expect("they wait").link;
    assert_eq!(found, CrmState { revision: 1, ..known });
}

async fn taken(store: &dyn Store, now: Option<Timestamp>) -> Vec<Dirty> {
    let may_be = match now {
        Some(now) => store.may_be_dirty(now).await.expect("asked"),
        None => true,
    };
    let taken = store.claim_dirty(100, now).await.expect("taken");
    assert!(may_be || taken.is_empty(), "nobody is overlooked");
    taken
}

async fn taken_one(store: &dyn Store) -> Taken {
    taken(store, Some(at(1_000))).await.first().expect("somebody waits").taken()
}

fn ids(dirty: &[Dirty]) -> Vec<PersonId> {
    dirty.iter().map(|one| one.person.id).collect()
}

async fn fail(store: &dyn Store, id: PersonId, tries: u32, until: Option<Timestamp>) {
    let dirty = taken(store, None).await;
    let taken = dirty.iter().find(|one| one.person.id == id).expect("they wait").taken();
    store.postpone(vec![Postponed { taken, tries, until }]).await.expect("postponed");
}

async fn people_wait_until_settled_as_they_were_taken(store: &dyn Store) {
    let (one, two) = (put(store, 1).await, put(store, 2).await);
    assert_eq!(waiting(store).await.into_iter().collect::<BTreeSet<_>>(), BTreeSet::from([one.id, two.id]));
    let all = taken(store, Some(at(1_000))).await;
    let of = |id: PersonId| all.iter().find(|dirty| dirty.person.id == id).expect("taken").taken();
    store.mark_clean(vec![of(one.id), Taken { version: 7, ..of(two.id) }]).await.expect("settled");
    assert_eq!(waiting(store).await, vec![two.id]);
    store.mark_clean(vec![of(two.id)]).await.expect("settled");
    assert_eq!(store.totals().await.expect("counted").waiting, 0);
    store.mark_dirty(BTreeSet::from([one.id])).await.expect("marked");
    assert_eq!(waiting(store).await, vec![one.id]);
}

async fn a_change_during_a_run_survives_it(store: &dyn Store) {
    let person = put(store, 1).await;
    let run = taken_one(store).await;
    let commit = Commit { people: vec![(person.clone(), Some(1))], ..Commit::default() };
    assert_eq!(store.save(vec![commit]).await.expect("saved"), vec![Saved::Done]);
    store.mark_clean(vec![run]).await.expect("settled");
    assert_eq!(waiting(store).await, vec![person.id]);
}

async fn a_mark_during_a_run_survives_it(store: &dyn Store) {
    let person = put(store, 1).await;
    let run = taken_one(store).await;
    store.mark_dirty(BTreeSet::from([person.id])).await.expect("marked");
    store.mark_clean(vec![run]).await.expect("settled");
    assert_eq!(waiting(store).await, vec![person.id], "a show was called off while the CRM was called");
    let run = taken_one(store).await;
    store.mark_clean(vec![run]).await.expect("settled");
    assert_eq!(waiting(store).await, vec![]);
}

async fn a_mark_survives_the_runs_of_every_process_that_began_before_it(store: &dyn Store) {
    let person = put(store, 1).await;
    let (first, second) = (taken_one(store).await, taken_one(store).await);
    store.mark_dirty(BTreeSet::from([person.id])).await.expect("marked");
    store.mark_clean(vec![first.clone()]).await.expect("settled");
    store.mark_clean(vec![second]).await.expect("settled");
    assert_eq!(waiting(store).await, vec![person.id]);
    let third = taken_one(store).await;
    store.mark_clean(vec![third]).await.expect("settled");
    store.mark_dirty(BTreeSet::from([person.id])).await.expect("marked");
    store.mark_clean(vec![first]).await.expect("settled");
    assert_eq!(waiting(store).await, vec![person.id], "an old run knows nothing of a new mark");
}

async fn a_due_time_during_a_run_survives_it(store: &dyn Store) {
    let person = put(store, 1).await;
    store.schedule_rechecks(&[(person.id, at(60))].into()).await.expect("put");
    let run = taken_one(store).await;
    let due = store.due_rechecks(at(120)).await.expect("read");
    store.mark_dirty(due.iter().flat_map(|page| page.people.iter().copied()).collect()).await.expect("marked");
    store.ack_rechecks(due.into_iter().map(|page| page.key).collect()).await.expect("struck");
    store.mark_clean(vec![run]).await.expect("settled");
    assert_eq!(waiting(store).await, vec![person.id]);
}

async fn a_mark_of_somebody_who_was_joined_meanwhile_is_a_mark_of_the_whole(store: &dyn Store) {
    let (one, two) = (put(store, 1).await, put(store, 2).await);
    let joined = Person { merged_ids: BTreeSet::from([two.id]), ..one.clone() };
    let commit = Commit {
        people: vec![(joined, Some(1))],
        removed: vec![Removal { id: two.id, version: 1, into: one.id }],
        ..Commit::default()
    };
    assert_eq!(store.save(vec![commit]).await.expect("saved"), vec![Saved::Done]);
    let run = taken_one(store).await;
    assert_eq!(run.id, one.id);
    store.mark_dirty(BTreeSet::from([two.id])).await.expect("marked");
    store.mark_clean(vec![run]).await.expect("settled");
    // A store may notice it only when it is asked who waits.
    _ = waiting(store).await;
    assert_eq!(waiting(store).await, vec![one.id]);
}

async fn a_person_whose_runs_fail_goes_to_the_back_and_rests(store: &dyn Store) {
    let people = [put(store, 1).await.id, put(store, 2).await.id, put(store, 3).await.id];
    let [one, two, three] = people;
    assert_eq!(waiting(store).await, people, "the longest waiting first");
    fail(store, one, 3, Some(at(200))).await;
    let back = [two, three, one];
    assert_eq!(ids(&taken(store, Some(at(199))).await), [two, three], "they rest");
    assert_eq!(ids(&taken(store, Some(at(200))).await), back, "and come after those who did not fail");
    assert_eq!(waiting(store).await, back, "and are seen to wait");
    assert_eq!(store.claim_dirty(2, Some(at(200))).await.map(|some| ids(&some)).expect("taken"), [two, three]);
    assert_eq!(store.totals().await.expect("counted").waiting, 3);
}

async fn a_failed_run_is_counted_until_a_run_succeeds(store: &dyn Store) {
    let (one, two) = (put(store, 1).await.id, put(store, 2).await.id);
    fail(store, one, 1, None).await;
    let dirty = taken(store, Some(at(1_000))).await;
    assert_eq!(ids(&dirty), vec![one, two], "a first failure costs no place");
    assert_eq!(dirty.iter().map(|one| one.tries).collect::<Vec<_>>(), vec![1, 0]);
    fail(store, one, 2, Some(at(200))).await;
    let dirty = taken(store, Some(at(1_000))).await;
    assert_eq!(dirty.iter().map(|one| one.tries).collect::<Vec<_>>(), vec![0, 2]);
    store.mark_clean(dirty.iter().map(Dirty::taken).collect()).await.expect("settled");
    assert_eq!(waiting(store).await, vec![]);
    store.mark_dirty(BTreeSet::from([one])).await.expect("marked");
    assert_eq!(taken(store, Some(at(1_000))).await.first().map(|one| one.tries), Some(0));
}

async fn news_of_a_postponed_person_is_looked_at_at_once(store: &dyn Store) {
    let (one, two) = (put(store, 1).await, put(store, 2).await);
    fail(store, one.id, 5, Some(at(500))).await;
    fail(store, two.id, 5, Some(at(500))).await;
    assert_eq!(ids(&taken(store, Some(at(300))).await), vec![]);
    store.mark_dirty(BTreeSet::from([one.id])).await.expect("marked");
    assert_eq!(ids(&taken(store, Some(at(300))).await), vec![one.id]);
    let commit = Commit { people: vec![(two.clone(), Some(1))], ..Commit::default() };
    assert_eq!(store.save(vec![commit]).await.expect("saved"), vec![Saved::Done]);
    let dirty = taken(store, Some(at(300))).await;
    assert_eq!(ids(&dirty).into_iter().collect::<BTreeSet<_>>(), BTreeSet::from([one.id, two.id]));
    assert!(dirty.iter().all(|one| one.tries == 5), "what failed before is remembered");
    store.mark_clean(dirty.iter().map(Dirty::taken).collect()).await.expect("settled");
    assert_eq!(waiting(store).await, vec![]);
}

async fn a_postponed_person_waits_as_long_as_they_waited(store: &dyn Store) {
    let person = put(store, 1).await;
    let since = store.totals().await.expect("counted").waiting_since;
    fail(store, person.id, 3, Some(at(500))).await;
    fail(store, person.id, 4, Some(at(700))).await;
    assert_eq!(store.totals().await.expect("counted").waiting_since, since);
}
