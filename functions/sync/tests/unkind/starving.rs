//! A whole round of people whose runs fail holds up nobody behind them.

use stagedoor_sync::FlushMode;

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

#[tokio::test]
async fn a_look_that_finds_nobody_takes_no_lease() {
    let world = World::new();
    let is_free = async || {
        let now = world.sync.clock.now();
        let free = world.store.lease("reconciler", "another", now, now).await.expect("asked");
        world.store.release("reconciler", "another").await.expect("given back");
        free
    };
    assert_eq!(world.sync.reconcile(FlushMode::Everything).await.expect("a run"), Default::default());
    assert!(is_free().await, "nobody waits");
    world.tell(vec![bought("one", "cherry", &["phone:+79161230001"])]).await;
    assert_eq!(world.sync.reconcile(FlushMode::Everything).await.expect("a run").settled, 1);
    assert!(!is_free().await, "the lease rests for a moment after a run");
}
