//! What a later version stored and this one does not know is written back, wherever the fact went meanwhile.
#![cfg(feature = "testing")]
#![allow(clippy::indexing_slicing, reason = "a test")]

use std::collections::BTreeSet;

use serde_json::{Value, json};
use stagedoor_engine::{CrmState, Group, Guards, Person, fold, record_of};
use stagedoor_model::{Event, Fact};
use stagedoor_ports::{
    from_stored,
    testing::{form_event, newcomer},
    to_stored,
};

fn stored(person: &Person) -> Value {
    serde_json::from_str(&to_stored(person).expect("JSON")).expect("JSON")
}

fn read(document: &Value) -> Person {
    from_stored(&document.to_string()).expect("readable")
}

fn key(person: &Person) -> String {
    person.records.keys().next().expect("a fact").0.clone()
}

/// Somebody, as a later version stores them: with fields on every level.
fn of_a_later_version(n: u32) -> Value {
    let person = newcomer(n).0;
    let (mut document, key) = (stored(&person), key(&person));
    document["loyalty"] = json!({ "points": n });
    document["records"][&key]["weather"] = json!("rain");
    let submission = &mut document["records"][&key]["fact"]["touch"];
    submission["device"] = json!("a phone");
    assert!(submission.is_object());
    document
}

#[test]
fn unknown_fields_are_written_back() {
    let document = of_a_later_version(1);
    let person = read(&document);
    assert_eq!(stored(&person), document);
    assert_eq!(read(&stored(&person)), person);
}

#[test]
fn what_is_kept_of_two_people_is_kept_of_them_as_one() {
    let documents = [1, 2].map(of_a_later_version);
    let people: Vec<Person> = documents.iter().map(read).collect();
    let mut records: Vec<_> = people.iter().flat_map(|person| person.records.values().cloned()).collect();
    // The second's form names the first, too.
    let first = records[0].identifiers.clone();
    records[1].identifiers.extend(first);
    let folded = fold(Group { records, people }, &BTreeSet::new(), &Guards::default());
    assert_eq!(folded.people.len(), 1);
    let whole = stored(&folded.people[0]);
    assert_eq!(whole["loyalty"], json!({ "points": 1 }), "the elder's");
    for one in &documents {
        let key = key(&read(one));
        assert_eq!(whole["records"][&key]["weather"], "rain");
        assert_eq!(whole["records"][&key]["fact"]["touch"]["device"], "a phone");
    }
}

#[test]
fn what_belongs_to_a_fact_that_is_gone_goes_with_it() {
    let mut person = read(&of_a_later_version(1));
    let key = key(&person);
    person.records.clear();
    let document = stored(&person);
    assert_eq!(document["records"].get(&key), None);
    assert_eq!(document["loyalty"]["points"], 1);
}

#[test]
fn fields_of_an_item_of_a_list_go_with_the_item() {
    let events = include_str!("../../../events/qtickets/order_payed.events.json");
    let events: Vec<Event> = serde_json::from_str(events).expect("events");
    let records = events.iter().filter_map(record_of).collect();
    let folded = fold(Group { records, people: vec![] }, &BTreeSet::new(), &Guards::default());
    let (mut document, key) = (stored(&folded.people[0]), key(&folded.people[0]));
    let tickets = |document: &mut Value| -> Vec<Value> {
        let order = &mut document["records"][&key]["fact"]["order"]["order"];
        order["tickets"].as_array_mut().expect("tickets").clone()
    };
    let mut both = tickets(&mut document);
    let mut other = both[0].clone();
    (both[0]["view"], other["id"], other["view"]) = (json!("stage"), json!("another"), json!("pillar"));
    document["records"][&key]["fact"]["order"]["order"]["tickets"] = json!([both[0], other]);
    let mut person = read(&document);
    assert_eq!(stored(&person), document);
    // The shop tells of the second ticket alone.
    for record in person.records.values_mut() {
        if let Fact::Order { order: Some(order), .. } = &mut record.fact {
            order.tickets.remove(0);
        }
    }
    assert_eq!(tickets(&mut stored(&person)), [other]);
}

#[test]
fn what_is_known_of_the_crm_keeps_what_a_later_version_knew() {
    let text = json!({
        "revision": 3,
        "contact": { "id": 11, "pushed": null, "intent": null, "parked": null, "colour": "red" },
        "deals": { "ufa": { "id": 22, "odds": 0.5 } },
        "second": { "contact": { "id": 12, "colour": "blue" }, "deals": {} },
        "horoscope": "лев",
    });
    let mut link: CrmState = from_stored(&text.to_string()).expect("readable");
    assert_eq!((link.contact.id, link.second.as_ref().and_then(|second| second.contact.id)), (Some(11), Some(12)));
    link.contact.marketed = true;
    let again: Value = serde_json::from_str(&to_stored(&link).expect("JSON")).expect("JSON");
    assert_eq!((&again["contact"]["colour"], &again["contact"]["marketed"]), (&json!("red"), &json!(true)));
    assert_eq!(again["deals"]["ufa"]["odds"], 0.5);
    assert_eq!(again["second"]["contact"]["colour"], "blue");
    assert_eq!(again["horoscope"], "лев");
}

#[test]
fn somebody_with_a_fact_of_an_unknown_kind_is_set_aside_whole() {
    let person = newcomer(1).0;
    let (mut document, key) = (stored(&person), key(&person));
    let mut fact = document["records"][&key].clone();
    fact["fact"] = json!({ "hologram": { "seen": true } });
    document["records"]["hologram/1"] = fact;
    let reason = from_stored::<Person>(&document.to_string()).expect_err("they would be another person without it");
    assert!(reason.contains("unknown variant `hologram`"), "{reason}");
}

#[test]
fn a_damaged_fact_is_not_read() {
    let person = newcomer(1).0;
    let (mut document, key) = (stored(&person), key(&person));
    document["records"][&key]["at"] = json!("yesterday");
    assert!(from_stored::<Person>(&document.to_string()).is_err());
}

#[test]
fn a_message_with_an_unknown_field_is_read() {
    let mut event = serde_json::to_value(form_event(1)).expect("JSON");
    event["data"]["weather"] = json!("rain");
    let read = from_stored::<Event>(&event.to_string()).expect("readable");
    assert_eq!(read.id, form_event(1).id);
}
