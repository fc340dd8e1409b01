//! What a stranger can say by a browser's form, whose key and origin anybody can send.

use serde_json::{Value, json};
use stagedoor::segment_commands;
use stagedoor_model::{Body, Email, Identifier, Phone, Region, Timestamp};
use stagedoor_testkit::{SignedRequest, form_signed, json as posted};
use stagedoor_tests::provider_harness::{self, ProviderHarness};
use stagedoor_webhook::OneClient;

use crate::mailings::{HOUR, Stage, noon};

fn by_browser(body: &Value) -> SignedRequest {
    posted("/website/landing", body)
        .header("origin", "https://cherry.example.ru")
        .header("x-stagedoor-key", "landing-key")
}

fn anna() -> Identifier {
    Identifier::email(Email::parse("anna@example.com").expect("an address"))
}

async fn stands(stage: &Stage) -> Value {
    let evidence = segment_commands::evidence(&stage.hub.hub, &anna()).await.expect("evidence");
    evidence["now"]["email"]["standing"].clone()
}

fn link(text: &str, path: &str) -> Option<String> {
    text.split_whitespace().find(|word| word.contains(path)).map(str::to_owned)
}

async fn posts(url: &str) -> u16 {
    stagedoor_tests::http().post(url).send().await.expect("an answer").status().as_u16()
}

#[tokio::test]
async fn a_strangers_consent_counts_once_the_letter_to_the_address_is_answered() {
    let stage = Stage::at(noon(3)).await;
    let consents = json!([{ "purpose": "marketing", "channel": "email", "given": true }]);
    let form = json!({ "your-email": "anna@example.com", "consents": consents });
    for _ in 0..3 {
        stage.hub.take(&by_browser(&form)).await;
        stage.on(HOUR).await;
    }
    assert_eq!(stands(&stage).await, "unconfirmed");
    let letters = stage.letters("anna@example.com");
    assert_eq!(letters.len(), 1, "the address is asked once: {letters:?}");
    let url = link(&letters[0].text, "/c/").expect("a link");
    let agent = format!("Mozilla/5.0 (X11) {}", "x".repeat(500));
    let answer = stagedoor_tests::http().post(&url).header("user-agent", &agent).send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
    stage.hub.settled().await;
    assert_eq!(stands(&stage).await, "given");
    let evidence = segment_commands::evidence(&stage.hub.hub, &anna()).await.expect("evidence");
    let ledger = evidence["ledger"].as_array().expect("a ledger");
    let confirmed = ledger.iter().find(|entry| entry["decision"] == "confirmed").expect("a confirmation");
    assert_eq!(confirmed["evidence"]["network"], "127.0.0.0", "the address is cut: {confirmed}");
    assert_eq!(confirmed["evidence"]["user_agent"], agent[..200], "{confirmed}");
    assert!(confirmed["at"].is_string() && confirmed["asked_at"].is_string(), "{confirmed}");
}

#[tokio::test]
async fn an_answered_letter_brings_nothing_else_that_a_stranger_typed_onto_the_contact() {
    let mut stage = Stage::at(noon(3)).await;
    stage.buys("anna@example.com", "", "kzn-1").await;
    stage.on(HOUR).await;
    let consents = json!([{ "purpose": "marketing", "channel": "email", "given": true }]);
    let form = json!({ "your-email": "anna@example.com", "your-tel": "+79166660666", "consents": consents });
    stage.hub.take(&by_browser(&form)).await;
    stage.on(HOUR).await;
    let letters = stage.letters("anna@example.com");
    let url = letters.iter().find_map(|letter| link(&letter.text, "/c/")).expect("a link");
    assert_eq!(posts(&url).await, 200);
    stage.on(HOUR).await;
    assert_eq!(stands(&stage).await, "given");
    let contacts = stage.hub.sandbox.contacts();
    let hers = contacts.iter().find(|contact| contact.to_string().contains("anna@example.com")).expect("her contact");
    assert!(!hers.to_string().contains("79166660666"), "{hers}");
}

#[tokio::test]
async fn the_page_of_a_link_that_counts_no_more_does_not_say_that_the_address_is_confirmed() {
    let mut stage = Stage::at(noon(3)).await;
    let consents = json!([{ "purpose": "marketing", "channel": "email", "given": true }]);
    stage.hub.take(&by_browser(&json!({ "your-email": "anna@example.com", "consents": consents }))).await;
    stage.on(HOUR).await;
    let url = link(&stage.letters("anna@example.com")[0].text, "/c/").expect("a link");
    assert_eq!(posts(&url).await, 200);
    stage.hub.settled().await;
    let consents = json!([{ "purpose": "marketing", "channel": "email", "given": false }]);
    let form = stage.site(json!({ "kind": "lead", "email": "anna@example.com", "consents": consents }));
    stage.hub.take(&form).await;
    stage.hub.settled().await;
    assert_eq!(stands(&stage).await, "withdrawn");
    for (language, words) in [("ru", "если после нашего письма вы не отписались"), ("en", "unless you unsubscribed")]
    {
        let answer = stagedoor_tests::http().post(format!("{url}?lang={language}")).send().await.expect("an answer");
        let page = answer.text().await.expect("a page");
        assert!(page.contains(words) && !page.contains("подтверждён") && !page.contains("is confirmed"), "{page}");
    }
    stage.hub.settled().await;
    assert_eq!(stands(&stage).await, "withdrawn", "an old link brings nobody back");
}

#[tokio::test]
async fn a_strangers_consent_to_sms_calls_and_chats_stays_unconfirmed_until_a_new_word() {
    let mut stage = Stage::at(noon(3)).await;
    let consents = |channels: &[&str]| {
        let of = |channel: &&str| json!({ "purpose": "marketing", "channel": channel, "given": true });
        channels.iter().map(of).collect::<Vec<_>>()
    };
    let form = json!({ "your-tel": "+79161234567", "consents": consents(&["sms", "call", "messenger"]) });
    stage.hub.take(&by_browser(&form)).await;
    stage.on(HOUR).await;
    let phone: Identifier = "phone:+79161234567".parse().expect("a phone");
    let evidence = segment_commands::evidence(&stage.hub.hub, &phone).await.expect("evidence");
    for channel in ["sms", "call", "messenger"] {
        assert_eq!(evidence["now"][channel]["standing"], "unconfirmed", "{channel}");
    }
    assert_eq!(stage.chats(stagedoor_sandbox::Platform::Sms), Vec::<String>::new());
    let form = json!({ "kind": "lead", "phone": "+79161234567", "consents": consents(&["sms"]) });
    let signed = stage.site(form);
    stage.hub.take(&signed).await;
    stage.on(HOUR).await;
    let evidence = segment_commands::evidence(&stage.hub.hub, &phone).await.expect("evidence");
    assert_eq!(evidence["now"]["sms"]["standing"], "given");
}

#[tokio::test]
async fn a_strangers_withdrawal_is_asked_back() {
    let mut stage = Stage::at(noon(3)).await;
    stage.consents("anna@example.com").await;
    stage.on(HOUR).await;
    let consents = json!([{ "purpose": "marketing", "channel": "email", "given": false }]);
    let form = json!({ "your-email": "anna@example.com", "consents": consents });
    for _ in 0..3 {
        stage.hub.take(&by_browser(&form)).await;
        stage.on(HOUR).await;
    }
    assert_eq!(stands(&stage).await, "given", "anybody can have said it");
    let asked: Vec<String> =
        stage.letters("anna@example.com").iter().filter_map(|one| link(&one.text, "/u/")).collect();
    assert_eq!(asked.len(), 1, "she is asked once: {asked:?}");
    assert_eq!(posts(&asked[0]).await, 200);
    stage.hub.settled().await;
    assert_eq!(stands(&stage).await, "withdrawn");
}

#[tokio::test]
async fn a_stranger_renames_no_buyer_and_writes_nothing_into_a_letter() {
    let mut stage = Stage::at(noon(3)).await;
    stage.buys("anna@example.com", "+79161234567", "cherry-kazan").await;
    stage.hub.settled().await;
    let evil = "ВНИМАНИЕ: возврат билета только на https://evil.example/card";
    stage.hub.take(&by_browser(&json!({ "your-tel": "+79161234567", "your-name": evil }))).await;
    stage.hub.take(&by_browser(&json!({ "your-email": "vera@example.com", "your-name": evil }))).await;
    stage.hub.settled().await;
    let all: Vec<String> = stage.hub.sandbox.contacts().iter().map(ToString::to_string).collect();
    assert!(all.iter().any(|one| one.contains("Анна")) && !all.join(" ").contains("evil"), "{all:?}");
    // A signed site may send it, too: the letter leaves it out.
    let cart = json!({
        "kind": "cart_abandoned", "cart_id": "1", "email": "olga@example.com", "name": evil, "amount": "3000.00",
        "currency": "RUB", "show": "cherry-kazan",
        "consents": [{ "purpose": "marketing", "channel": "email", "given": true }],
    });
    let signed_request = stage.site(cart.clone());
    stage.hub.take(&signed_request).await;
    stage.on(3 * HOUR).await;
    let mut short = cart.clone();
    short["email"] = "nina@example.com".into();
    short["name"] = "Бонус t.me/evilbot".into();
    short["cart_id"] = "2".into();
    let signed_request = stage.site(short);
    stage.hub.take(&signed_request).await;
    stage.on(3 * HOUR).await;
    let letters = stage.letters("nina@example.com");
    assert!(letters.len() == 1 && !letters[0].text.contains("evilbot"), "{letters:?}");
    let letters = stage.letters("olga@example.com");
    assert_eq!(letters.len(), 1, "the letter goes without a name");
    assert!(!letters[0].text.contains("evil") && !letters[0].text.contains("ВНИМАНИЕ"), "{}", letters[0].text);
}

fn browser(more: Value) -> ProviderHarness {
    let mut source = provider_harness::source("form", "browser-source-key");
    source.options = json!({ "auth": "browser", "origins": ["https://cherry.example.ru"] });
    if let (Some(options), Value::Object(more)) = (source.options.as_object_mut(), more) {
        options.extend(more);
    }
    ProviderHarness::open(source, "2027-05-01T10:00:00Z".parse::<Timestamp>().expect("a time"))
}

fn sent(harness: &ProviderHarness, body: &Value) -> SignedRequest {
    let signed_request = posted(&harness.path, body).header("origin", "https://cherry.example.ru");
    signed_request.header("x-stagedoor-key", "browser-source-key")
}

#[tokio::test]
async fn a_browser_knows_no_user_and_has_no_cart() {
    let harness = browser(json!({}));
    let body = json!({ "phone": "+79161234567", "user_id": "17", "kind": "cart_abandoned", "amount": "100.00" });
    let events = harness.take(&sent(&harness, &body)).await.events;
    let Some(Body::FormSubmitted(form)) = events.first().map(|event| &event.body) else { panic!("{events:?}") };
    let phone = Phone::parse("+79161234567", Region::new("RU").expect("a region")).expect("a phone");
    assert_eq!(form.identifiers, [Identifier::phone(phone)].into());
    assert!(form.amount.is_none() && events[0].is_anonymous);
}

#[tokio::test]
async fn a_form_that_a_robot_filled_in_is_answered_and_dropped() {
    let harness = browser(json!({ "honeypot": "website" }));
    let body = |trap: &str| json!({ "phone": "+79161234567", "website": trap });
    let robot = harness.take(&sent(&harness, &body("https://spam.example"))).await;
    assert_eq!((robot.status.as_u16(), robot.events.len()), (200, 0));
    assert_eq!(harness.take(&sent(&harness, &body(""))).await.events.len(), 1, "a person does not see the field");
}

#[tokio::test]
async fn forms_that_a_stranger_sends_without_end_take_a_bounded_place_and_the_first_and_the_latest_stay() {
    let stage = Stage::at(noon(3)).await;
    let text = "о".repeat(240);
    for n in 0..120 {
        let fields = (0..40).map(|field| (format!("f{field}"), json!(text)));
        let mut form: serde_json::Map<String, Value> = fields.collect();
        form.insert("your-email".into(), "anna@example.com".into());
        form.insert("a_number".into(), json!(n));
        stage.clock.on(1);
        stage.hub.take(&by_browser(&form.into())).await;
    }
    stage.hub.settled().await;
    let (ids, _) = stage.hub.hub.store.scan_people(None, 10).await.expect("people");
    let people = stage.hub.hub.store.load(&ids).await.expect("loaded");
    assert_eq!(people.len(), 1);
    let whole = serde_json::to_string(&people[0].value).expect("JSON");
    assert!(whole.len() < 250_000, "{} bytes", whole.len());
    for n in [0, 5, 119] {
        assert!(whole.contains(&format!("\"a_number\":\"{n}\"")), "form {n} is gone");
    }
    assert!(!whole.contains("\"a_number\":\"50\""), "one in between is not kept");
}

#[tokio::test]
async fn a_form_has_so_many_claims_and_the_rest_is_named() {
    let mut source = provider_harness::source("form", "form-secret");
    source.options = json!({});
    let at = "2027-05-01T10:00:00Z".parse::<Timestamp>().expect("a time");
    let signed = ProviderHarness::open(source, at);
    let by_server = |body: &Value| form_signed(&signed.path, body, "form-secret", "1", at);
    let page = browser(json!({}));
    let claim = |purpose: &str, given: bool| json!({ "channel": "email", "given": given, "purpose": purpose });
    let form = |consents: Vec<Value>| json!({ "email": "anna@example.com", "consents": consents });
    let equal = form((0..900).map(|_| claim("marketing", true)).collect());
    let both = form(vec![claim("marketing", false), claim("marketing", true)]);
    let many = form((0..800).map(|n| claim(&format!("p{n}"), true)).collect());
    let long = form(vec![claim(&"p".repeat(100), true), claim("marketing", true)]);
    for (body, claims, named) in [
        (equal, 1, None),
        (both, 1, None),
        (many, 16, Some("consents (more than 16)")),
        (long, 1, Some("consents.0.purpose")),
    ] {
        for outcome in [page.take(&sent(&page, &body)).await, signed.take(&by_server(&body)).await] {
            let Some(Body::FormSubmitted(form)) = outcome.events.first().map(|one| &one.body) else { panic!("a form") };
            assert_eq!(form.consents.len(), claims, "{}", outcome.answer);
            assert_eq!(
                form.consents[0].given,
                body["consents"][0]["given"] == true,
                "a withdrawal beats what stands beside it"
            );
            assert_eq!(outcome.answer.contains("left out"), named.is_some(), "{}", outcome.answer);
            assert!(
                named.is_none_or(|name| outcome.answer.contains(name)) && outcome.answer.len() < 600,
                "{}",
                outcome.answer
            );
        }
    }
}

#[tokio::test]
async fn an_address_is_asked_by_one_letter_a_day_whoever_claims_it() {
    let stage = Stage::at(noon(3)).await;
    let consents = json!([{ "purpose": "marketing", "channel": "email", "given": true }]);
    let form = |n: u32| {
        let phone = format!("+7916777{n:04}");
        let name = format!("Имя {}", char::from_u32(0x410 + n).unwrap_or('Я'));
        json!({ "your-email": "anna@example.com", "your-tel": phone, "your-name": name, "consents": consents })
    };
    for n in 0..12 {
        stage.hub.take(&by_browser(&form(n))).await;
    }
    stage.on(60).await;
    let letters = stage.letters("anna@example.com");
    assert_eq!(letters.len(), 1, "twelve claim it: {letters:?}");
    stage.on(HOUR * 2).await;
    stage.hub.take(&by_browser(&form(20))).await;
    stage.on(60).await;
    assert_eq!(stage.letters("anna@example.com").len(), 1);
    // Her answer to the one letter counts.
    let url = link(&letters[0].text, "/c/").expect("a link");
    assert_eq!(posts(&url).await, 200);
    stage.hub.settled().await;
    assert_eq!(stands(&stage).await, "given");
    stage.on(HOUR * 25).await;
    assert!(stage.letters("anna@example.com").len() <= 2, "{:?}", stage.letters("anna@example.com"));
}

#[tokio::test]
async fn one_client_sends_so_many_forms_an_hour_and_others_go_on() {
    let harness = browser(json!({ "forms_per_hour": 5 }));
    let client = |text: &str| Some(OneClient(text.parse().expect("an address")));
    let form = |n: usize| sent(&harness, &json!({ "phone": format!("+791612345{n:02}") }));
    for (first, second) in [("203.0.113.5", "203.0.113.6"), ("2001:db8:1:2::3", "2001:db8:2::3")] {
        for n in 0..5 {
            assert_eq!(harness.take_from(&form(n), client(first)).await.status, 200);
        }
        let refused = harness.take_from(&form(6), client(first)).await;
        assert_eq!((refused.status.as_u16(), refused.events.len()), (429, 0));
        assert_eq!(harness.take_from(&form(7), client(second)).await.status, 200);
    }
    assert_eq!(harness.take_from(&form(8), client("2001:db8:1:ffff::9")).await.status, 429, "one customer has a /48");
    // A proxy that says of nobody whose request it is speaks for all.
    for n in 0..30 {
        assert_eq!(harness.take(&form(n)).await.status, 200);
    }
}

#[tokio::test]
async fn a_stranger_speaks_for_no_company() {
    let stage = Stage::at(noon(3)).await;
    let form = json!({ "your-email": "spy@example.com", "your-name": "Вера", "inn": "7707083893",
        "company": "ООО Зло http://evil.example" });
    stage.hub.take(&by_browser(&form)).await;
    stage.hub.settled().await;
    assert!(stage.hub.sandbox.companies().is_empty(), "{:?}", stage.hub.sandbox.companies());
    let tasks = stage.hub.sandbox.tasks().iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    assert!(tasks.contains("ООО Зло") && tasks.contains("7707083893") && !tasks.contains("evil"), "{tasks}");
}
