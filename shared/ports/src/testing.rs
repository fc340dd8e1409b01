//! One conformance suite for each port. Every implementation runs it. Each test is one promise.

mod crowds;
mod large;
mod old;
mod trails;
mod unreadable;
mod waiting;

pub use large::{noise, of_size};
pub use trails::save_events;
pub use unreadable::{put_people, readable_again_suite, unreadable_suite};

use std::collections::{BTreeMap, BTreeSet};

use stagedoor_engine::{
    CrmState, DealState, Folded, Group, Guards, Person, PersonId, Rejected, ShowKey, cells_of_address, fold, plan,
    record_of,
};
use stagedoor_model::{Body, Event, EventId, FormSubmitted, Identifier, Record, ShowRef, SourceName, Timestamp};

use crate::{Commit, JournalRow, Outcome, Queue, Removal, Saved, Store};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).expect("in range")
}

/// A form that `fan<n>@example.com` filled in.
pub fn form_event(n: u32) -> Event {
    let source = SourceName::new("site").expect("valid");
    let body = FormSubmitted {
        identifiers: BTreeSet::from([email(n)]),
        proof: Default::default(),
        name: Some(format!("Fan {n}")),
        form: None,
        show: Some(ShowRef::id("show-1")),
        amount: None,
        consents: vec![],
        labels: BTreeMap::new(),
        company: None,
    };
    let id = EventId::derive(&source, &[&n.to_string()]);
    Event::new(&source, id, at(i64::from(n)), Body::FormSubmitted(body))
}

fn email(n: u32) -> Identifier {
    format!("email:fan{n}@example.com").parse().expect("valid")
}

fn record(n: u32) -> Record {
    record_of(&form_event(n)).expect("about a person")
}

/// A new person, and the commit that saves them.
pub fn newcomer(n: u32) -> (Person, Commit) {
    let group = Group { records: vec![record(n)], people: vec![] };
    let folded: Folded = fold(group, &BTreeSet::new(), &Guards::default());
    let person = folded.people.into_iter().next().expect("one person");
    let journal = JournalRow {
        event: form_event(n),
        folded_at: at(100 + i64::from(n)),
        outcome: Outcome::Folded,
        person: Some(person.id),
        note: None,
    };
    let commit = Commit {
        journal: vec![journal],
        people: vec![(person.clone(), None)],
        claims: vec![(email(n), person.id, None)],
        audience: vec![("site/show-1".into(), person.id)],
        ..Commit::default()
    };
    (person, commit)
}

async fn put(store: &dyn Store, n: u32) -> Person {
    let (person, commit) = newcomer(n);
    assert_eq!(store.save(vec![commit]).await.expect("saved"), vec![Saved::Done]);
    person
}

async fn waiting(store: &dyn Store) -> Vec<PersonId> {
    store.claim_dirty(100, None).await.expect("taken").into_iter().map(|dirty| dirty.person.id).collect()
}

/// Runs every promise of [`Store`], each on a fresh store.
pub async fn store_suite<S: Store, F: AsyncFn() -> S>(fresh: F) {
    what_is_saved_is_found(&fresh().await).await;
    who_is_to_be_looked_at_again_is_told_when_their_time_comes_and_until_they_were(&fresh().await).await;
    everybody_is_named_once_page_by_page(&fresh().await).await;
    a_stale_version_conflicts_and_changes_nothing(&fresh().await).await;
    a_claim_that_another_has_taken_conflicts(&fresh().await).await;
    one_conflict_does_not_spoil_its_neighbours(&fresh().await).await;
    a_removed_person_is_found_where_they_went(&fresh().await).await;
    a_crowds_identifier_names_nobody(&fresh().await).await;
    crowds::suite(&fresh).await;
    large::suite(&fresh).await;
    waiting::suite(&fresh).await;
    trails::suite(&fresh).await;
    links_of_joined_people_come_together(&fresh().await).await;
    parked_rows_are_listed_and_counted(&fresh().await).await;
    a_link_is_written_only_from_the_one_that_was_read(&fresh().await).await;
    a_lease_has_one_holder_until_it_ends(&fresh().await).await;
    a_cell_changes_only_from_the_version_that_was_read(&fresh().await).await;
    the_journal_tells_the_latest_first(&fresh().await).await;
    old::what_is_old_goes_and_nothing_younger(&fresh().await).await;
    a_time_of_the_journal_is_read_in_order(&fresh().await).await;
    who_was_saved_but_not_named_is_found_again(&fresh().await).await;
    of_the_erased_only_tombstones_are_left(&fresh().await).await;
}

async fn of_the_erased_only_tombstones_are_left(store: &dyn Store) {
    let (one, two) = (put(store, 1).await, put(store, 2).await);
    store.save_crm_states(vec![(one.id, CrmState::default())]).await.expect("saved");
    for key_value in cells_of_address(&email(1)) {
        assert!(store.compare_and_set(&key_value, "a word about the address", None).await.expect("kept"));
    }
    let stones: BTreeSet<String> = ["stone-1", "stone-2"].map(String::from).into();
    store.erase(&BTreeSet::from([one.id]), &BTreeSet::from([email(1)]), &stones).await.expect("erased");
    let key_values: BTreeSet<String> = cells_of_address(&email(1)).into();
    assert!(store.key_values_of(&key_values).await.expect("read").is_empty());
    let ids = BTreeSet::from([one.id]);
    assert!(store.load(&ids).await.expect("read").is_empty());
    assert!(store.resolve(&BTreeSet::from([email(1)])).await.expect("read").owners.is_empty());
    assert!(store.crm_states(&ids).await.expect("read").is_empty());
    assert_eq!(store.event(&form_event(1).id).await.expect("read"), None);
    assert!(store.journal_of(one.id).await.expect("read").is_empty());
    assert_eq!(waiting(store).await, vec![two.id]);
    assert_eq!(store.journal(10).await.expect("read").len(), 1);
    let asked: BTreeSet<String> = ["stone-2", "stone-3"].map(String::from).into();
    assert_eq!(store.erased(&asked).await.expect("read"), BTreeSet::from(["stone-2".to_owned()]));
}

async fn a_time_of_the_journal_is_read_in_order(store: &dyn Store) {
    for n in 1..=6 {
        let (_, mut commit) = newcomer(n);
        // Two at each instant.
        commit.journal.iter_mut().for_each(|row| row.folded_at = at(100 + i64::from(n / 2)));
        assert_eq!(store.save(vec![commit]).await.expect("saved"), vec![Saved::Done]);
    }
    let ids = |rows: Vec<JournalRow>| rows.into_iter().map(|row| row.event.id).collect::<BTreeSet<_>>();
    let named = |range: std::ops::RangeInclusive<u32>| range.map(|n| form_event(n).id).collect::<BTreeSet<_>>();
    let (rows, next) = store.journal_between(at(101), at(103), 100).await.expect("read");
    assert_eq!((ids(rows), next), (named(2..=5), None));
    let (rows, next) = store.journal_between(at(100), at(200), 2).await.expect("read");
    assert_eq!((ids(rows), next), (named(1..=3), Some(at(102))), "those of one instant stay together");
    let (rows, next) = store.journal_between(next.expect("more"), at(200), 2).await.expect("read");
    assert_eq!((ids(rows), next), (named(4..=5), Some(at(103))));
}

async fn who_was_saved_but_not_named_is_found_again(store: &dyn Store) {
    let (person, mut commit) = newcomer(1);
    commit.claims.clear();
    commit.journal.clear();
    assert_eq!(store.save(vec![commit]).await.expect("saved"), vec![Saved::Done]);
    let (_, whole) = newcomer(1);
    assert_eq!(store.save(vec![whole]).await.expect("answered"), vec![Saved::Conflict]);
    let loaded = store.load(&BTreeSet::from([PersonId::of(&person.origin)])).await.expect("loaded");
    assert_eq!(loaded.first().map(|one| one.version), Some(1), "by the record that they were made from");
}

async fn what_is_saved_is_found(store: &dyn Store) {
    let person = put(store, 1).await;
    let claims = store.resolve(&BTreeSet::from([email(1), email(2)])).await.expect("resolved");
    assert_eq!(claims.owners, BTreeMap::from([(email(1), person.id)]));
    let loaded = store.load(&BTreeSet::from([person.id])).await.expect("loaded");
    assert_eq!(loaded.first().map(|p| &p.value), Some(&person));
    let ids = [form_event(1).id, form_event(2).id];
    assert_eq!(store.journaled(&ids).await.expect("read"), BTreeSet::from([form_event(1).id]));
    assert_eq!(store.audience("site/show-1").await.expect("read"), BTreeSet::from([person.id]));
}

async fn who_is_to_be_looked_at_again_is_told_when_their_time_comes_and_until_they_were(store: &dyn Store) {
    let (first, second) = (put(store, 1).await, put(store, 2).await);
    let at = |minute: i64| Timestamp::from_second(1_798_761_600 + 60 * minute).expect("a time");
    let due = async |until: Timestamp| {
        let pages = store.due_rechecks(until).await.expect("read");
        let people: BTreeSet<PersonId> = pages.iter().flat_map(|page| page.people.iter().copied()).collect();
        (people, pages.into_iter().map(|page| page.key).collect::<Vec<_>>())
    };
    store.schedule_rechecks(&BTreeMap::from([(first.id, at(1)), (second.id, at(5))])).await.expect("put");
    assert_eq!(due(at(0)).await.0, BTreeSet::new());
    let (people, keys) = due(at(1)).await;
    assert_eq!(people, BTreeSet::from([first.id]));
    assert_eq!(due(at(1)).await.0, people, "until they were looked at");
    store.ack_rechecks(keys).await.expect("struck");
    assert_eq!(due(at(4)).await.0, BTreeSet::new());
    assert_eq!(due(at(60)).await.0, BTreeSet::from([second.id]));
}

async fn everybody_is_named_once_page_by_page(store: &dyn Store) {
    let mut expected = BTreeSet::new();
    for n in 1..=5 {
        expected.insert(put(store, n).await.id);
    }
    let (mut named, mut after) = (Vec::new(), None);
    loop {
        let (page, next) = store.scan_people(after, 2).await.expect("read");
        named.extend(page);
        after = next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(named.len(), 5);
    assert_eq!(named.into_iter().collect::<BTreeSet<_>>(), expected);
}

async fn a_stale_version_conflicts_and_changes_nothing(store: &dyn Store) {
    let (_, commit) = newcomer(1);
    let again = commit.clone();
    assert_eq!(store.save(vec![commit]).await.expect("saved"), vec![Saved::Done]);
    assert_eq!(store.save(vec![again]).await.expect("answered"), vec![Saved::Conflict]);
    assert_eq!(store.totals().await.expect("counted").people, 1);
}

async fn a_claim_that_another_has_taken_conflicts(store: &dyn Store) {
    put(store, 1).await;
    let (_, mut commit) = newcomer(2);
    let id = commit.people.first().expect("one").0.id;
    commit.claims.push((email(1), id, None));
    assert_eq!(store.save(vec![commit]).await.expect("answered"), vec![Saved::Conflict]);
    assert!(store.load(&BTreeSet::from([id])).await.expect("loaded").is_empty());
}

async fn one_conflict_does_not_spoil_its_neighbours(store: &dyn Store) {
    put(store, 1).await;
    let commits = vec![newcomer(2).1, newcomer(1).1, newcomer(3).1];
    let saved = store.save(commits).await.expect("answered");
    assert_eq!(saved, vec![Saved::Done, Saved::Conflict, Saved::Done]);
}

async fn a_removed_person_is_found_where_they_went(store: &dyn Store) {
    let (one, two) = (put(store, 1).await, put(store, 2).await);
    let joined = Person {
        records: one.records.clone().into_iter().chain(two.records.clone()).collect(),
        merged_ids: BTreeSet::from([two.id]),
        ..one.clone()
    };
    let commit = Commit {
        people: vec![(joined.clone(), Some(1))],
        removed: vec![Removal { id: two.id, version: 1, into: one.id }],
        claims: vec![(email(1), one.id, Some(one.id)), (email(2), one.id, Some(two.id))],
        ..Commit::default()
    };
    assert_eq!(store.save(vec![commit]).await.expect("saved"), vec![Saved::Done]);
    let loaded = store.load(&BTreeSet::from([two.id])).await.expect("loaded");
    assert_eq!(loaded.into_iter().map(|p| p.value).collect::<Vec<_>>(), vec![joined]);
    assert_eq!(store.totals().await.expect("counted").people, 1);
    assert_eq!(waiting(store).await, vec![one.id]);
    assert_eq!(store.journal_of(one.id).await.expect("read").len(), 2);
}

async fn a_crowds_identifier_names_nobody(store: &dyn Store) {
    put(store, 1).await;
    let commit = Commit { shared_identifiers: vec![email(1)], ..Commit::default() };
    assert_eq!(store.save(vec![commit]).await.expect("saved"), vec![Saved::Done]);
    let claims = store.resolve(&BTreeSet::from([email(1)])).await.expect("resolved");
    assert!(claims.owners.is_empty());
    assert_eq!(claims.shared, BTreeSet::from([email(1)]));
    let (_, mut commit) = newcomer(2);
    let id = commit.people.first().expect("one").0.id;
    commit.claims = vec![(email(1), id, None)];
    assert_eq!(store.save(vec![commit]).await.expect("answered"), vec![Saved::Conflict], "a crowd cannot be claimed");
}

async fn links_of_joined_people_come_together(store: &dyn Store) {
    let (one, two) = (put(store, 1).await, put(store, 2).await);
    let mut link = CrmState::default();
    link.contact.id = Some(77);
    link.deals.insert(ShowKey("s".into()), DealState { id: Some(5), ..DealState::default() });
    store.save_crm_states(vec![(two.id, link.clone())]).await.expect("saved");
    link.revision = 1;
    assert_eq!(store.crm_states(&BTreeSet::from([two.id])).await.expect("read").get(&two.id), Some(&link));
    let joined = Person { merged_ids: BTreeSet::from([two.id]), ..one.clone() };
    let commit = Commit {
        people: vec![(joined, Some(1))],
        removed: vec![Removal { id: two.id, version: 1, into: one.id }],
        ..Commit::default()
    };
    assert_eq!(store.save(vec![commit]).await.expect("saved"), vec![Saved::Done]);
    let dirty = store.claim_dirty(10, None).await.expect("taken");
    assert_eq!(dirty.first().map(|d| d.link.contact.id), Some(Some(77)));
    assert_eq!(store.totals().await.expect("counted").deals, 1);
}

async fn parked_rows_are_listed_and_counted(store: &dyn Store) {
    let person = put(store, 1).await;
    let digest =
        plan(&person, &CrmState::default(), &Default::default(), at(0)).steps.first().expect("a step").1.clone();
    let mut link = CrmState::default();
    link.contact.rejected = Some(Rejected { digest, reason: "no such field".into(), at: at(5) });
    store.save_crm_states(vec![(person.id, link.clone())]).await.expect("saved");
    link.revision = 1;
    assert_eq!(store.rejected(10).await.expect("read"), vec![(person.id, link)]);
    assert_eq!(store.totals().await.expect("counted").rejected, 1);
    store.save_crm_states(vec![(person.id, CrmState { revision: 1, ..CrmState::default() })]).await.expect("saved");
    assert_eq!(store.totals().await.expect("counted").rejected, 0);
}

async fn a_link_is_written_only_from_the_one_that_was_read(store: &dyn Store) {
    let person = put(store, 1).await;
    let with = |contact, revision| {
        let mut link = CrmState { revision, ..CrmState::default() };
        link.contact.id = Some(contact);
        vec![(person.id, link)]
    };
    store.save_crm_states(with(1, 0)).await.expect("saved");
    assert!(store.save_crm_states(with(2, 0)).await.is_err(), "somebody wrote meanwhile");
    store.save_crm_states(with(3, 1)).await.expect("saved");
    let known = store.claim_dirty(1, None).await.expect("taken").remove(0).link;
    assert_eq!((known.contact.id, known.revision), (Some(3), 2));
}

async fn a_lease_has_one_holder_until_it_ends(store: &dyn Store) {
    assert!(store.lease("crm", "a", at(0), at(10)).await.expect("asked"));
    assert!(!store.lease("crm", "b", at(5), at(15)).await.expect("asked"));
    assert!(store.lease("crm", "a", at(9), at(20)).await.expect("asked"), "the holder may renew");
    assert!(!store.lease("crm", "b", at(11), at(21)).await.expect("asked"));
    assert!(store.lease("crm", "b", at(20), at(30)).await.expect("asked"), "an ended lease is free");
    store.release("crm", "a").await.expect("released");
    assert!(!store.lease("crm", "a", at(21), at(31)).await.expect("asked"), "only the holder can release");
    store.release("crm", "b").await.expect("released");
    assert!(store.lease("crm", "a", at(22), at(32)).await.expect("asked"));
}

async fn a_cell_changes_only_from_the_version_that_was_read(store: &dyn Store) {
    assert_eq!(store.key_value("token").await.expect("read"), None);
    assert!(store.compare_and_set("token", "one", None).await.expect("put"));
    assert!(!store.compare_and_set("token", "other", None).await.expect("put"));
    let key_value = store.key_value("token").await.expect("read").expect("there");
    assert!(store.compare_and_set("token", "two", Some(key_value.version)).await.expect("put"));
    assert!(!store.compare_and_set("token", "three", Some(key_value.version)).await.expect("put"));
    let names = ["token", "tok", "none"].map(str::to_owned).into();
    let found = store.key_values_of(&names).await.expect("read");
    assert_eq!(
        found.iter().map(|(name, key_value)| (name.as_str(), key_value.value.as_str())).collect::<Vec<_>>(),
        [("token", "two")]
    );
    assert_eq!(store.key_value("token").await.expect("read").map(|key_value| key_value.value), Some("two".into()));
    assert_eq!(store.key_values("tok").await.expect("read").len(), 1);
    assert!(store.key_values("x").await.expect("read").is_empty());
    for name in ["to", "tokens", "tol", "ton/1", "ton/\u{10ffff}", "ton0"] {
        assert!(store.compare_and_set(name, "three", None).await.expect("put"));
    }
    let named = async |prefix: &str| store.key_values(prefix).await.expect("read").into_keys().collect::<Vec<_>>();
    assert_eq!(named("tok").await, ["token", "tokens"]);
    assert_eq!(named("ton/").await, ["ton/1", "ton/\u{10ffff}"]);
    assert_eq!(named("").await.len(), 7);
}

async fn the_journal_tells_the_latest_first(store: &dyn Store) {
    for n in 1..=3 {
        put(store, n).await;
    }
    let rows = store.journal(2).await.expect("read");
    assert_eq!(rows.iter().map(|r| r.event.id.clone()).collect::<Vec<_>>(), vec![form_event(3).id, form_event(2).id]);
    assert_eq!(store.event(&form_event(1).id).await.expect("read").map(|r| r.outcome), Some(Outcome::Folded));
    store.forget(&form_event(1).id).await.expect("forgotten");
    assert_eq!(store.event(&form_event(1).id).await.expect("read"), None);
    assert_eq!(store.totals().await.expect("counted").events, 2);
}

/// Runs every promise of [`Queue`], each on a fresh queue.
pub async fn queue_suite<Q: Queue, F: AsyncFn() -> Q>(fresh: F) {
    what_is_sent_is_received_and_done_once(&fresh().await).await;
    what_is_given_back_comes_again(&fresh().await).await;
    old::what_is_meant_is_dropped_and_nothing_else(&fresh().await).await;
    what_is_sent_for_later_is_not_lost(&fresh().await).await;
    what_is_given_back_too_often_is_a_dead_letter(&fresh().await).await;
}

async fn what_is_sent_is_received_and_done_once(queue: &dyn Queue) {
    assert!(queue.is_empty().await.expect("asked"));
    let sent: Vec<Event> = (0..25).map(form_event).collect();
    queue.send(sent.clone()).await.expect("sent");
    assert_eq!(queue.depth().await.expect("counted"), 25);
    let mut seen = BTreeSet::new();
    while seen.len() < 25 {
        let batch = queue.receive(10).await.expect("received");
        assert!(!batch.is_empty() && batch.len() <= 10);
        seen.extend(batch.iter().map(|message| message.event.id.clone()));
        assert!(batch.iter().all(|message| message.attempts == 1 && sent.contains(&message.event)));
        queue.done(batch.into_iter().map(|message| message.receipt).collect()).await.expect("done");
    }
    assert_eq!(queue.depth().await.expect("counted"), 0);
    assert!(queue.receive(10).await.expect("received").is_empty());
}

async fn what_is_sent_for_later_is_not_lost(queue: &dyn Queue) {
    queue.send_later(vec![form_event(1)], std::time::Duration::from_secs(1)).await.expect("sent");
    let mut seen = Vec::new();
    for _ in 0..100 {
        seen = queue.receive(10).await.expect("received");
        if !seen.is_empty() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert_eq!(seen.first().map(|message| (message.event.id.clone(), message.attempts)), Some((form_event(1).id, 1)));
}

async fn what_is_given_back_comes_again(queue: &dyn Queue) {
    queue.send(vec![form_event(1)]).await.expect("sent");
    let first = queue.receive(10).await.expect("received");
    assert!(queue.receive(10).await.expect("received").is_empty(), "it is in somebody's hands");
    assert!(!queue.is_empty().await.expect("asked"));
    queue.give_back(first.into_iter().map(|message| message.receipt).collect()).await.expect("given back");
    let second = queue.receive(10).await.expect("received");
    assert_eq!(second.first().map(|message| message.attempts), Some(2));
}

/// For queues that count attempts themselves: messages that no one began to handle lose no attempt.
pub async fn unused_suite(queue: &dyn Queue) {
    queue.send(vec![form_event(1)]).await.expect("sent");
    for _ in 0..12 {
        let batch = queue.receive(10).await.expect("received");
        assert_eq!(batch.first().map(|message| message.attempts), Some(1));
        let unused = batch.into_iter().map(|message| message.receipt).collect();
        queue.give_back_unused(unused).await.expect("given back");
    }
    assert_eq!(queue.dead_letters().await.expect("counted"), 0);
}

async fn what_is_given_back_too_often_is_a_dead_letter(queue: &dyn Queue) {
    queue.send(vec![form_event(1), form_event(2)]).await.expect("sent");
    for _ in 0..20 {
        let batch = queue.receive(10).await.expect("received");
        let (bad, good): (Vec<_>, Vec<_>) = batch.into_iter().partition(|message| message.event.id == form_event(1).id);
        queue.done(good.into_iter().map(|message| message.receipt).collect()).await.expect("done");
        queue.give_back(bad.into_iter().map(|message| message.receipt).collect()).await.expect("given back");
    }
    assert_eq!(queue.dead_letters().await.expect("counted"), 1);
    assert_eq!(queue.depth().await.expect("counted"), 0);
    // After the cause is gone, the message is put back and counts as new.
    assert_eq!(queue.redrive().await.expect("redriven"), 1);
    assert_eq!(queue.dead_letters().await.expect("counted"), 0);
    let again = queue.receive(10).await.expect("received");
    assert_eq!(again.iter().map(|message| message.event.id.clone()).collect::<Vec<_>>(), vec![form_event(1).id]);
    assert_eq!(again.first().map(|message| message.attempts), Some(1));
}
