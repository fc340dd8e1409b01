//! The rows that the CRMs hold of an erased person bring nobody back.

use std::sync::Arc;

use serde_json::json;
use stagedoor_ports::SystemClock;
use stagedoor_sandbox::{Fault, FaultKind, HookFault, HookFaultKind, Platform};
use stagedoor_testkit::{
    fans::{Account, ChatFan},
    form, free_port,
};
use stagedoor_tests::hub::{TestHub, TheatreHub};

use crate::end_to_end::{anna, order};

fn id(row: &serde_json::Value) -> u64 {
    row["id"].as_u64().expect("an id")
}

/// A manager notes on each contact that it is to be deleted, and somebody walks over the account.
async fn touched(hub: &TestHub) -> u64 {
    for contact in hub.sandbox.contacts() {
        let name = format!("{} (удалить!)", contact["name"].as_str().expect("a name"));
        hub.sandbox.changed_by_manager("contacts", id(&contact), json!({ "name": name }));
    }
    hub.settled().await;
    stagedoor::commands::backfill(&hub.hub).await.expect("walked");
    hub.settled().await.people
}

#[tokio::test]
async fn the_contact_of_an_erased_buyers_form_brings_nobody_back() {
    let hub = TestHub::start().await;
    hub.take(&order("T-1", "paid", "2026-01-10T10:05:00Z", anna(), json!([]))).await;
    hub.settled().await;
    let fields = [
        ("key", "landing-key"),
        ("your-name", "Анна Каренина"),
        ("your-tel", "8 916 123-45-67"),
        ("your-email", "anna@example.com"),
    ];
    hub.take(&form("/website/landing", &fields).header("origin", "https://cherry.example.ru")).await;
    hub.settled().await;
    assert_eq!(hub.sandbox.contacts().len(), 2, "the form has a contact of its own");
    let email = "email:anna@example.com".parse().expect("an identifier");
    let lines = stagedoor::commands::erase(&hub.hub, &email).await.expect("erased");
    for contact in hub.sandbox.contacts() {
        assert!(lines.iter().any(|line| line.contains(&contact["id"].to_string())), "{lines:?}");
    }
    assert_eq!(touched(&hub).await, 0);
    for file in ["hub.db", "hub.db-wal"] {
        let bytes = std::fs::read(hub.folder.path().join(file)).unwrap_or_default();
        for trace in ["anna@example.com", "79161234567", "Каренина"] {
            let found = bytes.windows(trace.len()).any(|window| window == trace.as_bytes());
            assert!(!found, "{trace} is in {file} again");
        }
    }
}

#[tokio::test]
async fn a_contact_of_an_erased_person_that_no_webhook_told_of_brings_nobody_back() {
    let hub = TestHub::start().await;
    let lost = |setting: &str| HookFault::always(HookFaultKind::Lost, setting, std::time::Duration::ZERO);
    hub.sandbox.set_hook_faults(vec![lost("add_contact"), lost("update_contact")]);
    let fan = ChatFan::new(Account::Telegram(5_300_000_011), "Евлампия");
    hub.messengers.open(Platform::Telegram, &fan.id());
    hub.take(&fan.say("Здравствуйте, хочу в партер", 1, hub.now().as_second())).await;
    hub.settled().await;
    assert_eq!(hub.sandbox.contacts().len(), 1);
    let who = format!("telegram:{}", fan.id()).parse().expect("an identifier");
    stagedoor::commands::erase(&hub.hub, &who).await.expect("erased");
    hub.sandbox.set_hook_faults(vec![]);
    assert_eq!(touched(&hub).await, 0);
}

#[tokio::test]
async fn rows_of_an_erased_person_in_two_crms_bring_nobody_back() {
    let other = format!("127.0.0.1:{}", free_port());
    let section = format!(
        "[second_crm]\nkind = \"amocrm\"\nbase_url = \"http://{other}\"\ntoken = \"dev:dev-long-lived-token\"\nrate = 200\n\n[source.second-crm]\nfunction = \"crm\"\nprovider = \"amocrm\"\nsecrets = [\"dev:second-hook-secret\"]\n\n[sandbox]\nsecond = \"{other}\"\n"
    );
    let hub = TheatreHub::by(Arc::new(SystemClock), |text| text.replace("[sandbox]\n", &section)).await;
    hub.take(&crate::theatre::order("1", |_| {})).await;
    hub.settled().await;
    let amo = hub.amo.clone().expect("the second's sandbox");
    // The rows stay there, to be deleted by hand.
    hub.vtiger.set_fault(Fault::always(FaultKind::Broken, "delete"));
    let email = "email:olga@example.com".parse().expect("an identifier");
    let lines = stagedoor::commands::erase(&hub.hub, &email).await.expect("erased");
    assert!(
        lines.iter().any(|line| line.ends_with(&format!("in the second CRM: {}", amo.leads()[0]["id"]))),
        "{lines:?}"
    );
    // What names her by itself is taken away there already.
    let empty = ["PHONE", "EMAIL"].map(|field| json!({ "field_code": field, "values": [{ "value": "" }] }));
    let contact = json!({ "name": "Ольга (удалить!)", "custom_fields_values": empty });
    amo.changed_by_manager("contacts", id(&amo.contacts()[0]), contact);
    assert!(!amo.contacts()[0].to_string().contains("olga@example.com"));
    for contact in hub.vtiger.records("Contacts") {
        let contact = contact["id"].as_str().expect("an id");
        hub.vtiger.by_manager(5, contact, &[("firstname", "Ольга (удалить!)"), ("email", ""), ("mobile", "")]);
    }
    assert_eq!(hub.vtiger.records("Contacts").len(), 1);
    let contact = hub.vtiger.records("Contacts").remove(0)["id"].as_str().expect("an id").to_owned();
    assert!(lines.iter().any(|line| line.contains("did not let the hub") && line.ends_with(&contact)), "{lines:?}");
    hub.hub.sync.hear_crm(&hub.hub.mirror).await.expect("heard");
    hub.settled().await;
    stagedoor::commands::backfill(&hub.hub).await.expect("walked");
    assert_eq!(hub.settled().await.people, 0);
}

#[tokio::test]
async fn an_erased_persons_rows_are_deleted_in_a_vtiger_and_their_invoices_named() {
    let hub = TheatreHub::start().await;
    hub.take(&crate::theatre::order("1", |_| {})).await;
    hub.take(&crate::theatre::order("2", |data| {
        data["buyer"] = json!({ "name": "Борис", "email": "boris@example.com", "phone": "+79161110022" });
    }))
    .await;
    hub.settled().await;
    let of_olga = |module: &str, field: &str, text: &str| {
        let rows = hub.vtiger.records(module);
        let row = rows.iter().find(|row| row[field] == text).expect("hers");
        row["id"].as_str().expect("an id").to_owned()
    };
    let contact = of_olga("Contacts", "email", "olga@example.com");
    let (deal, invoice) = (of_olga("Potentials", "contact_id", &contact), of_olga("Invoice", "contact_id", &contact));
    hub.vtiger.added_by_manager(5, "ModComments", &[("commentcontent", "Ольга звонила"), ("related_to", &contact)]);
    let email = "email:olga@example.com".parse().expect("an identifier");
    let lines = stagedoor::commands::erase(&hub.hub, &email).await.expect("erased");
    assert!(lines.contains(&format!("deleted in the CRM, empty its recycle bin: {contact}, {deal}")), "{lines:?}");
    let stays = format!("these invoices stay in the CRM, as documents of the accounts: {invoice}");
    assert!(lines.contains(&stays) && !lines.iter().any(|line| line.contains("delete these")), "{lines:?}");
    let left = ["Contacts", "Potentials", "Invoice"].map(|module| hub.vtiger.records(module).len());
    assert_eq!(left, [1, 1, 2]);
    let words = hub.vtiger.records("ModComments");
    assert!(!words.iter().any(|row| row.to_string().contains("звонила")), "{words:?}");
    hub.hub.sync.hear_crm(&hub.hub.mirror).await.expect("heard");
    assert_eq!(hub.settled().await.people, 1);
}
