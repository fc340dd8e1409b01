//! A show that is called off is so for all who hold its tickets then.

use stagedoor_model::{Body, ShowChanged, ShowRef};

use crate::fake::{Made, World, event, handed_on};

#[tokio::test]
async fn a_show_that_is_called_off_is_so_for_somebody_who_took_an_order_over() {
    let world = World::new();
    world.tell(vec![handed_on(1, &["phone:+79161230001"])]).await;
    world.runs_for(4).await;
    world.tell(vec![handed_on(5, &["phone:+79161230002"])]).await;
    world.runs_for(4).await;
    world.tell(vec![event("shop", "off", 20, Body::ShowCancelled(ShowChanged { show: ShowRef::id("cherry") }))]).await;
    world.runs_for(4).await;
    let holds = |draft: &stagedoor_engine::DealDraft| draft.tickets == 1 && draft.show_cancelled;
    assert_eq!(world.count(|made| matches!(made, Made::Deal(_, draft) if holds(draft))), 1);
}
