//! What clocks that are wrong, and people who lie about the time, can do to consents.

use std::collections::BTreeSet;

use jiff::{SignedDuration, tz::TimeZone};
use serde_json::json;
use stagedoor::import;
use stagedoor_engine::{Entry, ledger, may_advertise};
use stagedoor_model::{Channel, Email, Identifier, Timestamp};
use stagedoor_testkit::{SignedRequest, form_signed, json as posted, unisender};
use stagedoor_tests::{
    hub::TestHub,
    provider_harness::{self, ProviderHarness},
};

const KEY: &str = "6x4mpl3un1s3nd3rk3y0000000000000";

fn anna() -> Identifier {
    Identifier::email(Email::parse("anna@example.com").expect("an address"))
}

async fn entries(hub: &TestHub) -> (Vec<Entry>, bool) {
    let owners = hub.hub.store.resolve(&BTreeSet::from([anna()])).await.expect("resolved").owners;
    let person = hub.hub.store.load(&owners.into_values().collect()).await.expect("loaded").remove(0).value;
    let open = may_advertise(&person, Channel::Email, &anna(), &hub.hub.config.catalog.consent, None);
    (ledger(&person), open)
}

fn consents_at(told: Timestamp) -> SignedRequest {
    let consents = json!([{ "purpose": "marketing", "channel": "email", "given": true }]);
    let body = json!({ "form": "f", "email": "anna@example.com", "at": told.to_string(), "consents": consents });
    form_signed("/website/site", &body, "generic-source-secret", "1", Timestamp::now())
}

/// As UniSender tells a time: by the clock of Moscow.
fn unsubscribes(told: Timestamp) -> SignedRequest {
    let when = told
        .to_zoned_datetime(TimeZone::get("Europe/Moscow").expect("a zone"))
        .strftime("%Y-%m-%d %H:%M:%S")
        .to_string();
    let data = json!({ "email": "anna@example.com", "list_ids": [134] });
    unisender("/mail/unisender", &[json!({ "event_name": "unsubscribe", "event_time": when, "event_data": data })], KEY)
}

#[tokio::test]
async fn a_consent_dated_ahead_does_not_outlive_a_withdrawal() {
    let hub = TestHub::start().await;
    let ahead: Timestamp = "2099-01-01T00:00:00Z".parse().expect("a time");
    hub.take(&consents_at(ahead)).await;
    hub.settled().await;
    let (before, open) = entries(&hub).await;
    assert!(open && before[0].at <= Timestamp::now(), "{before:?}");
    assert_eq!(before[0].told_at, Some(ahead), "what the clock said is evidence");
    hub.take(&unsubscribes(Timestamp::now())).await;
    hub.settled().await;
    let (after, open) = entries(&hub).await;
    assert!(!open, "{after:?}");
}

#[tokio::test]
async fn a_withdrawal_by_a_clock_that_is_hours_behind_ends_the_consent_before_it() {
    let hub = TestHub::start().await;
    hub.take(&consents_at(Timestamp::now() - SignedDuration::from_mins(5))).await;
    hub.settled().await;
    let told = Timestamp::now() - SignedDuration::from_hours(3);
    hub.take(&unsubscribes(told)).await;
    hub.settled().await;
    let (entries, open) = entries(&hub).await;
    assert!(!open, "{entries:?}");
    let withdrawal = entries.last().expect("an entry");
    assert_eq!(Some(withdrawal.at), withdrawal.received_at, "it counts from its receipt");
    assert_eq!(withdrawal.told_at.map(Timestamp::as_second), Some(told.as_second()), "and both instants are kept");
}

#[tokio::test]
async fn a_browser_cannot_date_its_form() {
    let mut source = provider_harness::source("form", "browser-source-key");
    source.options = json!({ "auth": "browser", "origins": ["https://cherry.example.ru"] });
    let received: Timestamp = "2027-05-01T10:00:00Z".parse().expect("a time");
    let harness = ProviderHarness::open(source, received);
    for told in ["2027-05-01T07:00:00Z", "2099-01-01T00:00:00Z", "-009999-01-01T00:00:00Z", "yesterday"] {
        let body = json!({ "email": "anna@example.com", "at": told });
        let signed_request = posted(&harness.path, &body).header("origin", "https://cherry.example.ru");
        let outcome = harness.take(&signed_request.header("x-stagedoor-key", "browser-source-key")).await;
        assert_eq!(outcome.events.first().map(|event| event.time), Some(received), "{told}");
    }
}

#[tokio::test]
async fn a_date_of_a_file_that_nobody_can_have_written_is_bounded_and_kept() {
    let hub = TestHub::start().await;
    let origin =
        import::Origin { source: "an old list".into(), method: "paper".into(), wording: None, file: "old.csv".into() };
    let (rows, wrong) =
        import::read("email;email_consent;consent_at\nanna@example.com;да;01.01.1970\n", &origin, &hub.hub);
    assert_eq!(wrong, Vec::<String>::new());
    import::run(&hub.hub, rows, |_| {}).await.expect("imported");
    hub.settled().await;
    let (entries, _) = entries(&hub).await;
    assert_eq!(entries[0].at.to_string(), "2000-01-01T00:00:00Z");
    assert_eq!(entries[0].told_at.map(|at| at.to_string()), Some("1969-12-31T21:00:00Z".to_owned()));
}

#[tokio::test]
async fn a_withdrawal_with_no_date_counts_from_its_receipt() {
    for no_date in ["1970-01-01T00:00:00Z", "1970-01-21T00:00:00Z", "1999-12-31T00:00:00Z"] {
        let hub = TestHub::start().await;
        hub.take(&consents_at(Timestamp::now() - SignedDuration::from_mins(5))).await;
        hub.settled().await;
        hub.take(&unsubscribes(no_date.parse().expect("a time"))).await;
        hub.settled().await;
        let (entries, open) = entries(&hub).await;
        assert!(!open, "{no_date}: {entries:?}");
    }
}
