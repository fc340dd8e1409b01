//! A theatre and its Vtiger: from a delivery to contact, deal, company and closing document.

use serde_json::{Value, json};
use stagedoor_model::Timestamp;
use stagedoor_sandbox::{Fault, FaultKind};
use stagedoor_testkit::{SignedRequest, form_signed, json as json_parcel};
use stagedoor_tests::hub::TheatreHub;

/// An order of the theatre's own shop.
pub fn order(id: &str, change: impl FnOnce(&mut Value)) -> SignedRequest {
    let show = json!({ "id": "perf-1", "title": "Вишнёвый сад", "city": "Москва" });
    let mut data = json!({ "id": id, "number": format!("7{id}"), "status": "paid", "updated_at": "2026-11-20T10:05:00Z",
        "placed_at": "2026-11-20T10:00:00Z", "currency": "RUB", "total": "3601.50",
        "buyer": { "name": "Ольга Петрова", "email": "olga@example.com", "phone": "+79161112233" },
        "tickets": [{ "id": format!("{id}-1"), "show": show, "price": "1800.75" },
                    { "id": format!("{id}-2"), "show": show, "price": "1800.75" }] });
    change(&mut data);
    let body = json!({ "type": "order", "data": data });
    let revision = data["updated_at"].as_str().unwrap_or_default().to_owned();
    form_signed(
        "/ticketing/theatre",
        &body,
        "theatre-shop-secret",
        &format!("{}-{revision}", id.escape_default()),
        Timestamp::now(),
    )
}

/// YooKassa tells of a payment or a refund.
fn told(event: &str, id: &str) -> SignedRequest {
    let body = json!({ "type": "notification", "event": event, "object": { "id": id, "status": "succeeded" } });
    json_parcel("/ticketing/yookassa/yk-path-secret", &body)
}

fn text<'v>(row: &'v Value, field: &str) -> &'v str {
    row[field].as_str().unwrap_or_default()
}

#[tokio::test]
async fn a_purchase_on_the_site_is_a_client_a_deal_and_a_closing_document() {
    let hub = TheatreHub::start().await;
    hub.take(&order("1", |_| {})).await;
    hub.settled().await;
    let (contacts, deals, invoices) =
        (hub.vtiger.records("Contacts"), hub.vtiger.records("Potentials"), hub.vtiger.records("Invoice"));
    assert_eq!((contacts.len(), deals.len(), invoices.len()), (1, 1, 1));
    assert_eq!((text(&contacts[0], "firstname"), text(&contacts[0], "lastname")), ("Ольга", "Петрова"));
    assert_eq!((text(&contacts[0], "email"), text(&contacts[0], "mobile")), ("olga@example.com", "+79161112233"));
    let deal = &deals[0];
    assert_eq!((text(deal, "sales_stage"), text(deal, "amount")), ("Closed Won", "3601.50000000"));
    assert_eq!((text(deal, "contact_id"), text(deal, "closingdate")), (text(&contacts[0], "id"), "2027-03-14"));
    assert_eq!(text(deal, "cf_stagedoor_payment"), "paid");
    let invoice = &invoices[0];
    assert_eq!(
        (text(invoice, "potential_id"), text(invoice, "contact_id")),
        (text(deal, "id"), text(&contacts[0], "id"))
    );
    assert_eq!((text(invoice, "hdnGrandTotal"), text(invoice, "received")), ("3601.50000000", "3601.50000000"));
    assert_eq!((text(invoice, "balance"), text(invoice, "invoicestatus")), ("0.00000000", "Paid"));
    // A visitor's invoice is on the house's name for all of them.
    let account = hub.vtiger.records("Accounts");
    assert_eq!((account.len(), text(&account[0], "accountname")), (1, "Частные лица"));
    // The same once more changes nothing, and costs nothing.
    let calls: u64 = hub.vtiger.calls().values().sum();
    hub.take(&order("1", |_| {})).await;
    hub.settled().await;
    assert_eq!(hub.vtiger.calls().values().sum::<u64>(), calls);
}

#[tokio::test]
async fn a_refund_is_recorded_against_the_invoice_and_the_deal_says_refunded() {
    let hub = TheatreHub::start().await;
    hub.take(&order("1", |_| {})).await;
    hub.settled().await;
    let refund = |data: &mut Value, amount: &str, tickets: &[&str]| {
        data["updated_at"] = "2026-11-21T10:00:00Z".into();
        data["refunds"] = json!([{ "id": "r1", "amount": amount, "at": "2026-11-21T10:00:00Z", "tickets": tickets }]);
    };
    hub.take(&order("1", |data| refund(data, "1800.75", &["1-1"]))).await;
    hub.settled().await;
    let invoice = hub.vtiger.records("Invoice").remove(0);
    assert_eq!((text(&invoice, "received"), text(&invoice, "invoicestatus")), ("1800.75000000", "Paid"));
    assert!(text(&invoice, "description").contains("2026-11-21 returned 1800.75 RUB"), "{invoice}");
    let deal = hub.vtiger.records("Potentials").remove(0);
    assert_eq!((text(&deal, "amount"), text(&deal, "sales_stage")), ("1800.75000000", "Closed Won"));
    hub.take(&order("1", |data| {
        refund(data, "3601.50", &["1-1", "1-2"]);
        data["updated_at"] = "2026-11-22T10:00:00Z".into();
    }))
    .await;
    hub.settled().await;
    let (invoice, deal) = (hub.vtiger.records("Invoice").remove(0), hub.vtiger.records("Potentials").remove(0));
    assert_eq!((text(&invoice, "received"), text(&invoice, "invoicestatus")), ("0.00000000", "Cancel"));
    assert_eq!((text(&deal, "sales_stage"), text(&deal, "cf_stagedoor_payment")), ("Closed Lost", "refunded"));
}

#[tokio::test]
async fn a_collective_order_is_the_companys_and_is_paid_by_invoice() {
    let hub = TheatreHub::start().await;
    let company = json!({ "name": "ООО «Садовое»", "inn": "7707083893", "kpp": "773601001" });
    let collective = |id: &str, email: &str| {
        let (company, email) = (company.clone(), email.to_owned());
        order(id, move |data| {
            data["status"] = "placed".into();
            data["company"] = company;
            data["due_at"] = "2030-01-01T00:00:00Z".into();
            data["buyer"] = json!({ "name": "Ермолай Лопахин", "email": email });
        })
    };
    hub.take(&collective("1", "lopakhin@sad.example")).await;
    // A colleague of theirs orders for the same company, written otherwise.
    let other = json!({ "name": "Садовое, ООО", "inn": "77 07 083893" });
    hub.take(&order("2", |data| {
        data["status"] = "placed".into();
        data["company"] = other;
        data["buyer"] = json!({ "name": "Варвара", "email": "varya@sad.example" });
    }))
    .await;
    hub.settled().await;
    let accounts = hub.vtiger.records("Accounts");
    assert_eq!(accounts.len(), 1, "{accounts:?}");
    let account = text(&accounts[0], "id");
    assert_eq!(
        (text(&accounts[0], "cf_stagedoor_inn"), text(&accounts[0], "cf_stagedoor_kpp")),
        ("7707083893", "773601001")
    );
    assert!(text(&accounts[0], "description").contains("sad.example"));
    for (module, field) in [("Contacts", "account_id"), ("Potentials", "related_to"), ("Invoice", "account_id")] {
        let rows = hub.vtiger.records(module);
        assert_eq!(rows.len(), 2, "{module}");
        assert!(rows.iter().all(|row| text(row, field) == account), "{module}: {rows:?}");
    }
    let invoice = hub.vtiger.records("Invoice").remove(0);
    assert_eq!((text(&invoice, "invoicestatus"), text(&invoice, "balance")), ("Created", "3601.50000000"));
    assert_eq!(text(&hub.vtiger.records("Potentials")[0], "cf_stagedoor_payment"), "unpaid");
}

#[tokio::test]
async fn an_amount_that_nobody_pays_is_kept_as_it_came_and_breaks_nothing() {
    let hub = TheatreHub::start().await;
    let dear = |id: &str, price: &str, quantity: u32| {
        let (price, item) =
            (price.to_owned(), json!({ "id": "1", "title": "Программка", "quantity": quantity, "price": "100000000" }));
        order(id, move |data| (data["total"], data["items"]) = (price.into(), json!([item.clone()])))
    };
    for (id, price, quantity) in
        [("1", "92233720368547758.07", 1), ("2", "-92233720368547758.08", 1), ("3", "1", u32::MAX)]
    {
        hub.take(&dear(id, price, quantity)).await;
    }
    hub.take(&order("4", |_| {})).await;
    let status = hub.settled().await;
    assert_eq!((status.unrecognized, status.people), (3, 1));
}

#[tokio::test]
async fn a_company_of_which_a_later_version_wrote_is_looked_up_and_not_made_again() {
    let hub = TheatreHub::start().await;
    let collective = |id: &str, domain: &str| {
        let email = format!("lopakhin@{domain}");
        order(id, move |data| {
            data["status"] = "placed".into();
            data["company"] = json!({ "name": "ООО «Садовое»", "inn": "7707083893" });
            data["buyer"] = json!({ "name": "Ермолай Лопахин", "phone": "+79161234567", "email": email });
        })
    };
    hub.take(&collective("1", "sad.example")).await;
    hub.settled().await;
    let key_values = hub.hub.store.key_values("company/").await.expect("cells");
    let (name, key_value) = key_values.first_key_value().expect("a company");
    assert!(hub.hub.store.compare_and_set(name, "sealed 9", Some(key_value.version)).await.expect("a store"));
    hub.take(&collective("2", "garden.example")).await;
    hub.settled().await;
    assert_eq!(hub.vtiger.records("Accounts").len(), 1);
}

#[tokio::test]
async fn a_company_that_the_crm_refuses_waits_for_a_manager_and_its_people_do_not() {
    let hub = TheatreHub::start().await;
    // Somebody marked the KPP as unique, and another organisation has it.
    hub.vtiger.set_unique("Accounts", &["cf_stagedoor_kpp"]);
    let other = [("accountname", "Тополь"), ("cf_stagedoor_kpp", "773601001")];
    let theirs = hub.vtiger.added_by_manager(1, "Accounts", &other).expect("an organisation");
    let collective = |id: &str| {
        order(id, |data| {
            data["status"] = "placed".into();
            data["company"] = json!({ "name": "ООО «Садовое»", "inn": "7707083893", "kpp": "773601001" });
        })
    };
    hub.take(&collective("1")).await;
    let status = hub.settled().await;
    let counts = |hub: &TheatreHub| ["Contacts", "Potentials", "Invoice"].map(|one| hub.vtiger.records(one).len());
    assert_eq!((status.rejected, counts(&hub)), (1, [1, 1, 0]), "a company's invoice is in nobody else's name");
    let rejected = hub.hub.store.rejected(10).await.expect("parked");
    assert!(rejected[0].1.rejected()[0].reason.contains("Duplicate"), "{rejected:?}");
    // A second order of theirs asks the CRM no more than it has to.
    hub.take(&collective("2")).await;
    assert_eq!((hub.settled().await.rejected, counts(&hub)), (1, [1, 1, 0]));

    hub.vtiger.deleted_by_manager(&theirs);
    assert_eq!(stagedoor::commands::retry_parked(&hub.hub).await.expect("retried"), 1);
    assert_eq!(hub.settled().await.rejected, 0);
    assert_eq!(counts(&hub), [1, 1, 2]);
    let account = text(&hub.vtiger.records("Accounts")[0], "id").to_owned();
    for (module, field) in [("Contacts", "account_id"), ("Potentials", "related_to"), ("Invoice", "account_id")] {
        assert!(hub.vtiger.records(module).iter().all(|row| text(row, field) == account), "{module}");
    }
}

#[tokio::test]
async fn a_vtiger_that_makes_no_invoices_gets_the_document_as_a_comment_on_the_deal() {
    let hub = TheatreHub::start().await;
    hub.vtiger.set_makes_invoices(false);
    hub.take(&order("1", |_| {})).await;
    hub.settled().await;
    assert!(hub.vtiger.records("Invoice").is_empty());
    let comments = hub.vtiger.records("ModComments");
    assert_eq!(comments.len(), 1);
    let words = text(&comments[0], "commentcontent");
    assert!(words.contains("Вишнёвый сад · Москва × 2 = 3601.50 RUB\nTotal 3601.50 RUB"), "{words}");
    assert_eq!(text(&comments[0], "related_to"), text(&hub.vtiger.records("Potentials")[0], "id"));
    hub.take(&order("1", |data| {
        data["updated_at"] = "2026-11-21T10:00:00Z".into();
        data["refunds"] =
            json!([{ "id": "r1", "amount": "1800.75", "at": "2026-11-21T10:00:00Z", "tickets": ["1-1"] }]);
    }))
    .await;
    hub.settled().await;
    let comments = hub.vtiger.records("ModComments");
    assert_eq!(comments.len(), 1);
    assert!(text(&comments[0], "commentcontent").contains("Received 3601.50 RUB, returned 1800.75 RUB"));
    // To the CRM's `like` this number is any number of one letter.
    hub.take(&order("_", |_| {})).await;
    hub.settled().await;
    let comments = hub.vtiger.records("ModComments");
    let of = |order: &str| comments.iter().filter(|one| text(one, "commentcontent").contains(order)).count();
    assert_eq!((comments.len(), of("theatre:1 ("), of("theatre:_ (")), (2, 1, 1));
}

#[tokio::test]
async fn an_order_whose_number_the_crm_cannot_hold_has_one_invoice() {
    let hub = TheatreHub::start().await;
    hub.vtiger.set_fault(Fault::once(FaultKind::AnswerLost, "create Invoice"));
    hub.take(&order("🎭<1>", |_| {})).await;
    hub.settled().await;
    hub.take(&order("🎭<1>", |data| data["updated_at"] = "2026-11-21T10:00:00Z".into())).await;
    assert_eq!((hub.settled().await.rejected, hub.vtiger.records("Invoice").len()), (0, 1));
}

#[tokio::test]
async fn a_payment_settles_a_collective_order_part_by_part() {
    let hub = TheatreHub::start().await;
    hub.take(&order("1", |data| {
        data["status"] = "placed".into();
        data["company"] = json!({ "name": "ООО «Садовое»", "inn": "7707083893" });
        data["due_at"] = "2030-01-01T00:00:00Z".into();
    }))
    .await;
    hub.settled().await;
    let stands = |hub: &TheatreHub| {
        let (deal, invoice) = (hub.vtiger.records("Potentials").remove(0), hub.vtiger.records("Invoice").remove(0));
        let of = |row: &Value, field: &str| text(row, field).to_owned();
        (
            of(&deal, "cf_stagedoor_payment"),
            of(&deal, "sales_stage"),
            of(&invoice, "balance"),
            of(&invoice, "invoicestatus"),
        )
    };
    let is = |payment: &str, stage: &str, balance: &str, status: &str| {
        (payment.to_owned(), stage.to_owned(), balance.to_owned(), status.to_owned())
    };
    // A forged notification names a payment that is not there: nothing happens.
    hub.take(&told("payment.succeeded", "forged-1")).await;
    hub.settled().await;
    assert_eq!(stands(&hub), is("unpaid", "Proposal or Price Quote", "3601.50000000", "Created"));
    hub.payments.pay("p-1", "1", "1000.00", "2026-11-21T10:00:00Z");
    hub.take(&told("payment.succeeded", "p-1")).await;
    hub.settled().await;
    assert_eq!(stands(&hub), is("partly paid", "Proposal or Price Quote", "2601.50000000", "Created"));
    hub.payments.pay("p-2", "1", "2601.50", "2026-11-22T10:00:00Z");
    hub.take(&told("payment.succeeded", "p-2")).await;
    hub.settled().await;
    assert_eq!(stands(&hub), is("paid", "Closed Won", "0.00000000", "Paid"));
    assert!(hub.vtiger.records("Calendar").is_empty(), "nothing for a manager");
    hub.payments.refund("r-1", "p-2", "3601.50", "2026-11-23T10:00:00Z");
    hub.take(&told("refund.succeeded", "r-1")).await;
    hub.settled().await;
    assert_eq!(stands(&hub).3, "Cancel");
}

#[tokio::test]
async fn an_order_paid_twice_or_with_another_amount_is_one_task_with_the_figures() {
    let hub = TheatreHub::start().await;
    hub.take(&order("1", |_| {})).await;
    hub.settled().await;
    for (id, at) in [("p-1", "2026-11-20T10:04:00Z"), ("p-2", "2026-11-20T10:06:00Z")] {
        hub.payments.pay(id, "1", "3601.50", at);
        hub.take(&told("payment.succeeded", id)).await;
    }
    hub.settled().await;
    let tasks = hub.vtiger.records("Calendar");
    assert_eq!(tasks.len(), 1, "{tasks:?}");
    let words = text(&tasks[0], "description");
    assert!(words.contains("paid twice: asked for 3601.50 RUB, received 7203.00 RUB in 2 payments"), "{words}");
    assert_eq!(text(&tasks[0], "contact_id"), text(&hub.vtiger.records("Contacts")[0], "id"));
    // Told once more, it is no second task.
    hub.take(&told("payment.succeeded", "p-2")).await;
    hub.settled().await;
    assert_eq!(hub.vtiger.records("Calendar").len(), 1);
    // What was too much goes back: the deal is paid again, and nobody is asked.
    hub.payments.refund("r-1", "p-2", "3601.50", "2026-11-23T10:00:00Z");
    hub.take(&told("refund.succeeded", "r-1")).await;
    hub.settled().await;
    assert_eq!(hub.vtiger.records("Calendar").len(), 1);
    assert_eq!(text(&hub.vtiger.records("Potentials")[0], "cf_stagedoor_payment"), "paid");
}

fn polled(text: String) -> String {
    text.replace("sessions = 4\n", "sessions = 4\npoll_seconds = 1\n")
}

/// Waits until what a manager did was heard.
async fn heard(hub: &TheatreHub, is: impl AsyncFn(&TheatreHub) -> bool) {
    for _ in 0..200 {
        if is(hub).await {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("it was not heard in ten seconds");
}

async fn journal_has(hub: &TheatreHub, kind: &str) -> bool {
    let rows = hub.hub.store.journal(1_000).await.expect("the journal");
    rows.iter().any(|row| row.event.kind() == kind)
}

#[tokio::test]
async fn a_managers_own_move_is_heard_and_never_pushed_back() {
    let hub = TheatreHub::by(std::sync::Arc::new(stagedoor_ports::SystemClock), |text| {
        polled(text) + "\n[segment.bargains]\nrule = 'crm_stage = \"Negotiation or Review\"'\n"
    })
    .await;
    hub.take(&order("1", |data| data["status"] = "placed".into())).await;
    hub.settled().await;
    let deal = text(&hub.vtiger.records("Potentials")[0], "id").to_owned();
    hub.vtiger.by_manager(5, &deal, &[("sales_stage", "Negotiation or Review")]);
    heard(&hub, async |hub| journal_has(hub, "stagedoor.crm-lead.changed.v1").await).await;
    // What happened before the move moves nothing, though it comes after it; the rest of the deal is written.
    hub.take(&order("1", |data| {
        (data["status"], data["updated_at"]) = ("placed".into(), "2026-11-20T11:00:00Z".into());
        data["promo_codes"] = json!(["ВИШНЯ"]);
    }))
    .await;
    hub.settled().await;
    let row = hub.vtiger.records("Potentials").remove(0);
    assert_eq!((text(&row, "sales_stage"), text(&row, "cf_stagedoor_promo")), ("Negotiation or Review", "ВИШНЯ"));
    // A segment knows the stage by the CRM's own name.
    assert_eq!(text(&hub.vtiger.records("Contacts")[0], "cf_stagedoor_segments"), "bargains");
    // The hub's own writing is nobody's move.
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    let rows = hub.hub.store.journal(1_000).await.expect("the journal");
    let moves = rows.iter().filter(|row| row.event.kind() == "stagedoor.crm-lead.changed.v1").count();
    assert_eq!(moves, 1);
}

#[tokio::test]
async fn a_managers_contact_is_known_and_what_a_manager_deleted_comes_back_with_a_purchase_alone() {
    let hub = TheatreHub::by(std::sync::Arc::new(stagedoor_ports::SystemClock), polled).await;
    let fields = [("firstname", "Ольга"), ("lastname", "Петрова"), ("phone", "8 916 111-22-33")];
    let known = hub.vtiger.added_by_manager(5, "Contacts", &fields).expect("added");
    heard(&hub, async |hub| journal_has(hub, "stagedoor.crm-contact.changed.v1").await).await;
    hub.take(&order("1", |_| {})).await;
    hub.settled().await;
    let contacts = hub.vtiger.records("Contacts");
    assert_eq!((contacts.len(), text(&contacts[0], "id")), (1, known.as_str()));
    // The manager's phone stays where it is, and the e-mail that was told since is beside it.
    assert_eq!((text(&contacts[0], "phone"), text(&contacts[0], "email")), ("8 916 111-22-33", "olga@example.com"));
    hub.vtiger.deleted_by_manager(&known);
    heard(&hub, async |hub| {
        let rows = hub.hub.store.journal(1_000).await.expect("the journal");
        let gone = |body: &stagedoor_model::Body| matches!(body, stagedoor_model::Body::ContactChanged(change) if change.deleted);
        rows.iter().any(|row| gone(&row.event.body))
    })
    .await;
    hub.take(&order("1", |data| {
        (data["updated_at"], data["promo_codes"]) = ("2026-11-20T12:00:00Z".into(), json!(["ВИШНЯ"]));
    }))
    .await;
    hub.settled().await;
    assert!(hub.vtiger.records("Contacts").is_empty());
    hub.take(&order("2", |_| {})).await;
    hub.settled().await;
    let contacts = hub.vtiger.records("Contacts");
    assert_eq!((contacts.len(), text(&contacts[0], "email")), (1, "olga@example.com"));
    let deals = hub.vtiger.records("Potentials");
    assert!(!deals.is_empty() && deals.iter().all(|deal| text(deal, "contact_id") == text(&contacts[0], "id")));
}

#[tokio::test]
async fn an_invoice_that_lost_a_line_is_made_again() {
    let hub = TheatreHub::start().await;
    for _ in 0..2 {
        hub.vtiger.set_fault(Fault::once(FaultKind::HalfMade, "create Invoice"));
    }
    hub.take(&order("1", |_| {})).await;
    hub.settled().await;
    let invoices = hub.vtiger.records("Invoice");
    assert_eq!((invoices.len(), text(&invoices[0], "hdnGrandTotal")), (1, "3601.50000000"));
}

#[tokio::test]
async fn a_server_that_cleaned_its_sessions_up_is_logged_into_again() {
    let hub = TheatreHub::start().await;
    hub.take(&order("1", |_| {})).await;
    hub.settled().await;
    hub.vtiger.forget_sessions();
    hub.take(&order("2", |_| {})).await;
    let status = hub.settled().await;
    assert_eq!((hub.vtiger.records("Invoice").len(), status.rejected), (2, 0));
}
