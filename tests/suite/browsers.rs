//! Forms that a browser sends by itself: the key of the page and the origins that the config knows.

use axum::body::Body;
use http::{Method, Request};
use stagedoor_tests::provider_harness::ProviderHarness;

fn browser() -> ProviderHarness {
    let mut source = stagedoor_tests::provider_harness::source("form", "landing-key");
    source.options = serde_json::json!({ "auth": "browser", "origins": ["https://cherry.example.ru"] });
    ProviderHarness::open(source, "2025-01-15T00:00:05Z".parse().expect("a time"))
}

#[tokio::test]
async fn a_browser_needs_the_key_and_a_known_origin() {
    let harness = browser();
    let signed_request = |origin: &str, key: &str| {
        let fields = [("email", "anna@example.com"), ("key", key)];
        stagedoor_testkit::form(&harness.path, &fields).header("origin", origin)
    };
    let good = harness.take(&signed_request("https://cherry.example.ru", "landing-key")).await;
    assert_eq!((good.status.as_u16(), good.events.len()), (200, 1));
    assert_eq!(harness.take(&signed_request("https://elsewhere.example", "landing-key")).await.status.as_u16(), 401);
    assert_eq!(harness.take(&signed_request("https://cherry.example.ru", "guess")).await.status.as_u16(), 401);
}

#[tokio::test]
async fn cors_lets_the_known_origin_in_and_no_other() {
    let harness = browser();
    let preflight = |origin: &str| {
        let request = Request::builder().method(Method::OPTIONS).uri(&harness.path).header("origin", origin);
        request.header("access-control-request-method", "POST").body(Body::empty()).expect("a request")
    };
    assert_eq!(harness.ask(preflight("https://cherry.example.ru")).await.status.as_u16(), 204);
    assert_eq!(harness.ask(preflight("https://elsewhere.example")).await.status.as_u16(), 405);
}
