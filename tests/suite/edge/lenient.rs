//! Every provider: an optional field that is odd loses only itself, and what is written in another way is read all the same.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use stagedoor_model::{Body, Event};
use stagedoor_testkit::{
    SignedRequest, form_signed,
    samples::{self, Sample},
};
use stagedoor_tests::{
    profile::{self, covers, general},
    provider_harness::{ProviderHarness, source},
};

type Within = Box<dyn Fn(&Value) -> Vec<u8>>;

/// A JSON document of a delivery, and the body that holds another one in its place.
struct Document {
    value: Value,
    within: Within,
}

fn documents(sample: &Sample) -> Vec<Document> {
    let whole = |value: &Value| value.to_string().into_bytes();
    if let Ok(value) = serde_json::from_slice::<Value>(&sample.body) {
        // SNS holds a document within.
        let inner = value.get("Message").and_then(Value::as_str).and_then(|text| serde_json::from_str(text).ok());
        if let Some(inner) = inner {
            let around = value.clone();
            let within = move |inner: &Value| {
                let mut around = around.clone();
                around["Message"] = inner.to_string().into();
                around.to_string().into_bytes()
            };
            return vec![Document { value: inner, within: Box::new(within) }];
        }
        return vec![Document { value, within: Box::new(whole) }];
    }
    let fields: Vec<(String, String)> = url::form_urlencoded::parse(&sample.body).into_owned().collect();
    let documents = fields.iter().enumerate().filter_map(|(at, (_, text))| {
        let value: Value = serde_json::from_str(text).ok().filter(Value::is_object)?;
        let fields = fields.clone();
        let within = move |inner: &Value| {
            let mut fields = fields.clone();
            fields[at].1 = inner.to_string();
            url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish().into_bytes()
        };
        Some(Document { value, within: Box::new(within) })
    });
    documents.collect()
}

fn pointers(value: &Value, at: &str, all: &mut Vec<String>) {
    let parts: Vec<(String, &Value)> = match value {
        Value::Object(map) => {
            map.iter().map(|(key, value)| (key.replace('~', "~0").replace('/', "~1"), value)).collect()
        }
        Value::Array(items) => items.iter().enumerate().map(|(n, value)| (n.to_string(), value)).collect(),
        _ => vec![],
    };
    for (key, value) in parts {
        let place = format!("{at}/{key}");
        pointers(value, &place, all);
        all.push(place);
    }
}

/// What is said: bodies, and whether something of it is kept with a reason.
fn said(sample: &Sample, body: &[u8]) -> (Vec<Body>, Option<String>) {
    let bodies = |events: Vec<Event>| events.into_iter().map(|event| event.body).collect();
    match ProviderHarness::parsed(sample, body) {
        Ok(events) => (bodies(events), None),
        Err(why) => (bodies(why.beside), Some(why.reason)),
    }
}

fn kinds(bodies: &[Body]) -> Vec<&str> {
    bodies.iter().map(Body::kind).collect()
}

fn with(whole: &Value, place: &str, value: Value) -> Value {
    let mut changed = whole.clone();
    *changed.pointer_mut(place).expect("a place") = value;
    changed
}

/// The same value, as another language would write it.
fn twin(value: &Value) -> Option<Value> {
    match value {
        Value::Number(number) => Some(number.to_string().into()),
        Value::String(text) => text.parse::<u64>().ok().filter(|number| number.to_string() == *text).map(Value::from),
        _ => None,
    }
}

/// Fields without which a delivery says something else: with one of them odd, it is kept. What holds them is essential, too.
fn is_essential(provider: &str, place: &str) -> bool {
    let inside = format!("{place}/");
    profile::of(provider).essential.iter().any(|one| one == place || one.starts_with(&inside))
}

/// A batch that holds nothing says nothing.
fn is_batch(place: &str) -> bool {
    let last = place.rsplit('/').find(|part| *part != "*").unwrap_or("");
    let batches = [
        "entry",
        "messaging",
        "changes",
        "messages",
        "statuses",
        "user_preferences",
        "Events",
        "events",
        "events_by_user",
    ];
    batches.contains(&last)
}

/// The places at which this fails, for a person to read.
fn failures(
    bend: impl Fn(&Value) -> Vec<Value>,
    judge: impl Fn(&Sample, &str, &[Body], (Vec<Body>, Option<String>)) -> Option<String>,
) -> BTreeSet<String> {
    let mut failures = BTreeSet::new();
    let mut providers = BTreeSet::new();
    for sample in samples::all().expect("samples") {
        for Document { value, within } in documents(&sample) {
            let (original, _) = said(&sample, &within(&value));
            if original.is_empty() {
                continue;
            }
            providers.insert(sample.provider.clone());
            let mut places = Vec::new();
            pointers(&value, "", &mut places);
            for place in places {
                for other in bend(value.pointer(&place).expect("a place")) {
                    let found = said(&sample, &within(&with(&value, &place, other.clone())));
                    let at = general(&place);
                    failures.extend(
                        judge(&sample, &at, &original, found)
                            .map(|what| format!("{} {at}: {what} ({other})", sample.provider)),
                    );
                }
            }
        }
    }
    assert!(providers.len() >= 20, "{providers:?}");
    failures
}

#[test]
fn an_odd_optional_field_of_any_provider_loses_only_itself_and_is_named() {
    let odd = |value: &Value| match value {
        Value::Object(_) => vec![json!([[1]]), json!("odd")],
        Value::Array(_) => vec![json!("odd")],
        _ => vec![json!({ "a": [1] }), json!([[1]])],
    };
    let failures = failures(odd, |sample, place, original, (bodies, reason)| {
        if kinds(&bodies) != kinds(original) {
            let is_right = is_essential(&sample.provider, place) && reason.is_some();
            return (!is_right).then(|| format!("it is lost, {reason:?}"));
        }
        let (said, place) = (reason.as_deref().unwrap_or("").to_lowercase(), place.to_lowercase());
        let is_named = place.split('/').any(|part| part != "*" && said.contains(part));
        let is_fine = bodies == original || is_named || covers(&profile::of(&sample.provider).unread, &place);
        (!is_fine).then(|| format!("it is not named, {reason:?}"))
    });
    assert!(failures.is_empty(), "{}", failures.into_iter().collect::<Vec<_>>().join("\n"));
}

#[test]
fn what_says_nothing_is_nothing_in_whatever_way_it_is_written() {
    let nothing = |_: &Value| vec![Value::Null, json!([]), json!({}), json!("")];
    let failures = failures(nothing, |sample, place, original, (bodies, reason)| {
        // Without a sender, an update of Messenger is the checkbox plugin's.
        let is_checkbox = covers(&profile::of(&sample.provider).silent_if_empty, place);
        let is_silent = bodies.is_empty() && reason.is_none() && !is_batch(place) && !is_checkbox;
        let is_right = kinds(&bodies) == kinds(original) || is_essential(&sample.provider, place);
        (!is_right || is_silent).then(|| format!("it is lost, {reason:?}"))
    });
    assert!(failures.is_empty(), "{}", failures.into_iter().collect::<Vec<_>>().join("\n"));
}

#[test]
fn a_number_in_quotation_marks_and_a_text_without_them_say_the_same() {
    let failures = failures(
        |value| twin(value).into_iter().collect(),
        |_, _, original, (bodies, reason)| {
            (bodies != original || reason.is_some()).then(|| format!("another thing is said, {reason:?}"))
        },
    );
    assert!(failures.is_empty(), "{}", failures.into_iter().collect::<Vec<_>>().join("\n"));
}

const SECRET: &str = "generic-source-secret";
const AT: &str = "2027-01-15T12:00:00Z";

fn bodies(events: &[Event]) -> Vec<&Body> {
    events.iter().map(|event| &event.body).filter(|body| !matches!(body, Body::Unrecognized(_))).collect()
}

#[tokio::test]
async fn an_order_of_many_tickets_whose_numbers_are_no_texts_is_read() {
    let harness = ProviderHarness::open(source("shop", SECRET), AT.parse().expect("a time"));
    let ticket = |n: u32| json!({ "id": n, "show": { "id": n % 3, "city": [] }, "price": 150, "cancelled": 0 });
    let tickets: Vec<Value> = (1..=80).map(ticket).collect();
    let data = json!({ "id": 1, "status": "paid", "updated_at": AT, "placed_at": AT, "currency": "RUB", "total": 12_000,
        "buyer": { "phone": 89161234567_u64 }, "tickets": tickets });
    let signed_request = form_signed(
        &harness.path,
        &json!({ "type": "order", "data": data }),
        SECRET,
        "m-1",
        AT.parse().expect("a time"),
    );
    let outcome = harness.take(&signed_request).await;
    assert_eq!(outcome.answer, "{\"ok\":true}");
    let [Body::OrderPlaced(order) | Body::OrderPaid(order)] = bodies(&outcome.events)[..] else {
        panic!("{:?}", outcome.events)
    };
    assert_eq!(order.order.tickets.len(), 80);
}

#[test]
fn an_amount_that_came_through_a_float_is_the_amount_that_was_meant() {
    let sample = samples::all().expect("samples").into_iter().find(|one| one.case == "order_payed").expect("a sample");
    let whole: Value = serde_json::from_slice(&sample.body).expect("JSON");
    let (original, _) = said(&sample, &sample.body);
    let price = whole["price"].as_f64().expect("a price");
    for meant in [json!(price - 0.000_000_000_2), json!(format!("{price:.2}"))] {
        let (bodies, reason) = said(&sample, with(&whole, "/price", meant.clone()).to_string().as_bytes());
        assert_eq!((bodies, reason), (original.clone(), None), "{meant}");
    }
    let (bodies, reason) = said(&sample, with(&whole, "/price", json!(price + 0.005)).to_string().as_bytes());
    assert!(bodies.is_empty() && reason.is_some(), "half a kopeck is no float's noise");
}

#[tokio::test]
async fn a_row_of_the_crm_that_cannot_be_read_loses_only_itself() {
    let samples = samples::all().expect("samples");
    let sample = samples.iter().find(|one| one.case == "seen2018_contacts_update_rich").expect("a sample");
    let harness = ProviderHarness::of(sample);
    let alone = harness.take(&sample.signed_request(&harness.path)).await.events;
    let body = [&sample.body[..], b"&contacts%5Bupdate%5D%5B7%5D%5Bname%5D=nobody"].concat();
    let outcome = harness.take(&SignedRequest { body, ..sample.signed_request(&harness.path) }).await;
    assert_eq!(bodies(&outcome.events), bodies(&alone));
    assert_eq!(outcome.events.len(), alone.len() + 1, "the row is kept");
}

#[test]
fn of_two_fields_in_json_the_empty_one_takes_nothing_away() {
    let samples = samples::all().expect("samples");
    let sample = |provider: &str, case: &str| {
        samples.iter().find(|one| one.provider == provider && one.case == case).cloned().expect("a sample")
    };
    let form = sample("form", "lead");
    let (bodies, reason) = said(&form, br#"{"phone":"89161234567","phone":"","email":"a@example.com","email":null}"#);
    let [Body::FormSubmitted(lead)] = &bodies[..] else { panic!("{reason:?}") };
    assert_eq!(lead.identifiers.len(), 2);
    let tilda = sample("tilda", "lead_simple");
    for body in [&br#"Phone=89161234567&phone="#[..], br#"phone=89161234567&PHONE="#] {
        let (bodies, reason) = said(&tilda, body);
        assert!(matches!(&bodies[..], [Body::FormSubmitted(lead)] if !lead.identifiers.is_empty()), "{reason:?}");
    }
}

#[test]
fn a_cart_that_cannot_be_read_keeps_who_left_it() {
    let samples = samples::all().expect("samples");
    let tilda = samples.iter().find(|one| one.provider == "tilda" && one.case == "lead_simple").expect("a sample");
    for payment in [
        "payment=many",
        "payment[orderid]=7&payment[amount]=many",
        "payment[orderid]=7&payment[amount]=12%3C5&payment[systranid]=9&payment[sys]=x",
    ] {
        let (bodies, reason) = said(tilda, format!("Phone=89161234567&tranid=1:1&{payment}").as_bytes());
        assert!(matches!(&bodies[..], [Body::FormSubmitted(_) | Body::CartAbandoned(_)]), "{payment}: {reason:?}");
        assert!(reason.as_deref().is_some_and(|reason| reason.contains("payment")), "{payment}: {reason:?}");
    }
}

#[test]
fn an_id_whose_name_could_not_be_read_back_is_none() {
    let samples = samples::all().expect("samples");
    let form = samples.iter().find(|one| one.provider == "form" && one.case == "lead").expect("a sample");
    let (bodies, _) = said(form, br#"{"phone":"89161234567","ids":{"ga":"1","a:b":"2","c/d":"3"}}"#);
    for body in &bodies {
        let text = serde_json::to_string(body).expect("JSON");
        assert_eq!(*body, serde_json::from_str::<Body>(&text).expect("a body"));
    }
    let [Body::FormSubmitted(lead)] = &bodies[..] else { panic!("{bodies:?}") };
    assert_eq!(lead.identifiers.len(), 3, "the phone and two ids");
}
