//! Public links in a flood: made-up ones shut out nobody, and one client does not use up what all may have.

use axum::{Router, body::Body};
use http::{Request, Response};
use stagedoor::{DEFAULT_CONFIG, Hub, read_config};
use stagedoor_model::{LinkKey, Purpose};
use stagedoor_tests::hub::TestHub;
use stagedoor_webhook::ClientAddress;
use tower::ServiceExt;

async fn look(router: &Router, path: &str, client: Option<&str>) -> Response<Body> {
    // A HEAD counts as a look and writes nothing.
    let mut request = Request::head(path).body(Body::empty()).expect("a request");
    if let Some(client) = client {
        request.extensions_mut().insert(ClientAddress(client.parse().expect("an address")));
    }
    router.clone().oneshot(request).await.expect("an answer")
}

fn waits(answer: &Response<Body>) -> Option<u32> {
    answer.headers().get("retry-after")?.to_str().ok()?.parse().ok()
}

#[tokio::test]
async fn made_up_links_take_nothing_of_what_fans_may_have() {
    let hub = TestHub::start().await;
    let router = hub.hub.router().expect("a router");
    let ours = path(&hub);
    for n in 0..6_000 {
        let made_up = format!("/l/made-up-{n:015}");
        assert_eq!(look(&router, &made_up, None).await.status(), 404);
    }
    assert_eq!(look(&router, &ours, None).await.status(), 302);
    let mut last = look(&router, "/u/made-up", Some("192.0.2.1")).await;
    for _ in 0..80 {
        last = look(&router, "/u/made-up", Some("192.0.2.1")).await;
    }
    assert_eq!((last.status().as_u16(), waits(&last)), (429, Some(60)), "who guesses has to wait");
    assert_eq!(look(&router, "/u/made-up", Some("192.0.2.2")).await.status(), 404, "and nobody else");
    assert_eq!(look(&router, &ours, Some("192.0.2.1")).await.status(), 302, "a link that is ours leads on");
}

#[tokio::test]
async fn one_client_does_not_use_up_what_all_may_have() {
    let hub = TestHub::start().await;
    let router = hub.hub.router().expect("a router");
    let ours = path(&hub);
    let mut slowed = 0;
    for _ in 0..1_500 {
        let answer = look(&router, &ours, Some("192.0.2.1")).await;
        slowed += u32::from(answer.status() == 429 && waits(&answer).is_some());
    }
    assert!(slowed > 50, "{slowed} of 1,500 looks at once are told to wait");
    assert_eq!(look(&router, &ours, Some("192.0.2.2")).await.status(), 302);
    for _ in 0..600 {
        let behind = look(&router, &ours, Some("127.0.0.1")).await;
        assert_eq!(behind.status(), 302, "a proxy that is not named speaks for all");
    }
}

#[tokio::test]
async fn a_page_of_an_https_hub_is_asked_for_by_https_only() {
    let folder = tempfile::tempdir().expect("a folder");
    for (url, secure) in [("https://hub.example.ru", true), ("http://127.0.0.1:1", false)] {
        let mut config = read_config("stagedoor.toml", DEFAULT_CONFIG, None).expect("a config");
        config.public_url = Some(url.to_owned());
        let hub = std::sync::Arc::new(Hub::open(config, folder.path(), "serve").expect("a hub"));
        let router = hub.router().expect("a router");
        for path in ["/l/unknown", "/u/unknown", "/c/unknown"] {
            let answer = look(&router, path, None).await;
            assert_eq!(answer.headers().contains_key("strict-transport-security"), secure, "{url}{path}");
        }
    }
}

#[tokio::test]
async fn one_link_that_is_pressed_without_end_writes_a_few_words_and_stops_no_other() {
    let hub = TestHub::start().await;
    let router = hub.hub.router().expect("a router");
    let until = hub.now() + std::time::Duration::from_secs(20 * 86_400);
    let link =
        |whose: &str| format!("/u/{}", LinkKey::new("link-key").mint(0, Purpose::Consent, whose, until).as_str());
    let press = async |path: String| {
        let request = Request::post(path).body(Body::empty()).expect("a request");
        router.clone().oneshot(request).await.expect("an answer")
    };
    let mut heard = 0;
    for _ in 0..20 {
        assert_eq!(press(link("vera")).await.status(), 200, "each may follow a new consent");
    }
    for _ in 0..200 {
        let answer = press(link("anna")).await;
        heard += u32::from(answer.status() == 200);
        assert!(answer.status() == 200 || waits(&answer).is_some(), "{}", answer.status());
    }
    assert!((50..=70).contains(&heard), "{heard} of 200 were heard");
    assert_eq!(press(link("boris")).await.status(), 200);
}

#[tokio::test]
async fn looks_at_a_poster_without_end_are_not_all_written_and_take_nothing_of_another_fans() {
    let hub = TestHub::start().await;
    let router = hub.hub.router().expect("a router");
    let until = hub.now() + std::time::Duration::from_secs(20 * 86_400);
    let poster = format!("/l/{}", LinkKey::new("link-key").mint(1, Purpose::Public, "poster", until));
    let open = async |client: &str| {
        let mut request =
            Request::get(&poster).header("user-agent", "Mozilla/5.0").body(Body::empty()).expect("a request");
        request.extensions_mut().insert(ClientAddress(client.parse().expect("an address")));
        router.clone().oneshot(request).await.expect("an answer").status().as_u16()
    };
    let written = async || {
        hub.settled().await;
        let rows = hub.hub.store.journal(5_000).await.expect("rows");
        rows.iter().filter(|row| row.event.kind() == "stagedoor.link.clicked.v1").count()
    };
    for _ in 0..400 {
        assert_eq!(open("192.0.2.1").await, 200, "the page comes all the same");
    }
    let of_one = written().await;
    assert!((100..150).contains(&of_one), "{of_one} of 400 looks are written");
    assert_eq!(open("192.0.2.2").await, 200);
    assert_eq!(written().await, of_one + 1, "another fan's look counts");
}

/// A link to the shop, of the sample's first campaign.
fn path(hub: &TestHub) -> String {
    let until = hub.now() + std::time::Duration::from_secs(20 * 86_400);
    format!("/l/{}", LinkKey::new("link-key").mint(1, Purpose::Shop, "fan", until))
}
