//! Every provider, everything that can be wrong: a clear answer, nothing lost, no panic.

use std::{io::Write, sync::Arc};

use axum::body::Body;
use http::{Method, Request};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use stagedoor_model::Body as Fact;
use stagedoor_testkit::{SignedRequest, samples, samples::Sample};
use stagedoor_tests::{
    profile::{self, Profile, covers, general, models},
    provider_harness::{Outcome, ProviderHarness},
    tamper::{signed, spoilt},
};

fn of(sample: &Sample) -> Arc<Profile> {
    profile::of(&sample.provider)
}

fn is_form(sample: &Sample) -> bool {
    sample.headers.iter().any(|(_, value)| value.starts_with("application/x-www-form"))
}

/// The place of a form's field, whose name may have brackets: `contacts[0][type]` is `contacts/*/type`.
fn form_place(name: &str) -> String {
    let pair = format!("{name}=");
    let name = url::form_urlencoded::parse(pair.as_bytes()).next().map(|(name, _)| name.into_owned());
    general(&format!("/{}", name.unwrap_or_default().replace("][", "/").replace('[', "/").replace(']', "")))
}

fn is_sentence(outcome: &Outcome) -> bool {
    let answer: Value = serde_json::from_str(&outcome.answer).unwrap_or(Value::Null);
    answer.get("error").is_some_and(Value::is_string) && !outcome.answer.contains('\n')
}

async fn refused(sample: &Sample, signed_request: &SignedRequest, status: u16) {
    let outcome = ProviderHarness::of(sample).take(signed_request).await;
    let what = format!("{}: {}", sample.provider, outcome.answer);
    assert_eq!(outcome.status.as_u16(), status, "{what}");
    assert!(is_sentence(&outcome), "{what}");
    assert!(outcome.events.is_empty(), "{what}");
}

#[tokio::test]
async fn a_wrong_missing_or_truncated_proof_is_401() {
    for sample in models() {
        let harness = ProviderHarness::of(&sample);
        let wrong = |text: &str| Some(text.chars().rev().collect::<String>());
        refused(&sample, &spoilt(&sample, &harness.path, wrong), 401).await;
        refused(&sample, &spoilt(&sample, &harness.path, |_| None), 401).await;
        refused(&sample, &spoilt(&sample, &harness.path, |text| text.get(..text.len() - 3).map(str::to_owned)), 401)
            .await;
    }
}

#[tokio::test]
async fn a_changed_body_under_an_old_signature_is_401() {
    for sample in models().into_iter().filter(|one| of(one).proof.binds_bytes()) {
        let harness = ProviderHarness::of(&sample);
        let mut signed_request = sample.signed_request(&harness.path);
        signed_request.body.push(b' ');
        refused(&sample, &signed_request, 401).await;
    }
}

#[tokio::test]
async fn a_signed_delivery_replayed_an_hour_later_is_401() {
    for mut sample in models().into_iter().filter(|one| of(one).proof.expires()) {
        let path = ProviderHarness::of(&sample).path;
        let signed_request = sample.signed_request(&path);
        let at: Timestamp = sample.notes["at"].parse().expect("a time");
        sample.notes.insert("at".into(), (at + SignedDuration::from_hours(1)).to_string());
        refused(&sample, &signed_request, 401).await;
    }
}

#[tokio::test]
async fn an_empty_body_is_400_and_a_foreign_content_type_415() {
    for sample in models() {
        let harness = ProviderHarness::of(&sample);
        refused(&sample, &SignedRequest { body: vec![], ..sample.signed_request(&harness.path) }, 400).await;
        let mut signed_request = sample.signed_request(&harness.path);
        signed_request.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("content-type"));
        refused(&sample, &signed_request, 415).await;
        refused(&sample, &signed_request.header("content-type", "text/xml"), 415).await;
    }
}

#[tokio::test]
async fn ten_megabytes_are_413_plain_or_inflated() {
    for sample in models() {
        let harness = ProviderHarness::of(&sample);
        let large = vec![b'a'; 10 * 1024 * 1024];
        refused(&sample, &SignedRequest { body: large.clone(), ..sample.signed_request(&harness.path) }, 413).await;
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(&large).expect("packed");
        let body = packed.finish().expect("packed");
        let bomb = SignedRequest { body, ..sample.signed_request(&harness.path) }.header("content-encoding", "gzip");
        refused(&sample, &bomb, 413).await;
        refused(&sample, &sample.signed_request(&harness.path).header("content-encoding", "gzip"), 400).await;
        refused(&sample, &sample.signed_request(&harness.path).header("content-encoding", "br"), 415).await;
    }
}

#[tokio::test]
async fn an_authentic_body_that_is_no_text_or_nests_ten_thousand_deep_is_kept() {
    for sample in models() {
        let harness = ProviderHarness::of(&sample);
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000)).into_bytes();
        let brackets = format!("a{}=1", "[b]".repeat(10_000)).into_bytes();
        for body in [vec![0xff, 0xfe, 0x80, b'=', 0xc3, 0x28], deep, brackets] {
            if of(&sample).proof.is_in_body() {
                let outcome = harness.take(&signed(&sample, &harness.path, body)).await;
                assert_eq!(outcome.status.as_u16(), 401);
                continue;
            }
            let outcome = harness.take(&signed(&sample, &harness.path, body)).await;
            assert_eq!(outcome.status.as_u16(), 200, "{}: {}", sample.provider, outcome.answer);
            assert!(kept(&outcome), "{} keeps what it cannot read", sample.provider);
        }
    }
}

fn kept(outcome: &Outcome) -> bool {
    outcome.events.len() == 1 && outcome.events.iter().all(|event| matches!(event.body, Fact::Unrecognized(_)))
}

#[tokio::test]
async fn an_unknown_event_type_is_kept() {
    for sample in models() {
        let harness = ProviderHarness::of(&sample);
        // A form has no type: a delivery that names nobody is kept.
        let profile = of(&sample);
        let Some(unknown) = &profile.unknown else { continue };
        let mut model = sample.clone();
        if let Some(from) = &unknown.from {
            let text = String::from_utf8(model.body).expect("text");
            assert!(text.contains(from), "{}: {from}", sample.provider);
            model.body = text.replace(from, &unknown.to).into_bytes();
        }
        if let Some(header) = &unknown.header {
            model.headers.retain(|(name, _)| !name.eq_ignore_ascii_case(header));
            model.headers.push((header.clone(), unknown.to.clone()));
        }
        let outcome = harness.take(&signed(&model, &harness.path, model.body.clone())).await;
        assert_eq!(outcome.status.as_u16(), 200, "{}", sample.provider);
        assert!(kept(&outcome), "{}: {:?}", sample.provider, outcome.events.len());
    }
}

#[tokio::test]
async fn what_is_strange_in_a_batch_is_kept_and_does_not_hold_up_the_rest() {
    for sample in models() {
        let profile = of(&sample);
        let Some(rows) = &profile.batch else { continue };
        let harness = ProviderHarness::of(&sample);
        let alone = harness.take(&sample.signed_request(&harness.path)).await.events;
        let mut batch: Value = serde_json::from_slice(&sample.body).expect("JSON");
        let all = batch.pointer_mut(&rows.list).and_then(Value::as_array_mut).expect("a list");
        let mut strange = all[0].clone();
        let moved = strange.as_object_mut().and_then(|one| one.remove(&rows.field)).expect("a part");
        strange[rows.becomes.as_str()] = moved;
        all.push(strange);
        let outcome = harness.take(&signed(&sample, &harness.path, batch.to_string().into_bytes())).await;
        assert_eq!(outcome.status.as_u16(), 200, "{}", sample.provider);
        let ids = |events: &[stagedoor_model::Event]| events.iter().map(|one| one.id.clone()).collect::<Vec<_>>();
        let (kept, told): (Vec<_>, Vec<_>) =
            outcome.events.into_iter().partition(|event| matches!(event.body, Fact::Unrecognized(_)));
        assert_eq!(kept.len(), 1, "{}: the strange part is kept for replay", sample.provider);
        assert_eq!(ids(&told), ids(&alone), "{}: the rest is told at once", sample.provider);
    }
}

/// Every place within a JSON value.
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

fn without(value: &Value, pointer: &str) -> Value {
    let mut changed = value.clone();
    let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
    match changed.pointer_mut(parent) {
        Some(Value::Object(map)) => _ = map.remove(key),
        Some(Value::Array(items)) => _ = items.remove(key.parse().expect("an index")),
        _ => {}
    }
    changed
}

#[tokio::test]
async fn each_json_field_missing_or_of_another_type_is_answered_and_nothing_is_lost() {
    let others = [
        Value::Null,
        serde_json::json!(-7),
        serde_json::json!("✗"),
        serde_json::json!([]),
        serde_json::json!({ "a": [1] }),
    ];
    for sample in models() {
        let Ok(whole) = serde_json::from_slice::<Value>(&sample.body) else { continue };
        let profile = of(&sample);
        let harness = ProviderHarness::of(&sample);
        let mut places = Vec::new();
        pointers(&whole, "", &mut places);
        for place in places {
            let mut variants = vec![without(&whole, &place)];
            variants.extend(others.iter().map(|other| {
                let mut changed = whole.clone();
                *changed.pointer_mut(&place).expect("a place") = other.clone();
                changed
            }));
            for variant in variants {
                let outcome = harness.take(&signed(&sample, &harness.path, variant.to_string().into_bytes())).await;
                // Some proofs are fields of the body.
                let place = general(&place);
                let proof = covers(&profile.proof.fields, &place);
                if proof && outcome.status.as_u16() == 401 {
                    continue;
                }
                assert_eq!(outcome.status.as_u16(), 200, "{} {place}: {}", sample.provider, outcome.answer);
                // An empty batch holds nothing that could be lost.
                assert!(
                    covers(&profile.silent, &place) || !outcome.events.is_empty(),
                    "{} {place} lost the delivery",
                    sample.provider
                );
            }
        }
    }
}

#[tokio::test]
async fn each_form_field_missing_or_strange_is_answered_and_nothing_is_lost() {
    for sample in models().into_iter().filter(is_form) {
        let profile = of(&sample);
        let harness = ProviderHarness::of(&sample);
        let text = String::from_utf8(sample.body.clone()).expect("a form");
        let fields: Vec<&str> = text.split('&').collect();
        for index in 0..fields.len() {
            for value in [None, Some(""), Some("%FF%00"), Some("-1"), Some("%7B%22id%22%3A%5B%5D%7D")] {
                let mut changed: Vec<String> = fields.iter().map(|field| (*field).to_owned()).collect();
                let name = fields[index].split('=').next().expect("a name").to_owned();
                match value {
                    None => _ = changed.remove(index),
                    Some(value) => changed[index] = format!("{name}={value}"),
                }
                let outcome = harness.take(&signed(&sample, &harness.path, changed.join("&").into_bytes())).await;
                let status = outcome.status.as_u16();
                let place = form_place(&name);
                let proof = covers(&profile.proof.fields, &place);
                assert!(status == 200 || (proof && status == 401), "{} {name}: {status}", sample.provider);
                // Some fields say that nobody is meant, such as a company among contacts.
                let nobody = covers(&profile.silent, &place);
                assert!(
                    status == 401 || nobody || !outcome.events.is_empty(),
                    "{} {name} lost the delivery",
                    sample.provider
                );
            }
        }
    }
}

#[tokio::test]
async fn metas_handshake_gives_the_challenge_back_to_whoever_shows_the_verify_token() {
    for provider in ["messenger", "instagram", "whatsapp"] {
        let source = stagedoor_tests::provider_harness::source(provider, "app-secret");
        let harness = ProviderHarness::open(source, "2026-11-24T12:00:05Z".parse().expect("a time"));
        let ask =
            |query: &str| Request::get(format!("{}?{query}", harness.path)).body(Body::empty()).expect("a request");
        let good = harness.ask(ask("hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token=check")).await;
        assert_eq!((good.status.as_u16(), good.answer.as_str()), (200, "1158201444"));
        for bad in
            ["hub.mode=subscribe&hub.challenge=1&hub.verify_token=chec", "hub.challenge=1", "hub.verify_token=check"]
        {
            let refused = harness.ask(ask(bad)).await;
            assert_eq!((refused.status.as_u16(), refused.answer.as_str()), (403, ""), "{bad}");
        }
    }
}

#[tokio::test]
async fn vk_hears_its_confirmation_string_and_ok_and_viber_its_welcome() {
    let at = "2026-11-24T12:00:05Z".parse().expect("a time");
    let harness = ProviderHarness::open(stagedoor_tests::provider_harness::source("vk", "abc123xyz"), at);
    let confirm = |group: u64| {
        stagedoor_testkit::json(&harness.path, &serde_json::json!({ "type": "confirmation", "group_id": group }))
    };
    let good = harness.take(&confirm(191_949_777)).await;
    assert_eq!((good.status.as_u16(), good.answer.as_str()), (200, "62dfc19d"));
    assert_eq!(harness.take(&confirm(1)).await.status.as_u16(), 401, "another community's");
    let sample = models().into_iter().find(|one| one.provider == "vk").expect("a model");
    let harness = ProviderHarness::of(&sample);
    assert_eq!(harness.take(&sample.signed_request(&harness.path)).await.answer, "ok");

    let mut source = stagedoor_tests::provider_harness::source("viber", "stagedoor-viber-auth-token");
    source.options["welcome"] = "Нажмите кнопку".into();
    let harness = ProviderHarness::open(source, at);
    let all = samples::all().expect("events/ can be read");
    let opened = all.iter().find(|one| one.case == "conversation_started_with_context").expect("a sample");
    let answer: Value =
        serde_json::from_str(&harness.take(&opened.signed_request(&harness.path)).await.answer).expect("JSON");
    assert_eq!((answer["type"].as_str(), answer["text"].as_str()), (Some("text"), Some("Нажмите кнопку")));
    let known = all.iter().find(|one| one.case == "conversation_started_again_subscribed").expect("a sample");
    assert_eq!(
        harness.take(&known.signed_request(&harness.path)).await.answer,
        "{}",
        "who may be written to needs no welcome"
    );
}

#[tokio::test]
async fn vibers_signature_may_stand_in_the_query_and_must_be_right_there_too() {
    let sample = models().into_iter().find(|one| one.provider == "viber").expect("a model");
    let harness = ProviderHarness::of(&sample);
    let mut signed_request = sample.signed_request(&harness.path);
    let header = signed_request.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("x-viber-content-signature"));
    let signature = header.expect("a signature").1.clone();
    signed_request.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("x-viber-content-signature"));
    let good = SignedRequest { path: format!("{}?sig={signature}", harness.path), ..signed_request.clone() };
    assert_eq!(harness.take(&good).await.events.len(), 1);
    let bad = SignedRequest { path: format!("{}?sig={}", harness.path, signature.replace('a', "b")), ..signed_request };
    assert_eq!(harness.take(&bad).await.status.as_u16(), 401);
}

#[tokio::test]
async fn other_methods_and_unknown_sources_get_a_clear_no_and_never_410() {
    for sample in models() {
        let harness = ProviderHarness::of(&sample);
        for (method, path, expected) in [
            (Method::GET, harness.path.clone(), of(&sample).get),
            (Method::DELETE, harness.path.clone(), 405),
            (Method::POST, format!("{}-nobody", harness.path), 404),
        ] {
            let request = Request::builder().method(method).uri(path).body(Body::empty()).expect("a request");
            let outcome = harness.ask(request).await;
            assert_eq!(outcome.status.as_u16(), expected, "{}", sample.provider);
            assert!(expected == 403 || expected == 200 || is_sentence(&outcome));
        }
    }
}

#[tokio::test]
async fn above_the_sources_rate_it_is_429() {
    let sample = models().into_iter().find(|one| one.provider == "tilda").expect("a model");
    // The first phone of a process reads the numbering plans, which takes longer than the rate allows for here.
    let first = ProviderHarness::of(&sample);
    first.take(&sample.signed_request(&first.path)).await;
    let mut source = stagedoor_tests::provider_harness::source("tilda", "tilda-api-key");
    source.rate = 3;
    let harness = ProviderHarness::open(source, "2025-01-15T00:00:05Z".parse().expect("a time"));
    let mut statuses = Vec::new();
    for _ in 0..5 {
        statuses.push(harness.take(&sample.signed_request(&harness.path)).await.status.as_u16());
    }
    assert_eq!(statuses, [200, 200, 200, 429, 429]);
}

#[tokio::test]
async fn tildas_test_ping_is_answered_and_is_nobody() {
    let source = stagedoor_tests::provider_harness::source("tilda", "tilda-api-key");
    let harness = ProviderHarness::open(source, "2025-01-15T00:00:05Z".parse().expect("a time"));
    for body in ["test=test", "test=test&extra="] {
        let signed_request = SignedRequest::new(&harness.path, "application/x-www-form-urlencoded", body.into());
        let outcome = harness.take(&signed_request).await;
        assert_eq!((outcome.status.as_u16(), outcome.events.len()), (200, 0), "{body}");
    }
}
