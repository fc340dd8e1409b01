//! Money that matches no order, or came in another currency, is shown, and becomes a manager's task once.

use std::sync::Arc;

use stagedoor_model::{
    Body, Event, EventId, Money, OrderState, Payment, PaymentKind, PaymentReported, SourceName, Timestamp,
};
use stagedoor_sync::waiting_reasons;
use stagedoor_tests::{
    account::{Account, Which},
    clock::Moved,
};

use crate::{
    crashes::{form, order},
    stages::{changed, deals},
};

crate::promises!(
    money_for_an_order_that_no_shop_told_of_is_shown_and_a_task_until_the_order_comes,
    money_that_came_a_moment_ago_waits_for_its_order,
    an_old_payment_that_is_told_before_its_order_is_no_task,
    what_was_listed_of_somebody_who_is_part_of_another_now_is_listed_no_more,
    money_that_names_no_order_is_shown_and_makes_no_contact,
    money_in_another_currency_is_shown_and_a_task,
);

const ANNA: [&str; 1] = ["phone:+79161110001"];

pub fn came(order: Option<&str>, currency: &str, at: Timestamp) -> Event {
    let shop = SourceName::new("shop").expect("a name");
    let amount = Money { minor: 300_000, currency: currency.into() };
    let body = PaymentReported {
        shop: Some(shop.clone()),
        order: order.map(str::to_owned),
        payment: "pi_9".into(),
        references: [String::from("pi_9")].into(),
        detail: Payment { at, kind: PaymentKind::Received, amount },
    };
    Event::new(&shop, EventId::derive(&shop, &["payment", currency]), at, Body::PaymentReported(body))
}

fn long_ago() -> Timestamp {
    Timestamp::from_second(1_700_000_000).expect("in range")
}

async fn fold(account: &Account, event: Event) {
    assert!(account.sync.handle(vec![event]).await.is_empty());
    account.reconcile().await;
}

/// An account whose hub has a clock of its own.
async fn clocked(which: Which) -> (Account, Moved) {
    let (mut account, clock) = (Account::of(which).await, Moved::at(Timestamp::now().as_second()));
    account.sync.clock = Arc::new(clock.clone());
    (account, clock)
}

/// A quarter of an hour later, those are looked at whose time has come.
async fn wait(account: &Account, clock: &Moved) {
    clock.on(15 * 60);
    account.sync.wake().await.expect("woken");
    account.reconcile().await;
}

pub fn tasks(account: &Account, which: Which) -> usize {
    match which {
        Which::Amo => account.amocrm().tasks().len(),
        Which::Vtiger => account.vtiger().records("Calendar").len(),
    }
}

/// What stands in the list of parked things.
async fn listed(account: &Account) -> Vec<String> {
    let rejected = account.store.rejected(10).await.expect("read");
    rejected.iter().flat_map(|(_, link)| link.rejected().into_iter().map(|one| one.reason.clone())).collect()
}

async fn money_for_an_order_that_no_shop_told_of_is_shown_and_a_task_until_the_order_comes(which: Which) {
    let (account, clock) = clocked(which).await;
    fold(&account, came(Some("9"), "RUB", long_ago())).await;
    let lines = listed(&account).await;
    assert!(matches!(lines.as_slice(), [line] if line.contains("3000.00 RUB came for order 9")), "{lines:?}");
    assert_eq!((account.counts(), tasks(&account, which)), ((0, 0), 0), "its order may be told still");
    assert_eq!(waiting_reasons(account.store.as_ref()).await.expect("read"), vec![]);
    wait(&account, &clock).await;
    assert_eq!((account.counts(), tasks(&account, which)), ((1, 0), 1));
    let reasons = waiting_reasons(account.store.as_ref()).await.expect("read");
    assert!(matches!(reasons.as_slice(), [one] if one.reason.contains("matches no order")), "{reasons:?}");
    // The same told again is no other task.
    fold(&account, came(Some("9"), "RUB", long_ago())).await;
    assert_eq!(tasks(&account, which), 1);
    let unpaid = |order: &mut stagedoor_model::Order| {
        (order.state, order.paid_at, order.paid.minor) = (OrderState::Placed, None, 0);
        order.total.minor = 300_000;
    };
    fold(&account, changed(9, 10, &ANNA, unpaid)).await;
    assert_eq!((listed(&account).await, tasks(&account, which)), (vec![], 1));
    assert_eq!(deals(&account, which)[0].2, "3000");
    assert_eq!(waiting_reasons(account.store.as_ref()).await.expect("read"), vec![]);
}

async fn money_that_came_a_moment_ago_waits_for_its_order(which: Which) {
    let account = Account::of(which).await;
    fold(&account, came(Some("9"), "RUB", Timestamp::now())).await;
    assert_eq!((account.counts(), tasks(&account, which)), ((0, 0), 0));
    assert_eq!(waiting_reasons(account.store.as_ref()).await.expect("read"), vec![]);
}

async fn an_old_payment_that_is_told_before_its_order_is_no_task(which: Which) {
    let (account, clock) = clocked(which).await;
    fold(&account, came(Some("9"), "RUB", long_ago())).await;
    let unpaid = |order: &mut stagedoor_model::Order| {
        (order.state, order.paid_at, order.paid.minor) = (OrderState::Placed, None, 0);
        order.total.minor = 300_000;
    };
    fold(&account, changed(9, 10, &ANNA, unpaid)).await;
    wait(&account, &clock).await;
    assert_eq!((listed(&account).await, tasks(&account, which)), (vec![], 0));
    assert_eq!(deals(&account, which)[0].2, "3000");
}

async fn money_that_names_no_order_is_shown_and_makes_no_contact(which: Which) {
    let (account, clock) = clocked(which).await;
    fold(&account, came(None, "RUB", long_ago())).await;
    fold(&account, form(2, &ANNA)).await;
    wait(&account, &clock).await;
    assert_eq!((listed(&account).await.len(), account.counts().0, tasks(&account, which)), (1, 1, 0));
}

async fn money_in_another_currency_is_shown_and_a_task(which: Which) {
    let account = Account::of(which).await;
    fold(&account, changed(9, 10, &ANNA, |_| {})).await;
    fold(&account, came(Some("9"), "EUR", long_ago())).await;
    let lines = listed(&account).await;
    let says = |line: &String| line.contains("3000.00 EUR came for it in another currency");
    assert!(lines.len() == 1 && lines.iter().all(says), "{lines:?}");
    assert_eq!(tasks(&account, which), 1);
}

async fn what_was_listed_of_somebody_who_is_part_of_another_now_is_listed_no_more(which: Which) {
    let account = Account::of(which).await;
    fold(&account, order(1, &ANNA)).await;
    fold(&account, came(Some("9"), "RUB", order(5, &ANNA).time)).await;
    assert_eq!(listed(&account).await.len(), 1);
    fold(&account, changed(9, 10, &ANNA, |_| {})).await;
    assert_eq!(listed(&account).await, Vec::<String>::new());
    assert_eq!(account.store.totals().await.expect("totals").rejected, 0);
}
