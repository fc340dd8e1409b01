//! Letters, from their providers' reports to the contact that a manager sees.

use serde_json::{Value, json};
use stagedoor_engine::{Standing, ledger, standing};
use stagedoor_model::{Body as Fact, Channel, Email, Identifier, MARKETING, Timestamp};
use stagedoor_testkit::{SignedRequest, form, form_signed, samples, samples::Sample, unisender};
use stagedoor_tests::{
    clock::Moved,
    hub::TestHub,
    provider_harness::{ProviderHarness, source},
    tls::Authority,
};
use stagedoor_webhook::signature::is_certificate;

const KEY: &str = "6x4mpl3un1s3nd3rk3y0000000000000";

fn report(kind: &str, address: &str, status: &str, at: &str) -> Value {
    json!({ "event_name": kind, "event_time": at,
        "event_data": { "email": address, "campaign_id": 7, "status": status, "list_ids": [134] } })
}

fn letters(told: &[Value]) -> SignedRequest {
    unisender("/mail/unisender", told, KEY)
}

/// The second of January 2030, 15:00 UTC.
const EVENING: i64 = 1_893_596_400;
const HOUR: i64 = 3_600;

fn questionnaire(email: &str, given: bool, id: &str, now: Timestamp) -> SignedRequest {
    let consents = json!([{ "purpose": "marketing", "channel": "email", "given": given, "wording": "2027-01" }]);
    let body = json!({ "kind": "lead", "form": "questionnaire", "email": email, "name": "Анна", "consents": consents,
        "at": "2030-01-01T09:00:00Z" });
    form_signed("/website/site", &body, "generic-source-secret", id, now)
}

fn field(entity: &Value, code: &str) -> Option<String> {
    let fields = entity.get("custom_fields_values")?.as_array()?;
    let field = fields.iter().find(|field| field.get("field_code").and_then(Value::as_str) == Some(code))?;
    field.pointer("/values/0/value")?.as_str().map(str::to_owned)
}

#[tokio::test]
async fn opens_are_summed_up_on_the_contact_and_whoever_leaves_is_seen_to_have_left() {
    let clock = Moved::at(EVENING);
    let hub = TestHub::by(std::sync::Arc::new(clock.clone()), |text| text).await;
    hub.take(&questionnaire("anna@example.com", true, "q1", hub.now())).await;
    hub.settled().await;
    let consent = |hub: &TestHub| field(&hub.sandbox.contacts()[0], "STAGEDOOR_CONSENT").unwrap_or_default();
    assert!(consent(&hub).starts_with("e-mail: yes, ") && consent(&hub).ends_with("(site)"), "{}", consent(&hub));
    for minute in 10..20 {
        let at = format!("2030-01-02 12:{minute}:00");
        hub.take(&letters(&[report("email_status", "anna@example.com", "ok_read", &at)])).await;
    }
    hub.settled().await;
    let sum = field(&hub.sandbox.contacts()[0], "STAGEDOOR_LETTERS");
    assert_eq!(sum.as_deref(), Some("1 letters, 1 opened, 0 clicked, last opened 02.01.2030"));
    clock.on(24 * HOUR);
    hub.take(&letters(&[report("unsubscribe", "Anna@Example.com", "", "2030-01-03 12:00:00")])).await;
    hub.settled().await;
    assert_eq!(consent(&hub), "e-mail: withdrawn, 03.01.2030 (unsubscribe)");
    assert_eq!(hub.sandbox.contacts().len(), 1);
    assert_eq!(hub.sandbox.count("notes"), 0, "no note an open");
}

#[tokio::test]
async fn an_address_that_nobody_ever_spoke_for_makes_no_contact() {
    let hub = TestHub::by(std::sync::Arc::new(Moved::at(EVENING)), |text| text).await;
    let told = ["ok_delivered", "ok_read", "err_user_unknown", "ok_unsubscribed"];
    let told: Vec<Value> =
        told.iter().map(|status| report("email_status", "who@example.com", status, "2030-01-02 12:00:00")).collect();
    hub.take(&letters(&told)).await;
    let status = hub.settled().await;
    assert_eq!((status.people, hub.sandbox.contacts().len()), (1, 0));
    // Once they speak for themselves, it is known that they left.
    hub.take(&questionnaire("who@example.com", true, "q2", hub.now())).await;
    hub.settled().await;
    let consent = field(&hub.sandbox.contacts()[0], "STAGEDOOR_CONSENT").unwrap_or_default();
    assert!(consent.starts_with("e-mail: withdrawn, 02.01.2030"), "the later word counts: {consent}");
}

#[tokio::test]
async fn a_provider_that_says_subscribed_gives_no_consent() {
    let hub = TestHub::start().await;
    hub.take(&letters(&[report("subscribe", "boris@example.com", "", "2030-01-02 12:00:00")])).await;
    hub.settled().await;
    let boris = Identifier::email(Email::parse("boris@example.com").expect("an address"));
    let owners = hub.hub.store.resolve(&[boris].into()).await.expect("resolved").owners;
    let person = hub.hub.store.load(&owners.into_values().collect()).await.expect("loaded").remove(0).value;
    assert!(ledger(&person).is_empty());
    let now = standing(&ledger(&person), MARKETING, Channel::Email, None, &Default::default(), None);
    assert_eq!(now, Standing::Unknown);
}

/// A subscriber of a Mailchimp audience types another address into the form of their profile.
fn moves(old: &str, new: &str) -> SignedRequest {
    let fields = [
        ("type", "upemail"),
        ("fired_at", "2030-01-02 12:00:00"),
        ("data[list_id]", "a6b5da1054"),
        ("data[old_email]", old),
        ("data[new_email]", new),
    ];
    form("/mail/mailchimp/mailchimp-path-secret", &fields)
}

#[tokio::test]
async fn an_address_that_a_subscriber_types_in_place_of_their_own_joins_them_to_nobody() {
    let source = "[source.mailchimp]\nfunction = \"mail\"\nprovider = \"mailchimp\"\n\
        secrets = [\"dev:mailchimp-path-secret\"]\n\n[source.amocrm]";
    let with_mailchimp = |text: String| text.replace("[source.amocrm]", source);
    let hub = TestHub::by(std::sync::Arc::new(Moved::at(EVENING)), with_mailchimp).await;
    for (id, email) in [("q1", "eve@example.com"), ("q2", "anna@example.com")] {
        hub.take(&questionnaire(email, true, id, hub.now())).await;
    }
    hub.settled().await;
    hub.take(&moves("eve@example.com", "anna@example.com")).await;
    let status = hub.settled().await;
    let contacts = hub.sandbox.contacts();
    let with = |contacts: &[Value], email: &str| {
        contacts.iter().filter(|contact| contact.to_string().contains(&format!("\"{email}\""))).count()
    };
    assert_eq!((status.people, contacts.len()), (2, 2), "{contacts:?}");
    assert_eq!((with(&contacts, "eve@example.com"), with(&contacts, "anna@example.com")), (1, 1), "{contacts:?}");
    let tasks = hub.sandbox.tasks();
    let is_asked = |task: &Value| task.to_string().contains("They typed anna@example.com");
    assert_eq!(tasks.iter().filter(|task| is_asked(task)).count(), 1, "a manager decides: {tasks:?}");
    // Nobody else has this one. It stands on the contact of the person who typed it.
    hub.take(&moves("anna@example.com", "ranevskaya@example.com")).await;
    let status = hub.settled().await;
    let contacts = hub.sandbox.contacts();
    assert_eq!((status.people, with(&contacts, "ranevskaya@example.com")), (2, 1), "{contacts:?}");
}

fn sample(provider: &str, case: &str) -> Sample {
    let all = samples::all().expect("events/ can be read");
    all.into_iter().find(|one| one.provider == provider && one.case == case).expect("a sample")
}

/// sendgrid/sendgrid-nodejs, packages/eventwebhook/src/eventwebhook.spec.js: another key, another signature, another time.
#[tokio::test]
async fn the_published_negative_vectors_of_sendgrid_are_refused() {
    const OTHER_KEY: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEqTxd43gyp8IOEto2LdIfjRQrIbsd4SXZkLW6jDutdhXSJCWHw8REntlo7aNDthvj+y7GjUuFDb/R1NGe1OPzpA==";
    const OTHER_SIGNATURE: &str =
        "MEUCIQCtIHJeH93Y+qpYeWrySphQgpNGNr/U+UyUlBkU6n7RAwIgJTz2C+8a8xonZGi6BpSzoQsbVRamr2nlxFDWYNH3j/0=";
    let good = sample("sendgrid", "vector_single_event");
    let with = |name: &str, value: &str| {
        let mut bad = good.clone();
        bad.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        bad.headers.push((name.into(), value.into()));
        bad
    };
    let mut other_key = good.clone();
    other_key.notes.insert("secret".into(), OTHER_KEY.into());
    let bad = [
        other_key,
        with("X-Twilio-Email-Event-Webhook-Signature", OTHER_SIGNATURE),
        with("X-Twilio-Email-Event-Webhook-Timestamp", "timestamp"),
        with("X-Twilio-Email-Event-Webhook-Timestamp", "1600112503"),
    ];
    let harness = ProviderHarness::of(&good);
    assert_eq!(harness.take(&good.signed_request(&harness.path)).await.status.as_u16(), 200);
    for bad in bad {
        let harness = ProviderHarness::of(&bad);
        assert_eq!(harness.take(&bad.signed_request(&harness.path)).await.status.as_u16(), 401);
    }
}

#[test]
fn of_a_bundle_of_certificates_none_can_be_pinned() {
    let folder = tempfile::tempdir().expect("a folder");
    let one = std::fs::read_to_string(Authority::new(folder.path()).file).expect("a certificate");
    assert!(is_certificate(&one));
    assert!(!is_certificate(&format!("{one}{one}")), "nobody would know which one counts");
}

/// The attack that the pinned certificate stands against: a message that is signed well under a key of the attacker's.
#[tokio::test]
async fn a_notification_under_a_certificate_from_elsewhere_is_refused() {
    let good = sample("ses", "sns_bounce_permanent_v2");
    let mut message: Value = serde_json::from_slice(&good.body).expect("JSON");
    let host = "sns.eu-central-1.amazonaws.com/SimpleNotificationService-0123456789abcdef0123456789abcdef.pem";
    for elsewhere in [
        "https://attacker.example/SimpleNotificationService-1.pem".to_owned(),
        format!("http://{host}"),
        format!("https://user@{host}"),
        format!("https://{}", host.replace(".com/", ".com:8443/")),
        format!("https://{}", host.replace(".com/", ".com.attacker.example/")),
        format!("https://{}", host.replace("SimpleNotificationService", "bucket")),
        "https://sns.eu-central-1.amazonaws.com@attacker.example/SimpleNotificationService-1.pem".to_owned(),
    ] {
        message["SigningCertURL"] = elsewhere.clone().into();
        let harness = ProviderHarness::of(&good);
        let signed_request =
            SignedRequest { body: message.to_string().into_bytes(), ..good.signed_request(&harness.path) };
        assert_eq!(harness.take(&signed_request).await.status.as_u16(), 401, "{elsewhere}");
    }
    // Well signed, by another topic of somebody's.
    let mut other_topic = good.clone();
    other_topic.notes.insert("options".into(), r#"{"topic":"arn:aws:sns:eu-central-1:123456789012:other"}"#.into());
    let harness = ProviderHarness::of(&other_topic);
    assert_eq!(harness.take(&other_topic.signed_request(&harness.path)).await.status.as_u16(), 401);
    // Under the certificate that is pinned, and changed.
    let text = String::from_utf8(good.body.clone()).expect("text").replace("gone@example.test", "anna@example.test");
    let harness = ProviderHarness::of(&good);
    let signed_request = SignedRequest { body: text.into_bytes(), ..good.signed_request(&harness.path) };
    assert_eq!(harness.take(&signed_request).await.status.as_u16(), 401);
}

/// Mailgun signs a time and a token and not the body: whoever saw one pair could send anything under it.
#[tokio::test]
async fn another_body_under_a_seen_pair_of_mailguns_is_the_same_fact() {
    let good = sample("mailgun", "clicked");
    let harness = ProviderHarness::of(&good);
    let first = harness.take(&good.signed_request(&harness.path)).await.events.remove(0);
    let text = String::from_utf8(good.body.clone()).expect("text").replace("\"clicked\"", "\"unsubscribed\"");
    let forged = harness
        .take(&SignedRequest { body: text.into_bytes(), ..good.signed_request(&harness.path) })
        .await
        .events
        .remove(0);
    assert!(matches!(forged.body, Fact::ConsentRecorded(_)));
    assert_eq!(forged.id, first.id, "so the journal drops it");
}

#[tokio::test]
async fn an_unsigned_mailchimp_webhook_does_not_open_a_signed_one() {
    let signed = sample("mailchimp", "unsubscribe_signed");
    let mut source = source("mailchimp", "whsec_mailchimp_4d2b1c");
    source.options = json!({ "signed": true });
    let harness = ProviderHarness::open(source, "2026-11-20T18:03:14Z".parse().expect("a time"));
    assert_eq!(harness.take(&signed.signed_request(&harness.path)).await.events.len(), 1);
    let mut bare = signed.signed_request(&format!("{}/whsec_mailchimp_4d2b1c", harness.path));
    bare.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("x-mailchimp-signature"));
    assert_eq!(harness.take(&bare).await.status.as_u16(), 401);
    let source = stagedoor_tests::provider_harness::source("mailchimp", "whsec_mailchimp_4d2b1c");
    let options = json!({ "signed": true });
    let late = ProviderHarness::open(
        stagedoor_webhook::Source { options, ..source },
        "2026-11-20T18:09:14Z".parse().expect("a time"),
    );
    assert_eq!(late.take(&signed.signed_request(&late.path)).await.status.as_u16(), 401, "replayed six minutes later");
}

/// SNS's answers to ConfirmSubscription, in turn.
async fn sns(answers: Vec<u16>) -> (String, std::sync::Arc<std::sync::Mutex<Vec<String>>>) {
    let asked = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let state = (std::sync::Arc::clone(&asked), std::sync::Arc::new(std::sync::Mutex::new(answers)));
    let app = axum::Router::new().route(
        "/",
        axum::routing::get(move |query: axum::extract::RawQuery| async move {
            state.0.lock().expect("a lock").push(query.0.unwrap_or_default());
            let next = state.1.lock().expect("a lock").remove(0);
            http::StatusCode::from_u16(next).expect("a status")
        }),
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let base = format!("http://{}/", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, app).await });
    (base, asked)
}

#[tokio::test]
async fn a_topics_offer_is_taken_once_snss_answer_allows() {
    let (base, asked) = sns(vec![500, 200]).await;
    let mut world = stagedoor_tests::world::World::new().await;
    world.sync.topics = Some(std::sync::Arc::new(stagedoor_source_clients::Sns::new(Some(base))));
    let source = stagedoor_model::SourceName::new("ses").expect("a name");
    let offer = stagedoor_model::TopicOffered {
        topic: "arn:aws:sns:eu-central-1:123456789012:letters".into(),
        token: "a token".into(),
    };
    let event = stagedoor_model::Event::new(
        &source,
        stagedoor_model::EventId::derive(&source, &["offer"]),
        stagedoor_model::Timestamp::UNIX_EPOCH,
        stagedoor_model::Body::TopicOffered(offer),
    );
    assert_eq!(world.sync.handle(vec![event.clone()]).await, [0].into(), "SNS was not well: it comes again");
    assert!(world.sync.handle(vec![event]).await.is_empty());
    let asked = asked.lock().expect("a lock").clone();
    assert_eq!(asked.len(), 2);
    assert!(asked[1].contains("Action=ConfirmSubscription") && asked[1].contains("Token=a+token"), "{asked:?}");
}
