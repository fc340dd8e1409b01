//! Deliveries that are nearly right: what they say is read, and what is odd is kept with a reason.

use base64::{Engine, engine::general_purpose::STANDARD};
use stagedoor_model::{Body, Event, FormSubmitted, Timestamp, Unrecognized};
use stagedoor_testkit::{SignedRequest, form, form_signed, json, standard_signature};
use stagedoor_tests::{
    profile::function_of,
    provider_harness::{Outcome, ProviderHarness, source},
};
use stagedoor_webhook::{NotUnderstood, Source, reread};

const AT: &str = "2027-01-15T12:00:00Z";
const SECRET: &str = "generic-source-secret";
const PAGE: &str = "https://theatre.example";

fn at() -> Timestamp {
    AT.parse().expect("a time")
}

fn page() -> Source {
    let options = serde_json::json!({ "auth": "browser", "origins": [PAGE] });
    Source { options, ..source("form", "a-key-in-the-page") }
}

fn forms(outcome: &Outcome) -> Vec<FormSubmitted> {
    let one = |event: &Event| match &event.body {
        Body::FormSubmitted(form) => Some(form.clone()),
        _ => None,
    };
    outcome.events.iter().filter_map(one).collect()
}

fn reasons(outcome: &Outcome) -> Vec<String> {
    let one = |event: &Event| match &event.body {
        Body::Unrecognized(kept) => Some(kept.reason.clone()),
        _ => None,
    };
    outcome.events.iter().filter_map(one).collect()
}

fn has_phone(form: &FormSubmitted) -> bool {
    form.identifiers.iter().any(|one| one.value() == "+79161234567")
}

/// What a parser makes of a believed body.
fn parsed(source: &Source, body: &serde_json::Value) -> Result<Vec<Event>, NotUnderstood> {
    let provider = stagedoor::functions::provider(function_of(&source.provider), source).expect("a provider");
    let headers = [("content-type".to_owned(), "application/json".to_owned())].into();
    let kept =
        Unrecognized { route: String::new(), reason: String::new(), headers, body: STANDARD.encode(body.to_string()) };
    reread(provider.as_ref(), &source.name, &kept, at())
}

#[tokio::test]
async fn a_browsers_form_is_taken_as_parts_as_a_beacon_and_with_a_slash_at_the_end() {
    let harness = ProviderHarness::open(page(), at());
    let fields = [("key", "a-key-in-the-page"), ("phone", "8 916 123-45-67"), ("name", "Анна")];
    let parts: String = fields
        .iter()
        .map(|(name, value)| format!("--b0und\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"))
        .collect();
    let as_json = serde_json::json!({ "key": fields[0].1, "phone": fields[1].1, "name": fields[2].1 }).to_string();
    let as_form = form("", &fields).body;
    let slash = format!("{}/", harness.path);
    for signed_request in [
        SignedRequest::new(
            &harness.path,
            "multipart/form-data; boundary=b0und",
            format!("{parts}--b0und--\r\n").into(),
        ),
        SignedRequest::new(&harness.path, "text/plain;charset=UTF-8", as_json.clone().into()),
        SignedRequest::new(&harness.path, "text/plain", as_form.clone()),
        SignedRequest::new(&slash, "application/json", as_json.into()),
    ] {
        let outcome = harness.take(&signed_request.header("origin", PAGE)).await;
        assert_eq!((outcome.status.as_u16(), outcome.answer.as_str()), (200, "{\"ok\":true}"));
        let forms = forms(&outcome);
        assert!(forms.len() == 1 && has_phone(&forms[0]) && forms[0].name.as_deref() == Some("Анна"), "{forms:?}");
    }
    let wrong = SignedRequest::new(&harness.path, "text/plain", b"key=wrong-key-wrong-key&phone=89161234567".to_vec());
    assert_eq!(harness.take(&wrong.header("origin", PAGE)).await.status, 401);
    // What is signed is not rewritten before the proof.
    let signed = ProviderHarness::open(source("form", SECRET), at());
    assert_eq!(signed.take(&SignedRequest::new(&signed.path, "text/plain", as_form)).await.status, 415);
}

fn signed(path: &str, kind: &str, body: &[u8]) -> SignedRequest {
    SignedRequest::new(path, kind, body.to_vec())
        .header("webhook-id", "m-1")
        .header("webhook-timestamp", &at().as_second().to_string())
        .header("webhook-signature", &standard_signature(SECRET, "m-1", at(), body))
}

#[tokio::test]
async fn a_body_in_another_charset_with_a_mark_or_with_half_an_emoji_is_read() {
    let harness = ProviderHarness::open(source("form", SECRET), at());
    let anna = "{\"phone\":\"89161234567\",\"name\":\"Анна\"}";
    // Анна in windows-1251.
    let in_1251 = [b"{\"phone\":\"89161234567\",\"name\":\"", &[0xC0, 0xED, 0xED, 0xE0][..], b"\"}"].concat();
    let half = "{\"phone\":\"89161234567\",\"name\":\"Анна\",\"form\":\"\\ud83d\"}";
    for (kind, body) in [
        ("application/json", format!("\u{feff}{anna}").into_bytes()),
        ("application/json; charset=windows-1251", in_1251),
        ("application/json", half.into()),
        ("application/x-www-form-urlencoded; charset=windows-1251", b"phone=89161234567&name=%C0%ED%ED%E0".to_vec()),
        ("application/x-www-form-urlencoded", b"phone=89161234567&name=%D0%90%D0%BD%D0%BD%D0%B0&name=&phone=".to_vec()),
    ] {
        let outcome = harness.take(&signed(&harness.path, kind, &body)).await;
        let forms = forms(&outcome);
        assert!(forms.len() == 1 && has_phone(&forms[0]), "{kind}: {} {:?}", outcome.answer, reasons(&outcome));
        assert_eq!(forms[0].name.as_deref(), Some("Анна"), "{kind}");
    }
}

#[tokio::test]
async fn what_other_languages_write_for_json_is_read() {
    let harness = ProviderHarness::open(source("form", SECRET), at());
    let rest = "\"phone\":\"89161234567\",\"name\":\"Анна\"";
    for odd in ["\"x\":1e400", "\"x\":NaN", "\"x\":-Infinity", "\"form\":\"one\ttwo\nthree\"", r#""form":"O\'Brien""#] {
        for body in [format!("{{{odd},{rest}}}"), format!("{{{rest},{odd},}}")] {
            let outcome = harness.take(&signed(&harness.path, "application/json", body.as_bytes())).await;
            let forms = forms(&outcome);
            assert!(forms.len() == 1 && has_phone(&forms[0]), "{body}: {:?}", reasons(&outcome));
        }
    }
    // In a page's form the key stands in the body itself.
    let page = ProviderHarness::open(page(), at());
    for body in [
        format!("\u{feff}{{\"key\":\"a-key-in-the-page\",{rest},\"x\":1e400}}"),
        format!("{{\"key\":\"a-key-in-the-page\",{rest},\"form\":\"one\ntwo\",}}"),
    ] {
        let signed_request =
            SignedRequest::new(&page.path, "application/json", body.into_bytes()).header("origin", PAGE);
        assert_eq!(forms(&page.take(&signed_request).await).len(), 1);
    }
}

#[tokio::test]
async fn an_odd_field_of_a_form_loses_only_itself_and_the_answer_names_it() {
    let harness = ProviderHarness::open(source("form", SECRET), at());
    let body = serde_json::json!({ "phone": "89161234567", "amount": "many", "at": "yesterday", "utm": [], "name": 7,
        "consents": [{ "purpose": "marketing" }] });
    let outcome = harness.take(&form_signed(&harness.path, &body, SECRET, "m-1", at())).await;
    assert_eq!(outcome.status, 200);
    let forms = forms(&outcome);
    assert!(forms.len() == 1 && has_phone(&forms[0]) && forms[0].consents.is_empty(), "{forms:?}");
    let reason = &reasons(&outcome)[0];
    assert!(["amount", "at", "consents"].iter().all(|name| reason.contains(name)), "{reason}");
    let answer: serde_json::Value = serde_json::from_str(&outcome.answer).expect("JSON");
    assert_eq!(answer, serde_json::json!({ "ok": true, "understood": false, "reason": reason }));
    // Written as people do.
    let body = serde_json::json!({ "phone": "89161234567", "amount": "1 500,50 ₽" });
    let outcome = harness.take(&form_signed(&harness.path, &body, SECRET, "m-2", at())).await;
    assert_eq!(self::forms(&outcome)[0].amount.as_ref().map(|amount| amount.minor), Some(150_050));
    let nothing = form_signed(&harness.path, &serde_json::json!({ "city": "Уфа" }), SECRET, "m-3", at());
    let answer = harness.take(&nothing).await.answer;
    assert!(answer.contains("\"understood\":false") && answer.contains("no phone"), "{answer}");
}

#[tokio::test]
async fn an_order_of_a_shop_in_php_is_read() {
    let harness = ProviderHarness::open(source("shop", SECRET), at());
    let show = serde_json::json!({ "id": 17, "title": "Чайка", "city": [] });
    let order = |more: serde_json::Value| {
        let mut data = serde_json::json!({ "id": 4711, "number": 4711, "status": "paid", "updated_at": AT, "placed_at": AT,
            "currency": "RUB", "total": 1500, "buyer": { "name": [], "phone": 89161234567_u64, "email": null },
            "tickets": [{ "id": 1, "show": show, "price": "1 500,00 руб.", "cancelled": "0" }], "refunds": [], "utm": [],
            "company": [], "promo_codes": {} });
        data.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        form_signed(&harness.path, &serde_json::json!({ "type": "order", "data": data }), SECRET, "m-1", at())
    };
    let outcome = harness.take(&order(serde_json::json!({}))).await;
    assert_eq!(outcome.answer, "{\"ok\":true}", "{:?}", reasons(&outcome));
    assert_eq!(outcome.events.len(), 1);
    let odd = harness.take(&order(serde_json::json!({ "due_at": "soon", "number": { "n": 1 } }))).await;
    assert_eq!(odd.events.len(), 2, "the order, and what was odd");
    let reason = &reasons(&odd)[0];
    assert!(reason.contains("due_at") && reason.contains("number") && !reason.contains("soon"), "{reason}");
    assert!(odd.answer.contains("\"understood\":false") && odd.answer.contains("due_at"), "{}", odd.answer);
    let broken = harness.take(&order(serde_json::json!({ "tickets": [{ "id": 1, "show": show, "price": {} }] }))).await;
    assert_eq!((broken.events.len(), broken.status.as_u16()), (1, 200), "money that cannot be read is no order");
    assert!(reasons(&broken)[0].contains("tickets.0"), "{:?}", reasons(&broken));
    for odd in [serde_json::json!({ "refunds": "two" }), serde_json::json!({ "paid": "many" })] {
        let outcome = harness.take(&order(odd)).await;
        assert_eq!(outcome.events.len(), 1, "nor is one whose refunds cannot be read");
    }
}

#[tokio::test]
async fn a_dot_in_the_id_of_a_signed_delivery_is_refused() {
    let harness = ProviderHarness::open(source("form", SECRET), at());
    let body = serde_json::json!({ "phone": "89161234567" });
    assert_eq!(harness.take(&form_signed(&harness.path, &body, SECRET, "m-1", at())).await.status, 200);
    // The same bytes are signed for the id `m` at another time with a longer body.
    assert_eq!(harness.take(&form_signed(&harness.path, &body, SECRET, "m.1", at())).await.status, 401);
}

#[tokio::test]
async fn one_event_without_a_list_around_it_is_heard() {
    let harness = ProviderHarness::open(source("sendpulse", "a-secret-in-the-path"), at());
    let one = serde_json::json!({ "event": "unsubscribe", "email": "anna@example.com", "timestamp": at().as_second() });
    let outcome = harness.take(&json(&format!("{}/a-secret-in-the-path", harness.path), &one)).await;
    assert!(matches!(outcome.events[0].body, Body::ConsentRecorded(_)), "{:?}", outcome.events);
}

#[test]
fn an_end_of_a_subscription_and_changes_of_a_page_are_kept_for_a_person() {
    let ended =
        serde_json::json!({ "Type": "UnsubscribeConfirmation", "MessageId": "m-1", "Timestamp": AT, "Token": "t" });
    let samples = stagedoor_testkit::samples::all().expect("samples");
    // SNS's certificate.
    let secret =
        samples.iter().filter(|one| one.provider == "ses").find_map(|one| one.notes.get("secret")).expect("one");
    let ses = parsed(&source("ses", secret), &ended).expect_err("it is kept");
    assert!(ses.reason.contains("subscribe again"), "{ses}");
    let changes =
        serde_json::json!({ "object": "page", "entry": [{ "id": "1", "time": 1, "changes": [{ "field": "feed" }] }] });
    assert!(parsed(&source("messenger", "a-secret-of-meta"), &changes).is_err());
}

/// Withdrawals and consents of one form, as `email:false`.
fn consents(outcome: &Outcome) -> Vec<String> {
    let all = forms(outcome).into_iter().flat_map(|form| form.consents);
    all.map(|claim| format!("{}:{}", claim.channel.name(), claim.given)).collect()
}

#[tokio::test]
async fn a_withdrawal_of_a_form_is_read_in_whatever_shape_it_comes() {
    let harness = ProviderHarness::open(source("form", SECRET), at());
    let one = serde_json::json!({ "purpose": "marketing", "channel": "email", "given": false });
    for (n, told) in [
        serde_json::json!([one]),
        one.clone(),
        serde_json::json!(serde_json::json!([one]).to_string()),
        serde_json::json!([{ "purpose": "Marketing", "channel": "Email", "given": "false", "at": AT }]),
        serde_json::json!([{ "channel": "email", "given": 0, "wording": 3 }]),
        serde_json::json!([one.to_string()]),
        serde_json::json!({ "0": { "purpose": null, "Channel": "E-MAIL", "Given": "off" } }),
        serde_json::json!({ "email": "нет" }),
    ]
    .into_iter()
    .enumerate()
    {
        let body = serde_json::json!({ "phone": "89161234567", "consents": told });
        let outcome = harness.take(&form_signed(&harness.path, &body, SECRET, &format!("c-{n}"), at())).await;
        assert_eq!(
            (consents(&outcome), outcome.answer.as_str()),
            (vec!["email:false".into()], "{\"ok\":true}"),
            "{told}"
        );
    }
    let kind = "application/x-www-form-urlencoded";
    for (body, expected) in [
        ("consents[0][purpose]=marketing&consents[0][channel]=email&consents[0][given]=false", "email:false"),
        ("consents%5B0%5D%5Bchannel%5D=sms&consents%5B0%5D%5Bgiven%5D=on", "sms:true"),
        ("consents[email]=yes", "email:true"),
        ("consents=%5B%7B%22channel%22%3A%22email%22%2C%22given%22%3Afalse%7D%5D", "email:false"),
    ] {
        let outcome = harness.take(&signed(&harness.path, kind, format!("phone=89161234567&{body}").as_bytes())).await;
        assert_eq!(consents(&outcome), [expected], "{body}");
    }
}

#[tokio::test]
async fn what_is_no_word_about_consent_is_named_and_a_no_beside_it_withdraws() {
    let harness = ProviderHarness::open(source("form", SECRET), at());
    let all = ["email:false", "sms:false", "call:false", "messenger:false"];
    let cases: [(serde_json::Value, &str, &[&str]); 11] = [
        (serde_json::json!([{ "channel": "email" }]), "consents.0.given", &[]),
        (serde_json::json!([{ "channel": "email", "given": null }]), "consents.0.given", &[]),
        (serde_json::json!([{ "channel": "email", "given": "perhaps" }]), "consents.0.given", &[]),
        (serde_json::json!([{ "channel": "pigeon", "given": true }]), "consents.0.channel", &[]),
        (serde_json::json!([{ "channel": "email", "given": true, "purpose": [] }]), "consents.0.purpose", &[]),
        (serde_json::json!("yes"), "consents", &[]),
        (serde_json::json!(true), "consents", &[]),
        (serde_json::json!({ "pigeon": true }), "consents", &[]),
        (serde_json::json!([{ "channel": "email", "given": false, "purpose": {} }]), "purpose", &["email:false"]),
        (serde_json::json!([{ "channel": "email", "given": false, "wording": [[1]] }]), "wording", &["email:false"]),
        (serde_json::json!([{ "given": "no" }]), "consents.0.channel", &all),
    ];
    for (n, (told, place, expected)) in cases.into_iter().enumerate() {
        let body = serde_json::json!({ "phone": "89161234567", "consents": told });
        let outcome = harness.take(&form_signed(&harness.path, &body, SECRET, &format!("d-{n}"), at())).await;
        assert_eq!(consents(&outcome), expected, "{told}");
        let answer = outcome.answer;
        assert!(answer.contains("\"understood\":false") && answer.contains(place), "{told}: {answer}");
    }
}

#[tokio::test]
async fn an_empty_second_field_of_json_takes_nothing_away() {
    let harness = ProviderHarness::open(source("form", SECRET), at());
    let kind = "application/json";
    for body in [
        r#"{"phone":"89161234567","phone":""}"#,
        r#"{"phone":"","phone":"89161234567","phone":null}"#,
        r#"{"phone":["89161234567"]}"#,
    ] {
        let outcome = harness.take(&signed(&harness.path, kind, body.as_bytes())).await;
        assert!(forms(&outcome).len() == 1 && has_phone(&forms(&outcome)[0]), "{body}: {}", outcome.answer);
    }
    let tilda = r#"{"Name":"T","Phone":"+79161234567","Phone":"","tranid":"1:1","formid":"f"}"#;
    let source = source("tilda", SECRET);
    let harness = ProviderHarness::open(source, at());
    let signed_request = SignedRequest::new(&harness.path, kind, tilda.as_bytes().to_vec()).header("x-api-key", SECRET);
    let outcome = harness.take(&signed_request).await;
    assert!(forms(&outcome).len() == 1 && has_phone(&forms(&outcome)[0]), "{}", outcome.answer);
}
