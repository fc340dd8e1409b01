//! Contacts that are marked as duplicates and left alone: a manager deleted the others, or merged them.

use stagedoor_ports::Gone;
use stagedoor_tests::account::{Account, Which};

use crate::{
    crashes::order,
    deletions::{meddle, meddling_heard},
    partings::duplicates,
    restored::hear,
    stages::deals,
};

crate::promises!(
    a_duplicate_whose_original_was_deleted_is_the_contact_again,
    a_duplicate_into_which_the_original_was_merged_is_the_contact_again,
    a_contact_into_which_a_chain_of_duplicates_was_merged_is_none,
    a_duplicate_is_marked_again_once_its_original_is_restored,
);

const NAMES: [&str; 3] = ["phone:+79161110001", "email:anna@example.com", "phone:+79161110003"];

async fn fold(account: &Account, second: i64, names: &[&str]) {
    assert!(account.sync.handle(vec![order(second, names)]).await.is_empty());
    account.reconcile().await;
}

fn ids(account: &Account, which: Which) -> Vec<u64> {
    let rows = if which == Which::Amo { account.amocrm().contacts() } else { account.vtiger().records("Contacts") };
    let number = |id: &serde_json::Value| id.as_u64().or_else(|| id.as_str()?.split_once('x')?.1.parse().ok());
    let mut ids: Vec<u64> = rows.iter().filter_map(|row| number(&row["id"])).collect();
    ids.sort_unstable();
    ids
}

/// Somebody who was two or three people: their contacts, the original first.
async fn doubled(which: Which, rows: usize) -> (Account, Vec<u64>) {
    let account = Account::of(which).await;
    for (second, name) in (1..).zip(&NAMES[..rows]) {
        fold(&account, second, &[name]).await;
    }
    fold(&account, 5, &NAMES[..rows]).await;
    let ids = ids(&account, which);
    assert_eq!((ids.len(), duplicates(&account, which)), (rows, rows - 1), "{:?}", account.picture());
    (account, ids)
}

fn merge(account: &Account, which: Which, gone: u64, kept: u64) {
    let is_merged = match which {
        Which::Amo => account.amocrm().merged_by_manager("contacts", gone, kept),
        Which::Vtiger => account.vtiger().merged_by_manager(5, &format!("12x{gone}"), &format!("12x{kept}")),
    };
    assert!(is_merged);
}

/// The only contact is no duplicate, and the deal hangs on it.
fn is_the_contact(account: &Account, which: Which, contact: u64) {
    assert_eq!((ids(account, which), duplicates(account, which)), (vec![contact], 0), "{:?}", account.picture());
    let all = deals(account, which);
    let live: Vec<u64> = all.iter().filter(|(_, _, price)| price != "0").map(|(deal, ..)| *deal).collect();
    let [deal] = live.as_slice() else { panic!("{all:?}") };
    assert_eq!(account.owner_of(*deal), Some(contact), "{:?}", account.picture());
}

async fn a_duplicate_whose_original_was_deleted_is_the_contact_again(which: Which) {
    let (account, ids) = doubled(which, 2).await;
    meddle(&account, which, Gone::Contact(ids[0]), true, 10).await;
    is_the_contact(&account, which, ids[1]);
    fold(&account, 20, &NAMES[..2]).await;
    is_the_contact(&account, which, ids[1]);
}

async fn a_duplicate_into_which_the_original_was_merged_is_the_contact_again(which: Which) {
    let (account, ids) = doubled(which, 2).await;
    merge(&account, which, ids[0], ids[1]);
    meddling_heard(&account, which, Gone::Contact(ids[0]), true, 10).await;
    is_the_contact(&account, which, ids[1]);
}

async fn a_contact_into_which_a_chain_of_duplicates_was_merged_is_none(which: Which) {
    let (account, ids) = doubled(which, 3).await;
    merge(&account, which, ids[2], ids[1]);
    meddling_heard(&account, which, Gone::Contact(ids[2]), true, 10).await;
    merge(&account, which, ids[1], ids[0]);
    meddling_heard(&account, which, Gone::Contact(ids[1]), true, 20).await;
    is_the_contact(&account, which, ids[0]);
}

async fn a_duplicate_is_marked_again_once_its_original_is_restored(which: Which) {
    let (account, ids) = doubled(which, 2).await;
    meddle(&account, which, Gone::Contact(ids[0]), true, 10).await;
    assert_eq!(duplicates(&account, which), 0);
    meddle(&account, which, Gone::Contact(ids[0]), false, 20).await;
    assert_eq!(duplicates(&account, which), 1, "{:?}", account.picture());
}

#[tokio::test]
async fn a_contact_that_a_manager_added_and_merged_into_the_original_is_known_to_be_gone() {
    let account = Account::of(Which::Vtiger).await;
    let ahead = order(0, &[]).time.as_second() - account.sync.clock.now().as_second();
    account.vtiger().pass(ahead.try_into().expect("the orders are of tomorrow"));
    fold(&account, 1, &NAMES[..1]).await;
    account.vtiger().added_by_manager(5, "Contacts", &[("lastname", "Анна"), ("phone", "+79161110001")]);
    hear(&account, 5).await;
    account.reconcile().await;
    let ids = ids(&account, Which::Vtiger);
    assert_eq!((ids.len(), duplicates(&account, Which::Vtiger)), (2, 1), "{:?}", account.picture());
    merge(&account, Which::Vtiger, ids[1], ids[0]);
    assert_eq!(hear(&account, 10).await.deleted, 1);
    account.reconcile().await;
    is_the_contact(&account, Which::Vtiger, ids[0]);
}
