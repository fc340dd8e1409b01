//! What a manager deleted, though no webhook told of it, holds up nobody.

use stagedoor_engine::PersonId;
use stagedoor_model::{Body, Company, ContactChanged, Event, Identifier, MessageSent, SendOutcome, SourceName};
use stagedoor_ports::{Commit, Gone, Saved, WriteOutcome};

use crate::fake::{Made, World, at, bought, event};

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
    assert_eq!((totals.waiting, totals.rejected), (0, 0));
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
    assert_eq!((totals.waiting, totals.rejected), (0, 0), "it is no row that the CRM refuses");
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

/// A manager deletes the only contact, and its person buys again.
async fn bought_after_the_contact_was_deleted(world: &World) -> u64 {
    world.tell(vec![bought("1", "cherry", &["phone:+79161230001"])]).await;
    world.runs_for(4).await;
    let contact = only_contact(world);
    world.crm.state().rows.remove(&contact);
    let change = ContactChanged {
        contact,
        deleted: true,
        name: None,
        identifiers: Default::default(),
        phones: vec![],
        emails: vec![],
        created_at: at(3),
        hub_id: None,
        changed_at: None,
    };
    world.tell(vec![event("crm", "deleted", 3, Body::ContactChanged(change))]).await;
    world.tell(vec![bought("2", "gull", &["phone:+79161230001"])]).await;
    contact
}

fn only_contact(world: &World) -> u64 {
    let state = world.crm.state();
    let all: Vec<u64> =
        state.rows.iter().filter(|(_, made)| matches!(made, Made::Contact(_))).map(|(id, _)| *id).collect();
    assert_eq!(all.len(), 1, "one contact");
    all.into_iter().next().expect("one")
}

#[tokio::test]
async fn deals_that_the_crm_does_not_hang_on_a_new_contact_are_said_and_tried_again() {
    let world = World::new();
    world.crm.state().parting_answers.push_back(WriteOutcome::Refused("no right to link".into()));
    bought_after_the_contact_was_deleted(&world).await;
    world.runs_for(10).await;
    assert_eq!(world.crm.state().partings.len(), 1, "what is refused is not sent again and again");
    let rejected = world.store.rejected(10).await.expect("read");
    let reasons: Vec<String> =
        rejected.iter().flat_map(|(_, link)| link.rejected()).map(|one| one.reason.clone()).collect();
    assert!(matches!(reasons.as_slice(), [one] if one.contains("no right to link")), "{reasons:?}");
    // As `retry-rejected` does.
    world
        .store
        .save_crm_states(rejected.into_iter().map(|(id, link)| (id, link.unparked())).collect())
        .await
        .expect("saved");
    let owner = world.store.resolve(&["phone:+79161230001".parse().expect("a phone")].into()).await.expect("read");
    world.store.mark_dirty(owner.owners.into_values().collect()).await.expect("marked");
    world.runs_for(10).await;
    let tried = world.crm.state().partings.clone();
    assert!(matches!(tried.as_slice(), [one, two] if one.deals == two.deals), "{tried:?}");
    assert_eq!(world.store.totals().await.expect("totals").rejected, 0);
}

#[tokio::test]
async fn deals_hang_on_the_contact_that_is_made_when_the_new_one_is_gone_too() {
    let world = World::new();
    let first = bought_after_the_contact_was_deleted(&world).await;
    world.crm.state().parting_answers.push_back(WriteOutcome::Gone(Gone::Contact(first + 2)));
    world.run().await;
    assert!(!world.crm.state().partings.is_empty(), "the hub tried");
    world.runs_for(60).await;
    assert_eq!(world.store.totals().await.expect("totals").waiting, 0, "nobody waits for ever");
    world.tell(vec![bought("3", "ivanov", &["phone:+79161230001"])]).await;
    world.runs_for(10).await;
    let tried = world.crm.state().partings.clone();
    assert_eq!(tried.last().map(|one| one.deals.contains(&(first + 1))), Some(true), "{tried:?}");
    assert!(tried.len() > 1);
}

#[tokio::test]
async fn an_event_about_somebody_of_whom_a_crash_left_the_name_alone_is_nobodys() {
    let world = World::new();
    let name: Identifier = "email:fan@example.com".parse().expect("a name");
    let gone = PersonId::from_bytes([7; 16]);
    let commit = Commit { claims: vec![(name.clone(), gone, None)], ..Commit::default() };
    assert_eq!(world.store.save(vec![commit]).await.expect("saved"), [Saved::Done]);
    let sent = MessageSent {
        decision: "1".into(),
        through: SourceName::new("letters").expect("a name"),
        to: name,
        text: "a reminder".into(),
        outcome: SendOutcome::Dropped("no consent".into()),
        campaign: None,
    };
    world.tell(vec![event("letters", "1", 10, Body::MessageSent(Box::new(sent)))]).await;
    let rows = world.store.journal(10).await.expect("read");
    assert_eq!(rows.iter().map(|row| row.person).collect::<Vec<_>>(), [None]);
}
