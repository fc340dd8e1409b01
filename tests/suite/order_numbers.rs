//! Money that names an order by the number on its ticket finds the order, and never another one.

use stagedoor_model::{Body, Event, EventId, Money, OrderState, Payment, PaymentKind, PaymentReported, SourceName};
use stagedoor_tests::world::World;

use crate::stages::changed;

const ANNA: [&str; 1] = ["phone:+79161110001"];
const GAEV: [&str; 1] = ["phone:+79161110002"];

/// Order `n` of a shop whose ids nobody sees; it bears this number.
fn order(n: i64, second: i64, names: &[&str], number: &str, state: OrderState) -> Event {
    changed(n, second, names, |order| {
        (order.id, order.number) = (format!("5b0c-{n}"), Some(number.to_owned()));
        if state == OrderState::Placed {
            (order.state, order.paid_at, order.paid.minor) = (state, None, 0);
        }
    })
}

fn money(second: i64, kind: PaymentKind, number: Option<&str>, minor: i64) -> Event {
    let shop = SourceName::new("shop").expect("a name");
    let stripe = SourceName::new("stripe").expect("a name");
    let at = changed(9, second, &[], |_| {}).time;
    let payment = format!("pi-{second}");
    let body = PaymentReported {
        shop: Some(shop),
        order: number.map(str::to_owned),
        payment: payment.clone(),
        references: [String::from("pi")].into(),
        detail: Payment { at, kind, amount: Money { minor, currency: "RUB".into() } },
    };
    Event::new(&stripe, EventId::derive(&stripe, &[&payment]), at, Body::PaymentReported(body))
}

async fn after(events: Vec<Event>) -> World {
    let world = World::new().await;
    for event in events {
        world.run(vec![event]).await;
    }
    world
}

fn stages(world: &World) -> Vec<String> {
    let mut stages: Vec<String> = world.sandbox.leads_by_stage().into_keys().map(|(_, stage)| stage).collect();
    stages.sort();
    stages
}

async fn rejected(world: &World) -> usize {
    let rejected = world.store.rejected(10).await.expect("read");
    rejected.iter().map(|(_, link)| link.rejected().len()).sum()
}

#[tokio::test]
async fn money_by_an_orders_number_settles_the_order_whichever_came_first() {
    let placed = || order(1, 10, &ANNA, "70001", OrderState::Placed);
    let came = || money(20, PaymentKind::Received, Some("70001"), 150_000);
    for events in [vec![placed(), came()], vec![came(), placed()]] {
        let world = after(events).await;
        assert_eq!(stages(&world), ["paid ·"]);
        assert_eq!((rejected(&world).await, world.store.totals().await.expect("totals").people), (0, 1));
    }
}

#[tokio::test]
async fn a_refund_by_an_orders_number_counts_whichever_came_first() {
    let paid = || order(1, 10, &ANNA, "70001", OrderState::Paid);
    let back = || money(30, PaymentKind::Returned, Some("70001"), 150_000);
    // One that names only the payment finds the order by the payment's money.
    let came = || money(20, PaymentKind::Received, Some("70001"), 150_000);
    let by_payment = || money(30, PaymentKind::Returned, None, 150_000);
    for events in [
        vec![paid(), back()],
        vec![back(), paid()],
        vec![paid(), came(), by_payment()],
        vec![by_payment(), paid(), came()],
        vec![by_payment(), came(), paid()],
    ] {
        let world = after(events).await;
        assert_eq!((stages(&world), rejected(&world).await), (vec!["refunded ·".to_owned()], 0));
    }
}

#[tokio::test]
async fn a_number_that_two_orders_bear_settles_none_and_joins_nobody() {
    let one = || order(1, 10, &ANNA, "70001", OrderState::Placed);
    let two = || order(2, 11, &GAEV, "70001", OrderState::Placed);
    let came = || money(20, PaymentKind::Received, Some("70001"), 150_000);
    for events in [vec![one(), two(), came()], vec![came(), one(), two()], vec![two(), came(), one()]] {
        let world = after(events).await;
        assert_eq!(rejected(&world).await, 1, "a manager decides");
        assert_eq!(world.store.totals().await.expect("totals").people, 3);
    }
    assert_eq!(stages(&after(vec![one(), two(), came()]).await), ["cart ·"]);
}

#[tokio::test]
async fn an_orders_id_stands_above_anothers_number() {
    let one = order(1, 10, &ANNA, "7", OrderState::Placed);
    let two =
        changed(7, 11, &GAEV, |order| (order.state, order.paid_at, order.paid.minor) = (OrderState::Placed, None, 0));
    let world = after(vec![one, two, money(20, PaymentKind::Received, Some("7"), 150_000)]).await;
    assert_eq!((rejected(&world).await, world.store.totals().await.expect("totals").people), (0, 2));
    let names: Vec<String> = stages(&world);
    assert_eq!(names, ["cart ·", "paid ·"]);
}
