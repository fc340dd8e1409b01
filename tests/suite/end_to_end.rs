//! From the wire to the CRM, as a manager would see it.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use stagedoor_model::Timestamp;
use stagedoor_sandbox::{Fault, FaultKind};
use stagedoor_testkit::{SignedRequest, form, form_signed, tour};
use stagedoor_tests::{hub::TestHub, world::picture};

fn now() -> Timestamp {
    Timestamp::now()
}

pub fn lead(name: &str, phone: &str, email: &str) -> SignedRequest {
    let tranid = format!("{phone}:{email}");
    let fields = [
        ("Name", name),
        ("Phone", phone),
        ("Email", email),
        ("tranid", tranid.as_str()),
        ("formname", "Ранний доступ"),
    ];
    form("/website/tilda", &fields).header("x-api-key", "tilda-api-key")
}

pub fn order(id: &str, status: &str, updated: &str, buyer: Value, refunds: Value) -> SignedRequest {
    let paid_at = if status == "placed" { Value::Null } else { json!("2026-01-10T10:05:00Z") };
    let tickets = json!([
        { "id": "t1", "show": { "id": "kzn-1" }, "price": "1500.00" }, { "id": "t2", "show": { "id": "kzn-1" }, "price": "1500.00" },
    ]);
    let body = json!({ "type": "order", "data": {
        "id": id, "number": id, "status": status, "updated_at": updated, "placed_at": "2026-01-10T10:00:00Z",
        "paid_at": paid_at, "currency": "RUB", "total": "3000.00", "buyer": buyer, "tickets": tickets, "refunds": refunds,
    }});
    form_signed("/ticketing/theatre", &body, "theatre-shop-secret", &format!("{id} {status} {updated}"), now())
}

pub fn anna() -> Value {
    json!({ "name": "Анна Каренина", "email": "anna@example.com", "phone": "+79161234567" })
}

fn stage_of(hub: &TestHub) -> Vec<String> {
    hub.sandbox.leads_by_stage().into_keys().map(|(pipeline, stage)| format!("{pipeline}: {stage}")).collect()
}

pub fn field(entity: &Value, code: &str) -> Option<String> {
    let fields = entity.get("custom_fields_values")?.as_array()?;
    let field = fields.iter().find(|field| field.get("field_code").and_then(Value::as_str) == Some(code))?;
    field.pointer("/values/0/value").map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
}

#[tokio::test]
async fn a_form_on_the_website_becomes_one_contact_with_one_deal() {
    let hub = TestHub::start().await;
    hub.take(&lead("Анна Каренина", "8 (916) 123-45-67", "Anna@Example.com")).await;
    hub.settled().await;
    let contacts = hub.sandbox.contacts();
    assert_eq!(contacts.len(), 1);
    assert_eq!(contacts[0].get("name"), Some(&json!("Анна Каренина")));
    assert_eq!(field(&contacts[0], "PHONE").as_deref(), Some("+79161234567"));
    assert_eq!(field(&contacts[0], "EMAIL").as_deref(), Some("anna@example.com"));
    assert_eq!(stage_of(&hub), ["Москва: Интерес"]);
}

#[tokio::test]
async fn a_form_and_an_order_of_one_fan_are_one_contact_and_the_right_deals() {
    let hub = TestHub::start().await;
    hub.take(&lead("Анна", "9161234567", "anna@example.com")).await;
    let buyer = json!({ "name": "Анна Каренина", "email": "work@example.org", "phone": "8-916-123-45-67" });
    hub.take(&order("T-1", "paid", "2026-01-10T10:05:00Z", buyer, json!([]))).await;
    let status = hub.settled().await;
    assert_eq!((status.people, status.deals), (1, 2));
    assert_eq!(hub.sandbox.contacts().len(), 1);
    assert_eq!(stage_of(&hub), ["Казань: Оплачено", "Москва: Интерес"]);
}

#[tokio::test]
async fn a_contact_made_before_anybody_told_a_name_gets_it_later() {
    let hub = TestHub::start().await;
    let nameless = |id: &str, name: &str| {
        let buyer = json!({ "name": name, "email": "anna@example.com", "phone": "+79161234567" });
        order(id, "paid", "2026-01-10T10:05:00Z", buyer, json!([]))
    };
    hub.take(&nameless("T-1", "")).await;
    hub.settled().await;
    assert_eq!(hub.sandbox.contacts()[0].get("name"), Some(&json!("anna@example.com")));
    hub.take(&nameless("T-2", "Анна Каренина")).await;
    hub.settled().await;
    assert_eq!(hub.sandbox.contacts()[0].get("name"), Some(&json!("Анна Каренина")));
    // What a manager calls them stays.
    let id = hub.sandbox.contacts()[0].get("id").and_then(Value::as_u64).expect("an id");
    let http = stagedoor_http::builder().build().expect("a client");
    let crm = &hub.hub.config.crm.base_url;
    let named = http.patch(format!("{crm}/_sandbox/contacts/{id}")).json(&json!({ "name": "Анна К., ложа" })).send();
    assert!(named.await.expect("the sandbox answers").status().is_success());
    hub.settled().await;
    hub.take(&nameless("T-3", "Анна Аркадьевна Каренина")).await;
    hub.settled().await;
    assert_eq!(hub.sandbox.contacts()[0].get("name"), Some(&json!("Анна К., ложа")));
}

#[tokio::test]
async fn a_time_of_the_journal_can_be_replayed() {
    let hub = TestHub::start().await;
    let began = now();
    hub.take(&order("T-1", "paid", "2026-01-10T10:05:00Z", anna(), json!([]))).await;
    hub.settled().await;
    let before = picture(&hub.sandbox);
    assert_eq!(
        stagedoor::commands::replay_between(&hub.hub, began, now()).await,
        Ok(2),
        "the order, and the CRM's echo"
    );
    hub.settled().await;
    assert_eq!(picture(&hub.sandbox), before, "the same facts make the same CRM");
    assert_eq!(stagedoor::commands::replay_between(&hub.hub, now(), now()).await, Ok(0));
}

#[tokio::test]
async fn dead_letters_are_shown_without_what_people_wrote() {
    let hub = TestHub::start().await;
    let file = hub.folder.path().join("queue.db");
    hub.take(&lead("Анна", "+79161234567", "anna@example.com")).await;
    hub.settled().await;
    let row =
        hub.hub.store.journal(5).await.expect("read").into_iter().find(|row| row.event.source.as_str() == "tilda");
    let body = serde_json::to_string(&row.expect("the form").event).expect("JSON");
    let queue = rusqlite::Connection::open(file).expect("the queue's file");
    queue.execute("INSERT INTO dead_letters (body) VALUES (?1), ('nonsense')", [body]).expect("inserted");
    let lines = stagedoor::commands::dead_letters(&hub.hub, None).await.expect("listed");
    assert!(lines[0].contains("2 dead letters") && lines[1].contains("stagedoor.form.submitted.v1"), "{lines:?}");
    assert!(lines[2].contains("no event"), "{lines:?}");
    let shown = stagedoor::commands::dead_letters(&hub.hub, Some("1")).await.expect("shown").join("\n");
    assert!(shown.contains("identifiers") && shown.contains("‹text of"), "its shape is told: {shown}");
    for personal in ["anna", "7916", "Анна"] {
        assert!(!shown.contains(personal), "{shown}");
    }
    assert!(stagedoor::commands::dead_letters(&hub.hub, Some("77")).await.is_err());
}

#[tokio::test]
async fn setting_up_costs_its_calls_once() {
    let hub = TestHub::start().await;
    for n in 0..3 {
        hub.take(&lead(&format!("Fan {n}"), &format!("+7916100{n:04}"), &format!("fan{n}@example.com"))).await;
        hub.settled().await;
    }
    let calls = hub.sandbox.calls();
    for call in ["POST /api/v4/webhooks", "GET /api/v4/leads/pipelines", "POST /api/v4/leads/custom_fields"] {
        assert_eq!(calls.get(call), Some(&1), "{call}");
    }
}

#[tokio::test]
async fn a_second_delivery_changes_nothing() {
    let hub = TestHub::start().await;
    let signed_request = order("T-1", "paid", "2026-01-10T10:05:00Z", anna(), json!([]));
    hub.take(&signed_request).await;
    hub.settled().await;
    let (before, calls) = (picture(&hub.sandbox), hub.sandbox.calls());
    hub.take(&signed_request).await;
    hub.settled().await;
    assert_eq!(picture(&hub.sandbox), before);
    assert_eq!(hub.sandbox.calls(), calls, "and costs no call");
}

#[tokio::test]
async fn a_partial_refund_lowers_the_deal_and_keeps_it_paid() {
    let hub = TestHub::start().await;
    hub.take(&order("T-1", "paid", "2026-01-10T10:05:00Z", anna(), json!([]))).await;
    hub.settled().await;
    assert_eq!(hub.sandbox.leads()[0].get("price"), Some(&json!(3000)));
    let refund = json!([{ "id": "R-1", "amount": "1500.00", "at": "2026-02-01T09:00:00Z", "tickets": ["t2"] }]);
    hub.take(&order("T-1", "paid", "2026-02-01T09:00:00Z", anna(), refund)).await;
    hub.settled().await;
    let deal = hub.sandbox.leads().remove(0);
    assert_eq!(deal.get("price"), Some(&json!(1500)));
    assert_eq!(field(&deal, "STAGEDOOR_TICKETS").as_deref(), Some("1"));
    assert_eq!(field(&deal, "STAGEDOOR_REFUNDED").as_deref(), Some("1500"));
    assert_eq!(stage_of(&hub), ["Казань: Оплачено"]);
    let all = json!([
        { "id": "R-1", "amount": "1500.00", "at": "2026-02-01T09:00:00Z", "tickets": ["t2"] },
        { "id": "R-2", "amount": "1500.00", "at": "2026-02-02T09:00:00Z", "tickets": ["t1"] },
    ]);
    hub.take(&order("T-1", "paid", "2026-02-02T09:00:00Z", anna(), all)).await;
    hub.settled().await;
    assert_eq!(stage_of(&hub), ["Казань: Возврат"]);
}

/// `T-1` with its tickets in Nizhny instead of Kazan.
fn exchanged() -> SignedRequest {
    let tickets = json!([{ "id": "t1", "show": { "id": "nn-1" }, "price": "3000.00" }]);
    let body = json!({ "type": "order", "data": {
        "id": "T-1", "number": "T-1", "status": "paid", "updated_at": "2026-02-01T10:00:00Z",
        "placed_at": "2026-01-10T10:00:00Z", "paid_at": "2026-01-10T10:05:00Z", "currency": "RUB", "total": "3000.00",
        "buyer": anna(), "tickets": tickets,
    }});
    form_signed("/ticketing/theatre", &body, "theatre-shop-secret", "exchange", now())
}

#[tokio::test]
async fn an_order_without_lines_is_for_the_show_that_it_names() {
    let hub = TestHub::start().await;
    let path = stagedoor_testkit::samples::folder().join("qtickets/order_payed.body.json");
    let mut body: Value = serde_json::from_slice(&std::fs::read(path).expect("a sample")).expect("JSON");
    (body["baskets"], body["event_id"]) = (json!([]), json!(41));
    hub.take(&stagedoor_testkit::qtickets("/ticketing/qtickets", "payed", &body, "SuperSecret")).await;
    let data = json!({
        "id": "T-9", "number": "T-9", "status": "paid", "updated_at": "2026-02-01T10:00:00Z",
        "placed_at": "2026-01-10T10:00:00Z", "paid_at": "2026-01-10T10:05:00Z", "currency": "RUB", "total": "3000.00",
        "buyer": anna(), "show": { "id": "kzn-1" }, "tickets": [],
    });
    let parcel = json!({ "type": "order", "data": data });
    hub.take(&form_signed("/ticketing/theatre", &parcel, "theatre-shop-secret", "bare", now())).await;
    hub.settled().await;
    assert_eq!(stage_of(&hub), ["Казань: Оплачено", "Москва: Оплачено"]);
    let mut titles: Vec<String> = hub.sandbox.leads().iter().map(|lead| lead["name"].to_string()).collect();
    titles.sort();
    assert_eq!(titles, ["\"Вишнёвый сад · Казань\"", "\"Вишнёвый сад · Москва\""]);
}

fn worth(hub: &TestHub) -> i64 {
    hub.sandbox.leads().iter().filter_map(|lead| lead.get("price")?.as_i64()).sum()
}

#[tokio::test]
async fn an_exchange_empties_a_deal_that_a_manager_moved_and_leaves_its_stage() {
    let hub = TestHub::start().await;
    hub.take(&order("T-1", "paid", "2026-01-10T10:05:00Z", anna(), json!([]))).await;
    hub.settled().await;
    let lead = hub.sandbox.leads()[0].get("id").and_then(Value::as_u64).expect("an id");
    let (pipeline, status) = status_id(&hub, "Переговоры");
    by_manager(
        &hub,
        reqwest::Method::PATCH,
        &format!("leads/{lead}"),
        json!({ "pipeline_id": pipeline, "status_id": status }),
    )
    .await;
    hub.settled().await;
    hub.take(&exchanged()).await;
    hub.settled().await;
    assert_eq!(stage_of(&hub), ["Казань: Переговоры", "Нижний Новгород: Оплачено"]);
    assert_eq!(worth(&hub), 3000);
}

#[tokio::test]
async fn tickets_exchanged_for_another_show_leave_nothing_paid_behind() {
    let hub = TestHub::start().await;
    hub.take(&order("T-1", "paid", "2026-01-10T10:05:00Z", anna(), json!([]))).await;
    hub.settled().await;
    assert_eq!(stage_of(&hub), ["Казань: Оплачено"]);
    hub.take(&exchanged()).await;
    hub.settled().await;
    assert_eq!(stage_of(&hub), ["Казань: Закрыто и не реализовано", "Нижний Новгород: Оплачено"]);
    assert_eq!(worth(&hub), 3000, "the report adds up");
    let calls = hub.sandbox.calls();
    hub.hub.sync.reconcile(stagedoor_sync::FlushMode::Everything).await.expect("a round");
    assert_eq!(hub.sandbox.calls(), calls, "and is not sent again");
}

#[tokio::test]
async fn a_qtickets_refund_that_names_no_other_basket_keeps_its_show() {
    let hub = TestHub::start().await;
    let path = stagedoor_testkit::samples::folder().join("qtickets/order_refunded_all.body.json");
    let mut body: Value = serde_json::from_slice(&std::fs::read(path).expect("a sample")).expect("JSON");
    body["baskets"] = json!([]);
    hub.take(&stagedoor_testkit::qtickets("/ticketing/qtickets", "refunded", &body, "SuperSecret")).await;
    hub.settled().await;
    assert_eq!(stage_of(&hub), ["Москва: Возврат"]);
    assert_eq!(hub.sandbox.leads()[0].get("name"), Some(&json!("Вишнёвый сад · Москва")));
}

#[tokio::test]
async fn the_sample_tour_leaves_one_contact_a_person_and_the_moved_show_in_every_deal() {
    let hub = TestHub::start().await;
    let existing = tour::existing_contacts();
    hub.sandbox.add_contacts(&existing);
    hub.hub.sync.backfill(&hub.hub.mirror).await.expect("mirrored");
    let parcels = tour::deliveries(now());
    stagedoor::tour::send(parcels.clone(), &hub.base).await.expect("taken");
    let status = hub.settled().await;
    assert_eq!(status.people as usize, tour::PEOPLE);
    assert_eq!(hub.sandbox.contacts().len(), tour::PEOPLE, "one contact a person, the existing ones included");
    assert_eq!((status.rejected, status.unrecognized, status.dead_letters), (0, 0, 0));
    let stages = hub.sandbox.leads_by_stage().into_iter();
    let refunds: Vec<usize> = stages.filter(|((_, stage), _)| stage == "Возврат").map(|(_, count)| count).collect();
    assert_eq!(refunds, [10, 10, 10], "a refund stays a deal of its own show");
    // Three hundred fans with one deal each, and a second for the forty who asked in another city than they bought in.
    assert_eq!(status.deals, 340);
    let nizhny = hub
        .sandbox
        .leads()
        .into_iter()
        .filter(|lead| field(lead, "STAGEDOOR_CITY").as_deref() == Some("Нижний Новгород"));
    let moved = "2027-05-31T16:00:00Z".parse::<Timestamp>().expect("a time").as_second().to_string();
    let starts: Vec<Option<String>> = nizhny.map(|lead| field(&lead, "STAGEDOOR_SHOW_AT")).collect();
    assert!(starts.len() > 50);
    // Deals born from a pop-up name the show by the config's key, and the show is the same.
    let told = starts.iter().filter(|at| at.as_deref() == Some(moved.as_str())).count();
    assert_eq!(told, starts.len());
    let (before, written) = (picture(&hub.sandbox), writes(&hub.sandbox.calls()));
    stagedoor::tour::send(parcels, &hub.base).await.expect("taken");
    hub.settled().await;
    assert_eq!(picture(&hub.sandbox), before, "the whole tour again changes nothing");
    assert_eq!(writes(&hub.sandbox.calls()), written);
}

fn writes(calls: &BTreeMap<String, u64>) -> u64 {
    calls
        .iter()
        .filter(|(call, _)| call.starts_with("POST /api/v4/") || call.starts_with("PATCH"))
        .map(|(_, n)| n)
        .sum()
}

#[tokio::test]
async fn with_the_crm_down_for_the_whole_run_everything_is_taken_and_arrives_afterwards() {
    let calm = TestHub::start().await;
    let down = TestHub::start().await;
    down.sandbox.set_down(true);
    for hub in [&calm, &down] {
        for n in 0..40 {
            hub.take(&lead(&format!("Fan {n}"), &format!("+7916100{n:04}"), &format!("fan{n}@example.com"))).await;
        }
    }
    calm.settled().await;
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    let status = down.hub.status().await.expect("a status");
    assert_eq!((status.queue_depth, status.dead_letters, status.people, status.waiting), (0, 0, 40, 40));
    down.sandbox.set_down(false);
    down.settled().await;
    assert_eq!(picture(&down.sandbox), picture(&calm.sandbox));
}

#[tokio::test]
async fn whatever_fails_between_hub_and_crm_the_crm_ends_the_same() {
    let deliveries = || {
        (0..30).map(|n| {
        let buyer = json!({ "name": format!("Fan {n}"), "email": format!("fan{n}@example.com"), "phone": format!("+7916100{n:04}") });
        order(&format!("T-{n}"), "paid", "2026-01-10T10:05:00Z", buyer, json!([]))
    })
    };
    let calm = TestHub::start().await;
    for signed_request in deliveries() {
        calm.take(&signed_request).await;
    }
    calm.settled().await;
    let expected = picture(&calm.sandbox);
    for kind in [
        FaultKind::Throttled,
        FaultKind::Broken,
        FaultKind::TooSlow,
        FaultKind::Unpaid,
        FaultKind::Cut,
        FaultKind::AnswerLost,
    ] {
        for call in ["POST /api/v4/contacts", "POST /api/v4/leads", "GET /api/v4/contacts"] {
            let hub = TestHub::start().await;
            hub.sandbox.set_fault(Fault { kind, calls: call.into(), after: 0, times: 2, milliseconds: 0 });
            for signed_request in deliveries() {
                hub.take(&signed_request).await;
            }
            hub.settled().await;
            assert_eq!(picture(&hub.sandbox), expected, "{kind:?} at {call}");
        }
    }
}

async fn by_manager(hub: &TestHub, method: reqwest::Method, path: &str, body: Value) {
    let http = stagedoor_http::builder().build().expect("a client");
    let url = format!("{}/_sandbox/{path}", hub.hub.config.crm.base_url);
    let status = http.request(method, url).json(&body).send().await.expect("an answer").status();
    assert!(status.is_success(), "{status}");
}

fn status_id(hub: &TestHub, stage: &str) -> (u64, u64) {
    hub.sandbox.stage("Казань", stage).expect("a stage")
}

#[tokio::test]
async fn a_managers_own_move_is_never_pushed_back() {
    let hub = TestHub::start().await;
    hub.take(&order("T-1", "placed", "2026-01-10T10:00:00Z", anna(), json!([]))).await;
    hub.settled().await;
    let lead = hub.sandbox.leads()[0].get("id").and_then(Value::as_u64).expect("an id");
    let (pipeline, status) = status_id(&hub, "Переговоры");
    let moved = now().as_second() - 3_600;
    let body = json!({ "pipeline_id": pipeline, "status_id": status, "updated_at": moved });
    by_manager(&hub, reqwest::Method::PATCH, &format!("leads/{lead}"), body).await;
    hub.settled().await;
    // The order is paid before the manager's move: news of the past.
    hub.take(&order("T-1", "paid", "2026-01-10T10:05:00Z", anna(), json!([]))).await;
    hub.settled().await;
    assert_eq!(stage_of(&hub), ["Казань: Переговоры"]);
    assert_eq!(hub.sandbox.leads()[0].get("price"), Some(&json!(3000)), "all but the stage is kept up to date");
    // What happens after it may move the deal on.
    let late = Timestamp::from_second(moved + 60).expect("a time").to_string();
    let refunds = json!([{ "id": "R-1", "amount": "3000.00", "at": late, "tickets": ["t1", "t2"] }]);
    hub.take(&order("T-1", "paid", &late, anna(), refunds)).await;
    hub.settled().await;
    assert_eq!(stage_of(&hub), ["Казань: Возврат"]);
}

#[tokio::test]
async fn a_contact_that_a_manager_deleted_is_not_brought_back() {
    let hub = TestHub::start().await;
    hub.take(&order("T-1", "paid", "2026-01-10T10:05:00Z", anna(), json!([]))).await;
    hub.settled().await;
    let contact = hub.sandbox.contacts()[0].get("id").and_then(Value::as_u64).expect("an id");
    by_manager(&hub, reqwest::Method::DELETE, &format!("contacts/{contact}"), Value::Null).await;
    hub.settled().await;
    hub.take(&lead("Анна", "+79161234567", "anna@example.com")).await;
    hub.settled().await;
    assert!(hub.sandbox.contacts().is_empty());
}

#[tokio::test]
async fn a_managers_new_phone_is_known_and_an_old_contact_is_found_by_it() {
    let hub = TestHub::start().await;
    hub.take(&lead("Анна", "+79161234567", "anna@example.com")).await;
    hub.settled().await;
    let contact = hub.sandbox.contacts()[0].get("id").and_then(Value::as_u64).expect("an id");
    let phones = json!([{ "field_code": "PHONE", "values": [{ "value": "+79161234567", "enum_code": "WORK" }, { "value": "8 926 000 11 22", "enum_code": "MOB" }] }]);
    by_manager(&hub, reqwest::Method::PATCH, &format!("contacts/{contact}"), json!({ "custom_fields_values": phones }))
        .await;
    hub.settled().await;
    let buyer = json!({ "name": "Анна К.", "email": "a.k@example.org", "phone": "+79260001122" });
    hub.take(&order("T-1", "paid", "2026-01-10T10:05:00Z", buyer, json!([]))).await;
    hub.settled().await;
    assert_eq!(hub.sandbox.contacts().len(), 1, "the order lands on the contact that the manager extended");
}

#[tokio::test]
async fn two_contacts_of_one_person_are_listed_and_their_deals_come_together() {
    let hub = TestHub::start().await;
    hub.take(&order(
        "T-1",
        "paid",
        "2026-01-10T10:05:00Z",
        json!({ "name": "Анна", "email": "anna@example.com" }),
        json!([]),
    ))
    .await;
    hub.settled().await;
    hub.take(&lead("Анна", "+79161234567", "other@example.com")).await;
    hub.settled().await;
    assert_eq!(hub.sandbox.contacts().len(), 2);
    hub.take(&lead("Анна", "+79161234567", "anna@example.com")).await;
    let status = hub.settled().await;
    assert_eq!(status.people, 1);
    let contacts = hub.sandbox.contacts();
    let (elder, younger) = (&contacts[0], &contacts[1]);
    let elder_id = elder.get("id").and_then(Value::as_u64).expect("an id");
    assert_eq!(younger.pointer("/_embedded/tags/0/name"), Some(&json!(format!("duplicate of {elder_id}"))));
    assert_eq!(hub.sandbox.calls().get("POST /api/v4/contacts/notes"), Some(&1), "and a note tells why");
    for lead in hub.sandbox.leads() {
        let ids: Vec<u64> = lead
            .pointer("/_embedded/contacts")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(|one| one.get("id")?.as_u64())
            .collect();
        assert!(ids.contains(&elder_id), "every deal hangs on the elder contact");
    }
}

#[tokio::test]
async fn what_was_not_understood_is_shown_and_can_be_replayed() {
    let hub = TestHub::start().await;
    let body = json!({ "type": "seance", "data": {} });
    hub.take(&form_signed("/ticketing/theatre", &body, "theatre-shop-secret", "msg_x", now())).await;
    let status = hub.settled().await;
    assert_eq!(status.unrecognized, 1);
    let replayed = stagedoor::commands::replay_unrecognized(&hub.hub).await.expect("read");
    assert_eq!((replayed.understood, replayed.still.len()), (0, 1), "the parser has not learned it");
    let page = stagedoor_tests::http().get(format!("{}/console/unrecognized", hub.console));
    let page = page.send().await.expect("a page").text().await.expect("text");
    assert!(page.contains("JSON of another shape") && page.contains("Replay"));
}

#[tokio::test]
async fn explain_says_which_identifiers_hold_a_person_together() {
    let hub = TestHub::start().await;
    hub.take(&lead("Анна", "+79161234567", "anna@example.com")).await;
    let buyer = json!({ "name": "Анна", "email": "work@example.org", "phone": "8 916 123 45 67" });
    hub.take(&order("T-1", "paid", "2026-01-10T10:05:00Z", buyer, json!([]))).await;
    hub.settled().await;
    let identifier = stagedoor::commands::read_identifier("8 (916) 123-45-67", hub.hub.config.region).expect("a phone");
    let text = stagedoor::commands::explanation(&hub.hub, &identifier).await.expect("somebody");
    assert!(text.contains("shares phone:+79161234567"), "{text}");
    assert!(text.contains("order/theatre:T-1"), "{text}");
}
