//! Every word that a visitor writes into a form is kept, or its field is named in the answer.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use stagedoor_model::{Body, Timestamp};
use stagedoor_testkit::{form, form_signed, json as posted};
use stagedoor_tests::{
    provider_harness::{Outcome, ProviderHarness, source},
    world::World,
};

const SECRET: &str = "form-source-secret";
const PAGE: &str = "https://theatre.example";

fn at() -> Timestamp {
    "2027-05-01T10:00:00Z".parse().expect("a time")
}

fn labels(outcome: &Outcome) -> BTreeMap<String, String> {
    let form = outcome.events.iter().find_map(|event| match &event.body {
        Body::FormSubmitted(form) => Some(form.labels.clone()),
        _ => None,
    });
    form.expect("a form")
}

fn reason(outcome: &Outcome) -> String {
    let kept = outcome.events.iter().filter_map(|event| match &event.body {
        Body::Unrecognized(kept) => Some(kept.reason.clone()),
        _ => None,
    });
    kept.collect()
}

async fn by_server(body: &Value) -> Outcome {
    let harness = ProviderHarness::open(source("form", SECRET), at());
    harness.take(&form_signed(&harness.path, body, SECRET, "form-1", at())).await
}

async fn by_browser(body: &Value) -> Outcome {
    let options = json!({ "auth": "browser", "origins": [PAGE] });
    let harness = ProviderHarness::open(stagedoor_webhook::Source { options, ..source("form", "page-key") }, at());
    harness.take(&posted(&harness.path, body).header("origin", PAGE).header("x-stagedoor-key", "page-key")).await
}

#[tokio::test]
async fn the_words_of_a_signed_form_are_kept_whole() {
    let (question, story) = ("я".repeat(251), "Мы придём вдвоём. ".repeat(500));
    let body = json!({
        "phone": "+79161234567", "question": question, "story": story, "topics": ["опера", "балет"], "seats": [[3, 4], 5],
        "address": { "city": "Уфа", "lines": ["Ленина, 1"] }, "first_time": true, "nothing": null, "none": [],
    });
    let outcome = by_server(&body).await;
    assert_eq!(outcome.answer, "{\"ok\":true}");
    let told = labels(&outcome);
    let expected = [
        ("address.city", "Уфа"),
        ("address.lines", "Ленина, 1"),
        ("first_time", "true"),
        ("question", question.as_str()),
        ("seats", "3, 4, 5"),
        ("story", story.trim()),
        ("topics", "опера, балет"),
    ];
    assert_eq!(told, expected.map(|(name, text)| (name.to_owned(), text.to_owned())).into());
}

#[tokio::test]
async fn what_is_longer_than_a_form_is_cut_and_named() {
    let mut body = json!({ "phone": "+79161234567", "comment": "ж".repeat(12_000), "short": "да" });
    let outcome = by_server(&body).await;
    let told = labels(&outcome);
    assert_eq!((told["comment"].chars().count(), told["short"].as_str()), (10_000, "да"));
    assert!(told["comment"].ends_with('…'));
    assert!(reason(&outcome).contains("comment (too long"), "{}", reason(&outcome));
    for n in 0..150 {
        body[format!("field-{n:03}")] = json!("x");
    }
    let outcome = by_server(&body).await;
    assert_eq!(labels(&outcome).len(), 100);
    assert!(outcome.answer.contains("field-1") && outcome.answer.contains("too many"), "{}", outcome.answer);
    let long = json!({ "phone": "+79161234567", "name": "А".repeat(5_000), "form": "Ф".repeat(5_000) });
    let outcome = by_browser(&long).await;
    assert!(outcome.answer.contains("form (too long), name (too long)"), "{}", outcome.answer);
    assert!(serde_json::to_string(&outcome.events[0]).expect("JSON").len() < 2_000);
}

#[tokio::test]
async fn a_long_field_of_a_pages_form_gives_way_and_the_short_ones_stay() {
    let body = json!({
        "phone": "+79161234567", "a_story": "Очень длинный рассказ. ".repeat(1_000), "b_story": "ы".repeat(1_000),
        "city": "Уфа", "topics": ["опера", "балет"], "utm": { "source": "vk" }, "z_wish": "ряд у прохода",
        "8 916 123-45-67": "x".repeat(3_000),
    });
    let outcome = by_browser(&body).await;
    let told = labels(&outcome);
    for (name, text) in [("city", "Уфа"), ("topics", "опера, балет"), ("utm_source", "vk"), ("z_wish", "ряд у прохода")]
    {
        assert_eq!(told.get(name).map(String::as_str), Some(text), "{told:?}");
    }
    assert!(told["a_story"].starts_with("Очень длинный рассказ. ") && told["a_story"].ends_with('…'));
    assert!(told.iter().map(|(name, text)| name.len() + text.len()).sum::<usize>() <= 3_000, "{told:?}");
    let reason = reason(&outcome);
    assert!(reason.contains("a_story (too long") && reason.contains("b_story") && !reason.contains("city"), "{reason}");
    assert!(!reason.contains("916"), "a number that somebody typed is in no log: {reason}");
    assert!(outcome.answer.contains("a_story"), "{}", outcome.answer);
    let usual = json!({ "phone": "+79161234567", "comment": "я".repeat(1_400) });
    assert_eq!(by_browser(&usual).await.answer, "{\"ok\":true}");
}

#[tokio::test]
async fn the_words_of_a_tilda_form_and_of_a_pop_up_are_kept_whole() {
    let story = "Спасибо за спектакль! ".repeat(100);
    let harness = ProviderHarness::open(source("tilda", "tilda-api-key"), at());
    let fields = [("Phone", "+79161234567"), ("Comment", &story), ("topic[]", "опера"), ("topic[]", "балет")];
    let outcome = harness.take(&form(&harness.path, &fields).header("x-api-key", "tilda-api-key")).await;
    let told = labels(&outcome);
    assert_eq!((told["comment"].as_str(), told["topic"].as_str()), (story.trim(), "опера, балет"));
    let harness = ProviderHarness::open(source("carrotquest", "cq-token"), at());
    let event = json!({ "id": 1, "created": 1_809_334_800, "type": { "name": "Опрос" },
        "props": { "$phone": "+79161234567", "topics": ["опера", "балет"], "again": true, "story": story } });
    let fields = [
        ("token", "cq-token"),
        ("type", "event"),
        ("event_name", "Опрос"),
        ("event", &event.to_string()),
        ("user", "{}"),
    ];
    let told = labels(&harness.take(&form(&harness.path, &fields)).await);
    let expected = [("again", "true"), ("scenario", "Опрос"), ("story", story.trim()), ("topics", "опера, балет")];
    assert_eq!(told, expected.map(|(name, text)| (name.to_owned(), text.to_owned())).into());
}

#[tokio::test]
async fn a_cart_whose_amount_cannot_be_read_is_a_cart_still() {
    for amount in [json!("1500.005"), json!({ "value": 1500 }), json!("от 1500 руб. до 3000"), json!([1500, 2000])]
    {
        let body = json!({ "kind": "cart_abandoned", "phone": "+79161234567", "show": "kzn-1", "amount": amount });
        let outcome = by_server(&body).await;
        assert!(reason(&outcome).contains("amount"), "{amount}: {}", reason(&outcome));
        let world = World::new().await;
        world.run(outcome.events).await;
        let stages: Vec<String> = world.sandbox.leads_by_stage().into_keys().map(|(_, stage)| stage).collect();
        assert_eq!(stages, ["cart ·"], "{amount}");
    }
}

#[tokio::test]
async fn a_cart_in_another_currency_tells_of_it_alone() {
    let world = World::new().await;
    let body = json!({ "kind": "cart_abandoned", "phone": "+79161234567", "amount": "30.125", "currency": "KWD" });
    world.run(by_server(&body).await.events).await;
    let deal = world.sandbox.leads().remove(0).to_string();
    assert!(deal.contains("\"besides 30.125 KWD\""), "{deal}");
}
