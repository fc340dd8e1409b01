//! One person has one deal for a show, however many the CRM came to hold.

use stagedoor_engine::Stage;

use crate::fake::{Made, World, bought, form};

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
