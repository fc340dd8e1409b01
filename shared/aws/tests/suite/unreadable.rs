//! What DynamoDB holds and this version cannot read holds up nobody.

use std::{
    collections::HashMap,
    io::{Read, Write},
    sync::atomic::Ordering,
    time::Duration,
};

use aws_sdk_dynamodb::{
    primitives::Blob,
    types::{AttributeValue, AttributeValue::S},
};
use stagedoor_aws::{DynamoStore, create_tables};
use stagedoor_ports::{
    Admin, CrmStates, Journal, People, Saved, of_a_later_version,
    testing::{form_event, newcomer, put_people, readable_again_suite, unreadable_suite},
};

use crate::{
    counted::counted,
    moto::{Moto, moto},
};

async fn store() -> (Moto, DynamoStore, aws_sdk_dynamodb::Client) {
    let moto = moto().await;
    create_tables(&moto.config, "t").await.expect("tables");
    let (store, client) = (DynamoStore::new(&moto.config, "t"), aws_sdk_dynamodb::Client::new(&moto.config));
    (moto, store, client)
}

/// Replaces what is stored by something else, and answers what it was.
async fn replace(
    client: &aws_sdk_dynamodb::Client,
    (table, key, id): (&str, &str, &str),
    attribute: &str,
    by: AttributeValue,
) -> AttributeValue {
    let key = HashMap::from([(key.to_owned(), S(id.to_owned()))]);
    let request = client.get_item().table_name(table).set_key(Some(key.clone()));
    let item = request.send().await.expect("read").item.expect("there");
    let before = item.get(attribute).cloned().expect("it has the attribute");
    let item: HashMap<_, _> = item.into_iter().chain([(attribute.to_owned(), by)]).collect();
    client.put_item().table_name(table).set_item(Some(item)).send().await.expect("written");
    before
}

fn garbage() -> AttributeValue {
    AttributeValue::B(Blob::new(*b"not deflated"))
}

#[tokio::test]
async fn a_person_who_cannot_be_read_is_set_aside_and_holds_up_nobody() {
    let (_moto, store, client) = store().await;
    let people = put_people(&store, 3).await;
    let id = people[1].to_string();
    let before = replace(&client, ("t-people", "id", &id), "doc", garbage()).await;
    unreadable_suite(&store, &people, &[0, 2], 1).await;
    replace(&client, ("t-people", "id", &id), "doc", before).await;
    readable_again_suite(&store, people[1]).await;
}

#[tokio::test]
async fn a_crm_state_that_cannot_be_read_is_not_taken_for_none() {
    let (_moto, store, client) = store().await;
    let people = put_people(&store, 3).await;
    store.save_crm_states(people.iter().map(|id| (*id, Default::default())).collect()).await.expect("saved");
    replace(&client, ("t-links", "person", &people[0].to_string()), "doc", garbage()).await;
    unreadable_suite(&store, &people, &[1, 2], 0).await;
}

#[tokio::test]
async fn a_row_of_the_journal_that_cannot_be_read_hides_no_other() {
    let (_moto, store, client) = store().await;
    put_people(&store, 3).await;
    let rows = client.scan().table_name("t-journal").send().await.expect("read").items.expect("rows");
    let id = rows[0].get("id").and_then(|id| id.as_s().ok()).expect("an id");
    replace(&client, ("t-journal", "id", id), "row", garbage()).await;
    let left = store.journal(10).await.expect("read");
    assert_eq!(left.len(), 2);
    assert!(left.iter().all(|row| (1..=3).any(|n| row.event.id == form_event(n).id)));
    assert_eq!(store.set_aside(10).await.expect("read").len(), 1);
}

/// The deflated JSON, as a later version would store it.
fn of_later(packed: &AttributeValue) -> AttributeValue {
    let mut json = String::new();
    let bytes = packed.as_b().expect("bytes").as_ref();
    flate2::read::DeflateDecoder::new(bytes).read_to_string(&mut json).expect("deflated");
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(of_a_later_version(&json).as_bytes()).expect("deflated");
    AttributeValue::B(Blob::new(encoder.finish().expect("deflated")))
}

#[tokio::test]
async fn what_a_later_version_wrote_is_set_aside_and_never_overwritten() {
    let (_moto, store, client) = store().await;
    let people = put_people(&store, 3).await;
    store.save_crm_states(people.iter().map(|id| (*id, Default::default())).collect()).await.expect("saved");
    let id = people[1].to_string();
    let mut docs = Vec::new();
    for (table, key) in [("t-people", "id"), ("t-links", "person")] {
        let later = of_later(&replace(&client, (table, key, &id), "doc", garbage()).await);
        replace(&client, (table, key, &id), "doc", later.clone()).await;
        docs.push((table, key, later));
    }
    unreadable_suite(&store, &people, &[0, 2], 1).await;
    let told = store.set_aside(10).await.expect("read");
    assert!(told[0].reason.contains("a later version of Stagedoor wrote"), "{told:?}");
    let (_, anew) = newcomer(2);
    assert_eq!(store.save(vec![anew]).await.expect("answered"), vec![Saved::Conflict]);
    assert!(store.save_crm_states(vec![(people[1], Default::default())]).await.is_err());
    for (table, key, later) in docs {
        assert_eq!(replace(&client, (table, key, &id), "doc", later.clone()).await, later);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_is_torn_leaves_nobody_out_of_an_audience() {
    let (moto, direct, client) = store().await;
    let (config, counted) = counted(&moto).await;
    counted.slow.store(2_000, Ordering::Relaxed);
    let (people, commits): (Vec<_>, Vec<_>) = (1..=3).map(newcomer).unzip();
    let slow = DynamoStore::new(&config, "t");
    let saving = tokio::spawn(async move { slow.save(commits).await });
    // The process dies as soon as somebody is written, before it hears of it.
    while client.scan().table_name("t-people").send().await.expect("read").count == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    saving.abort();
    let living = direct.load(&people.iter().map(|one| one.id).collect()).await.expect("read");
    assert!(!living.is_empty(), "somebody was saved before it was torn");
    let audience = direct.audience("site/show-1").await.expect("read");
    assert!(living.iter().all(|one| audience.contains(&one.value.id)), "{} of {}", audience.len(), living.len());
}
