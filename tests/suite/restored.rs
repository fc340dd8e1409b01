//! Rows that a manager takes out of Vtiger's recycle bin: it tells of nothing by itself, and not every version writes the time.

use std::sync::Arc;

use stagedoor_engine::Stage;
use stagedoor_model::{Event, Rung, SourceName, Timestamp};
use stagedoor_ports::{Clock, Gone};
use stagedoor_sync::{FlushMode, Heard, Sync};
use stagedoor_tests::account::{Account, Which};

use crate::{
    crashes::order,
    stages::{changed, deals, refund, stage},
};

const ANNA: [&str; 1] = ["phone:+79161110001"];

struct At(Timestamp);

impl Clock for At {
    fn now(&self) -> Timestamp {
        self.0
    }
}

/// The hub at a second of the orders' clock.
pub fn at(account: &Account, second: i64) -> Sync {
    Sync { clock: Arc::new(At(order(second, &[]).time)), ..account.sync.clone() }
}

/// What the hub hears of a Vtiger at a second of the orders' clock.
pub async fn hear(account: &Account, second: i64) -> Heard {
    at(account, second).hear_crm(&SourceName::new("crm").expect("a name")).await.expect("heard")
}

/// A manager restores a row of a Vtiger.
pub fn restore(account: &Account, row: Gone, submissions: bool) {
    let id = match row {
        Gone::Contact(id) => format!("12x{id}"),
        Gone::Deal(id) => format!("13x{id}"),
        Gone::Company(id) => format!("11x{id}"),
    };
    account.vtiger().restored_by_manager(5, &id, submissions);
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

async fn fold(account: &Account, second: i64, event: Event) {
    assert!(account.sync.handle(vec![event]).await.is_empty());
    settle(account, second).await;
}

/// A Vtiger whose clock is that of the orders, with Anna's order 1 in it, and her deal deleted and heard of.
async fn with_a_deleted_deal() -> (Account, u64) {
    let account = Account::of(Which::Vtiger).await;
    let ahead = order(0, &[]).time.as_second() - account.sync.clock.now().as_second();
    account.vtiger().pass(ahead.try_into().expect("the orders are of tomorrow"));
    fold(&account, 2, order(1, &ANNA)).await;
    let id = deals(&account, Which::Vtiger)[0].0;
    hear(&account, 3).await;
    account.delete(Gone::Deal(id));
    assert_eq!(hear(&account, 5).await.deleted, 1);
    (account, id)
}

#[tokio::test]
async fn a_refund_after_a_deal_was_restored_reaches_the_deal() {
    for (submissions, is_heard) in [(false, false), (true, false), (false, true), (true, true)] {
        let (account, id) = with_a_deleted_deal().await;
        account.vtiger().pass(60);
        restore(&account, Gone::Deal(id), submissions);
        if is_heard {
            assert_eq!(hear(&account, 70).await.restored, 1, "{submissions}");
            assert_eq!(hear(&account, 71).await.restored, 0, "it is heard once");
        }
        fold(&account, 80, refund(1, 79, &ANNA)).await;
        let all = deals(&account, Which::Vtiger);
        assert_eq!(all, [(id, stage(Stage::Refunded), "0".to_owned())], "{submissions} {is_heard}");
    }
}

#[tokio::test]
async fn a_purchase_after_a_restore_makes_no_second_row() {
    let (account, id) = with_a_deleted_deal().await;
    let contacts = account.vtiger().records("Contacts");
    let (_, contact) = contacts[0]["id"].as_str().and_then(|id| id.split_once('x')).expect("an id");
    let contact = Gone::Contact(contact.parse().expect("a number"));
    account.delete(contact);
    assert_eq!((hear(&account, 6).await.deleted, account.counts()), (1, (0, 0)));
    restore(&account, Gone::Deal(id), false);
    restore(&account, contact, false);
    fold(&account, 20, order(19, &ANNA)).await;
    assert_eq!(account.counts(), (1, 1));
    assert_eq!(deals(&account, Which::Vtiger), [(id, stage(Rung::Paid), "3000".to_owned())]);
}

#[tokio::test]
async fn an_address_that_was_corrected_while_its_contact_was_deleted_leaves_it_once_it_is_restored() {
    for is_heard in [true, false] {
        let account = Account::of(Which::Vtiger).await;
        let ahead = order(0, &[]).time.as_second() - account.sync.clock.now().as_second();
        account.vtiger().pass(ahead.try_into().expect("the orders are of tomorrow"));
        fold(&account, 2, order(1, &[ANNA[0], "email:anan@example.com"])).await;
        hear(&account, 3).await;
        let contacts = account.vtiger().records("Contacts");
        let (_, id) = contacts[0]["id"].as_str().and_then(|id| id.split_once('x')).expect("an id");
        let contact = Gone::Contact(id.parse().expect("a number"));
        account.delete(contact);
        if is_heard {
            assert_eq!(hear(&account, 6).await.deleted, 1);
        }
        fold(&account, 20, changed(1, 19, &[ANNA[0], "email:anna@example.com"], |_| ())).await;
        account.vtiger().pass(60);
        restore(&account, contact, true);
        hear(&account, 90).await;
        fold(&account, 95, order(94, &[ANNA[0], "email:anna@example.com"])).await;
        let all = account.contacts();
        let restored = all.iter().find(|one| one.contains(&format!("12x{id}"))).expect("it is there");
        assert!(restored.contains("anna@") && !restored.contains("anan@"), "{is_heard}: {restored}");
    }
}

#[tokio::test]
async fn what_is_anothers_since_two_were_parted_while_their_contact_was_deleted_leaves_it_once_it_is_restored() {
    for is_heard in [true, false] {
        let account = Account::of(Which::Vtiger).await;
        let ahead = order(0, &[]).time.as_second() - account.sync.clock.now().as_second();
        account.vtiger().pass(ahead.try_into().expect("the orders are of tomorrow"));
        let (hers, boris) = ("email:anna@example.com", "phone:+79161110002");
        fold(&account, 2, order(1, &[ANNA[0], hers])).await;
        hear(&account, 3).await;
        fold(&account, 5, order(4, &[boris, hers])).await;
        hear(&account, 6).await;
        let contacts = account.vtiger().records("Contacts");
        let (_, id) = contacts[0]["id"].as_str().and_then(|id| id.split_once('x')).expect("an id");
        let contact = Gone::Contact(id.parse().expect("a number"));
        assert!(account.contacts()[0].contains("+79161110002"), "{:?}", account.contacts());
        account.delete(contact);
        if is_heard {
            assert_eq!(hear(&account, 8).await.deleted, 1);
        }
        fold(&account, 20, changed(4, 19, &[boris, "email:boris@example.com"], |_| ())).await;
        account.vtiger().pass(60);
        restore(&account, contact, true);
        hear(&account, 90).await;
        fold(&account, 95, order(94, &[ANNA[0], hers])).await;
        let all = account.contacts();
        let restored = all.iter().find(|one| one.contains(&format!("12x{id}"))).expect("it is there");
        assert!(restored.contains("anna@") && !restored.contains("+79161110002"), "{is_heard}: {restored}: {all:?}");
    }
}

#[tokio::test]
async fn a_clean_up_by_a_manager_is_heard_whole_and_hidden_rows_are_named() {
    let account = Account::of(Which::Vtiger).await;
    let buyers = (0..110).map(|n| order(n, &[&format!("phone:+7916111{n:04}")])).collect();
    assert!(account.sync.handle(buyers).await.is_empty());
    account.reconcile().await;
    let contacts = account.vtiger().records("Contacts");
    let ids: Vec<String> = contacts.iter().filter_map(|row| row["id"].as_str().map(str::to_owned)).collect();
    ids.iter().take(40).for_each(|id| account.vtiger().deleted_by_manager(id));
    account.vtiger().hide(&ids[100]);
    let mut deleted = 0;
    for second in 200..204 {
        deleted += hear(&account, second).await.deleted;
    }
    assert_eq!(deleted, 40);
    let reasons = stagedoor_sync::waiting_reasons(account.store.as_ref()).await.expect("read");
    let one = reasons.iter().find(|one| one.reason.contains("hides rows of the hub")).expect("a reason");
    assert!(one.who_acts.starts_with("an administrator") && one.reason_ru.contains("право на просмотр"), "{one:?}");
    account.vtiger().give_rights_back();
    for second in 205..210 {
        assert_eq!(hear(&account, second).await.deleted, 0);
    }
    assert_eq!(stagedoor_sync::waiting_reasons(account.store.as_ref()).await.expect("read"), vec![]);
}
