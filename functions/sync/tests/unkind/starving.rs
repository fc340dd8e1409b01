//! A whole round of people whose runs fail holds up nobody behind them.

use crate::fake::{World, bought};

/// As many people as one round compares.
const ROUND: usize = 2_000;

#[tokio::test]
async fn people_behind_a_full_round_of_failing_ones_have_their_turn() {
    let world = World::new();
    world.crm.state().withholds_landlines = true;
    let failing = (0..ROUND).map(|n| bought(&format!("f{n}"), "cherry", &[&format!("phone:+7499{n:07}")]));
    for chunk in failing.collect::<Vec<_>>().chunks(250) {
        world.tell(chunk.to_vec()).await;
    }
    world.pass(1);
    world.tell(vec![bought("last", "cherry", &["phone:+79161230001"])]).await;
    for _ in 0..5 {
        world.run().await;
    }
    assert_eq!((world.contacts(), world.deals()), (1, 1));
    assert_eq!(world.store.totals().await.expect("totals").waiting, ROUND as u64, "and nobody is forgotten");
}
