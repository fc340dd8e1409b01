//! A Vtiger in which workflows, deletions and single errors come between the hub and its rows.

use stagedoor_engine::Stage;
use stagedoor_model::{OrderState, Rung, ShowRef, SourceName};
use stagedoor_ports::Gone;
use stagedoor_sandbox::{Fault, FaultKind};
use stagedoor_sync::FlushMode;
use stagedoor_tests::account::{Account, Which};

use crate::{
    crashes::order,
    restored::{at, hear},
    stages::{cart, changed, deals, refund, stage},
};

fn values(account: &Account, module: &str, field: &str) -> Vec<String> {
    let rows = account.vtiger().records(module);
    rows.iter().map(|row| row[field].as_str().unwrap_or_default().to_owned()).collect()
}

async fn buys(account: &Account, number: i64, email: &str) {
    assert!(account.sync.handle(vec![order(number, &[&format!("email:{email}")])]).await.is_empty());
}

/// Rows that the CRM refused, as `status` counts them.
async fn refused(account: &Account) -> u64 {
    account.store.totals().await.expect("totals").rejected
}

#[tokio::test]
async fn a_workflow_that_moves_a_deal_while_it_is_saved_is_no_refusal() {
    let account = Account::of(Which::Vtiger).await;
    buys(&account, 1, "anna@example.com").await;
    account.reconcile().await;
    let stage = values(&account, "Potentials", "sales_stage").remove(0);
    account.vtiger().set_workflows(vec![(stage.clone(), "Value Proposition".to_owned())]);
    buys(&account, 2, "gaev@example.com").await;
    account.reconcile().await;
    assert_eq!(refused(&account).await, 0);
    assert_eq!(values(&account, "Potentials", "sales_stage"), [stage, "Value Proposition".to_owned()]);
}

#[tokio::test]
async fn an_invoice_is_made_though_a_manager_deleted_the_company_of_single_visitors() {
    let account = Account::of(Which::Vtiger).await;
    buys(&account, 1, "anna@example.com").await;
    account.reconcile().await;
    let company = values(&account, "Accounts", "id").remove(0);
    account.vtiger().deleted_by_manager(&company);
    buys(&account, 2, "gaev@example.com").await;
    account.reconcile().await;
    assert_eq!(refused(&account).await, 0);
    let again = values(&account, "Accounts", "id");
    assert_eq!(again.len(), 1, "it was made again");
    // A reference to a record that is gone is told as nothing.
    assert_eq!(values(&account, "Invoice", "account_id"), [String::new(), again[0].clone()]);
}

#[tokio::test]
async fn one_error_that_says_nothing_refuses_no_row() {
    let account = Account::of(Which::Vtiger).await;
    buys(&account, 1, "anna@example.com").await;
    account.reconcile().await;
    for number in [2, 3] {
        account.fault(Fault::once(FaultKind::Broken, "revise"));
        buys(&account, number, "anna@example.com").await;
        account.reconcile().await;
    }
    assert_eq!(refused(&account).await, 0);
    assert_eq!(values(&account, "Potentials", "amount"), ["4500.00000000"]);
}

#[tokio::test]
async fn nobody_waits_for_the_invoice_of_a_deal_that_a_manager_deleted() {
    let account = Account::of(Which::Vtiger).await;
    account.fault(Fault::always(FaultKind::Throttled, "create Invoice"));
    buys(&account, 1, "anna@example.com").await;
    account.sync.reconcile(FlushMode::Everything).await.expect("a round");
    let deal = values(&account, "Potentials", "id").remove(0);
    account.delete(Gone::Deal(deal.trim_start_matches("13x").parse().expect("a number")));
    account.clear_faults();
    account.sync.hear_crm(&SourceName::new("crm").expect("a name")).await.expect("changes");
    account.reconcile().await;
    assert_eq!(refused(&account).await, 0);
    assert!(values(&account, "Invoice", "id").is_empty());
}

#[tokio::test]
async fn a_look_that_fails_once_refuses_no_invoice_of_a_deal_that_is_gone() {
    for looks_before in 0..10 {
        let account = Account::of(Which::Vtiger).await;
        account.fault(Fault::always(FaultKind::Throttled, "create Invoice"));
        buys(&account, 1, "anna@example.com").await;
        account.sync.reconcile(FlushMode::Everything).await.expect("a round");
        let deal = values(&account, "Potentials", "id").remove(0);
        account.vtiger().deleted_by_manager(&deal);
        account.clear_faults();
        account.fault(Fault { after: looks_before, ..Fault::once(FaultKind::Moved, "query") });
        account.sync.reconcile(FlushMode::Everything).await.expect("a round");
        account.clear_faults();
        account.reconcile().await;
        assert_eq!(refused(&account).await, 0, "{looks_before} looks before the one that failed");
    }
}

#[tokio::test]
async fn a_stage_that_was_sent_without_an_answer_is_no_managers_move() {
    let account = Account::of(Which::Vtiger).await;
    let anna = ["phone:+79161110001"];
    let ahead = order(0, &[]).time.as_second() - account.sync.clock.now().as_second();
    account.vtiger().pass(ahead.try_into().expect("the orders are of tomorrow"));
    assert!(account.sync.handle(vec![cart(1, &anna)]).await.is_empty());
    account.reconcile().await;
    hear(&account, 3).await;
    account.vtiger().pass(60);
    account.fault(Fault::always(FaultKind::AnswerLost, "revise"));
    assert!(account.sync.handle(vec![order(1, &anna)]).await.is_empty());
    at(&account, 61).reconcile(FlushMode::Everything).await.expect("a round");
    assert_eq!(deals(&account, Which::Vtiger)[0].1, stage(Rung::Paid), "it took effect");
    account.clear_faults();
    hear(&account, 62).await;
    // The shop tells late of a refund that came before.
    assert!(account.sync.handle(vec![refund(1, 30, &anna)]).await.is_empty());
    account.reconcile().await;
    assert_eq!(deals(&account, Which::Vtiger)[0].1, stage(Stage::Refunded));
}

#[tokio::test]
async fn a_stage_that_was_sent_for_somebody_who_was_joined_since_is_no_managers_move() {
    let account = Account::of(Which::Vtiger).await;
    let anna = ["phone:+79161110001", "email:anna@example.com"];
    let ahead = order(0, &[]).time.as_second() - account.sync.clock.now().as_second();
    account.vtiger().pass(ahead.try_into().expect("the orders are of tomorrow"));
    let of_another_show = changed(1, 1, &anna[1..], |order| order.tickets[0].show = ShowRef::id("show-2"));
    // Who has the cart is joined into the older person.
    for event in [of_another_show, cart(2, &anna[..1])] {
        assert!(account.sync.handle(vec![event]).await.is_empty());
        account.reconcile().await;
    }
    hear(&account, 3).await;
    account.vtiger().pass(60);
    // The contact is revised first.
    account.fault(Fault { after: 1, ..Fault::always(FaultKind::AnswerLost, "revise") });
    assert!(account.sync.handle(vec![order(2, &anna)]).await.is_empty());
    at(&account, 61).reconcile(FlushMode::Everything).await.expect("a round");
    account.clear_faults();
    assert!(deals(&account, Which::Vtiger).iter().any(|deal| deal.1 == stage(Rung::Paid)), "it took effect");
    hear(&account, 62).await;
    // The shop tells late of a refund that came before.
    assert!(account.sync.handle(vec![refund(2, 30, &anna)]).await.is_empty());
    account.reconcile().await;
    let stages: Vec<String> = deals(&account, Which::Vtiger).into_iter().map(|(_, stage, _)| stage).collect();
    assert!(stages.contains(&stage(Stage::Refunded)), "{stages:?}");
}

#[tokio::test]
async fn a_deal_that_was_closed_while_two_were_taken_for_one_was_moved_by_no_manager() {
    let account = Account::of(Which::Vtiger).await;
    let (anna, boris) = (["phone:+79161110001", "email:anna@example.com"], "phone:+79161110002");
    let ahead = order(0, &[]).time.as_second() - account.sync.clock.now().as_second();
    account.vtiger().pass(ahead.try_into().expect("the orders are of tomorrow"));
    for event in [order(1, &anna), order(2, &[boris])] {
        assert!(account.sync.handle(vec![event]).await.is_empty());
        account.reconcile().await;
    }
    hear(&account, 3).await;
    account.vtiger().pass(60);
    let mistyped = changed(5, 5, &[boris, anna[1]], |_| {});
    assert!(account.sync.handle(vec![mistyped]).await.is_empty());
    account.reconcile().await;
    let lost =
        |account: &Account| deals(account, Which::Vtiger).iter().filter(|deal| deal.1 == stage(Stage::Lost)).count();
    assert_eq!(lost(&account), 1, "the double");
    // They part, and the CRM is looked at before their rows are put in order.
    let corrected = changed(5, 9, &[boris, "email:boris@example.com"], |_| {});
    assert!(account.sync.handle(vec![corrected]).await.is_empty());
    hear(&account, 62).await;
    account.reconcile().await;
    assert_eq!(lost(&account), 0);
}

#[tokio::test]
async fn a_managers_move_right_before_two_people_part_is_kept() {
    let account = Account::of(Which::Vtiger).await;
    let (anna, boris) = (["phone:+79161110001", "email:anna@example.com"], "phone:+79161110002");
    let ahead = order(0, &[]).time.as_second() - account.sync.clock.now().as_second();
    account.vtiger().pass(ahead.try_into().expect("the orders are of tomorrow"));
    let of_another_show = changed(3, 3, &[boris], |order| {
        (order.state, order.paid_at, order.paid.minor) = (OrderState::Placed, None, 0);
        order.tickets[0].show = ShowRef::id("show-2");
    });
    let mistyped = changed(5, 5, &[boris, anna[1]], |_| {});
    for event in [order(1, &anna), of_another_show, mistyped] {
        assert!(account.sync.handle(vec![event]).await.is_empty());
        account.reconcile().await;
    }
    hear(&account, 6).await;
    account.vtiger().pass(60);
    let stands = |wanted: String| deals(&account, Which::Vtiger).into_iter().find(|deal| deal.1 == wanted);
    let (cart, ..) = stands(stage(Rung::Cart)).expect("his cart");
    account.vtiger().by_manager(5, &format!("13x{cart}"), &[("sales_stage", &stage(Stage::Lost))]);
    // They part before the CRM is looked at.
    let corrected = changed(5, 9, &[boris, "email:boris@example.com"], |_| {});
    assert!(account.sync.handle(vec![corrected]).await.is_empty());
    at(&account, 61).reconcile(FlushMode::Everything).await.expect("a round");
    hear(&account, 62).await;
    at(&account, 63).reconcile(FlushMode::Everything).await.expect("a round");
    assert_eq!(stands(stage(Stage::Lost)).map(|(id, ..)| id), Some(cart));
}
