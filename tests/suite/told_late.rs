//! What a shop tells of money late, of tickets that were exchanged, and of several orders that wait at once.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value;
use stagedoor_engine::Stage;
use stagedoor_model::{Event, Money, Order, OrderState, Refund, Rung, ShowRef, Ticket};
use stagedoor_ports::Gone;
use stagedoor_tests::{
    account::{Account, Which},
    clock::Moved,
};

use crate::{
    crashes::order,
    deletions::meddle,
    hub_ids::{money_of, rows},
    stages::{cart, changed, deals, moved, refund, stage},
    unmatched_money::{came, tasks},
};

crate::promises!(
    a_payment_that_is_told_after_a_managers_move_moves_the_deal,
    a_refund_that_is_told_after_a_managers_move_moves_the_deal,
    what_was_told_late_moves_the_deal_once,
    a_late_payment_of_another_order_moves_a_paid_deal_once,
    an_old_payment_of_another_order_leaves_a_managers_move,
    a_cart_that_is_told_late_leaves_a_managers_move,
    two_orders_that_wait_are_asked_for_together,
    money_in_another_currency_leaves_what_is_asked,
    a_show_whose_ticket_was_exchanged_holds_nothing,
    an_order_that_names_another_show_leaves_a_lost_deal,
    the_payment_of_a_show_that_went_back_whole_is_refunded,
    a_payment_that_only_the_shop_told_and_a_cancelled_order_is_a_task,
    the_deal_that_a_manager_kept_holds_the_money,
);

const ANNA: [&str; 1] = ["phone:+79161110001"];

async fn fold(account: &Account, event: Event) {
    assert!(account.sync.handle(vec![event]).await.is_empty());
    account.reconcile().await;
}

/// Order `n` was paid at its own second, and that is told at this one.
fn paid(n: i64, second: i64) -> Event {
    changed(n, second, &ANNA, |_| {})
}

/// Where each deal stands and its price.
fn shown(account: &Account, which: Which) -> Vec<(String, String)> {
    let mut shown: Vec<_> = deals(account, which).into_iter().map(|(_, stage, price)| (stage, price)).collect();
    shown.sort();
    shown
}

fn only(account: &Account, which: Which) -> (String, String) {
    let shown = shown(account, which);
    assert_eq!(shown.len(), 1, "{shown:?}");
    shown[0].clone()
}

async fn a_payment_that_is_told_after_a_managers_move_moves_the_deal(which: Which) {
    let account = Account::of(which).await;
    fold(&account, cart(1, &ANNA)).await;
    moved(&account, which, &stage(Rung::Interested), 20).await;
    fold(&account, paid(1, 12)).await;
    assert_eq!(only(&account, which), (stage(Rung::Paid), "1500".into()));
}

async fn a_refund_that_is_told_after_a_managers_move_moves_the_deal(which: Which) {
    let account = Account::of(which).await;
    fold(&account, paid(1, 1)).await;
    moved(&account, which, &stage(Rung::Interested), 20).await;
    fold(&account, refund(1, 12, &ANNA)).await;
    assert_eq!(only(&account, which), (stage(Stage::Refunded), "0".into()));
}

async fn what_was_told_late_moves_the_deal_once(which: Which) {
    let account = Account::of(which).await;
    fold(&account, cart(1, &ANNA)).await;
    moved(&account, which, &stage(Rung::Interested), 20).await;
    fold(&account, paid(1, 12)).await;
    moved(&account, which, &stage(Rung::Interested), 30).await;
    let code = |order: &mut Order| order.promo_codes.push("SPRING".into());
    fold(&account, changed(1, 13, &ANNA, code)).await;
    assert_eq!(only(&account, which).0, stage(Rung::Interested));
}

async fn a_late_payment_of_another_order_moves_a_paid_deal_once(which: Which) {
    let account = Account::of(which).await;
    fold(&account, paid(1, 1)).await;
    moved(&account, which, &stage(Rung::Interested), 20).await;
    fold(&account, paid(12, 12)).await;
    assert_eq!(only(&account, which), (stage(Rung::Paid), "3000".into()));
    moved(&account, which, &stage(Rung::Interested), 30).await;
    fold(&account, changed(1, 13, &ANNA, |order| order.promo_codes.push("SPRING".into()))).await;
    assert_eq!(only(&account, which).0, stage(Rung::Interested));
}

async fn an_old_payment_of_another_order_leaves_a_managers_move(which: Which) {
    let account = Account::of(which).await;
    fold(&account, paid(1, 1)).await;
    moved(&account, which, &stage(Rung::Interested), 20).await;
    fold(&account, paid(-200_000, -200_000)).await;
    assert_eq!(only(&account, which), (stage(Rung::Interested), "3000".into()));
}

async fn a_cart_that_is_told_late_leaves_a_managers_move(which: Which) {
    let account = Account::of(which).await;
    fold(&account, crate::crashes::form(1, &ANNA)).await;
    moved(&account, which, &stage(Stage::Lost), 20).await;
    fold(&account, cart(2, &ANNA)).await;
    assert_eq!(only(&account, which).0, stage(Stage::Lost));
}

async fn two_orders_that_wait_are_asked_for_together(which: Which) {
    let account = Account::of(which).await;
    for n in [9, 10] {
        fold(&account, cart(n, &ANNA)).await;
    }
    assert_eq!(only(&account, which), (stage(Rung::Cart), "3000".into()));
    // Of two that wait, one is paid: the deal is worth what came.
    fold(&account, paid(9, 20)).await;
    assert_eq!(only(&account, which), (stage(Rung::Paid), "1500".into()));
}

async fn money_in_another_currency_leaves_what_is_asked(which: Which) {
    let account = Account::of(which).await;
    fold(&account, cart(9, &ANNA)).await;
    fold(&account, came(Some("9"), "EUR", order(10, &ANNA).time)).await;
    assert_eq!(only(&account, which).1, "1500");
}

fn ticket(id: &str, show: &str, live: bool) -> Ticket {
    let price = Money { minor: 150_000, currency: "RUB".into() };
    Ticket { id: id.into(), show: ShowRef::id(show), price, live }
}

async fn a_show_whose_ticket_was_exchanged_holds_nothing(which: Which) {
    let account = Account::of(which).await;
    fold(&account, paid(1, 1)).await;
    let exchange = |order: &mut Order| {
        order.tickets = vec![ticket("t", "show-1", false), ticket("other", "show-2", true)];
    };
    fold(&account, changed(1, 12, &ANNA, exchange)).await;
    let expected = BTreeMap::from([(stage(Stage::Refunded), "0".to_owned()), (stage(Rung::Paid), "1500".to_owned())]);
    assert_eq!(shown(&account, which).into_iter().collect::<BTreeMap<_, _>>(), expected);
}

async fn an_order_that_names_another_show_leaves_a_lost_deal(which: Which) {
    let account = Account::of(which).await;
    fold(&account, paid(1, 1)).await;
    fold(&account, changed(1, 12, &ANNA, |order| order.tickets = vec![ticket("other", "show-2", true)])).await;
    let expected = BTreeMap::from([(stage(Stage::Lost), "0".to_owned()), (stage(Rung::Paid), "1500".to_owned())]);
    assert_eq!(shown(&account, which).into_iter().collect::<BTreeMap<_, _>>(), expected);
}

async fn the_payment_of_a_show_that_went_back_whole_is_refunded(which: Which) {
    let account = Account::of(which).await;
    let two = |order: &mut Order| {
        order.tickets = vec![ticket("t", "show-1", true), ticket("other", "show-2", true)];
        (order.total.minor, order.paid.minor) = (300_000, 300_000);
    };
    fold(&account, changed(1, 1, &ANNA, two)).await;
    let back = |order: &mut Order| {
        two(order);
        let amount = Money { minor: 150_000, currency: "RUB".into() };
        let refund = Refund { amount, at: order.revision, tickets: [String::from("t")].into(), moved: false };
        order.refunds.insert("r".into(), refund);
    };
    fold(&account, changed(1, 12, &ANNA, back)).await;
    let shown = |row: &Value| {
        let text = row.to_string();
        ["show-1", "show-2"]
            .into_iter()
            .find(|show| text.contains(show))
            .map(|show| (show, money_of(row, which)[0].clone()))
    };
    let all: BTreeMap<&str, String> = rows(&account, which, true).iter().filter_map(shown).collect();
    let expected = BTreeMap::from([("show-1", "refunded".to_owned()), ("show-2", "paid".to_owned())]);
    assert_eq!(all, expected);
}

async fn a_payment_that_only_the_shop_told_and_a_cancelled_order_is_a_task(which: Which) {
    let (mut account, clock) = (Account::of(which).await, Moved::at(1_800_000_100));
    account.sync.clock = Arc::new(clock.clone());
    fold(&account, paid(1, 1)).await;
    fold(&account, changed(1, 12, &ANNA, |order| order.state = OrderState::Cancelled)).await;
    assert_eq!(tasks(&account, which), 0, "a bank may need days");
    clock.on(73 * 3_600);
    account.sync.wake().await.expect("woken");
    account.reconcile().await;
    assert_eq!(tasks(&account, which), 1);
}

async fn the_deal_that_a_manager_kept_holds_the_money(which: Which) {
    let account = Account::of(which).await;
    fold(&account, paid(1, 1)).await;
    let former = deals(&account, which)[0].0;
    meddle(&account, which, Gone::Deal(former), true, 5).await;
    fold(&account, paid(2, 12)).await;
    let (new, ..) = deals(&account, which).into_iter().find(|(id, ..)| *id != former).expect("a new deal");
    meddle(&account, which, Gone::Deal(former), false, 20).await;
    meddle(&account, which, Gone::Deal(new), true, 30).await;
    account.reconcile().await;
    assert_eq!(deals(&account, which), [(former, stage(Rung::Paid), "3000".into())]);
}
