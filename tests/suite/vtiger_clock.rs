//! Vtiger's clock, its errors that say nothing, and its stages without ids.

use stagedoor_engine::Stage;
use stagedoor_model::{Event, OrderState, Rung, SourceName};
use stagedoor_sandbox::{Fault, FaultKind};
use stagedoor_sync::{FlushMode, Heard, waiting_reasons};
use stagedoor_tests::account::{Account, Which};

use crate::{
    crashes::order,
    stages::{changed, deals, stage},
};

const ANNA: [&str; 1] = ["phone:+79161110001"];
const BORIS: [&str; 1] = ["phone:+79161110002"];

async fn fold(account: &Account, event: Event) {
    assert!(account.sync.handle(vec![event]).await.is_empty());
    account.reconcile().await;
}

async fn hear(account: &Account) -> Heard {
    account.sync.hear_crm(&SourceName::new("crm").expect("a name")).await.expect("heard")
}

/// Order 1 as it was at so many seconds from now.
fn now_and(account: &Account, seconds: i64, is_paid: bool) -> Event {
    let second = account.sync.clock.now().as_second() - order(0, &[]).time.as_second() + seconds;
    changed(1, second, &ANNA, |order| {
        order.placed_at = order.revision;
        order.paid_at = is_paid.then_some(order.revision);
        if !is_paid {
            (order.state, order.paid.minor) = (OrderState::Placed, 0);
        }
    })
}

fn moved_by_manager(account: &Account, to: &str) {
    let id = deals(account, Which::Vtiger)[0].0;
    account.vtiger().by_manager(5, &format!("13x{id}"), &[("sales_stage", to)]);
}

#[tokio::test]
async fn one_row_of_a_future_time_makes_the_hub_deaf_to_no_other() {
    let account = Account::of(Which::Vtiger).await;
    fold(&account, order(1, &ANNA)).await;
    fold(&account, order(2, &BORIS)).await;
    let id = deals(&account, Which::Vtiger)[1].0;
    account.vtiger().set_modified(&format!("13x{id}"), "2036-05-01 10:00:00");
    hear(&account).await;
    moved_by_manager(&account, &stage(Rung::Attended));
    assert_eq!(hear(&account).await.moves, 1);
}

#[tokio::test]
async fn a_hub_that_believed_a_future_time_hears_again() {
    let account = Account::of(Which::Vtiger).await;
    fold(&account, order(1, &ANNA)).await;
    hear(&account).await;
    let kept = account.store.key_value("crm/changes").await.expect("read").expect("a cell");
    assert!(
        account.store.compare_and_set("crm/changes", "2036-05-01T10:00:00Z", Some(kept.version)).await.expect("kept")
    );
    moved_by_manager(&account, &stage(Rung::Attended));
    assert_eq!(hear(&account).await.moves, 1);
}

#[tokio::test]
async fn a_server_in_another_zone_is_heard_and_a_payment_after_a_managers_move_counts() {
    for zone in [3 * 3_600, -5 * 3_600] {
        let account = Account::of(Which::Vtiger).await;
        account.vtiger().set_zone(zone);
        fold(&account, now_and(&account, -60, false)).await;
        moved_by_manager(&account, &stage(Rung::Talked));
        assert_eq!(hear(&account).await.moves, 1, "{zone}");
        fold(&account, now_and(&account, 60, true)).await;
        assert_eq!(deals(&account, Which::Vtiger)[0].1, stage(Rung::Paid), "{zone}");
        // Another process knows the zone before it wrote anything.
        moved_by_manager(&account, &stage(Rung::Attended));
        let next = account.another("test");
        let heard = next.hear_crm(&SourceName::new("crm").expect("a name")).await.expect("heard");
        assert_eq!(heard.moves, 1, "{zone}");
    }
}

#[tokio::test]
async fn rows_of_an_outage_that_answers_500_to_writes_are_written_when_it_is_over() {
    for calls in ["create", "revise"] {
        let account = Account::of(Which::Vtiger).await;
        fold(&account, order(1, &ANNA)).await;
        account.fault(Fault::always(FaultKind::Broken, calls));
        let more = (2..12).map(|n| order(n, &[&format!("phone:+791611100{n:02}")]));
        let more: Vec<Event> = more.chain([order(20, &[ANNA[0], "email:anna@example.com"])]).collect();
        assert!(account.sync.handle(more).await.is_empty());
        for _ in 0..4 {
            account.sync.reconcile(FlushMode::Everything).await.expect("a round");
        }
        let reasons = waiting_reasons(account.store.as_ref()).await.expect("read");
        assert!(reasons.iter().any(|one| one.reason.contains("answers with an error")), "{calls}: {reasons:?}");
        assert_eq!(account.store.totals().await.expect("totals").rejected, 0, "{calls}");
        account.clear_faults();
        account.store.mark_dirty(account.store.scan_people(None, 100).await.expect("read").0).await.expect("marked");
        account.reconcile().await;
        assert_eq!(account.counts(), (11, 11), "{calls}");
        let anna = deals(&account, Which::Vtiger).into_iter().filter(|(_, _, price)| price == "3000").count();
        assert_eq!((anna, account.store.totals().await.expect("totals").rejected), (1, 0), "{calls}");
    }
}

#[tokio::test]
async fn a_stage_that_was_deleted_while_another_was_added_takes_no_deals() {
    let account = Account::of(Which::Vtiger).await;
    fold(&account, order(1, &ANNA)).await;
    let last = stage(Stage::Lost);
    assert!(account.vtiger().delete_stage(&last, &stage(Rung::Talked)));
    account.vtiger().add_stage("VIP");
    let lost = changed(1, 9, &ANNA, |order| {
        (order.state, order.paid_at, order.paid.minor) = (OrderState::Cancelled, None, 0);
    });
    let next = account.another("test");
    assert!(next.handle(vec![lost, order(3, &BORIS)]).await.is_empty());
    next.reconcile(FlushMode::Everything).await.expect("a round");
    let stages: Vec<String> = deals(&account, Which::Vtiger).into_iter().map(|(_, stage, _)| stage).collect();
    assert_eq!(stages, [stage(Rung::Paid), stage(Rung::Paid)], "nothing is put where it does not belong");
    let reasons = waiting_reasons(account.store.as_ref()).await.expect("read");
    assert!(reasons.iter().any(|one| one.reason.contains(&last)), "{reasons:?}");
}

#[tokio::test]
async fn the_last_stage_is_known_under_its_new_name_by_the_deals_in_it() {
    let account = Account::of(Which::Vtiger).await;
    let lost = |n: i64, names: &[&str]| {
        changed(n, n + 20, names, |order| {
            (order.state, order.paid_at, order.paid.minor) = (OrderState::Cancelled, None, 0);
        })
    };
    fold(&account, order(1, &ANNA)).await;
    fold(&account, lost(1, &ANNA)).await;
    assert_eq!(deals(&account, Which::Vtiger)[0].1, stage(Stage::Lost));
    assert!(account.vtiger().rename_stage(&stage(Stage::Lost), "Отказ"));
    fold(&account, order(2, &BORIS)).await;
    fold(&account, lost(2, &BORIS)).await;
    let stages: Vec<String> = deals(&account, Which::Vtiger).into_iter().map(|(_, stage, _)| stage).collect();
    assert_eq!(stages, ["Отказ", "Отказ"]);
}
