//! `events/` is what providers really send and what the hub makes of it.

use std::collections::BTreeSet;

use serde_json::Value;
use stagedoor_testkit::samples;
use stagedoor_tests::{profile, provider_harness::ProviderHarness};

async fn normalised(sample: &samples::Sample) -> (u16, Value) {
    let harness = ProviderHarness::of(sample);
    let outcome = harness.take(&sample.signed_request(&harness.path)).await;
    let mut events = outcome.events;
    for event in &mut events {
        // These belong to the delivery, not to the fact.
        event.order = 0;
        assert!(event.traceparent.take().is_some(), "{}/{} has no trace", sample.provider, sample.case);
    }
    (outcome.status.as_u16(), serde_json::to_value(events).expect("events are JSON"))
}

#[tokio::test]
async fn every_sample_becomes_the_events_beside_it() {
    let all = samples::all().expect("events/ can be read");
    let providers: BTreeSet<&str> = all.iter().map(|sample| sample.provider.as_str()).collect();
    assert_eq!(providers.into_iter().collect::<Vec<_>>(), profile::names());
    for sample in &all {
        let (status, events) = normalised(sample).await;
        assert_eq!(status, 200, "{}/{}", sample.provider, sample.case);
        let kept = std::fs::read_to_string(sample.golden())
            .unwrap_or_else(|_| panic!("{} is missing", sample.golden().display()));
        let kept: Value = serde_json::from_str(&kept).expect("golden events are JSON");
        assert_eq!(events, kept, "{}/{}", sample.provider, sample.case);
    }
}

#[tokio::test]
async fn a_second_delivery_of_a_sample_has_the_same_ids() {
    for sample in samples::all().expect("events/ can be read") {
        let (first, second) = (normalised(&sample).await.1, normalised(&sample).await.1);
        assert_eq!(first, second, "{}/{}", sample.provider, sample.case);
    }
}

/// `cargo test -p stagedoor-tests -- --ignored writes_golden_events` after a parser has learned something; read the diff.
#[tokio::test]
#[ignore = "rewrites events/"]
async fn writes_golden_events() {
    for sample in samples::all().expect("events/ can be read") {
        let (_, events) = normalised(&sample).await;
        let text = serde_json::to_string_pretty(&events).expect("events are JSON");
        std::fs::write(sample.golden(), text + "\n").expect("written");
    }
}

/// `cargo test -p stagedoor-tests -- --ignored writes_schemas` after a type was changed; read the diff.
#[test]
#[ignore = "rewrites events/schema.json and docs/stagedoor.schema.json"]
fn writes_schemas() {
    let root = samples::folder().join("..");
    for (file, schema) in
        [("events/schema.json", stagedoor_model::schema()), ("docs/stagedoor.schema.json", stagedoor_config::schema())]
    {
        let text = serde_json::to_string_pretty(&schema).expect("a schema is JSON");
        std::fs::write(root.join(file), text + "\n").expect("written");
    }
}

#[test]
fn the_committed_schemas_are_those_of_the_types() {
    let root = samples::folder().join("..");
    for (file, schema) in
        [("events/schema.json", stagedoor_model::schema()), ("docs/stagedoor.schema.json", stagedoor_config::schema())]
    {
        let kept = std::fs::read_to_string(root.join(file)).unwrap_or_default();
        let kept: Value = serde_json::from_str(&kept).unwrap_or(Value::Null);
        assert_eq!(
            kept, schema,
            "{file} differs: a change of an event needs a new version in its type; then `stagedoor schema`"
        );
    }
}
