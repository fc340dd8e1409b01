//! The consent ledger: how it stood at any instant, what proves it, and where it comes from.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use stagedoor::{commands, import, segment_commands};
use stagedoor_engine::{ConsentPolicy, Standing, addresses, ledger, may_advertise, standing};
use stagedoor_model::{Channel, Email, Identifier, MARKETING, Phone, Region, Timestamp};
use stagedoor_testkit::{form_signed, unisender};
use stagedoor_tests::hub::TestHub;

const KEY: &str = "6x4mpl3un1s3nd3rk3y0000000000000";

fn email(text: &str) -> Identifier {
    Identifier::email(Email::parse(text).expect("an address"))
}

fn phone(text: &str) -> Identifier {
    Identifier::phone(Phone::parse(text, Region::new("RU").expect("a region")).expect("a phone"))
}

fn at(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

async fn person(hub: &TestHub, identifier: &Identifier) -> stagedoor_engine::Person {
    let owners = hub.hub.store.resolve(&BTreeSet::from([identifier.clone()])).await.expect("resolved").owners;
    hub.hub.store.load(&owners.into_values().collect()).await.expect("loaded").remove(0).value
}

async fn says(hub: &TestHub, email: &str, channel: &str, given: bool, id: &str) {
    let consents = json!([{ "purpose": "marketing", "channel": channel, "given": given, "wording": "2027-01" }]);
    let body = json!({ "kind": "lead", "form": "questionnaire", "email": email, "consents": consents });
    hub.take(&form_signed("/website/site", &body, "generic-source-secret", id, Timestamp::now())).await;
}

fn unsubscribes(address: &str, when: &str) -> stagedoor_testkit::SignedRequest {
    let event = json!({ "event_name": "unsubscribe", "event_time": when,
        "event_data": { "email": address, "list_ids": [134] } });
    unisender("/mail/unisender", &[event], KEY)
}

const FILE: &str = "email;phone;name;tags;email_consent;sms_consent;consent_at\n\
    anna@example.com;8 916 123-45-67;Анна;premiere;да;да;01.05.2026\n\
    boris@example.com;;Борис;;нет;;2026-05-01\n\
    not-an-address;;;;yes;;2026-05-01\n\
    vera@example.com;;Вера;;yes;;\n\
    galina@example.com;;Галина;;maybe;;2026-05-01\n\
    ;;Никто;;;;\n\
    dora@example.com;;Дора;;;yes;2026-05-01\n\
    elena@example.com;;Елена;vip;;;\n";

fn origin(method: &str) -> import::Origin {
    import::Origin {
        source: "questionnaires of May".into(),
        method: method.into(),
        wording: Some("paper-3".into()),
        file: "may.csv".into(),
    }
}

#[tokio::test]
async fn a_dry_run_shows_each_row_tells_each_mistake_and_changes_nothing() {
    let hub = TestHub::start().await;
    let (rows, wrong) = import::read(FILE, &origin("paper"), &hub.hub);
    assert_eq!(
        import::dry_run(&hub.hub, &rows).await.expect("read"),
        [
            "row 2: a new person; email: yes, sms: yes",
            "row 3: a new person; email: withdrawn",
            "row 9: a new person; no word on consent",
        ]
    );
    let told: Vec<&str> = wrong.iter().filter_map(|line| line.split(": ").nth(1)).collect();
    assert_eq!(told, ["email", "consent_at", "email_consent", "neither an e-mail nor a phone", "sms_consent"]);
    assert!(!wrong.join("\n").contains("not-an-address"), "values are personal: {wrong:?}");
    assert_eq!(hub.settled().await.people, 0);
}

#[tokio::test]
async fn what_a_file_would_lose_is_told_by_row_and_column() {
    let hub = TestHub::start().await;
    let read = |text: &str| {
        let (rows, wrong) = import::read(text, &origin("list"), &hub.hub);
        (rows.iter().map(|row| row.number).collect::<Vec<_>>(), wrong)
    };
    let (rows, wrong) = read("email;name\na@x.ru;А\nb@x.ru;\"не закрыта\nc@x.ru;В\nd@x.ru;Г\n");
    let told = "row 3: name: the cell goes on in the next line; close its quotation mark, or write it in one line \
                (lines 3 to 5 of the file)";
    assert_eq!((rows, wrong), (vec![2], vec![told.to_owned()]));
    // The next quotation mark closes it, in another row.
    let (rows, wrong) = read("email;name\nb@x.ru;\"не закрыта\nc@x.ru;\"В\"\nd@x.ru;Г\n");
    assert_eq!((rows, wrong.len()), (vec![3], 1), "{wrong:?}");
    let (rows, wrong) = read("email;name;email\na@x.ru;А;b@x.ru\n");
    assert_eq!((rows.len(), wrong.len()), (0, 1));
    assert!(wrong.join("").starts_with("row 1: {\"email\"} stands twice"), "{wrong:?}");
    // Spreadsheets end rows in empty cells.
    let (rows, wrong) = read("email,name\na@x.ru,А,,\nb@x.ru,Иванов, Пётр\nc@x.ru\nd@x.ru,\"Иванов, Пётр\"\n");
    assert_eq!(rows, [2, 4, 5]);
    assert!(wrong.join("").starts_with("row 3: column 3: it has no name in the first row"), "{wrong:?}");
    assert!(!wrong.join("").contains("Пётр"), "values are personal: {wrong:?}");
}

#[tokio::test]
async fn an_imported_questionnaire_is_a_contact_without_a_deal_and_its_consent_is_proved_by_its_row() {
    let hub = TestHub::start().await;
    for _ in 0..2 {
        let (rows, _) = import::read(FILE, &origin("paper"), &hub.hub);
        import::run(&hub.hub, rows, |_| {}).await.expect("imported");
        let status = hub.settled().await;
        assert_eq!((status.people, status.deals), (3, 0), "twice is once");
    }
    assert_eq!(hub.sandbox.contacts().len(), 3);
    let evidence = segment_commands::evidence(&hub.hub, &email("anna@example.com")).await.expect("evidence");
    assert_eq!(evidence["now"]["email"], json!({ "standing": "given", "may_be_written_to": ["anna@example.com"] }));
    assert_eq!(evidence["now"]["sms"]["may_be_written_to"], json!(["+79161234567"]));
    assert_eq!(evidence["now"]["call"]["standing"], "unknown");
    let entry = &evidence["ledger"][0];
    assert_eq!((&entry["method"], &entry["wording"]), (&json!("paper"), &json!("paper-3")));
    assert_eq!(entry["at"], "2026-04-30T21:00:00Z", "the day begins in the house's zone");
    let proof = json!({ "file": "may.csv", "row": "2", "source": "questionnaires of May" });
    assert_eq!(entry["evidence"], proof);
}

#[tokio::test]
async fn an_old_list_revives_nobody_and_a_signed_questionnaire_of_later_does() {
    let hub = TestHub::start().await;
    says(&hub, "anna@example.com", "email", true, "q1").await;
    hub.take(&unsubscribes("anna@example.com", "2026-01-10 12:00:00")).await;
    hub.settled().await;
    let anna = email("anna@example.com");
    let open = async |hub: &TestHub| {
        may_advertise(
            &person(hub, &anna).await,
            Channel::Email,
            &anna,
            &ConsentPolicy::default(),
            Some(at("2026-06-01T00:00:00Z")),
        )
    };
    assert!(!open(&hub).await);
    for (method, opens) in [("list", false), ("paper", true)] {
        let from = import::Origin { source: method.into(), ..origin(method) };
        let (rows, _) = import::read(FILE, &from, &hub.hub);
        let anna_only = rows.into_iter().filter(|row| row.number == 2).collect();
        import::run(&hub.hub, anna_only, |_| {}).await.expect("imported");
        hub.settled().await;
        assert_eq!(open(&hub).await, opens, "{method}");
    }
}

#[tokio::test]
async fn how_it_stood_at_any_instant_follows_from_the_ledger() {
    let hub = TestHub::start().await;
    let (rows, _) = import::read(FILE, &origin("paper"), &hub.hub);
    import::run(&hub.hub, rows, |_| {}).await.expect("imported");
    hub.take(&unsubscribes("anna@example.com", "2026-08-10 12:00:00")).await;
    hub.settled().await;
    says(&hub, "anna@example.com", "email", true, "q2").await;
    hub.settled().await;
    let entries = ledger(&person(&hub, &email("anna@example.com")).await);
    let stood = |channel, when: &str| {
        let policy = ConsentPolicy::default();
        match standing(&entries, MARKETING, channel, None, &policy, Some(at(when))) {
            Standing::Unknown => "unknown",
            Standing::Unconfirmed(_) => "unconfirmed",
            Standing::Given(_) => "given",
            Standing::Withdrawn(_) => "withdrawn",
        }
    };
    assert_eq!(stood(Channel::Email, "2026-04-01T00:00:00Z"), "unknown");
    assert_eq!(stood(Channel::Email, "2026-05-02T00:00:00Z"), "given");
    assert_eq!(stood(Channel::Email, "2026-08-10T08:59:59Z"), "given");
    assert_eq!(stood(Channel::Email, "2026-08-10T09:00:00Z"), "withdrawn");
    assert_eq!(stood(Channel::Email, "2030-01-01T00:00:00Z"), "given", "they said so anew");
    assert_eq!(stood(Channel::Sms, "2026-08-10T08:59:59Z"), "given");
    let sms = stood(Channel::Sms, "2030-01-01T00:00:00Z");
    assert_eq!(sms, "withdrawn", "who leaves anywhere is out everywhere, and the new word was of letters");
}

#[tokio::test]
async fn a_consent_holds_for_the_address_that_it_was_given_for_and_a_withdrawal_for_the_person() {
    let hub = TestHub::start().await;
    let consents = json!([{ "purpose": "marketing", "channel": "email", "given": true }]);
    let body = |email: &str, consents: &Value| json!({ "kind": "lead", "form": "f", "email": email, "phone": "+79161234567", "consents": consents });
    let both = [("home@example.com", &consents), ("work@example.com", &Value::Null)];
    for (n, (email, consents)) in both.into_iter().enumerate() {
        let mut body = body(email, consents);
        if consents.is_null() {
            body.as_object_mut().expect("an object").remove("consents");
        }
        hub.take(&form_signed("/website/site", &body, "generic-source-secret", &n.to_string(), Timestamp::now())).await;
    }
    assert_eq!(hub.settled().await.people, 1);
    let fan = person(&hub, &phone("+79161234567")).await;
    assert_eq!(addresses(&fan, Channel::Email, &ConsentPolicy::default()), [email("home@example.com")]);
    // They leave by the other address.
    hub.take(&unsubscribes("work@example.com", "2030-01-01 12:00:00")).await;
    hub.settled().await;
    let fan = person(&hub, &phone("+79161234567")).await;
    assert!(addresses(&fan, Channel::Email, &ConsentPolicy::default()).is_empty());
}

#[tokio::test]
async fn where_a_consent_has_to_be_confirmed_it_does_not_count_before() {
    let hub = TestHub::start().await;
    says(&hub, "anna@example.com", "email", true, "q1").await;
    hub.settled().await;
    let (anna, policy) = (
        email("anna@example.com"),
        ConsentPolicy { double_opt_in: [Channel::Email].into(), ..ConsentPolicy::default() },
    );
    let fan = person(&hub, &anna).await;
    assert!(may_advertise(&fan, Channel::Email, &anna, &ConsentPolicy::default(), None));
    assert!(!may_advertise(&fan, Channel::Email, &anna, &policy, None));
    let standing = standing(&ledger(&fan), MARKETING, Channel::Email, None, &policy, None);
    assert!(matches!(standing, Standing::Unconfirmed(_)), "{standing:?}");
}

#[tokio::test]
async fn an_address_that_does_not_exist_is_held_back_whatever_was_consented_to() {
    let hub = TestHub::start().await;
    says(&hub, "gone@example.com", "email", true, "q1").await;
    let report = |status: &str, when: &str| {
        let event = json!({ "event_name": "email_status", "event_time": when,
            "event_data": { "email": "gone@example.com", "campaign_id": when, "status": status } });
        unisender("/mail/unisender", &[event], KEY)
    };
    hub.take(&report("err_user_unknown", "2030-01-01 12:00:00")).await;
    hub.settled().await;
    let gone = email("gone@example.com");
    let open = async |hub: &TestHub| {
        may_advertise(&person(hub, &gone).await, Channel::Email, &gone, &ConsentPolicy::default(), None)
    };
    assert!(!open(&hub).await);
    // A letter that arrives proves that the address lives again.
    hub.take(&report("ok_delivered", "2030-02-01 12:00:00")).await;
    hub.settled().await;
    assert!(open(&hub).await);
}

#[tokio::test]
async fn the_box_office_sees_whom_it_can_ask() {
    let hub = TestHub::with(|text| text.replace("[consent]", "[consent]\nask = \"Спросить согласие\"")).await;
    let body = json!({ "kind": "lead", "form": "f", "email": "new@example.com" });
    hub.take(&form_signed("/website/site", &body, "generic-source-secret", "1", Timestamp::now())).await;
    hub.settled().await;
    let contact = hub.sandbox.contacts().remove(0);
    let fields = contact["custom_fields_values"].as_array().expect("fields").clone();
    let shown = fields.iter().find(|field| field["field_code"] == "STAGEDOOR_CONSENT").expect("the field");
    assert_eq!(shown.pointer("/values/0/value"), Some(&json!("Спросить согласие")));
}

#[tokio::test]
async fn the_commands_say_who_is_in_a_segment_and_why() {
    let hub = TestHub::start().await;
    says(&hub, "anna@example.com", "email", true, "q1").await;
    says(&hub, "boris@example.com", "email", false, "q2").await;
    hub.settled().await;
    let members = segment_commands::members(&hub.hub, "letters").await.expect("members");
    assert_eq!(members.len(), 1);
    let boris = commands::read_identifier("boris@example.com", hub.hub.config.region).expect("an identifier");
    let why = segment_commands::why(&hub.hub, "letters", &boris).await.expect("why");
    assert!(why[0].ends_with("is not in letters") && why.contains(&"no    consents to email".to_owned()), "{why:?}");
    let unknown = segment_commands::members(&hub.hub, "freinds").await.expect_err("there is none");
    assert!(unknown.contains("known are friends, letters, ufa-undecided"), "{unknown}");
}

#[tokio::test]
async fn a_visitor_cannot_forge_the_proof_of_their_consent() {
    let hub = TestHub::start().await;
    let consents = json!([{ "purpose": "marketing", "channel": "email", "given": true }]);
    let body = json!({ "kind": "lead", "form": "f", "email": "anna@example.com", "consents": consents,
        "consent_method": "paper", "consent_source": "signed at the box office" });
    hub.take(&form_signed("/website/site", &body, "generic-source-secret", "1", Timestamp::now())).await;
    hub.settled().await;
    let evidence = segment_commands::evidence(&hub.hub, &email("anna@example.com")).await.expect("evidence");
    assert_eq!(evidence["ledger"][0]["method"], "form");
    assert!(!evidence["ledger"][0].to_string().contains("box office"), "{evidence}");
}

#[test]
fn a_questionnaire_is_read_in_the_charset_that_it_names_or_that_the_operator_names() {
    let rows = "email;name\nanna@example.com;Анна\n";
    let file = |name: &[u8]| [b"email;name\nanna@example.com;", name, b"\n"].concat();
    for (charset, name) in
        [("windows-1251", b"\xC0\xED\xED\xE0"), ("cp1251", b"\xC0\xED\xED\xE0"), ("ibm866", b"\x80\xAD\xAD\xA0")]
    {
        assert_eq!(import::text_of(&file(name), Some(charset)).as_deref(), Ok(rows), "{charset}");
    }
    let utf16: Vec<u8> = "\u{feff}".encode_utf16().chain(rows.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    assert_eq!(import::text_of(&utf16, None).as_deref(), Ok(rows));
    assert_eq!(import::text_of(format!("\u{feff}{rows}").as_bytes(), Some("windows-1251")).as_deref(), Ok(rows));
    assert_eq!(import::text_of(rows.as_bytes(), None).as_deref(), Ok(rows));
}

#[test]
fn a_questionnaire_in_another_charset_is_refused_with_the_remedy_and_without_its_words() {
    let file = b"email;name\nanna@example.com;\xC0\xED\xED\xE0\n";
    let remedy = import::text_of(file, None).expect_err("not UTF-8");
    assert!(remedy.contains("--charset windows-1251") && !remedy.contains("anna"), "{remedy}");
    let utf8 = import::text_of("email;name\nanna@example.com;Анна\n".as_bytes(), Some("windows-1251"));
    assert!(utf8.is_err_and(|error| error.contains("leave --charset out")));
    assert!(import::text_of(file, Some("utf-8")).is_err_and(|error| error.contains("UTF-8")));
    assert!(import::text_of(file, Some("windows-1215")).is_err_and(|error| error.contains("windows-1251")));
}
