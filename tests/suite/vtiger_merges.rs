//! A manager merges two contacts of a Vtiger by hand: it tells of nothing by itself.

use std::collections::BTreeSet;

use stagedoor_engine::PersonId;
use stagedoor_model::{Body, Event, EventId, Identifier, IdentityDecided, SourceName, Verdict};
use stagedoor_sync::FlushMode;
use stagedoor_tests::account::{Account, Which};

use crate::{
    crashes::order,
    restored::{at, hear},
};

async fn fold(account: &Account, second: i64, event: Event) {
    assert!(account.sync.handle(vec![event]).await.is_empty());
    settle(account, second).await;
}

async fn settle(account: &Account, second: i64) {
    let sync = at(account, second);
    for _ in 0..60 {
        let round = sync.reconcile(FlushMode::Everything).await.expect("a round");
        if round.left == 0 && round.unavailable.is_none() {
            return;
        }
    }
    panic!("people still wait after sixty rounds");
}

async fn person(account: &Account, name: &str) -> PersonId {
    let name: Identifier = name.parse().expect("an identifier");
    let found = account.store.resolve(&[name.clone()].into()).await.expect("read").owners[&name];
    account.store.load(&[found].into()).await.expect("read")[0].value.id
}

/// A Vtiger with a contact of each of two people; the answer are their ids.
async fn two(first: &[&str], second: &[&str]) -> (Account, [String; 2]) {
    let account = Account::of(Which::Vtiger).await;
    let ahead = order(0, &[]).time.as_second() - account.sync.clock.now().as_second();
    account.vtiger().pass(ahead.try_into().expect("the orders are of tomorrow"));
    fold(&account, 2, order(1, first)).await;
    fold(&account, 4, order(3, second)).await;
    hear(&account, 5).await;
    let mut ids: Vec<String> =
        account.vtiger().records("Contacts").iter().map(|row| row["id"].as_str().expect("an id").to_owned()).collect();
    ids.sort_by_key(|id| id.split_once('x').and_then(|(_, number)| number.parse::<u64>().ok()));
    let ids = ids.try_into().expect("two contacts");
    (account, ids)
}

const ANNA: [&str; 2] = ["phone:+79161110001", "customer/shop:1"];
const BORIS: [&str; 2] = ["email:boris@example.com", "customer/shop:2"];

/// How many people and contacts are left after the second contact was merged into the first, and its person bought again.
async fn merged(account: &Account, contacts: &[String; 2], is_heard: bool) -> (usize, usize) {
    account.vtiger().pass(60);
    assert!(account.vtiger().merged_by_manager(5, &contacts[1], &contacts[0]));
    left(account, is_heard).await
}

/// The same where the manager hung the deals on the kept contact by hand, and deleted the other one.
async fn moved(account: &Account, [kept, gone]: &[String; 2]) -> (usize, usize) {
    account.vtiger().pass(60);
    for deal in account.vtiger().records("Potentials").iter().filter(|deal| deal["contact_id"] == *gone) {
        account.vtiger().by_manager(5, deal["id"].as_str().expect("an id"), &[("contact_id", kept)]);
    }
    account.vtiger().deleted_by_manager(gone);
    left(account, true).await
}

async fn left(account: &Account, is_heard: bool) -> (usize, usize) {
    if is_heard {
        assert_eq!(hear(account, 70).await.deleted, 1);
        settle(account, 71).await;
    }
    fold(account, 80, order(79, &BORIS)).await;
    hear(account, 90).await;
    settle(account, 91).await;
    let people = BTreeSet::from([person(account, ANNA[0]).await, person(account, BORIS[1]).await]);
    (people.len(), account.counts().0)
}

#[tokio::test]
async fn whom_a_manager_merges_stay_one_person_when_they_buy_again() {
    for is_heard in [true, false] {
        // No guard keeps these apart: what stands in the contact joins them.
        let (account, contacts) = two(&ANNA[..1], &BORIS[..1]).await;
        assert_eq!(merged(&account, &contacts, is_heard).await, (1, 1), "{is_heard}");
        // Two customers of one shop are two people, unless a manager says otherwise.
        let (account, contacts) = two(&ANNA, &BORIS).await;
        assert_eq!(merged(&account, &contacts, is_heard).await, (1, 1), "{is_heard}");
    }
}

#[tokio::test]
async fn whom_a_manager_merges_stay_one_person_also_where_the_kept_contact_has_no_room_for_the_other() {
    for is_heard in [true, false] {
        let anna = [ANNA[0], "email:anna@example.com", ANNA[1]];
        let boris = ["phone:+79162220002", BORIS[0], BORIS[1]];
        let (account, contacts) = two(&anna, &boris).await;
        assert_eq!(merged(&account, &contacts, is_heard).await, (1, 1), "{is_heard}");
    }
}

#[tokio::test]
async fn whom_a_manager_called_two_people_a_merge_does_not_join() {
    let (account, contacts) = two(&ANNA, &BORIS).await;
    let [anna, boris] = [ANNA[1], BORIS[1]].map(|name| name.parse().expect("an identifier"));
    let body = IdentityDecided { verdict: Verdict::DifferentPeople(anna, boris), by: "manager".into() };
    let source = SourceName::new("console").expect("a name");
    let id = EventId::derive(&source, &["decided"]);
    let decided = Event::new(&source, id, order(6, &[]).time, Body::IdentityDecided(body));
    fold(&account, 7, decided).await;
    assert_eq!(merged(&account, &contacts, true).await.0, 2);
}

#[tokio::test]
async fn deals_that_a_manager_hung_on_a_contact_with_nothing_of_the_other_but_a_crowds_address_are_no_merge() {
    let boris = ["phone:+79162220002", BORIS[1]];
    let (account, contacts) = two(&ANNA, &boris).await;
    assert_eq!(moved(&account, &contacts).await.0, 2);
    let boris = ["phone:+79162220002", BORIS[0], BORIS[1]];
    let (account, contacts) = two(&ANNA, &boris).await;
    for n in 0..12 {
        let names = [format!("phone:+7916555000{}", n % 10), format!("customer/shop:{}", 10 + n), BORIS[0].to_owned()];
        fold(&account, 6, order(20 + n, &names.each_ref().map(String::as_str))).await;
    }
    account.vtiger().by_manager(5, &contacts[0], &[("email", "boris@example.com")]);
    assert_eq!(moved(&account, &contacts).await.0, 2);
}
