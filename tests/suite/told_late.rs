//! What a shop tells of money late, of tickets that were exchanged, and of several orders that wait at once.

use std::collections::BTreeMap;

use stagedoor_engine::Stage;
use stagedoor_model::{Event, Money, Order, Rung, ShowRef, Ticket};
use stagedoor_ports::Gone;
use stagedoor_tests::account::{Account, Which};

use crate::{
    crashes::order,
    deletions::meddle,
    stages::{cart, changed, deals, moved, refund, stage},
    unmatched_money::came,
};

crate::promises!(
    a_payment_that_is_told_after_a_managers_move_moves_the_deal,
    a_refund_that_is_told_after_a_managers_move_moves_the_deal,
    what_was_told_late_moves_the_deal_once,
    a_cart_that_is_told_late_leaves_a_managers_move,
    two_orders_that_wait_are_asked_for_together,
    money_in_another_currency_leaves_what_is_asked,
    a_show_whose_ticket_was_exchanged_holds_nothing,
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
