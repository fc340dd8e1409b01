//! The console in a real browser, on a phone's screen.

use std::process::Command;

use stagedoor_testkit::{form, form_signed};
use stagedoor_tests::hub::TestHub;

/// What headless Chromium makes of a page.
async fn dom(url: String) -> String {
    let run = move || {
        let profile = tempfile::tempdir().expect("a folder");
        let output = Command::new("chromium")
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
            .args(["--window-size=390,844", "--dump-dom"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(url)
            .output()
            .expect("chromium; tests/run installs it");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    tokio::task::spawn_blocking(run).await.expect("joined")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_shows_what_came_and_what_became_of_it_the_whole_way_to_the_crm() {
    let hub = TestHub::start().await;
    let fields = [
        ("Name", "Анна <b>Каренина</b>"),
        ("Phone", "8 916 123-45-67"),
        ("Email", "anna@example.com"),
        ("tranid", "1:2"),
    ];
    hub.take(&form("/website/tilda", &fields).header("x-api-key", "tilda-api-key")).await;
    let strange = serde_json::json!({ "type": "seance", "data": {} });
    hub.take(&form_signed(
        "/ticketing/theatre",
        &strange,
        "theatre-shop-secret",
        "m",
        stagedoor_model::Timestamp::now(),
    ))
    .await;
    hub.settled().await;
    let contact = hub.sandbox.contacts()[0]["id"].to_string();
    let home = dom(format!("{}/", hub.console)).await;
    assert!(home.contains("form.submitted") && home.contains("kept as unrecognized"), "{home}");
    assert!(home.contains(&format!("contact {contact}")), "the way to the CRM's id");
    assert!(home.contains("name=\"viewport\""));
    let person =
        home.split("/console/person/").nth(1).and_then(|rest| rest.split('"').next()).expect("a person's page");
    let page = dom(format!("{}/console/person/{person}", hub.console)).await;
    assert!(page.contains("+79161234567") && page.contains("interested"), "{page}");
    assert!(page.contains("Анна &lt;b&gt;Каренина"), "names are text, never markup");
    let kept = dom(format!("{}/console/unrecognized", hub.console)).await;
    assert!(kept.contains("JSON of another shape") && kept.contains("Replay"));
}
