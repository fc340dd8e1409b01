//! What people type proves nothing: it is shown, and joins nobody who exists already.
#![allow(clippy::indexing_slicing, reason = "it is test code")]

mod world;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use stagedoor_engine::{Catalog, CrmState, Person, Step, plan, record_of};
use stagedoor_model::{
    Body, Channel, ChatRef, ConsentRecorded, ContactShared, Decision, Event, EventId, FormSubmitted, Identifier,
    IdentityDecided, Kind, MARKETING, Proof, Purpose, Record, SourceName, Timestamp, Verdict,
};
use world::{World, at, chat, email, issued, phone, said, source, token};

fn told(parts: &[&str], second: i64, body: Body) -> Record {
    let id = EventId::derive(&source(), parts);
    record_of(&Event::new(&source(), id, at(second), body)).expect("about a person")
}

fn form(name: &str, proof: Proof, second: i64, identifiers: Vec<Identifier>) -> Record {
    let form = FormSubmitted {
        identifiers: identifiers.into_iter().collect(),
        proof,
        name: Some(name.to_owned()),
        form: None,
        show: None,
        amount: None,
        consents: vec![],
        labels: BTreeMap::new(),
        company: None,
    };
    let values: Vec<String> = form.identifiers.iter().map(ToString::to_string).collect();
    told(&["form", name, &second.to_string(), &values.join(" ")], second, Body::FormSubmitted(form))
}

fn typed(name: &str, second: i64, identifiers: Vec<Identifier>) -> Record {
    form(name, Proof::Claimed, second, identifiers)
}

/// Anna, whom the theatre's own server vouches for.
fn anna(second: i64) -> Record {
    form("Anna", Proof::Signed, second, vec![phone(1), email(1)])
}

fn typed_in_chat(n: u8, given: Identifier, second: i64) -> Record {
    let shared = ContactShared { chat: ChatRef::of(chat(n)), given, proof: Proof::Claimed };
    told(
        &["typed", &n.to_string(), &second.to_string(), &shared.given.to_string()],
        second,
        Body::ContactShared(shared),
    )
}

fn joined(one: Identifier, other: Identifier, second: i64) -> Record {
    let named = format!("{one} {other}");
    let body = IdentityDecided { verdict: Verdict::SamePerson(one, other), by: "manager".into() };
    told(&["joined", &second.to_string(), &named], second, Body::IdentityDecided(body))
}

/// Somebody pressed the link of the letter that asked whether the address is theirs.
fn confirmed(name: &str, second: i64) -> Record {
    let consent = ConsentRecorded {
        identifiers: Identifier::opaque(Kind::Link, "", token(name).as_str()).into_iter().collect(),
        purpose: MARKETING.into(),
        channel: Channel::Email,
        decision: Decision::Confirmed,
        method: "double-opt-in".into(),
        wording: None,
        lists: BTreeSet::new(),
        evidence: BTreeMap::new(),
    };
    told(&["confirmed", name, &second.to_string()], second, Body::ConsentRecorded(consent))
}

fn world(records: Vec<Record>) -> World {
    let mut world = World::default();
    records.into_iter().for_each(|record| world.deliver(vec![record]));
    world
}

fn named<'w>(world: &'w World, name: &str) -> &'w Person {
    world.people.values().find(|person| person.name() == Some(name)).expect(name)
}

fn task(person: &Person) -> Option<String> {
    let mut link = CrmState::default();
    link.contact.id = Some(7);
    let now = Timestamp::from_second(1_900_000_000).expect("in range");
    plan(person, &link, &Catalog::default(), now).task.map(|task| task.text)
}

fn written(person: &Person) -> Vec<String> {
    let now = Timestamp::from_second(1_900_000_000).expect("in range");
    let steps = plan(person, &CrmState::default(), &Catalog::default(), now).steps;
    let drafts = steps.into_iter().filter_map(|(step, _)| match step {
        Step::CreateContact(draft) => Some(draft.phones.into_iter().chain(draft.emails)),
        _ => None,
    });
    drafts.flatten().collect()
}

#[test]
fn a_phone_that_is_typed_in_a_chat_joins_nobody_and_a_manager_is_asked() {
    for records in [vec![anna(1), typed_in_chat(1, phone(1), 2)], vec![typed_in_chat(1, phone(1), 2), anna(1)]] {
        let world = world(records);
        assert_eq!(world.people.len(), 2);
        let stranger = world.people.values().find(|person| person.conversations().count() == 1).expect("the chat");
        assert_eq!((stranger.phones().len(), stranger.contested.len()), (0, 1));
        assert!(written(stranger).is_empty(), "the phone stays on its owner's contact alone");
        let task = task(stranger).expect("a task");
        assert!(task.contains("+79161234501") && task.contains("stagedoor join telegram:700001"), "{task}");
        assert_eq!((named(&world, "Anna").contested.len(), self::task(named(&world, "Anna"))), (0, None));
    }
}

#[test]
fn a_phone_that_nobody_else_has_stands_on_the_contact_of_the_chat() {
    let world = world(vec![typed_in_chat(1, phone(1), 2)]);
    let fan = world.people.values().next().expect("a person");
    assert_eq!((written(fan), task(fan)), (vec!["+79161234501".to_owned()], None));
    assert!(fan.phones().is_empty(), "nothing is sent there");
}

#[test]
fn who_fills_in_a_public_form_twice_is_one_lead_with_a_phone() {
    let world = world(vec![typed("Вера", 1, vec![phone(1)]), typed("Вера", 9, vec![phone(1), email(1)])]);
    assert_eq!(world.people.len(), 1);
    assert_eq!(written(named(&world, "Вера")), ["+79161234501", "fan1@example.com"]);
}

#[test]
fn a_public_form_renames_no_buyer_and_stays_a_lead_of_its_own() {
    let records = [anna(1), typed("Your card is blocked", 2, vec![phone(1)])];
    for records in [records.to_vec(), records.iter().rev().cloned().collect()] {
        let world = world(records);
        assert_eq!(world.people.len(), 2);
        assert_eq!(named(&world, "Anna").records.len(), 1);
        assert!(task(named(&world, "Your card is blocked")).is_some());
    }
}

#[test]
fn a_manager_confirms_a_typed_phone_and_a_later_form_with_it_is_somebody_else_again() {
    let mut world = world(vec![anna(1), typed_in_chat(1, phone(1), 2), joined(chat(1), phone(1), 3)]);
    assert_eq!(world.people.len(), 1);
    let anna = named(&world, "Anna");
    assert!(anna.contested.is_empty() && anna.claims().is_empty());
    world.deliver(vec![typed("Stranger", 4, vec![phone(1)])]);
    world.deliver(vec![typed_in_chat(2, phone(1), 5)]);
    assert_eq!(world.people.len(), 3);
}

#[test]
fn a_managers_word_makes_a_typed_phone_an_identifier_where_nobody_else_has_it() {
    let world = world(vec![typed_in_chat(1, phone(1), 2), joined(chat(1), phone(1), 3)]);
    let fan = world.people.values().next().expect("a person");
    assert_eq!((world.people.len(), fan.phones().len()), (1, 1));
    let mut world = world;
    world.deliver(vec![anna(4)]);
    assert_eq!(world.people.len(), 1, "the owner comes later, and the manager said who it is");
}

#[test]
fn the_link_of_a_confirming_letter_makes_the_forms_of_until_then_theirs() {
    let letter = issued("confirm", Purpose::Consent, email(1), 3, 1_000);
    let asked = world(vec![typed("Вера", 2, vec![email(1)]), letter.clone()]);
    let vera = named(&asked, "Вера");
    assert_eq!((asked.people.len(), vera.emails().len(), vera.contested.len()), (1, 0, 0), "the letter proves nothing");
    let mut world = world(vec![anna(1), typed("Аня", 2, vec![email(1)]), letter, confirmed("confirm", 4)]);
    assert_eq!(world.people.len(), 1);
    assert_eq!(world.people.values().next().and_then(Person::name), Some("Anna"), "a typed name overrides none");
    world.deliver(vec![typed("Stranger", 5, vec![email(1)])]);
    assert_eq!(world.people.len(), 2);
}

#[test]
fn what_an_earlier_build_stored_counts_as_it_did() {
    let whole = typed_in_chat(1, phone(1), 2);
    let mut stored = serde_json::to_value(&whole).expect("JSON");
    assert!(stored.as_object_mut().expect("an object").remove("claims").is_some());
    let record: Record = serde_json::from_value(stored).expect("readable");
    assert!(record.claims.is_empty());
    let event = r#"{"specversion":"1.0","id":"a","source":"telegram","time":"2027-01-01T00:00:00Z",
        "type":"stagedoor.contact.shared.v1","data":{"chat":{"id":"telegram:1"},"given":"phone:+79161234501"}}"#;
    let event: Event = serde_json::from_str(event).expect("readable");
    assert_eq!(event.body.proof(), Proof::Channel);
    assert_eq!(SourceName::new("telegram").expect("valid"), event.source);
    assert_eq!(record_of(&event).map(|record| record.identifiers.len()), Some(2));
}

fn any_record() -> impl Strategy<Value = Record> {
    let value = prop_oneof![(1_u8..4).prop_map(phone), (1_u8..4).prop_map(email)];
    let values = proptest::collection::vec(value.clone(), 1..3);
    let who = || 1_u8..4;
    prop_oneof![
        (0_i64..20, values.clone()).prop_map(|(second, ids)| typed(&format!("T{second}"), second, ids)),
        (0_i64..20, values).prop_map(|(second, ids)| form(&format!("S{second}"), Proof::Signed, second, ids)),
        (who(), value.clone(), 0_i64..20).prop_map(|(n, given, second)| typed_in_chat(n, given, second)),
        (who(), 0_i64..20).prop_map(|(n, second)| said(n, second)),
        (who(), value, 0_i64..20).prop_map(|(n, other, second)| joined(chat(n), other, second)),
        who().prop_map(|n| issued(&format!("letter{n}"), Purpose::Consent, email(n), i64::from(n) * 4, 1_000)),
        (who(), 5_i64..20).prop_map(|(n, second)| confirmed(&format!("letter{n}"), second)),
    ]
}

proptest! {
    #[test]
    fn claims_give_the_same_people_in_any_order_and_split(
        records in proptest::collection::vec(any_record(), 1..12).prop_shuffle(),
        size in 1_usize..5,
    ) {
        let mut whole = World::default();
        whole.deliver(records.clone());
        let mut split = World::default();
        records.iter().rev().cloned().collect::<Vec<_>>().chunks(size).for_each(|part| split.deliver(part.to_vec()));
        prop_assert_eq!(whole.picture(), split.picture());
        let contested = |world: &World| -> BTreeSet<(BTreeSet<String>, usize)> {
            let of = |person: &Person| (person.records.keys().map(|key| key.0.clone()).collect(), person.contested.len());
            world.people.values().map(of).collect()
        };
        prop_assert_eq!(contested(&whole), contested(&split));
    }
}

fn any_signed() -> impl Strategy<Value = Record> {
    let values = prop_oneof![(0..4_u8).prop_map(phone), (0..4_u8).prop_map(email)];
    (proptest::collection::vec(values, 1..4), 0..100_i64)
        .prop_map(|(values, at)| form("Anna", Proof::Signed, at, values))
}

fn any_claim() -> impl Strategy<Value = Record> {
    let known = prop_oneof![(0..4_u8).prop_map(phone), (0..4_u8).prop_map(email)];
    (known, 0..100_u8, 0..100_i64).prop_map(|(known, n, at)| {
        let other = if known.kind() == Kind::Phone {
            email(20 + n)
        } else {
            format!("phone:+791700000{n:02}").parse().expect("valid")
        };
        typed(&format!("Name {n}"), at, vec![known, other])
    })
}

proptest! {
    #[test]
    fn whatever_strangers_claim_those_who_prove_an_address_are_who_they_were(
        signed in proptest::collection::vec(any_signed(), 1..12),
        claims in proptest::collection::vec(any_claim(), 0..40),
    ) {
        let (known_shared, guards) = (BTreeSet::new(), stagedoor_engine::Guards::default());
        let alone = stagedoor_engine::partition(&signed, &known_shared, &guards);
        let amid = stagedoor_engine::partition(signed.iter().chain(&claims), &known_shared, &guards);
        let keys: BTreeSet<_> = signed.iter().map(|record| record.key.clone()).collect();
        let proven = |split: &stagedoor_engine::Partition| -> BTreeSet<BTreeSet<stagedoor_model::RecordKey>> {
            let own = split.clusters.iter().map(|one| one.records.intersection(&keys).cloned().collect::<BTreeSet<_>>());
            own.filter(|own| !own.is_empty()).collect()
        };
        prop_assert_eq!(proven(&alone), proven(&amid));
        prop_assert_eq!(alone.shared_identifiers, amid.shared_identifiers);
    }
}
