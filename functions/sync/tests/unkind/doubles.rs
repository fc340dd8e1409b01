//! One person has one deal for a show, however many the CRM came to hold.

use stagedoor_engine::Stage;

use crate::fake::{Made, World, bought, form, handed_on};

/// Price, stage and orders of all deals.
fn deals(world: &World) -> Vec<(i64, Option<Stage>, String)> {
    let deal = |made: &Made| match made {
        Made::Deal(_, draft) => {
            Some((draft.price.unwrap_or(0), draft.stage.as_ref().map(|(stage, _)| *stage), draft.orders.clone()))
        }
        _ => None,
    };
    world.crm.state().rows.values().filter_map(deal).collect()
}

#[tokio::test]
async fn two_people_joined_late_end_with_one_deal_that_counts() {
    let world = World::new();
    world
        .tell(vec![bought("1", "cherry", &["phone:+79161230001"]), bought("2", "cherry", &["email:a@example.com"])])
        .await;
    world.runs_for(4).await;
    world.tell(vec![form("3", &["phone:+79161230001", "email:a@example.com"])]).await;
    world.runs_for(10).await;
    let bought = deals(&world).into_iter().filter(|(_, _, orders)| !orders.is_empty());
    let (counting, closed): (Vec<_>, Vec<_>) = bought.partition(|(price, _, _)| *price > 0);
    assert_eq!(counting.iter().map(|(price, _, _)| *price).collect::<Vec<_>>(), [3_000]);
    assert_eq!(closed.len(), 1);
    assert_eq!(closed[0].1, Some(Stage::Lost));
    assert!(closed[0].2.starts_with("duplicate of deal "), "{}", closed[0].2);
    assert_eq!(world.store.totals().await.expect("totals").waiting, 0);
}

#[tokio::test]
async fn an_order_that_is_handed_on_twice_makes_three_people_and_holds_up_none_of_them() {
    let world = World::new();
    let buyers = [
        ["phone:+79161230001", "email:maria@example.com"],
        ["phone:+79161230002", "email:olga@example.com"],
        ["phone:+79161230003", "email:yulia@example.com"],
    ];
    for (second, buyer) in buyers.iter().enumerate() {
        world.tell(vec![handed_on(i64::try_from(second).expect("small"), buyer)]).await;
        world.run().await;
    }
    for (number, buyer) in buyers.iter().enumerate() {
        world.tell(vec![form(&number.to_string(), buyer)]).await;
    }
    world.runs_for(20).await;
    assert_eq!(world.store.totals().await.expect("totals").people, 3);
    assert_eq!(world.contacts(), 3);
}

#[tokio::test]
async fn a_double_that_waited_for_the_account_says_so_no_more_once_it_is_closed() {
    let world = World::new();
    world
        .tell(vec![bought("1", "cherry", &["phone:+79161230001"]), bought("2", "cherry", &["email:a@example.com"])])
        .await;
    world.runs_for(4).await;
    world.crm.state().holds_doubles = true;
    world.tell(vec![form("3", &["phone:+79161230001", "email:a@example.com"])]).await;
    world.runs_for(4).await;
    let held = async || {
        let waiting = world.store.claim_dirty(10, None).await.expect("read");
        let people: std::collections::BTreeSet<_> =
            world.store.resolve(&names()).await.expect("read").owners.into_values().collect();
        let links = world.store.crm_states(&people).await.expect("read");
        (waiting.len(), links.values().map(|link| link.held().len()).sum::<usize>())
    };
    assert_eq!(held().await, (1, 1));
    world.crm.state().holds_doubles = false;
    world.runs_for(120).await;
    assert_eq!(held().await, (0, 0));
}

fn names() -> std::collections::BTreeSet<stagedoor_model::Identifier> {
    ["phone:+79161230001".parse().expect("an identifier")].into()
}
