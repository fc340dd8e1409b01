//! What many processes write at once lies under many keys.

use std::{
    collections::{BTreeSet, HashMap},
    sync::atomic::Ordering,
};

use aws_sdk_dynamodb::types::AttributeValue;
use stagedoor_aws::{DynamoStore, create_tables};
use stagedoor_engine::{CrmState, Digest, PersonId, Rejected};
use stagedoor_model::Timestamp;
use stagedoor_ports::{
    Admin, CrmStates, DirtyPeople, Journal, Outcome, People, Saved,
    testing::{form_event, newcomer},
};

use crate::{
    counted::counted,
    moto::moto,
    parts::{scan, store, text},
};

const MANY: u32 = 40;

/// People with a row that the CRM refused, and as many deliveries that were not understood.
async fn fill(store: &DynamoStore) -> Vec<PersonId> {
    let mut people = Vec::new();
    for n in 1..=MANY {
        let (person, mut commit) = newcomer(n);
        commit.journal.iter_mut().for_each(|row| row.outcome = Outcome::Unrecognized);
        assert_eq!(store.save(vec![commit]).await.expect("saved"), vec![Saved::Done]);
        let mut link = CrmState::default();
        let at = Timestamp::from_second(1_800_000_000).expect("in range");
        link.contact.rejected = Some(Rejected { digest: Digest::of(&"row"), reason: "no such field".into(), at });
        store.save_crm_states(vec![(person.id, link)]).await.expect("saved");
        people.push(person.id);
    }
    people
}

async fn keys(client: &aws_sdk_dynamodb::Client, table: &str, name: &str) -> BTreeSet<String> {
    let found = scan(client, table).await;
    found.iter().map(|one| text(one, name).to_owned()).filter(|key| !key.is_empty()).collect()
}

/// All of it is there, each once and in order.
async fn all_there(store: &DynamoStore) {
    let totals = store.totals().await.expect("counted");
    let many = u64::from(MANY);
    assert_eq!((totals.events, totals.people, totals.rejected, totals.unrecognized), (many, many, many, many));
    assert_eq!(store.rejected(1_000).await.expect("read").len(), MANY as usize);
    let kept = store.unrecognized(10).await.expect("read").into_iter().map(|row| row.event.id).collect::<Vec<_>>();
    assert_eq!(kept, (MANY - 9..=MANY).rev().map(|n| form_event(n).id).collect::<Vec<_>>(), "the latest first");
}

#[tokio::test]
async fn what_many_write_at_once_is_spread_over_keys() {
    let (_moto, store, client) = store().await;
    fill(&store).await;
    all_there(&store).await;
    let totals = keys(&client, "t-misc", "pk").await.into_iter().filter(|pk| pk.starts_with("totals"));
    assert!(totals.count() >= 8);
    for (table, key) in [("t-journal", "kept"), ("t-links", "has_parked")] {
        let keys = keys(&client, table, key).await;
        assert!(keys.len() >= 8, "{keys:?}");
    }
}

#[tokio::test]
async fn what_an_earlier_version_wrote_is_counted_and_listed() {
    let (_moto, store, client) = store().await;
    fill(&store).await;
    let s = |value: &str| AttributeValue::S(value.to_owned());
    let put = async |table: &str, one: HashMap<String, AttributeValue>| {
        client.put_item().table_name(table).set_item(Some(one)).send().await.expect("written");
    };
    // As it lay before: one key for all.
    for (table, key) in [("t-journal", "kept"), ("t-links", "has_parked")] {
        for mut one in scan(&client, table).await.into_iter().step_by(2) {
            one.insert(key.to_owned(), s("yes"));
            put(table, one).await;
        }
    }
    let mut old = (0_i64, 0_i64);
    for one in scan(&client, "t-misc").await.into_iter().filter(|one| text(one, "pk").starts_with("totals#")) {
        let of = |name: &str| one[name].as_n().expect("a number").parse::<i64>().expect("a number");
        old = (old.0 + of("events"), old.1 + of("people"));
        let key = HashMap::from([("pk".to_owned(), one["pk"].clone()), ("sk".to_owned(), one["sk"].clone())]);
        client.delete_item().table_name("t-misc").set_key(Some(key)).send().await.expect("removed");
    }
    let n = |value: i64| AttributeValue::N(value.to_string());
    let one = [("pk", s("totals")), ("sk", s("all")), ("events", n(old.0)), ("people", n(old.1))];
    put("t-misc", one.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()).await;
    all_there(&store).await;
}

/// Pages of those who wait, as an earlier version wrote them.
async fn age_pages(client: &aws_sdk_dynamodb::Client) {
    for one in scan(client, "t-misc").await.into_iter().filter(|one| text(one, "pk").starts_with("dirty#")) {
        let key = ["pk", "sk"].map(|name| (name.to_owned(), one[name].clone()));
        client.delete_item().table_name("t-misc").set_key(Some(key.into())).send().await.expect("removed");
        let (old, _) = text(&one, "sk").rsplit_once('#').expect("a shard");
        let key =
            [("pk", "dirty"), ("sk", old)].map(|(name, key)| (name.to_owned(), AttributeValue::S(key.to_owned())));
        let one: HashMap<String, AttributeValue> = one.into_iter().chain(key).collect();
        client.put_item().table_name("t-misc").set_item(Some(one)).send().await.expect("written");
    }
}

#[tokio::test]
async fn who_waits_lies_under_many_keys_and_is_taken_in_order() {
    let (_moto, store, client) = store().await;
    let mut people = Vec::new();
    for n in 1..=MANY {
        let (person, commit) = newcomer(n);
        assert_eq!(store.save(vec![commit]).await.expect("saved"), vec![Saved::Done]);
        people.push(person.id);
    }
    let pages = || async { keys(&client, "t-misc", "pk").await.into_iter().filter(|pk| pk.starts_with("dirty")) };
    assert_eq!(pages().await.count(), 4);
    let now = Some(Timestamp::from_second(1_800_010_000).expect("in range"));
    let taken = async |max: usize| store.claim_dirty(max, now).await.expect("taken");
    let ids = |dirty: &[stagedoor_ports::Dirty]| dirty.iter().map(|one| one.person.id).collect::<Vec<_>>();
    for max in [1, 5, 12, 17, 40] {
        assert_eq!(ids(&taken(max).await), people[..max], "the longest waiting first");
    }
    // Half of them as an earlier version left them.
    age_pages(&client).await;
    assert_eq!(pages().await.collect::<Vec<_>>(), ["dirty"]);
    let late: BTreeSet<PersonId> = people[..3].iter().copied().collect();
    store.mark_dirty(late).await.expect("marked");
    let all = taken(100).await;
    assert_eq!(ids(&all).into_iter().collect::<BTreeSet<_>>(), people.iter().copied().collect());
    store.mark_clean(all.iter().map(stagedoor_ports::Dirty::taken).collect()).await.expect("settled");
    assert_eq!((pages().await.count(), store.totals().await.expect("counted").waiting), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn totals_do_not_read_everybody_who_waits() {
    let moto = moto().await;
    create_tables(&moto.config, "t").await.expect("tables");
    let (config, counted) = counted(&moto).await;
    let store = DynamoStore::new(&config, "t");
    // Somebody whose runs fail waits longer than all others, and comes behind them.
    let (_, mut commit) = newcomer(1);
    let second = |second: i64| Timestamp::from_second(second).expect("in range");
    commit.journal.iter_mut().for_each(|row| row.folded_at = second(1_700_000_000));
    assert_eq!(store.save(vec![commit]).await.expect("saved"), vec![Saved::Done]);
    let failed = store.claim_dirty(1, None).await.expect("taken").remove(0).taken();
    let rests = stagedoor_ports::Postponed { taken: failed, tries: 9, until: Some(second(2_000_000_000)) };
    store.postpone(vec![rests]).await.expect("postponed");
    let id = |n: u32| PersonId::from_bytes(u128::from(n).to_be_bytes());
    let bytes = async |people: std::ops::Range<u32>| {
        store.mark_dirty(people.map(id).collect()).await.expect("marked");
        let before = counted.answered.load(Ordering::Relaxed);
        let totals = store.totals().await.expect("counted");
        assert!(totals.waiting >= 200_000, "{}", totals.waiting);
        assert_eq!(totals.waiting_since, Some(second(1_700_000_000)));
        counted.answered.load(Ordering::Relaxed) - before
    };
    let (some, all) = (bytes(0..250_000).await, bytes(250_000..400_000).await);
    assert!(all < some + some / 10, "{some} bytes for some, {all} for all");
}
