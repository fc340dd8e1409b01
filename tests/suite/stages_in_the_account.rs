//! Stages that somebody renames are no loss, and one that is gone holds up the deals that need it, and nobody else.

use std::time::Duration;

use stagedoor_engine::Stage;
use stagedoor_model::Rung;
use stagedoor_sync::{FlushMode, Sync, waiting_reasons};
use stagedoor_tests::{
    account::{Account, Which},
    world::PIPELINE,
};

use crate::{
    crashes::{form, order},
    stages::{cart, deals, stage},
};

crate::promises!(
    a_stage_that_was_renamed_while_the_hub_was_down_is_no_loss,
    stages_without_deals_that_are_renamed_at_once_are_no_loss,
    a_stage_that_is_renamed_while_the_hub_runs_is_no_loss,
    a_stage_that_is_gone_holds_up_only_the_deals_that_need_it,
);

const ANNA: [&str; 1] = ["phone:+79161110001"];
const BORIS: [&str; 1] = ["phone:+79161110002"];
const GAEV: [&str; 1] = ["phone:+79161110003"];
/// The hub's user in Vtiger.
const HUB: u64 = 7;

fn rename(account: &Account, which: Which, from: &str, to: &str) {
    let done = match which {
        Which::Amo => account.amocrm().rename_stage(PIPELINE, from, to),
        Which::Vtiger => account.vtiger().rename_stage(from, to),
    };
    assert!(done, "{from} is not there");
}

/// How many deals stand in a stage, by its name in the account.
fn count(account: &Account, which: Which, name: &str) -> usize {
    match which {
        Which::Amo => account.amocrm().leads_by_stage().get(&(PIPELINE.to_owned(), name.to_owned())).copied(),
        Which::Vtiger => Some(deals(account, which).iter().filter(|(_, stage, _)| stage == name).count()),
    }
    .unwrap_or(0)
}

/// One round of this process: it has to get the lease from the one before.
async fn round(sync: &Sync) {
    for _ in 0..300 {
        if sync.reconcile(FlushMode::Everything).await.expect("a round").unavailable.is_none() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it never got the lease");
}

async fn a_stage_that_was_renamed_while_the_hub_was_down_is_no_loss(which: Which) {
    let account = Account::of(which).await;
    assert!(account.sync.handle(vec![order(1, &ANNA), cart(2, &BORIS)]).await.is_empty());
    account.reconcile().await;
    rename(&account, which, &stage(Rung::Paid), "Билет куплен");
    rename(&account, which, &stage(Rung::Cart), "Думают");
    let next = account.another("the next start");
    assert!(next.handle(vec![order(2, &BORIS), cart(3, &GAEV)]).await.is_empty());
    round(&next).await;
    assert_eq!((count(&account, which, "Билет куплен"), count(&account, which, "Думают")), (2, 1));
    let totals = account.store.totals().await.expect("totals");
    assert_eq!((totals.waiting, totals.rejected), (0, 0));
}

async fn stages_without_deals_that_are_renamed_at_once_are_no_loss(which: Which) {
    let account = Account::of(which).await;
    assert!(account.sync.handle(vec![form(1, &ANNA)]).await.is_empty());
    account.reconcile().await;
    rename(&account, which, &stage(Rung::Paid), "Билет куплен");
    rename(&account, which, &stage(Rung::Cart), "Думают");
    let next = account.another("the next start");
    assert!(next.handle(vec![order(2, &BORIS), cart(3, &GAEV)]).await.is_empty());
    round(&next).await;
    assert_eq!((count(&account, which, "Билет куплен"), count(&account, which, "Думают")), (1, 1));
}

async fn a_stage_that_is_renamed_while_the_hub_runs_is_no_loss(which: Which) {
    let account = Account::of(which).await;
    assert!(account.sync.handle(vec![order(1, &ANNA), cart(2, &BORIS)]).await.is_empty());
    account.reconcile().await;
    rename(&account, which, &stage(Rung::Paid), "Билет куплен");
    assert!(account.sync.handle(vec![order(2, &BORIS), order(3, &GAEV)]).await.is_empty());
    account.reconcile().await;
    assert_eq!(count(&account, which, "Билет куплен"), 3);
}

#[tokio::test]
async fn several_stages_of_vtiger_that_are_renamed_while_no_deal_stands_there_are_known_by_their_places() {
    let account = Account::of(Which::Vtiger).await;
    assert!(account.sync.handle(vec![form(1, &ANNA)]).await.is_empty());
    account.reconcile().await;
    rename(&account, Which::Vtiger, &stage(Rung::Paid), "Билет куплен");
    rename(&account, Which::Vtiger, &stage(Rung::Cart), "Думают");
    assert!(account.sync.handle(vec![order(2, &BORIS), cart(3, &GAEV)]).await.is_empty());
    account.reconcile().await;
    assert_eq!(["Билет куплен", "Думают"].map(|name| count(&account, Which::Vtiger, name)), [1, 1]);
}

#[tokio::test]
async fn a_deal_of_vtiger_that_was_made_late_under_a_former_name_of_its_stage_goes_on() {
    let account = Account::of(Which::Vtiger).await;
    assert!(account.sync.handle(vec![cart(2, &BORIS)]).await.is_empty());
    account.reconcile().await;
    let mut before = stage(Rung::Cart);
    for (name, (number, who)) in [("Думают", (1, &ANNA)), ("Ещё думают", (3, &GAEV))] {
        rename(&account, Which::Vtiger, &before, name);
        assert!(account.sync.handle(vec![cart(number, who)]).await.is_empty());
        account.reconcile().await;
        before = name.to_owned();
    }
    // A create without an answer took effect after the second change of the name.
    let deal = account.vtiger().records("Potentials").remove(0);
    account.vtiger().by_manager(HUB, deal["id"].as_str().expect("an id"), &[("sales_stage", "Думают")]);
    assert!(account.sync.handle(vec![order(2, &BORIS)]).await.is_empty());
    account.reconcile().await;
    assert_eq!(count(&account, Which::Vtiger, &stage(Rung::Paid)), 1);
}

async fn a_stage_that_is_gone_holds_up_only_the_deals_that_need_it(which: Which) {
    let account = Account::of(which).await;
    assert!(account.sync.handle(vec![order(1, &ANNA)]).await.is_empty());
    account.reconcile().await;
    let gone = stage(Rung::Cart);
    let first = stage(Stage::ALL[0]);
    let deleted = match which {
        Which::Amo => account.amocrm().delete_stage(PIPELINE, &gone),
        Which::Vtiger => account.vtiger().delete_stage(&gone, &first),
    };
    assert!(deleted);
    // The process that runs, and one that starts now.
    for sync in [&account.sync, &account.another("the next start")] {
        sync.crm.set_up().await.expect("the account is usable");
        assert!(sync.handle(vec![cart(2, &BORIS), order(3, &GAEV), form(4, &ANNA)]).await.is_empty());
        round(sync).await;
        assert_eq!(account.counts(), (3, 2), "all contacts, and all deals but one");
        let totals = account.store.totals().await.expect("totals");
        assert_eq!((totals.waiting, totals.rejected), (1, 0));
    }
    let reasons = waiting_reasons(account.store.as_ref()).await.expect("read");
    let [reason] = reasons.as_slice() else { panic!("{reasons:?}") };
    assert!(reason.reason.contains(&gone) && reason.people == 1, "{reason:?}");
    assert!(reason.who_acts.starts_with("an administrator of the CRM"), "{reason:?}");
    // Somebody makes it again.
    match which {
        Which::Amo => _ = account.amocrm().add_stage(PIPELINE, &gone).expect("an id"),
        Which::Vtiger => account.vtiger().add_stage(&gone),
    }
    account.reconcile().await;
    assert_eq!((account.counts(), count(&account, which, &gone)), ((3, 3), 1));
    assert_eq!(waiting_reasons(account.store.as_ref()).await.expect("read"), vec![]);
}

#[tokio::test]
async fn a_pipeline_that_was_renamed_is_known_by_its_id() {
    let account = Account::of(Which::Amo).await;
    assert!(account.sync.handle(vec![order(1, &ANNA)]).await.is_empty());
    account.reconcile().await;
    assert!(account.amocrm().rename_pipeline(PIPELINE, "Тур 2027"));
    let next = account.another("the next start");
    assert!(next.handle(vec![order(2, &BORIS)]).await.is_empty());
    round(&next).await;
    let stages = account.amocrm().leads_by_stage();
    assert_eq!(stages.get(&("Тур 2027".to_owned(), stage(Rung::Paid))), Some(&2), "{stages:?}");
}
