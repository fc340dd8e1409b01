//! `/metrics`: the figures of the hub for Prometheus, behind the console's token.

use std::collections::BTreeMap;

use stagedoor_testkit::form;
use stagedoor_tests::hub::TestHub;

/// Values by name and labels, as the text format has them.
fn values(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value: {line}"));
            (name.to_owned(), value.parse().unwrap_or_else(|_| panic!("no number: {line}")))
        })
        .collect()
}

async fn scraped(hub: &TestHub) -> String {
    let http = stagedoor_http::builder().build().expect("a client");
    let answer = http.get(format!("{}/metrics", hub.console)).send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
    let kind = answer.headers()["content-type"].to_str().expect("text").to_owned();
    assert!(kind.starts_with("application/openmetrics-text; version=1.0.0"), "{kind}");
    answer.text().await.expect("text")
}

#[tokio::test]
async fn prometheus_is_told_the_figures_of_the_hub_and_nothing_personal() {
    let hub = TestHub::start().await;
    let fields = [("Name", "Анна Каренина"), ("Phone", "8 916 123-45-67"), ("Email", "anna@example.com")];
    let before = hub.hub.sync.clock.now().as_second() as f64;
    hub.take(&form("/website/tilda", &fields).header("x-api-key", "tilda-api-key")).await;
    let refused = form("/website/tilda", &fields).header("x-api-key", "another");
    let http = stagedoor_http::builder().build().expect("a client");
    assert_eq!(refused.post(&http, &hub.base).await.expect("an answer").0, 401);
    let status = hub.settled().await;
    let text = scraped(&hub).await;
    assert!(text.ends_with("# EOF\n"), "{text}");
    for word in ["Анна", "916", "anna@", "Каренина"] {
        assert!(!text.contains(word), "{word}: {text}");
    }
    let values = values(&text);
    let value = |name: &str| *values.get(name).unwrap_or_else(|| panic!("{name} is missing: {text}"));
    assert_eq!(value("stagedoor_deliveries_total{source=\"tilda\",outcome=\"accepted\"}"), 1.0);
    assert_eq!(value("stagedoor_deliveries_total{source=\"tilda\",outcome=\"WrongSignature\"}"), 1.0);
    let last = value("stagedoor_last_delivery_timestamp_seconds{source=\"tilda\"}");
    assert!(last >= before && last < before + 60.0, "{last} after {before}");
    for queue in ["events", "chats", "outbox"] {
        assert_eq!(value(&format!("stagedoor_queue_depth{{queue=\"{queue}\"}}")), 0.0, "{queue}");
        assert_eq!(value(&format!("stagedoor_dead_letters{{queue=\"{queue}\"}}")), 0.0, "{queue}");
        assert_eq!(value(&format!("stagedoor_queue_oldest_seconds{{queue=\"{queue}\"}}")), 0.0, "{queue}");
    }
    assert_eq!(value("stagedoor_people"), 1.0);
    assert_eq!(value("stagedoor_deals"), status.deals as f64);
    assert_eq!(value("stagedoor_people_waiting"), 0.0);
    assert_eq!(value("stagedoor_people_parked"), 0.0);
    assert_eq!(value("stagedoor_unrecognized"), 0.0);
    assert!(value("stagedoor_crm_calls_total{crm=\"first\"}") >= 1.0);
    // Each scrape counts anew.
    let again = self::values(&scraped(&hub).await);
    assert_eq!(again["stagedoor_deliveries_total{source=\"tilda\",outcome=\"accepted\"}"], 1.0);
}

#[tokio::test]
async fn people_who_wait_and_dead_letters_are_told() {
    let hub = TestHub::start().await;
    hub.sandbox.set_down(true);
    hub.take(&form("/website/tilda", &[("Phone", "8 916 123-45-67")]).header("x-api-key", "tilda-api-key")).await;
    let file = rusqlite::Connection::open(hub.folder.path().join("queue.db")).expect("a file");
    file.execute("INSERT INTO dead_letters (id, body) VALUES (1, '{}')", []).expect("one");
    for _ in 0..400 {
        let values = values(&scraped(&hub).await);
        assert_eq!(values["stagedoor_dead_letters{queue=\"events\"}"], 1.0);
        if values["stagedoor_people_waiting"] == 1.0 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    panic!("nobody waits");
}

#[tokio::test]
async fn metrics_answer_on_the_consoles_address_and_to_nobody_without_the_token() {
    let hub = TestHub::start().await;
    let http = stagedoor_http::builder().build().expect("a client");
    let status = async |address: &str| http.get(format!("{address}/metrics")).send().await.expect("one").status();
    assert_eq!(status(&hub.console_address).await, 401);
    assert_eq!(status(&hub.base).await, 404, "not where strangers are");
    let token = std::fs::read_to_string(hub.folder.path().join("console_token")).expect("a token");
    let by_bearer = http.get(format!("{}/metrics", hub.console_address)).bearer_auth(token.trim());
    assert_eq!(by_bearer.send().await.expect("an answer").status(), 200, "as Prometheus sends it");
}
