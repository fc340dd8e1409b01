//! What a manager deleted, though no webhook told of it, holds up nobody.

use stagedoor_model::{Body, Company, Event};

use crate::fake::{Made, World, bought};

fn for_a_company(key: &str, show: &str, names: &[&str]) -> Event {
    let mut event = bought(key, show, names);
    let Body::OrderPaid(body) = &mut event.body else { unreachable!("a paid order") };
    body.order.company =
        Some(Company { name: "ООО Вишнёвый сад".into(), tax_id: None, unchecked: Some("77".into()) });
    event
}

fn delete(world: &World, is_it: impl Fn(&Made) -> bool) {
    let before = world.crm.state().rows.len();
    world.crm.state().rows.retain(|_, made| !is_it(made));
    assert_eq!(world.crm.state().rows.len(), before - 1, "one row was deleted");
}

#[tokio::test]
async fn a_company_that_a_manager_deleted_is_made_again_and_nobody_waits_for_it() {
    let world = World::new();
    world.tell(vec![for_a_company("1", "cherry", &["email:kassa@theatre.example"])]).await;
    world.runs_for(10).await;
    delete(&world, |made| matches!(made, Made::Company(_)));
    world.tell(vec![for_a_company("2", "gull", &["email:kassa@theatre.example"])]).await;
    world.tell((3..6).map(|n| bought(&n.to_string(), "cherry", &[&format!("phone:+7916123000{n}")])).collect()).await;
    world.runs_for(10).await;
    assert_eq!((world.contacts(), world.deals()), (4, 5));
    assert_eq!(world.count(|made| matches!(made, Made::Company(_))), 1);
    let totals = world.store.totals().await.expect("totals");
    assert_eq!((totals.waiting, totals.parked), (0, 0));
}

#[tokio::test]
async fn a_deal_that_a_manager_deleted_is_known_to_be_deleted_once_a_call_finds_out() {
    let world = World::new();
    world
        .tell(vec![bought("1", "cherry", &["phone:+79161230001"]), bought("2", "cherry", &["phone:+79161230002"])])
        .await;
    world.runs_for(10).await;
    let lead = *world.crm.state().rows.iter().find(|(_, made)| matches!(made, Made::Deal(..))).expect("a deal").0;
    world.crm.state().rows.remove(&lead);
    let mut again: Vec<Event> = ["phone:+79161230001", "phone:+79161230002"]
        .iter()
        .enumerate()
        .map(|(n, name)| bought(&format!("again-{n}"), "cherry", &[name]))
        .collect();
    again.reverse();
    world.tell(again).await;
    world.runs_for(10).await;
    let totals = world.store.totals().await.expect("totals");
    assert_eq!((totals.waiting, totals.parked), (0, 0), "it is no row that the CRM refuses");
    let name = format!("crm_lead:{lead}").parse().expect("a name");
    let owner =
        world.store.resolve(&[name].into()).await.expect("resolved").owners.into_values().next().expect("an owner");
    let person = world.store.load(&[owner].into()).await.expect("loaded").pop().expect("the buyer").value;
    let is_deleted =
        |fact: &stagedoor_model::Fact| matches!(fact, stagedoor_model::Fact::CrmLead { deleted: true, .. });
    assert!(person.records.values().any(|record| is_deleted(&record.fact)), "as if its webhook had come");
}

#[tokio::test]
async fn one_contact_that_cannot_be_sent_stops_nobody_elses_deal() {
    let world = World::new();
    let buyers = |show: &str, turn: usize| {
        let buyer = |n: usize| bought(&format!("{turn}{n}"), show, &[&format!("phone:+7916123000{n}")]);
        (2..6).map(buyer).collect::<Vec<_>>()
    };
    world.tell(buyers("cherry", 0)).await;
    world.run().await;
    // Of all contacts only this one is still to be made: its call is the first, and is about nobody else.
    world.crm.state().stuck.insert("+79161230001".into());
    world.tell(vec![bought("1", "cherry", &["phone:+79161230001"])]).await;
    world.tell(buyers("gull", 1)).await;
    world.run().await;
    assert_eq!((world.contacts(), world.deals()), (4, 8));
}
