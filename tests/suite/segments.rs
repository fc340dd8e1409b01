//! Segments, from what happens (and from time that passes) to the contact in the CRM and the journal.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde_json::json;
use stagedoor_engine::{Segment, segments};
use stagedoor_model::{Body, Email, Event, EventId, FormSubmitted, Identifier, PromoIssued, SourceName, Timestamp};
use stagedoor_ports::Clock;
use stagedoor_testkit::form_signed;
use stagedoor_tests::{clock::Moved, hub::TestHub, world::World};

const NOW: i64 = 1_798_761_600;
const DAY: i64 = 86_400;

fn rules(all: &[(&str, &str)]) -> Vec<Segment> {
    let one = |(name, text): &(&str, &str)| Segment {
        name: (*name).to_owned(),
        title: (*name).to_owned(),
        text: (*text).to_owned(),
        rule: segments::parse(text).expect("a rule"),
    };
    all.iter().map(one).collect()
}

fn site() -> SourceName {
    SourceName::new("site").expect("a name")
}

fn anna() -> BTreeSet<Identifier> {
    BTreeSet::from([Identifier::email(Email::parse("anna@example.com").expect("an address"))])
}

fn lead(second: i64) -> Event {
    let form = FormSubmitted {
        identifiers: anna(),
        proof: Default::default(),
        name: Some("Анна".into()),
        form: None,
        show: None,
        amount: None,
        consents: vec![],
        labels: BTreeMap::new(),
        company: None,
    };
    let at = Timestamp::from_second(second).expect("a time");
    Event::new(&site(), EventId::derive(&site(), &["lead"]), at, Body::FormSubmitted(form))
}

fn promo(second: i64) -> Event {
    let body = PromoIssued { identifiers: anna(), campaign: "ufa".into(), code: "UFA-1".into() };
    let at = Timestamp::from_second(second).expect("a time");
    Event::new(&site(), EventId::derive(&site(), &["promo"]), at, Body::PromoIssued(body))
}

async fn world(all: &[(&str, &str)], clock: &Moved) -> World {
    let mut world = World::new().await;
    world.sync.catalog.segments = rules(all);
    world.sync.clock = Arc::new(clock.clone());
    world
}

/// Entering and leaving, in the order in which they were journalled.
async fn journal(world: &World) -> Vec<String> {
    let rows = world.store.journal(1_000).await.expect("a journal");
    let told = rows.into_iter().rev().filter_map(|row| match row.event.body {
        Body::SegmentEntered(one) => Some(format!("+{}", one.segment)),
        Body::SegmentLeft(one) => Some(format!("-{}", one.segment)),
        _ => None,
    });
    told.collect()
}

fn shown(world: &World) -> Option<String> {
    let contact = world.sandbox.contacts().into_iter().next()?;
    let fields = contact.get("custom_fields_values")?.as_array()?.clone();
    let field = fields.iter().find(|field| field["field_code"] == "STAGEDOOR_SEGMENTS")?;
    field.pointer("/values/0/value")?.as_str().map(str::to_owned)
}

#[tokio::test]
async fn who_bought_nothing_three_days_after_a_promo_code_enters_by_time_alone() {
    let clock = Moved::at(NOW);
    let world =
        world(&[("undecided", "promo_unused and age(promo_issued) >= 3d"), ("all", "not bought")], &clock).await;
    world.run(vec![lead(NOW - 10), promo(NOW)]).await;
    assert_eq!(shown(&world).as_deref(), Some("all"));
    world.sync.wake().await.expect("everybody was asked of the rules");
    world.reconcile().await;
    clock.on(3 * DAY - 1);
    assert_eq!(world.sync.wake().await.expect("woken"), 0, "a second too early");
    clock.on(1);
    assert_eq!(world.sync.wake().await.expect("woken"), 1);
    world.reconcile().await;
    assert_eq!(shown(&world).as_deref(), Some("all, undecided"));
    assert_eq!(journal(&world).await, ["+all", "+undecided"]);
    assert_eq!(world.sync.wake().await.expect("woken"), 0, "and nobody is woken for nothing");
}

#[tokio::test]
async fn a_second_delivery_enters_nobody_twice() {
    let clock = Moved::at(NOW);
    let world = world(&[("all", "not bought")], &clock).await;
    for _ in 0..3 {
        world.run(vec![lead(NOW)]).await;
    }
    assert_eq!(journal(&world).await, ["+all"]);
}

#[tokio::test]
async fn a_rule_that_was_written_anew_is_asked_of_everybody_and_the_contact_forgets_the_old_one() {
    let clock = Moved::at(NOW);
    let mut world = world(&[("all", "not bought")], &clock).await;
    world.run(vec![lead(NOW)]).await;
    assert_eq!(world.sync.wake().await.expect("woken"), 0, "the round has asked the rules already");
    assert_eq!(world.sync.wake().await.expect("woken"), 0);
    world.sync.catalog.segments = rules(&[("friends", "orders >= 1")]);
    assert_eq!(world.sync.wake().await.expect("woken"), 1);
    world.reconcile().await;
    assert_eq!(journal(&world).await, ["+all", "-all"]);
    assert_eq!(shown(&world), None, "the field is empty again");
}

#[tokio::test]
async fn new_rules_are_asked_of_all_people_and_mark_those_alone_whom_they_change() {
    let clock = Moved::at(NOW);
    let mut world = world(&[("all", "not bought")], &clock).await;
    let leads = (0..2_300).map(|n| {
        let who = BTreeSet::from([format!("email:fan{n}@example.com").parse().expect("an address")]);
        let mut lead = lead(NOW - 2 * DAY);
        if let Body::FormSubmitted(form) = &mut lead.body {
            form.identifiers = who;
            form.labels = BTreeMap::from([("utm_source".to_owned(), if n == 7 { "vk" } else { "mail" }.to_owned())]);
        }
        Event { id: EventId::derive(&site(), &["lead", &n.to_string()]), ..lead }
    });
    world.run(leads.collect()).await;
    world.sync.wake().await.expect("woken");
    world.sync.catalog.segments =
        rules(&[("all", "not bought"), ("vk", "label(utm_source) = vk"), ("cold", "age(last_seen) >= 3d")]);
    assert_eq!(world.sync.wake().await.expect("woken"), 1, "one of 2,300 enters");
    world.reconcile().await;
    assert_eq!(journal(&world).await.iter().filter(|one| *one == "+vk").count(), 1);
    assert_eq!(stagedoor_sync::rules_progress(&*world.store).await.expect("read"), None, "all were asked");
    clock.on(DAY);
    assert_eq!(world.sync.wake().await.expect("woken"), 2_300, "time was put down for all whom it changes");
}

#[tokio::test]
async fn why_somebody_is_not_in_is_told_in_words() {
    let clock = Moved::at(NOW);
    let world = world(&[("all", "consent(email) and not bought")], &clock).await;
    world.run(vec![lead(NOW)]).await;
    let owners = world.store.resolve(&anna()).await.expect("resolved").owners;
    let ids: BTreeSet<_> = owners.into_values().collect();
    let person = world.store.load(&ids).await.expect("loaded").remove(0).value;
    let link = world.store.crm_states(&ids).await.expect("links").remove(&person.id).unwrap_or_default();
    let lines = stagedoor_sync::why(&world.sync.catalog, "all", &person, &link, clock.now());
    assert_eq!(lines, ["no  all of", "no    consents to email", "yes   not", "no      holds tickets"]);
}

#[tokio::test]
async fn where_the_config_says_so_segments_and_consents_are_tags_and_a_managers_tags_stay() {
    let hub = TestHub::with(|text| text.replace("kind = \"amocrm\"", "kind = \"amocrm\"\ntags = true")).await;
    let form = |number: u32, given: bool| {
        let consents = json!([{ "purpose": "marketing", "channel": "email", "given": given }]);
        let at = format!("2027-01-1{number}T09:00:00Z");
        let body =
            json!({ "kind": "lead", "email": "anna@example.com", "name": "Анна", "consents": consents, "at": at });
        form_signed("/website/site", &body, "generic-source-secret", &format!("tags-{number}"), Timestamp::now())
    };
    let tags = |hub: &TestHub| -> Vec<String> {
        let contact = hub.sandbox.contacts().remove(0);
        let all = contact["_embedded"]["tags"].as_array().cloned().unwrap_or_default();
        let mut names: Vec<String> = all.iter().filter_map(|tag| tag["name"].as_str().map(str::to_owned)).collect();
        names.sort();
        names
    };
    hub.take(&form(1, true)).await;
    hub.settled().await;
    assert_eq!(tags(&hub), ["consent email", "letters"]);
    let id = hub.sandbox.contacts()[0]["id"].to_string();
    let crm = &hub.hub.config.crm.base_url;
    let vip = json!({ "tags_to_add": [{ "name": "VIP" }] });
    let tagged = stagedoor_tests::http().patch(format!("{crm}/_sandbox/contacts/{id}")).json(&vip).send().await;
    assert!(tagged.expect("the sandbox answers").status().is_success());
    hub.settled().await;
    hub.take(&form(2, false)).await;
    hub.settled().await;
    assert_eq!(tags(&hub), ["VIP"]);
}
