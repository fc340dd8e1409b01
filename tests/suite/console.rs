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

/// Every page of a hub's console, as a browser that prefers `language` gets it.
async fn pages(hub: &TestHub, language: &str) -> Vec<String> {
    let mut all = Vec::new();
    for path in ["/", "/console/waiting", "/console/parked", "/console/unrecognized", "/console/report"] {
        let request = stagedoor_tests::http().get(format!("{}{path}", hub.console)).header("accept-language", language);
        all.push(request.send().await.expect("an answer").text().await.expect("a page"));
    }
    all
}

const RUSSIAN: [&str; 5] =
    ["Последние события", "Никто не ждёт.", "Ничего не отложено.", "Нет.", "Нет ни писем, ни продаж"];
const ENGLISH: [&str; 5] =
    ["Latest deliveries", "Nobody waits.", "Nothing is parked.", "None.", "No letters and no sales"];

#[tokio::test(flavor = "multi_thread")]
async fn the_console_is_in_the_hubs_language_and_else_in_the_browsers() {
    let follows = TestHub::start().await;
    let russian = TestHub::with(|config| config.replacen("[hub]", "[hub]\nlanguage = \"ru\"", 1)).await;
    for (hub, browser, words, tag) in [
        (&follows, "ru-RU,ru;q=0.9,en;q=0.8", RUSSIAN, "lang=\"ru\""),
        (&follows, "en-US,en;q=0.9", ENGLISH, "lang=\"en\""),
        (&russian, "en-US,en;q=0.9", RUSSIAN, "lang=\"ru\""),
    ] {
        for (page, words) in pages(hub, browser).await.iter().zip(words) {
            assert!(page.contains(words) && page.contains(tag), "{words:?} for {browser}: {page}");
        }
    }
    let status = russian.hub.status_with_reasons().await.expect("a status").lines(russian.hub.language()).join("\n");
    assert!(status.contains("всего         0 человек, 0 сделок, 0 событий"), "{status}");
}
