//! A call that got no answer may still take effect. Nothing is doubled, and nobody waits for somebody else.

use jiff::SignedDuration;
use stagedoor_engine::CrmState;
use stagedoor_model::{Body, LeadChanged};

use crate::fake::{Made, World, bought, event, form, given_back};

fn slow(world: &World, kind: &'static str, seconds: i64) {
    world.crm.state().slow.insert(kind, SignedDuration::from_secs(seconds));
}

async fn link_of(world: &World, name: &str) -> CrmState {
    let name = name.parse().expect("an identifier");
    let owners = world.store.resolve(&[name].into()).await.expect("resolved").owners;
    let id = owners.into_values().next().expect("somebody");
    world.store.crm_states(&[id].into()).await.expect("links").remove(&id).expect("a link")
}

#[tokio::test]
async fn twenty_buyers_of_a_crm_that_acts_late_stay_twenty_contacts_and_twenty_deals() {
    for kind in ["contacts", "deals"] {
        let world = World::new();
        let buyers = (0..20).map(|n| bought(&n.to_string(), "cherry", &[&format!("phone:+7916123{n:04}")])).collect();
        slow(&world, kind, 60);
        world.tell(buyers).await;
        world.runs_for(300).await;
        assert_eq!((world.contacts(), world.deals()), (20, 20), "late {kind}");
        assert_eq!(world.store.totals().await.expect("totals").waiting, 0);
    }
}

#[tokio::test]
async fn what_never_took_effect_is_made_anew_once_it_cannot_any_more() {
    let world = World::new();
    slow(&world, "contacts", 1_000_000);
    world.tell(vec![bought("1", "cherry", &["phone:+79161230001"])]).await;
    world.runs_for(140).await;
    assert_eq!(world.contacts(), 0, "the first call may still take effect");
    world.runs_for(120).await;
    assert_eq!((world.contacts(), world.deals()), (1, 1));
}

#[tokio::test]
async fn the_crm_is_not_asked_all_the_time_for_what_may_still_come() {
    let world = World::new();
    slow(&world, "contacts", 1_000_000);
    world.tell(vec![form("1", &["phone:+79161230001"])]).await;
    world.runs_for(150).await;
    let looks = world.crm.state().looks;
    assert!((3..12).contains(&looks), "{looks} look-ups in 150 seconds");
}

#[tokio::test]
async fn nobody_waits_for_somebody_elses_late_row_nor_for_another_row_of_their_own() {
    let world = World::new();
    world.tell(vec![bought("0", "cherry", &["phone:+79161230001"])]).await;
    world.runs_for(4).await;
    slow(&world, "deals", 100);
    world
        .tell(vec![bought("1", "cherry", &["phone:+79161230001"]), bought("2", "gull", &["phone:+79161230001"])])
        .await;
    world.run().await;
    world
        .tell(vec![bought("3", "ivanov", &["phone:+79161230001"]), bought("4", "cherry", &["phone:+79161230002"])])
        .await;
    world.runs_for(6).await;
    let shows = |title: &str| world.count(|made| matches!(made, Made::Deal(_, draft) if draft.show.0.contains(title)));
    assert_eq!((shows("cherry"), shows("ivanov"), shows("gull")), (2, 1, 0), "others went on");
    world.runs_for(200).await;
    assert_eq!((shows("cherry"), shows("ivanov"), shows("gull")), (2, 1, 1));
}

#[tokio::test]
async fn people_joined_while_a_contact_is_late_end_with_one_and_the_other_marked() {
    let world = World::new();
    slow(&world, "contacts", 60);
    world.tell(vec![form("1", &["phone:+79161230001"]), form("2", &["email:anna@example.com"])]).await;
    world.run().await;
    world.tell(vec![form("3", &["phone:+79161230001", "email:anna@example.com"])]).await;
    world.runs_for(300).await;
    assert_eq!(world.contacts(), 2, "both came late");
    assert_eq!(world.crm.state().marked.len(), 1, "one is the other's duplicate");
}

#[tokio::test]
async fn a_deal_that_comes_late_for_somebody_who_was_joined_meanwhile_is_closed_as_a_double() {
    let world = World::new();
    world.tell(vec![bought("1", "cherry", &["phone:+79161230001"])]).await;
    world.runs_for(4).await;
    slow(&world, "deals", 60);
    world.tell(vec![bought("2", "cherry", &["email:anna@example.com"])]).await;
    world.run().await;
    world.tell(vec![bought("3", "gull", &["phone:+79161230001", "email:anna@example.com"])]).await;
    world.runs_for(300).await;
    let of_cherry = world.count(|made| matches!(made, Made::Deal(_, draft) if draft.show.0.contains("cherry")));
    assert_eq!(of_cherry, 2, "the second came late");
    let closed = world.count(|made| matches!(made, Made::Deal(_, draft) if draft.orders.starts_with("duplicate")));
    assert_eq!(closed, 1, "and is the other's double");
    assert_eq!(world.store.totals().await.expect("totals").waiting, 0);
}

#[tokio::test]
async fn a_deal_whose_stage_was_sent_without_an_answer_follows_its_order_back() {
    let world = World::new();
    let stage = |world: &World| {
        let state = world.crm.state();
        let stages = state.rows.values().filter_map(|made| match made {
            Made::Deal(_, draft) => draft.stage.as_ref().map(|(stage, _)| *stage),
            _ => None,
        });
        stages.collect::<Vec<_>>()
    };
    world.tell(vec![given_back("1", "cherry", &["phone:+79161230001"])]).await;
    world.runs_for(4).await;
    let before = stage(&world);
    world.crm.state().mute = true;
    world.tell(vec![bought("2", "cherry", &["phone:+79161230001"])]).await;
    world.run().await;
    assert_ne!(stage(&world), before, "the deal moved, and no answer came");
    world.crm.state().mute = false;
    world.tell(vec![given_back("2", "cherry", &["phone:+79161230001"])]).await;
    world.runs_for(60).await;
    assert_eq!(stage(&world), before);
}

#[tokio::test]
async fn a_move_of_a_deal_that_was_found_by_a_look_reaches_its_buyer() {
    let world = World::new();
    slow(&world, "deals", 0);
    world.tell(vec![bought("1", "cherry", &["phone:+79161230001"])]).await;
    world.runs_for(20).await;
    let link = link_of(&world, "phone:+79161230001").await;
    let lead = link.deals.values().find_map(|deal| deal.id).expect("the deal was found");
    assert_eq!(
        world
            .store
            .resolve(&[format!("crm_lead:{lead}").parse().expect("a name")].into())
            .await
            .expect("resolved")
            .owners
            .len(),
        1
    );
    moved_by_a_manager_is_the_buyers(&world, lead).await;
}

#[tokio::test]
async fn a_move_that_was_heard_before_the_deal_was_found_reaches_its_buyer() {
    let world = World::new();
    slow(&world, "deals", 0);
    world.tell(vec![bought("1", "cherry", &["phone:+79161230001"])]).await;
    world.run().await;
    let lead = *world.crm.state().rows.iter().find(|(_, made)| matches!(made, Made::Deal(..))).expect("a deal").0;
    moved_by_a_manager_is_the_buyers(&world, lead).await;
}

async fn moved_by_a_manager_is_the_buyers(world: &World, lead: u64) {
    let change = LeadChanged {
        lead,
        deleted: false,
        pipeline: Some(1),
        status: Some(142),
        moved_by: Some(7),
        hub_id: None,
        changed_at: None,
    };
    world.tell(vec![event("crm", "moved", 90, Body::LeadChanged(change))]).await;
    world.runs_for(20).await;
    let names = ["phone:+79161230001".to_owned(), format!("crm_lead:{lead}")].map(|name| name.parse().expect("a name"));
    let owners = world.store.resolve(&names.into()).await.expect("resolved").owners;
    let people: std::collections::BTreeSet<_> = owners.into_values().collect();
    assert_eq!(world.store.load(&people).await.expect("loaded").len(), 1, "the move and the buyer are one person");
}

#[tokio::test]
async fn a_company_that_comes_late_is_not_made_twice() {
    let world = World::new();
    slow(&world, "companies", 60);
    let mut event = bought("1", "cherry", &["email:kassa@theatre.example"]);
    let Body::OrderPaid(body) = &mut event.body else { unreachable!("a paid order") };
    body.order.company =
        Some(stagedoor_model::Company {
            name: "ООО Вишнёвый сад".into(), tax_id: None, unchecked: Some("77".into())
        });
    world.tell(vec![event, bought("2", "cherry", &["phone:+79161230002"])]).await;
    world.runs_for(4).await;
    assert_eq!((world.contacts(), world.deals()), (1, 1), "another buyer does not wait for it");
    world.runs_for(300).await;
    assert_eq!((world.contacts(), world.deals()), (2, 2));
    assert_eq!(world.count(|made| matches!(made, Made::Company(_))), 1);
}

#[tokio::test]
async fn an_id_that_the_crm_gives_again_welds_no_strangers() {
    let world = World::new();
    world.tell(vec![bought("1", "cherry", &["phone:+79161230001"])]).await;
    world.runs_for(4).await;
    // The CRM was set up anew, or restored from an older copy.
    *world.crm.state() = crate::fake::State::default();
    world.tell(vec![bought("2", "cherry", &["phone:+79161230002"])]).await;
    world.runs_for(4).await;
    let of = |person: stagedoor_engine::PersonId| {
        world.count(|made| matches!(made, Made::Contact(draft) if draft.person == person))
    };
    let names: Vec<stagedoor_model::Identifier> =
        ["phone:+79161230001", "phone:+79161230002"].map(|name| name.parse().expect("a name")).into();
    let owners = world.store.resolve(&names.iter().cloned().collect()).await.expect("resolved").owners;
    assert_ne!(owners[&names[0]], owners[&names[1]]);
    assert_eq!((of(owners[&names[0]]), of(owners[&names[1]])), (1, 1), "each has a contact of their own again");
    assert_eq!(world.deals(), 2);
}
