//! Documents that outgrow one item of DynamoDB.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::Ordering,
    time::Duration,
};

use aws_sdk_dynamodb::types::AttributeValue;
use stagedoor_aws::{DynamoStore, create_tables};
use stagedoor_engine::{CrmState, Person};
use stagedoor_model::Timestamp;
use stagedoor_ports::{
    Admin, Commit, CrmStates, People, Removal, Saved,
    testing::{newcomer, of_size, put_people, save_events},
};

use crate::{
    counted::counted,
    moto::{Moto, moto},
};

const LARGE: usize = 1 << 20;

pub(crate) async fn store() -> (Moto, DynamoStore, aws_sdk_dynamodb::Client) {
    let moto = moto().await;
    create_tables(&moto.config, "t").await.expect("tables");
    let (store, client) = (DynamoStore::new(&moto.config, "t"), aws_sdk_dynamodb::Client::new(&moto.config));
    (moto, store, client)
}

async fn save(store: &DynamoStore, person: &Person, version: Option<u64>) -> Saved {
    let commit = Commit { people: vec![(person.clone(), version)], ..Commit::default() };
    store.save(vec![commit]).await.expect("answered").remove(0)
}

pub(crate) async fn scan(client: &aws_sdk_dynamodb::Client, table: &str) -> Vec<crate::Item> {
    let mut pages = client.scan().table_name(table).into_paginator().items().send();
    let mut items = Vec::new();
    while let Some(one) = pages.next().await {
        items.push(one.expect("read"));
    }
    items
}

pub(crate) fn text<'i>(one: &'i crate::Item, name: &str) -> &'i str {
    one.get(name).and_then(|value| value.as_s().ok()).map_or("", String::as_str)
}

/// Versions of the parts that lie in a partition.
async fn versions(client: &aws_sdk_dynamodb::Client, partition: &str) -> BTreeMap<u64, usize> {
    let mut versions = BTreeMap::new();
    for one in scan(client, "t-misc").await.iter().filter(|one| text(one, "pk") == partition) {
        let version = text(one, "sk").split('#').next().and_then(|version| version.parse().ok()).expect("a version");
        *versions.entry(version).or_default() += 1;
    }
    versions
}

async fn loaded(store: &DynamoStore, person: &Person) -> Option<(Person, u64)> {
    let found = store.load(&BTreeSet::from([person.id])).await.expect("loaded").pop();
    found.map(|one| (one.value, one.version))
}

fn bytes(one: &crate::Item) -> usize {
    let value = |value: &AttributeValue| match value {
        AttributeValue::S(text) | AttributeValue::N(text) => text.len(),
        AttributeValue::B(blob) => blob.as_ref().len(),
        AttributeValue::Bs(blobs) => blobs.iter().map(|blob| blob.as_ref().len()).sum(),
        _ => 1,
    };
    one.iter().map(|(name, inner)| name.len() + value(inner)).sum()
}

#[tokio::test]
async fn no_item_is_larger_than_a_part_and_only_the_latest_writing_is_kept() {
    let (_moto, store, client) = store().await;
    let (small, commit) = newcomer(1);
    let partition = format!("person#{}", small.id);
    assert_eq!(store.save(vec![commit]).await.expect("saved"), vec![Saved::Done]);
    assert!(versions(&client, &partition).await.is_empty(), "who is small is one item");
    assert_eq!(save(&store, &of_size(&small, 3 * LARGE, 1), Some(1)).await, Saved::Done);
    assert_eq!(save(&store, &of_size(&small, 2 * LARGE, 2), Some(2)).await, Saved::Done);
    let parts = versions(&client, &partition).await;
    assert!(parts.len() == 1 && parts[&3] > 10, "{parts:?}");
    for table in ["t-people", "t-misc"] {
        let largest = scan(&client, table).await.iter().map(bytes).max();
        assert!(largest.is_some_and(|bytes| bytes < 100 << 10), "{largest:?} in {table}");
    }
    assert_eq!(save(&store, &of_size(&small, LARGE, 9), Some(2)).await, Saved::Conflict);
    assert_eq!(versions(&client, &partition).await, parts, "who loses leaves nothing");
    assert_eq!(save(&store, &small, Some(3)).await, Saved::Done);
    assert!(versions(&client, &partition).await.is_empty(), "who is small again is one item");
}

#[tokio::test]
async fn parts_of_the_joined_of_the_erased_and_of_the_crms_go() {
    let (_moto, store, client) = store().await;
    let (one, two) = (newcomer(1).0, newcomer(2).0);
    for person in [&one, &two] {
        assert_eq!(save(&store, &of_size(person, LARGE, 1), None).await, Saved::Done);
    }
    let mut link = CrmState::default();
    link.contact.named = Some(stagedoor_ports::testing::noise(LARGE, 5));
    store.save_crm_states(vec![(one.id, link.clone())]).await.expect("saved");
    store.save_crm_states(vec![(one.id, CrmState { revision: 1, ..link })]).await.expect("saved");
    let parts = versions(&client, &format!("link#{}", one.id)).await;
    assert_eq!(parts.keys().copied().collect::<Vec<_>>(), [2]);
    let joined = Person { merged_ids: BTreeSet::from([two.id]), ..of_size(&one, LARGE, 2) };
    let commit = Commit {
        people: vec![(joined, Some(1))],
        removed: vec![Removal { id: two.id, version: 1, into: one.id }],
        ..Commit::default()
    };
    assert_eq!(store.save(vec![commit]).await.expect("answered"), vec![Saved::Done]);
    assert!(versions(&client, &format!("person#{}", two.id)).await.is_empty(), "they were joined");
    let parts = versions(&client, &format!("person#{}", one.id)).await;
    assert_eq!(parts.keys().copied().collect::<Vec<_>>(), [2]);
    store.erase(&BTreeSet::from([one.id, two.id]), &BTreeSet::new(), &BTreeSet::new()).await.expect("erased");
    for table in ["t-people", "t-links", "t-journal", "t-misc"] {
        // Pages of those who wait name them until the next round.
        let left = scan(&client, table)
            .await
            .into_iter()
            .filter(|one| !text(one, "pk").starts_with("dirty") && !text(one, "pk").starts_with("totals"));
        assert_eq!(left.count(), 0, "{table}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_dies_between_the_parts_and_the_head_changes_nothing_and_is_swept() {
    let (moto, direct, client) = store().await;
    let small = newcomer(1).0;
    let (first, second) = (of_size(&small, LARGE, 1), of_size(&small, LARGE, 2));
    assert_eq!(save(&direct, &first, None).await, Saved::Done);
    let (config, counted) = counted(&moto).await;
    // The note of the writing is answered after this time, and then the parts are written.
    counted.slow.store(1_500, Ordering::Relaxed);
    let slow = DynamoStore::new(&config, "t");
    let saving = tokio::spawn(async move { save(&slow, &second, Some(1)).await });
    let partition = format!("person#{}", small.id);
    while !versions(&client, &partition).await.contains_key(&2) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    saving.abort();
    assert!(loaded(&direct, &small).await == Some((first, 1)));
    assert_eq!(versions(&client, &partition).await.len(), 2, "of the dead and of the living");
    let third = of_size(&small, LARGE, 3);
    assert_eq!(save(&direct, &third, Some(1)).await, Saved::Done);
    assert!(loaded(&direct, &small).await == Some((third, 2)));
    let parts = scan(&client, "t-misc").await.into_iter().filter(|one| text(one, "pk") == partition);
    let writers: BTreeSet<String> =
        parts.map(|one| text(&one, "sk").split('#').nth(1).expect("a writer").into()).collect();
    assert_eq!(writers.len(), 1, "the dead one's are swept");
}

/// As if every writing had begun a day ago.
async fn age_writings(client: &aws_sdk_dynamodb::Client) -> usize {
    let notes = scan(client, "t-misc").await.into_iter().filter(|one| text(one, "pk").starts_with("writing#"));
    let notes: Vec<crate::Item> = notes.collect();
    for note in &notes {
        let key = ["pk", "sk"].map(|name| (name.to_owned(), note[name].clone()));
        let gone = client.delete_item().table_name("t-misc").set_key(Some(key.into()));
        gone.send().await.expect("removed");
        let (ms, by) = text(note, "sk").split_once('#').expect("a time");
        let ms = ms.parse::<i64>().expect("a time") - 86_400_000;
        let mut old = note.clone();
        old.insert("sk".to_owned(), AttributeValue::S(format!("{ms:015}#{by}")));
        client.put_item().table_name("t-misc").set_item(Some(old)).send().await.expect("written");
    }
    notes.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_of_somebody_who_never_came_to_be_go() {
    let (moto, direct, client) = store().await;
    let [one, two] = [1, 2].map(|n| of_size(&newcomer(n).0, LARGE, u64::from(n)));
    let (config, counted) = counted(&moto).await;
    let slow = DynamoStore::new(&config, "t");
    // The note goes first, then the parts.
    counted.slow.store(500, Ordering::Relaxed);
    let (person, partition) = (one.clone(), format!("person#{}", one.id));
    let saving = tokio::spawn(async move { save(&slow, &person, None).await });
    while !versions(&client, &partition).await.contains_key(&1) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    saving.abort();
    _ = saving.await;
    assert_eq!(save(&direct, &two, None).await, Saved::Done);
    let sweep = async || direct.sweep(Timestamp::UNIX_EPOCH, None).await.expect("swept");
    sweep().await;
    assert!(!versions(&client, &partition).await.is_empty(), "it may be under way");
    assert_eq!(age_writings(&client).await, 1, "who is done is noted no more");
    // Who is erased for another reason waits for no night.
    direct.erase(&BTreeSet::new(), &BTreeSet::new(), &BTreeSet::new()).await.expect("erased");
    assert!(versions(&client, &partition).await.is_empty(), "nobody writes the head any more");
    assert_eq!(age_writings(&client).await, 0);
    assert!(loaded(&direct, &two).await == Some((two, 1)));
}

/// A process that dies right after the head leaves the note alone.
#[tokio::test]
async fn parts_of_a_head_that_counts_are_not_swept() {
    let (_moto, store, client) = store().await;
    let large = of_size(&newcomer(1).0, LARGE, 1);
    assert_eq!(save(&store, &large, None).await, Saved::Done);
    let heads = scan(&client, "t-people").await;
    let by = text(&heads[0], "written_by").to_owned();
    let note = [("pk", "writing#00"), ("sk", "000000000000001#a"), ("kind", "person"), ("by", &by)];
    let mut note: crate::Item = note.map(|(name, value)| (name.to_owned(), AttributeValue::S(value.to_owned()))).into();
    note.insert("id".to_owned(), AttributeValue::S(large.id.to_string()));
    client.put_item().table_name("t-misc").set_item(Some(note)).send().await.expect("written");
    store.sweep(Timestamp::UNIX_EPOCH, None).await.expect("swept");
    assert_eq!(age_writings(&client).await, 0);
    assert!(loaded(&store, &large).await == Some((large, 1)));
}

#[tokio::test]
async fn parts_of_a_later_writing_are_left_alone() {
    let (_moto, store, client) = store().await;
    let small = newcomer(1).0;
    let large = of_size(&small, LARGE, 1);
    assert_eq!(save(&store, &large, None).await, Saved::Done);
    // Somebody who read version 2 already writes version 3, and its head is still to come.
    let key = format!("{:020}#another#0000", 3);
    let one = [("pk", format!("person#{}", small.id)), ("sk", key)];
    let one = one.into_iter().map(|(name, value)| (name.to_owned(), AttributeValue::S(value))).collect();
    client.put_item().table_name("t-misc").set_item(Some(one)).send().await.expect("written");
    assert_eq!(save(&store, &large, Some(1)).await, Saved::Done);
    let parts = versions(&client, &format!("person#{}", small.id)).await;
    assert_eq!(parts.keys().copied().collect::<Vec<_>>(), [2, 3]);
    assert_eq!(save(&store, &large, Some(2)).await, Saved::Done);
    assert_eq!(save(&store, &large, Some(3)).await, Saved::Done);
    let parts = versions(&client, &format!("person#{}", small.id)).await;
    assert_eq!(parts.keys().copied().collect::<Vec<_>>(), [4], "after the head they are swept as others are");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_while_somebody_is_written_anew_reads_one_of_both() {
    let (moto, store, _client) = store().await;
    let small = newcomer(1).0;
    let texts: Vec<Person> = (0..12).map(|n| of_size(&small, LARGE / 2, n)).collect();
    assert_eq!(save(&store, &texts[0], None).await, Saved::Done);
    let (config, counted) = counted(&moto).await;
    // Between the head and its parts a writer is done.
    counted.slow.store(300, Ordering::Relaxed);
    let slow = DynamoStore::new(&config, "t");
    let writer = async {
        for (n, text) in texts.iter().enumerate().skip(1) {
            assert_eq!(save(&store, text, Some(n as u64)).await, Saved::Done);
        }
    };
    let reader = async {
        for _ in 0..3 {
            let (read, version) = loaded(&slow, &small).await.expect("they can be read");
            assert!(read == texts[version as usize - 1], "of one writing");
        }
    };
    tokio::join!(writer, reader);
}

#[tokio::test]
async fn the_head_of_a_person_of_many_events_does_not_grow() {
    let (_moto, store, client) = store().await;
    let person = put_people(&store, 1).await[0];
    let at = |second: i64| stagedoor_model::Timestamp::from_second(1_800_000_000 + second).expect("in range");
    let head = async || scan(&client, "t-people").await.iter().map(bytes).max().expect("a head");
    let before = head().await;
    for n in 0..10 {
        save_events(&store, person, 100 + n * 100..200 + n * 100, at(1_000 + i64::from(n))).await;
        assert!(head().await < before + 256 * 12 + 100, "{before} bytes, then {}", head().await);
    }
    // Somebody who was erased leaves no page.
    store.erase(&BTreeSet::from([person]), &BTreeSet::new(), &BTreeSet::new()).await.expect("erased");
    assert!(scan(&client, "t-people").await.is_empty() && scan(&client, "t-journal").await.is_empty());
    assert!(!scan(&client, "t-misc").await.iter().any(|one| text(one, "pk").starts_with("trail#")));
}
