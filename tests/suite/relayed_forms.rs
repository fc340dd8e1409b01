//! A form service proves that it sent a form, and not who typed its values. Sources with `typed` act by that.

use serde_json::json;
use stagedoor_model::{Body, Kind};
use stagedoor_testkit::{SignedRequest, form, form_signed};
use stagedoor_tests::{
    hub::TestHub,
    provider_harness::{ProviderHarness, source},
};

use crate::end_to_end::{field, order};

const ALLA: &str = "+79161234567";
const BORIS: &str = "boris@example.com";

fn tilda(fields: &[(&str, &str)]) -> SignedRequest {
    form("/website/tilda", fields).header("x-api-key", "tilda-api-key")
}

fn popup(name: &str, phone: &str, email: &str) -> SignedRequest {
    let user =
        json!({ "id": 7, "user_id": "15", "props": { "$email": email, "$phone": phone, "$name": name } }).to_string();
    let event = json!({ "id": 9, "created": 1_795_428_000, "type": { "name": "Оставил контакты" }, "props": {} });
    let event = event.to_string();
    let token = "29be43a4-12ee-48cb-8cc1-140305a4430d";
    form("/website/popups", &[("type", "event"), ("token", token), ("user", &user), ("event", &event)])
}

/// A server of the site that knows no visitor, and says so.
fn typed(name: &str, phone: &str, email: &str) -> SignedRequest {
    let body = json!({ "name": name, "phone": phone, "email": email, "user_id": "15", "typed": true });
    form_signed("/website/site", &body, "generic-source-secret", "typed-1", stagedoor_model::Timestamp::now())
}

/// A hub whose form services only relay what was typed.
async fn hub_of_relays() -> TestHub {
    let typed = |text: String, name: &str, provider: &str| {
        let source = format!("[source.{name}]\nfunction = \"website\"\nprovider = \"{provider}\"\n");
        assert!(text.contains(&source));
        text.replace(&source, &format!("{source}options = {{ typed = true }}\n"))
    };
    TestHub::with(|text| typed(typed(text, "tilda", "tilda"), "popups", "carrotquest")).await
}

#[tokio::test]
async fn a_form_finds_its_buyer_where_the_source_does_not_say_typed() {
    for signed_request in
        [tilda(&[("Name", "Алла"), ("Phone", ALLA), ("tranid", "1:1")]), popup("Алла", ALLA, "alla@example.com")]
    {
        let hub = TestHub::start().await;
        let buyer = json!({ "name": "Алла Первая", "phone": ALLA });
        hub.take(&order("T-1", "paid", "2026-01-10T10:05:00Z", buyer, json!([]))).await;
        hub.take(&signed_request).await;
        hub.settled().await;
        assert_eq!(hub.sandbox.contacts().len(), 1, "{}", signed_request.path);
    }
}

#[tokio::test]
async fn a_relayed_form_joins_no_two_buyers_and_renames_nobody() {
    let name = "ВНИМАНИЕ возврат";
    let forms = [
        tilda(&[("Name", name), ("Phone", ALLA), ("Email", BORIS), ("tranid", "1:1")]),
        popup(name, ALLA, BORIS),
        typed(name, ALLA, BORIS),
    ];
    for signed_request in forms {
        let hub = hub_of_relays().await;
        let buyers =
            [json!({ "name": "Алла Первая", "phone": ALLA }), json!({ "name": "Борис Второй", "email": BORIS })];
        for (n, buyer) in buyers.into_iter().enumerate() {
            hub.take(&order(&format!("T-{n}"), "paid", "2026-01-10T10:05:00Z", buyer, json!([]))).await;
        }
        hub.settled().await;
        let before: Vec<_> = hub
            .sandbox
            .contacts()
            .iter()
            .map(|one| [one["name"].clone(), one["custom_fields_values"].clone()])
            .collect();
        hub.take(&signed_request).await;
        hub.settled().await;
        let contacts = hub.sandbox.contacts();
        let holding = |text: &str| contacts.iter().filter(|one| one.to_string().contains(text)).count();
        assert_eq!((holding("9161234567"), holding(BORIS)), (1, 1), "{}: {contacts:?}", signed_request.path);
        for known in before {
            let now = contacts.iter().find(|one| one["name"] == known[0]).expect("still so named");
            assert_eq!(now["custom_fields_values"], known[1], "{}", signed_request.path);
        }
    }
}

#[tokio::test]
async fn forms_of_one_unknown_visitor_are_one_contact_with_a_deal() {
    let hub = hub_of_relays().await;
    for n in 0..3 {
        let number = format!("1:{n}");
        hub.take(&tilda(&[("Name", "Вера Новая"), ("Phone", "8 916 123-45-67"), ("tranid", &number)])).await;
        hub.settled().await;
    }
    let contacts = hub.sandbox.contacts();
    assert_eq!((contacts.len(), hub.sandbox.leads().len()), (1, 1), "{contacts:?}");
    assert_eq!(contacts[0]["name"], "Вера Новая");
    assert_eq!(field(&contacts[0], "PHONE").as_deref(), Some(ALLA));
}

#[tokio::test]
async fn an_order_that_tilda_relays_as_paid_proves_its_buyer() {
    let hub = hub_of_relays().await;
    let buyer = json!({ "name": "Алла Первая", "phone": ALLA });
    hub.take(&order("T-1", "paid", "2026-01-10T10:05:00Z", buyer, json!([]))).await;
    hub.settled().await;
    let payment = json!({
        "orderid": "77", "systranid": "5", "sys": "yookassa", "amount": "1500",
        "products": [{ "name": "Билет", "quantity": 1, "amount": 1500 }],
    });
    let payment = payment.to_string();
    hub.take(&tilda(&[("Name", "Алла"), ("Phone", ALLA), ("tranid", "1:9"), ("payment", &payment)])).await;
    hub.settled().await;
    assert_eq!(hub.sandbox.contacts().len(), 1);
    assert_eq!(hub.sandbox.leads().len(), 2);
}

#[tokio::test]
async fn a_server_that_only_relays_knows_no_user_and_no_cart() {
    let harness = ProviderHarness::open(source("form", "generic-source-secret"), stagedoor_model::Timestamp::now());
    let body = json!({ "phone": ALLA, "user_id": "17", "kind": "cart_abandoned", "amount": "100.00", "typed": "yes" });
    let signed_request =
        form_signed(&harness.path, &body, "generic-source-secret", "m", stagedoor_model::Timestamp::now());
    let events = harness.take(&signed_request).await.events;
    let Some(Body::FormSubmitted(form)) = events.first().map(|event| &event.body) else { panic!("{events:?}") };
    assert!(events[0].is_anonymous && !form.proof.joins() && form.amount.is_none());
    assert!(form.identifiers.iter().all(|one| one.kind() == Kind::Phone));
    assert!(!form.labels.contains_key("typed"));
}
