//! Money that names no order finds it by the payment, where a shop or a session tells the payment. Else it is shown.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use stagedoor_model::{Event, EventId, PaymentNoticed, SourceName, Timestamp};
use stagedoor_testkit::{SignedRequest, form_signed, hmac_sha256_hex};
use stagedoor_tests::{
    hub::TestHub,
    provider_harness::{self, ProviderHarness},
    tamper::signed,
    world::World,
};

use crate::{
    shops::Shop,
    ticket_shops::{ago, hub_with, one, order, price, registration, sample, settled, stages},
};

/// A hub where Stripe takes the money for the orders of this source.
async fn hub_of(orders_of: &str) -> TestHub {
    let own = "[source.stripe.options]\norders_of = \"theatre\"";
    hub_with(|text| {
        assert!(text.contains(own));
        text.replace(own, &own.replace("theatre", orders_of))
    })
    .await
}

/// An event of Stripe of this many minutes ago.
fn stripe(kind: &str, minutes: i64, object: &Value) -> SignedRequest {
    let body = json!({ "id": "evt_1", "object": "event", "created": ago(minutes).as_second(), "type": kind,
        "data": { "object": object } });
    let (body, second) = (body.to_string().into_bytes(), Timestamp::now().as_second());
    let proof = hmac_sha256_hex("whsec_test_stagedoor", &[format!("{second}.").as_bytes(), &body].concat());
    let request = SignedRequest::new("/ticketing/stripe", "application/json", body);
    request.header("stripe-signature", &format!("t={second},v1={proof}"))
}

/// The whole of a charge went back. Nothing names an order.
fn refunded(charge: &str, intent: &str, minor: i64) -> Value {
    json!({ "id": charge, "object": "charge", "amount": minor, "amount_captured": minor, "amount_refunded": minor,
        "captured": true, "refunded": true, "currency": "rub", "payment_intent": intent, "metadata": {} })
}

fn intent(id: &str, minor: i64, change: impl FnOnce(&mut Value)) -> Value {
    let mut intent = json!({ "id": id, "object": "payment_intent", "amount": minor, "amount_received": minor,
        "currency": "rub", "latest_charge": null, "invoice": null, "metadata": {}, "status": "succeeded" });
    change(&mut intent);
    intent
}

/// A session that names order 727 of the shop.
fn session(minor: i64, change: impl FnOnce(&mut Value)) -> Value {
    let mut session = json!({ "id": "cs_1", "object": "checkout.session", "mode": "payment", "amount_total": minor,
        "currency": "rub", "client_reference_id": "727", "payment_intent": null, "invoice": null,
        "subscription": null, "metadata": {}, "payment_status": "paid", "status": "complete" });
    change(&mut session);
    session
}

/// What the order of the shop costs, in kopecks.
const WHOLE: i64 = 333_050;

fn worth(hub: &TestHub) -> i64 {
    price(hub).iter().filter_map(Value::as_i64).sum()
}

#[tokio::test]
async fn a_refund_that_names_only_the_payment_reaches_the_registration_that_tells_the_payment() {
    let places: [fn(&mut Value); 2] = [
        |body: &mut Value| (body["payment_reference"], body["receipt"]) = (json!("pi_tt01"), Value::Null),
        |body: &mut Value| body["receipt"]["payment_reference"] = json!("pi_tt01"),
    ];
    for (place, is_late) in places.into_iter().zip([true, false]) {
        let hub = hub_of("tito").await;
        let paid = registration("registration_finished", 200, |body| {
            body["completed_at"] = json!(ago(200).to_string());
            place(body);
        });
        let back = stripe("charge.refunded", 100, &refunded("ch_tt01", "pi_tt01", 10_000));
        if is_late {
            settled(&hub, [paid]).await;
            assert_eq!((stages(&hub), price(&hub)), (one("Оплачено"), vec![json!(100)]));
            settled(&hub, [back]).await;
        } else {
            settled(&hub, [back, paid]).await;
        }
        assert_eq!((stages(&hub), price(&hub)), (one("Возврат"), vec![json!(0)]));
        assert_eq!(hub.sandbox.contacts().len(), 1);
    }
}

#[tokio::test]
async fn a_refund_that_names_only_the_charge_reaches_the_order_of_woocommerce_that_tells_it() {
    let hub = hub_of("woocommerce").await;
    settled(&hub, [order("order_processing", 500, |body| body["transaction_id"] = json!("ch_wc01"))]).await;
    assert_eq!(worth(&hub), 3330);
    // The money that came names no order either.
    let came = intent("pi_wc01", WHOLE, |intent| intent["latest_charge"] = json!("ch_wc01"));
    settled(&hub, [stripe("payment_intent.succeeded", 490, &came)]).await;
    assert_eq!((worth(&hub), hub.sandbox.tasks().len()), (3330, 0), "it counts once");
    settled(&hub, [stripe("charge.refunded", 100, &refunded("ch_wc01", "pi_wc01", WHOLE))]).await;
    assert_eq!((stages(&hub), worth(&hub)), (vec![("Возврат".to_owned(), 2)], 0));
}

#[tokio::test]
async fn a_note_in_the_place_of_a_payments_id_makes_no_two_buyers_one() {
    let hub = hub_of("woocommerce").await;
    let notes = [
        "cash",
        "000123",
        "12.05.2026",
        "card 4276",
        "cash1",
        "POS-1",
        "Sber2026",
        "pos_1",
        "DE89370400440532013000",
        "",
    ];
    for (n, note) in (730..).step_by(2).zip(notes) {
        let bought = |id: i64, note: &str| {
            order("order_processing", 500, |body| {
                (body["id"], body["number"], body["customer_id"]) = (json!(id), json!(id.to_string()), json!(id));
                body["billing"] = json!({ "first_name": format!("Buyer {id}"), "email": format!("b{id}@example.com") });
                body["transaction_id"] = json!(note);
            })
        };
        settled(&hub, [bought(n, note), bought(n + 1, note)]).await;
    }
    assert_eq!(hub.sandbox.contacts().len(), 2 * notes.len());
}

#[tokio::test]
async fn a_refund_of_yookassa_without_an_order_reaches_the_order_of_woocommerce_by_the_payment() {
    const PAYMENT: &str = "22d6d597-000f-5000-9000-145f6df21d6f";
    let (shop, base) = Shop::open("Basic MTprZXk=").await;
    let options = json!({ "shop_id": "1", "key": "key", "orders_of": "woocommerce-test", "base_url": base });
    let source = stagedoor_webhook::Source { options, ..provider_harness::source("yookassa", "s") };
    let order_api = stagedoor_source_clients::order_api(&source).expect("a client").expect("built");
    let amount = json!({ "value": "3330.50", "currency": "RUB" });
    let payment = json!({ "id": PAYMENT, "status": "succeeded", "amount": amount, "metadata": {},
        "created_at": "2027-01-15T12:02:00.000Z", "captured_at": "2027-01-15T12:03:00.000Z" });
    shop.say(&format!("/payments/{PAYMENT}"), 200, payment);
    let refund = json!({ "id": "ref-1", "payment_id": PAYMENT, "status": "succeeded", "amount": amount,
        "created_at": "2027-01-15T12:10:00.000Z" });
    shop.say("/refunds/ref-1", 200, refund);
    let paid = sample("woocommerce", "order_processing");
    let mut body: Value = serde_json::from_slice(&paid.body).expect("JSON");
    body["transaction_id"] = json!(PAYMENT);
    let harness = ProviderHarness::of(&paid);
    let bought = harness.take(&signed(&paid, &harness.path, body.to_string().into_bytes())).await.events;
    let noticed = PaymentNoticed { payment: "ref-1".into(), refund: true };
    let (body, at) = order_api.payment(&noticed).await.expect("an answer").expect("a refund");
    let name = SourceName::new("yookassa-test").expect("a name");
    let back = Event::new(&name, EventId::derive(&name, &["ref-1"]), at, body);
    let world = World::new().await;
    world.run(bought).await;
    world.run(vec![back]).await;
    let stands = world.sandbox.leads_by_stage().into_keys().map(|(_, stage)| stage).collect::<Vec<_>>();
    assert_eq!((stands, world.sandbox.contacts().len()), (vec!["refunded ·".to_owned()], 1));
    assert_eq!(world.store.totals().await.expect("totals").rejected, 0);
}

#[tokio::test]
async fn a_payment_that_nobody_knows_an_order_of_is_shown_and_makes_no_contact() {
    let hub = hub_of("woocommerce").await;
    hub.take(&stripe("payment_intent.succeeded", 5, &intent("pi_9", 300_000, |_| {}))).await;
    assert_eq!(hub.settled().await.rejected, 1);
    let rejected = hub.hub.store.rejected(10).await.expect("read");
    let lines: Vec<&str> =
        rejected.iter().flat_map(|(_, link)| link.rejected()).map(|one| one.reason.as_str()).collect();
    assert!(matches!(lines[..], [line] if line.contains("3000.00 RUB") && line.contains("pi_9")), "{lines:?}");
    assert_eq!((hub.sandbox.contacts().len(), hub.sandbox.leads().len()), (0, 0));
}

#[tokio::test]
async fn a_session_and_its_payment_count_once_whichever_comes_first() {
    for is_first in [true, false] {
        let hub = hub_of("woocommerce").await;
        let paid = session(WHOLE, |session| session["payment_intent"] = json!("pi_1"));
        let mut told = vec![
            order("order_on_hold", 590, |body| body["transaction_id"] = json!("")),
            stripe("checkout.session.completed", 500, &paid),
            stripe("payment_intent.succeeded", 500, &intent("pi_1", WHOLE, |_| {})),
        ];
        if is_first {
            told.reverse();
        }
        settled(&hub, told).await;
        assert_eq!((worth(&hub), hub.sandbox.tasks().len()), (3330, 0));
        assert_eq!(stages(&hub).into_iter().collect::<BTreeMap<_, _>>().get("Оплачено"), Some(&2));
    }
}

#[tokio::test]
async fn a_refund_of_a_subscription_finds_its_order_by_the_invoice() {
    for turn in 0..3 {
        let hub = hub_of("woocommerce").await;
        let paid = session(WHOLE, |session| {
            (session["mode"], session["invoice"]) = (json!("subscription"), json!("in_1"));
            session["subscription"] = json!("sub_1");
        });
        let came = intent("pi_1", WHOLE, |intent| {
            (intent["invoice"], intent["latest_charge"]) = (json!("in_1"), json!("ch_1"));
        });
        let mut back = refunded("ch_1", "pi_1", WHOLE);
        back["invoice"] = json!("in_1");
        let mut told = vec![
            stripe("checkout.session.completed", 500, &paid),
            stripe("payment_intent.succeeded", 500, &came),
            stripe("charge.refunded", 100, &back),
        ];
        told.rotate_left(turn);
        told.insert(turn, order("order_on_hold", 590, |body| body["transaction_id"] = json!("")));
        settled(&hub, told).await;
        assert_eq!((stages(&hub), worth(&hub)), (vec![("Возврат".to_owned(), 2)], 0), "turn {turn}");
        assert_eq!(hub.sandbox.tasks().len(), 0, "turn {turn}: {:?}", hub.sandbox.tasks());
    }
}

#[tokio::test]
async fn a_later_edit_of_a_refunded_order_does_not_outlive_what_the_buyer_did_since() {
    let hub = hub_of("woocommerce").await;
    settled(&hub, [order("order_processing", 500, |_| {}), order("order_refunded", 300, |_| {})]).await;
    assert_eq!(stages(&hub), [("Возврат".to_owned(), 2)]);
    // The buyer puts a ticket for the same show into the cart again.
    let cart = json!({ "kind": "cart_abandoned", "cart_id": "again", "email": "lopakhin@example.org",
        "amount": "3000.00", "currency": "RUB", "show": "cherry-moscow", "at": ago(200).to_string() });
    let cart = form_signed("/website/site", &cart, "generic-source-secret", "cart-again", Timestamp::now());
    settled(&hub, [cart]).await;
    let expected = BTreeMap::from([("Возврат".to_owned(), 1), ("Корзина".to_owned(), 1)]);
    assert_eq!(stages(&hub).into_iter().collect::<BTreeMap<_, _>>(), expected);
    // A manager writes a note into the old order.
    settled(&hub, [order("order_refunded", 100, |body| body["customer_note"] = json!("a note"))]).await;
    assert_eq!(stages(&hub).into_iter().collect::<BTreeMap<_, _>>(), expected);
}
