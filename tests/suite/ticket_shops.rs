//! Ticket shops that tell the whole order themselves: from the wire to the CRM's deal.

use std::{collections::BTreeSet, sync::LazyLock};

use jiff::{SignedDuration, tz::Offset};
use serde_json::{Value, json};
use stagedoor_engine::{Entry, ledger};
use stagedoor_model::{Body, Email, Event, Identifier, Order, Timestamp};
use stagedoor_testkit::{SignedRequest, samples};
use stagedoor_tests::{hub::TestHub, provider_harness::ProviderHarness, tamper::signed};

/// The sample tour with these shops: the show in Moscow is known by their ids.
async fn hub() -> TestHub {
    hub_with(|text| text).await
}

/// The same with a changed config.
pub(crate) async fn hub_with(change: impl FnOnce(String) -> String) -> TestHub {
    let sources = "[source.tito]\nfunction = \"ticketing\"\nprovider = \"tito\"\n\
        secrets = [\"dev:tito-security-token\"]\n\n\
        [source.woocommerce]\nfunction = \"ticketing\"\nprovider = \"woocommerce\"\nsecrets = [\"dev:wc-secret\"]\n\
        options = { goods = [\"programme\"], statuses = { deposit = \"placed\" }, consent_key = \"_newsletter\" }\n\n\
        [source.timepad]\nfunction = \"ticketing\"\nprovider = \"timepad\"\n\
        secrets = [\"dev:timepad-secret-phrase\"]\n\n[source.qtickets]";
    let known = "qtickets = [\"41\"], tito = [\"cherry\"], woocommerce = [\"93\"], timepad = [\"215813\"],";
    let shops = |text: String| text.replace("[source.qtickets]", sources).replace("qtickets = [\"41\"],", known);
    TestHub::with(|text| change(shops(text))).await
}

pub(crate) fn ago(minutes: i64) -> Timestamp {
    static NOW: LazyLock<Timestamp> =
        LazyLock::new(|| Timestamp::from_second(Timestamp::now().as_second()).expect("in range"));
    *NOW - SignedDuration::from_mins(minutes)
}

pub(crate) fn sample(provider: &str, case: &str) -> samples::Sample {
    let all = samples::all().expect("events/ can be read");
    all.into_iter().find(|one| one.provider == provider && one.case == case).expect("a sample")
}

/// A sample with changes, signed by its shop.
fn told(provider: &str, case: &str, change: impl FnOnce(&mut Value)) -> SignedRequest {
    let sample = sample(provider, case);
    let mut body: Value = serde_json::from_slice(&sample.body).expect("JSON");
    change(&mut body);
    signed(&sample, &format!("/ticketing/{provider}"), body.to_string().into_bytes())
}

/// The stages of all deals, the CRM's pipeline apart.
pub(crate) fn stages(hub: &TestHub) -> Vec<(String, usize)> {
    hub.sandbox.leads_by_stage().into_iter().map(|((_, stage), count)| (stage, count)).collect()
}

pub(crate) fn one(stage: &str) -> Vec<(String, usize)> {
    vec![(stage.to_owned(), 1)]
}

pub(crate) fn price(hub: &TestHub) -> Vec<Value> {
    hub.sandbox.leads().iter().map(|lead| lead["price"].clone()).collect()
}

pub(crate) async fn settled(hub: &TestHub, deliveries: impl IntoIterator<Item = SignedRequest>) {
    for delivery in deliveries {
        hub.take(&delivery).await;
    }
    let status = hub.settled().await;
    assert_eq!((status.rejected, status.dead_letters), (0, 0));
}

/// The consents of an address, as the hub keeps them.
async fn consents(hub: &TestHub, email: &str) -> Vec<Entry> {
    let address = Identifier::email(Email::parse(email).expect("an address"));
    let owners = hub.hub.store.resolve(&BTreeSet::from([address])).await.expect("resolved").owners;
    let person = hub.hub.store.load(&owners.into_values().collect()).await.expect("loaded").remove(0).value;
    ledger(&person)
}

// Tito.

pub(crate) fn registration(case: &str, minutes: i64, change: impl FnOnce(&mut Value)) -> SignedRequest {
    told("tito", case, |body| {
        body["created_at"] = json!(ago(600).to_string());
        body["updated_at"] = json!(ago(minutes).to_string());
        // Where Tito's deals are in roubles, they count in the CRM's own currency.
        body["currency"] = json!("RUB");
        change(body);
    })
}

fn of_ticket(case: &str, minutes: i64) -> SignedRequest {
    told("tito", case, |body| {
        body["updated_at"] = json!(ago(minutes).to_string());
        body["registration"]["currency"] = json!("RUB");
    })
}

#[tokio::test]
async fn a_registration_of_tito_is_placed_paid_and_attended_in_whatever_order_it_comes() {
    let hub = hub().await;
    settled(&hub, [registration("registration_by_invoice", 300, |_| {})]).await;
    assert_eq!(stages(&hub), one("Корзина"));
    settled(&hub, [registration("registration_finished", 200, |body| body["completed_at"] = json!(null))]).await;
    assert_eq!((stages(&hub), price(&hub)), (one("Оплачено"), vec![json!(100)]));
    // An older state that comes late changes nothing, nor does a second delivery.
    settled(&hub, [registration("registration_by_invoice", 300, |_| {})]).await;
    assert_eq!(stages(&hub), one("Оплачено"));
    let scan = told("tito", "checkin_created", |body| body["checked_in_at"] = json!(ago(5).to_string()));
    settled(&hub, [scan]).await;
    assert_eq!(stages(&hub), one("Успешно реализовано"));
    assert_eq!((hub.sandbox.contacts().len(), hub.sandbox.leads().len()), (1, 1));
}

#[tokio::test]
async fn a_check_in_that_comes_before_its_registration_waits_for_it() {
    let hub = hub().await;
    let scan = || told("tito", "checkin_created", |body| body["checked_in_at"] = json!(ago(5).to_string()));
    settled(&hub, [scan()]).await;
    assert_eq!(hub.sandbox.contacts().len(), 0, "it names nobody");
    settled(&hub, [registration("registration_finished", 200, |body| body["completed_at"] = json!(null)), scan()])
        .await;
    assert_eq!((stages(&hub), price(&hub)), (one("Успешно реализовано"), vec![json!(100)]));
    assert_eq!(hub.sandbox.contacts()[0]["name"], json!("Anna Ranevskaya"));
}

#[tokio::test]
async fn voided_tickets_of_tito_are_given_back_and_an_unvoided_one_is_not() {
    let hub = hub().await;
    let paid = || registration("registration_finished", 200, |body| body["completed_at"] = json!(null));
    let first = |case: &str, minutes: i64| {
        told("tito", case, |body| {
            (body["reference"], body["registration"]["currency"]) = (json!("E9IM-1"), json!("RUB"));
            body["updated_at"] = json!(ago(minutes).to_string());
        })
    };
    settled(&hub, [of_ticket("ticket_voided", 100), paid(), first("ticket_voided", 90)]).await;
    assert_eq!(stages(&hub), one("Возврат"), "both are gone");
    settled(&hub, [of_ticket("ticket_unvoided", 80), of_ticket("ticket_voided", 100)]).await;
    assert_eq!(stages(&hub), one("Оплачено"), "the later word stands");
    // Who holds a ticket is not the order's matter.
    settled(&hub, [of_ticket("ticket_reassigned", 70)]).await;
    assert_eq!((hub.sandbox.contacts().len(), stages(&hub)), (1, one("Оплачено")));
}

#[tokio::test]
async fn a_registration_that_another_person_takes_over_is_theirs() {
    let hub = hub().await;
    let paid = registration("registration_finished", 200, |body| body["completed_at"] = json!(null));
    settled(&hub, [paid]).await;
    settled(&hub, [registration("registration_updated", 100, |body| body["completed_at"] = json!(null))]).await;
    let contacts = hub.sandbox.contacts();
    let boris = contacts.iter().find(|one| one["name"] == "Boris Simeonov").expect("the new buyer");
    let deal = hub.sandbox.leads().into_iter().find(|lead| lead["price"] == json!(100)).expect("a deal");
    let linked = deal["_embedded"]["contacts"].to_string();
    assert!(linked.contains(&boris["id"].to_string()), "{linked}");
    settled(&hub, [registration("registration_cancelled", 50, |body| body["completed_at"] = json!(null))]).await;
    let left = hub.sandbox.leads_by_stage().into_iter().filter(|((_, stage), _)| stage == "Оплачено").count();
    assert_eq!(left, 0, "{:?}", stages(&hub));
}

/// A registration of Anna's that was paid long ago. `cancelled`: what its payload says, if anything.
fn of_anna(case: &str, minutes: i64, cancelled: Option<bool>) -> SignedRequest {
    registration(case, minutes, |body| {
        (body["name"], body["email"]) = (json!("Anna Ranevskaya"), json!("anna@example.com"));
        body["completed_at"] = json!(ago(590).to_string());
        if let Some(is_cancelled) = cancelled {
            body["cancelled"] = json!(is_cancelled);
        }
    })
}

#[tokio::test]
async fn a_cancelled_registration_of_tito_that_is_changed_later_does_not_stand_again() {
    let hub = hub().await;
    settled(&hub, [of_anna("registration_finished", 200, None)]).await;
    assert_eq!(stages(&hub), one("Оплачено"));
    settled(&hub, [of_anna("registration_cancelled", 100, None)]).await;
    let kept = price(&hub);
    assert_eq!(stages(&hub), one("Возврат"));
    settled(&hub, [of_anna("registration_updated", 50, None), of_anna("registration_finished", 200, None)]).await;
    assert_eq!((stages(&hub), price(&hub)), (one("Возврат"), kept), "it says nothing of the cancellation");
    settled(&hub, [of_anna("registration_updated", 20, Some(false))]).await;
    assert_eq!((stages(&hub), price(&hub)), (one("Оплачено"), vec![json!(100)]), "only a word of it does");
    settled(&hub, [of_anna("registration_updated", 10, Some(true)), of_anna("registration_updated", 5, None)]).await;
    assert_eq!((stages(&hub), hub.sandbox.contacts().len()), (one("Возврат"), 1));
}

#[tokio::test]
async fn a_check_in_of_tito_that_is_taken_back_makes_the_deal_paid_again() {
    let hub = hub().await;
    let scan = |is_in: bool, minutes: i64| {
        told("tito", "checkin_created", |body| {
            (body["checked_in"], body["checked_in_at"]) = (json!(is_in), json!(ago(minutes).to_string()));
        })
    };
    settled(&hub, [of_anna("registration_finished", 200, None), scan(true, 30)]).await;
    assert_eq!(stages(&hub), one("Успешно реализовано"));
    // The time of the scan stays in what takes it back.
    settled(&hub, [scan(false, 30)]).await;
    assert_eq!(stages(&hub), one("Оплачено"));
    settled(&hub, [scan(true, 30)]).await;
    assert_eq!(stages(&hub), one("Оплачено"), "the scan comes again, and the shop took it back before");
}

#[tokio::test]
async fn a_test_registration_of_tito_is_nobodys() {
    let hub = hub().await;
    settled(&hub, [registration("registration_finished", 200, |body| body["test_mode"] = json!(true))]).await;
    assert_eq!((hub.sandbox.contacts().len(), hub.sandbox.leads().len()), (0, 0));
}

// WooCommerce.

/// As WordPress writes a time in GMT.
fn gmt(minutes: i64) -> Value {
    json!(Offset::UTC.to_datetime(ago(minutes)).to_string())
}

pub(crate) fn order(case: &str, minutes: i64, change: impl FnOnce(&mut Value)) -> SignedRequest {
    told("woocommerce", case, |body| {
        (body["date_created_gmt"], body["date_modified_gmt"]) = (gmt(600), gmt(minutes));
        if body["date_paid_gmt"].is_string() {
            body["date_paid_gmt"] = gmt(500);
        }
        change(body);
    })
}

#[tokio::test]
async fn an_order_of_woocommerce_becomes_the_deal_of_its_show_and_its_goods_another() {
    let hub = hub().await;
    settled(&hub, [order("order_on_hold", 590, |_| {})]).await;
    assert_eq!(stages(&hub), [("Корзина".to_owned(), 2)], "the show's and the goods'");
    settled(&hub, [order("order_processing", 500, |_| {}), order("order_on_hold", 590, |_| {})]).await;
    let mut prices = price(&hub);
    prices.sort_by_key(|price| price.as_i64());
    assert_eq!(prices, [json!(700), json!(2630)], "the CRM has whole roubles");
    assert!(stages(&hub).iter().any(|(stage, _)| stage == "Оплачено"), "{:?}", stages(&hub));
    settled(&hub, [order("order_refunded", 300, |_| {})]).await;
    assert_eq!(stages(&hub), [("Возврат".to_owned(), 2)]);
    // The part that went back first, told again late, takes nothing more.
    settled(&hub, [order("order_refunded_part", 400, |_| {})]).await;
    assert_eq!(price(&hub).iter().filter_map(Value::as_i64).sum::<i64>(), 0);
    assert_eq!(hub.sandbox.contacts().len(), 1);
}

#[tokio::test]
async fn a_cancelled_order_of_woocommerce_is_lost_and_a_mapped_status_counts() {
    let hub = hub().await;
    settled(&hub, [order("order_on_hold", 590, |body| body["status"] = json!("deposit"))]).await;
    assert_eq!(stages(&hub), [("Корзина".to_owned(), 2)], "the show's and the goods'");
    settled(&hub, [order("order_cancelled", 300, |_| {})]).await;
    assert!(stages(&hub).iter().all(|(stage, _)| stage == "Закрыто и не реализовано"), "{:?}", stages(&hub));
    let (status, _) = hub.post(&order("order_processing", 200, |body| body["status"] = json!("levitated"))).await;
    assert_eq!(status, 200);
    assert_eq!(hub.settled().await.unrecognized, 1, "an unknown status is kept");
}

#[tokio::test]
async fn the_newsletter_box_of_a_shop_is_a_consent_of_its_time_and_counts_once() {
    let hub = hub().await;
    let box_of =
        |value: Value| move |body: &mut Value| body["meta_data"] = json!([{ "key": "_newsletter", "value": value }]);
    settled(
        &hub,
        [order("order_processing", 500, box_of(json!("yes"))), order("order_processing", 500, box_of(json!("yes")))],
    )
    .await;
    let told = consents(&hub, "lopakhin@example.org").await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].at, ago(600));
    settled(&hub, [order("order_processing", 400, box_of(json!("no")))]).await;
    assert_eq!(consents(&hub, "lopakhin@example.org").await.len(), 1, "an empty box withdraws nothing");
}

#[tokio::test]
async fn a_new_webhook_of_woocommerce_is_answered_and_only_its_test_is() {
    let hub = hub().await;
    let ping = |body: &str| {
        SignedRequest::new("/ticketing/woocommerce", "application/x-www-form-urlencoded", body.as_bytes().to_vec())
    };
    assert_eq!(hub.post(&ping("webhook_id=17")).await.0, 200);
    for body in ["webhook_id=", "webhook_id=17&status=paid", "webhook_id=x", "id=17"] {
        assert_eq!(hub.post(&ping(body)).await.0, 401, "{body}");
    }
}

// TimePad.

/// As TimePad writes a time: with an offset without a colon.
fn zoned(minutes: i64) -> String {
    Offset::constant(3).to_datetime(ago(minutes)).strftime("%Y-%m-%dT%H:%M:%S+0300").to_string()
}

fn entry(case: &str, change: impl FnOnce(&mut Value)) -> SignedRequest {
    told("timepad", case, |body| {
        (body["id"], body["created_at"]) = (json!(1_234_567), json!(zoned(600)));
        body.as_object_mut().expect("an object").remove("hook_generated_at");
        if body["payment"]["paid_at"].is_string() {
            let paid_at = Offset::constant(3).to_datetime(ago(500)).strftime("%Y-%m-%d %H:%M:%S").to_string();
            body["payment"]["paid_at"] = json!(paid_at);
        }
        change(body);
    })
}

#[tokio::test]
async fn an_order_of_timepad_moves_forward_in_whatever_order_its_states_come() {
    let hub = hub().await;
    settled(&hub, [entry("order_booked", |_| {})]).await;
    assert_eq!(stages(&hub), one("Корзина"));
    settled(&hub, [entry("order_paid", |_| {})]).await;
    assert_eq!((stages(&hub), price(&hub)), (one("Оплачено"), vec![json!(1500)]));
    settled(&hub, [entry("order_booked", |_| {}), entry("order_notpaid", |_| {})]).await;
    assert_eq!(stages(&hub), one("Оплачено"), "a late state of an earlier time");
    settled(&hub, [entry("order_returned", |_| {}), entry("order_paid", |_| {})]).await;
    assert_eq!((stages(&hub), price(&hub)), (one("Возврат"), vec![json!(0)]));
    let told = consents(&hub, "anna@example.com").await;
    assert_eq!((told.len(), told[0].at), (1, ago(600)), "one consent, of the time of the order");
}

#[tokio::test]
async fn a_ticket_of_timepad_that_was_returned_takes_its_share_of_the_money() {
    let hub = hub().await;
    settled(&hub, [entry("order_returned_part", |_| {})]).await;
    assert_eq!((stages(&hub), price(&hub)), (one("Оплачено"), vec![json!(1350)]));
    let whole = |body: &mut Value| body["status"]["name"] = json!("return_org");
    settled(&hub, [entry("order_returned_part", whole)]).await;
    assert_eq!((stages(&hub), price(&hub)), (one("Возврат"), vec![json!(0)]), "no ticket is returned twice");
}

async fn order_of(case: &str, change: impl FnOnce(&mut Value)) -> Order {
    let sample = sample("timepad", case);
    let mut body: Value = serde_json::from_slice(&sample.body).expect("JSON");
    change(&mut body);
    let harness = ProviderHarness::of(&sample);
    let outcome = harness.take(&signed(&sample, &harness.path, body.to_string().into_bytes())).await;
    let orders = outcome.events.iter().filter_map(|event: &Event| event.body.order());
    orders.map(|body| body.order.clone()).next().expect("an order")
}

#[tokio::test]
async fn a_time_of_timepad_without_an_offset_is_of_the_orders_own() {
    let order = order_of("order_paid", |_| {}).await;
    assert_eq!(order.placed_at.to_string(), "2027-01-15T09:00:00Z");
    assert_eq!(order.paid_at.map(|at| at.to_string()).as_deref(), Some("2027-01-15T09:03:00Z"));
    let order = order_of("order_paid", |body| body["created_at"] = json!("2027-01-15T12:00:00+0500")).await;
    assert_eq!(order.paid_at.map(|at| at.to_string()).as_deref(), Some("2027-01-15T07:03:00Z"));
}

#[tokio::test]
async fn a_phone_is_found_in_whatever_question_the_organiser_asks_for_it() {
    let sample = sample("timepad", "order_paid");
    for answers in [
        json!({ "mail": "anna@example.com", "Ваш телефон": "8 916 123-45-67" }),
        json!([{ "name": "Моб. номер", "value": "8 916 123-45-67" }, { "name": "mail", "value": "anna@example.com" }]),
    ] {
        let mut body: Value = serde_json::from_slice(&sample.body).expect("JSON");
        body["answers"] = answers;
        let harness = ProviderHarness::of(&sample);
        let outcome = harness.take(&signed(&sample, &harness.path, body.to_string().into_bytes())).await;
        let [Body::OrderPaid(order), Body::ConsentRecorded(_)] =
            outcome.events.iter().map(|one| &one.body).collect::<Vec<_>>()[..]
        else {
            panic!("{:?}", outcome.events)
        };
        assert_eq!(order.identifiers.len(), 2, "{:?}", order.identifiers);
    }
}
