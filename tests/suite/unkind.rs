//! The stand-ins are as unkind as the world: each of their switches, used as a stranger would use it, by HTTP.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use stagedoor_sandbox::{HookFault, HookFaultKind, Sandbox, Seed, VtigerSandbox, VtigerSeed};
use tokio::{net::TcpListener, task::JoinHandle};

struct StandIn {
    base: String,
    http: reqwest::Client,
    serving: JoinHandle<()>,
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl StandIn {
    async fn of(router: axum::Router) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.expect("served") });
        let none = reqwest::redirect::Policy::none();
        let http = stagedoor_http::builder().redirect(none).build().expect("a client");
        Self { base, http, serving }
    }

    async fn amocrm() -> (Sandbox, Self) {
        let sandbox = Sandbox::new(Seed { rate: 1_000, keeps_hooks: true, ..Seed::default() });
        let stand_in = Self::of(sandbox.router()).await;
        let settings =
            ["add_contact", "update_contact", "delete_contact", "restore_contact", "status_lead", "update_lead"];
        let settings: Vec<&str> = settings.into_iter().chain(["delete_lead", "restore_lead"]).collect();
        let hook = json!({ "destination": "http://127.0.0.1:9/hook", "settings": settings });
        assert_eq!(stand_in.call(Method::POST, "/api/v4/webhooks", &hook).await.0, 201);
        (sandbox, stand_in)
    }

    async fn vtiger() -> (VtigerSandbox, Self) {
        let sandbox = VtigerSandbox::new(VtigerSeed::default());
        let stand_in = Self::of(sandbox.router()).await;
        (sandbox, stand_in)
    }

    async fn call(&self, method: Method, path: &str, body: &Value) -> (u16, Value) {
        let request = self.http.request(method, format!("{}{path}", self.base));
        let response = request.bearer_auth(Seed::default().long_lived).json(body).send().await.expect("an answer");
        let status = response.status().as_u16();
        (status, response.json().await.unwrap_or_default())
    }

    async fn switch(&self, path: &str, body: &Value) {
        let (status, _) = self.call(Method::POST, &format!("/_sandbox/{path}"), body).await;
        assert!(status < 300, "{path}: {status}");
    }

    async fn make(&self, entity: &str, row: &Value) -> u64 {
        let (status, answer) = self.call(Method::POST, &format!("/api/v4/{entity}"), &json!([row])).await;
        assert_eq!(status, 200, "{answer}");
        answer["_embedded"][entity][0]["id"].as_u64().expect("an id")
    }

    async fn read(&self, entity: &str, id: u64) -> Value {
        self.call(Method::GET, &format!("/api/v4/{entity}/{id}?with=contacts,leads"), &Value::Null).await.1
    }
}

/// What a webhook is about, such as `contacts[update]`.
fn subjects(sandbox: &Sandbox) -> Vec<String> {
    let hooks = sandbox.take_hooks();
    let first = |body: &str| url::form_urlencoded::parse(body.as_bytes()).next().map(|(key, _)| key.into_owned());
    let subject = |key: String| key.split_inclusive(']').next().unwrap_or_default().to_owned();
    hooks.iter().filter_map(|hook| first(&hook.body).map(subject)).collect()
}

fn phone(value: &str, kind: &str) -> Value {
    json!([{ "field_code": "PHONE", "values": [{ "value": value, "enum_code": kind }] }])
}

#[tokio::test]
async fn a_call_that_was_given_up_takes_effect_later() {
    let (sandbox, amocrm) = StandIn::amocrm().await;
    for (kind, made) in [("late_after_timeout", 1), ("late_after_cut", 2), ("late_without_answer", 3)] {
        let fault = json!({ "kind": kind, "calls": "POST /api/v4/contacts$", "milliseconds": 200 });
        amocrm.switch("faults", &json!({ "faults": [fault] })).await;
        let call = amocrm.http.post(format!("{}/api/v4/contacts", amocrm.base));
        let call = call.bearer_auth(Seed::default().long_lived).json(&json!([{ "name": "Анна" }]));
        let answer = call.timeout(Duration::from_millis(100)).send().await;
        let good = match answer {
            Ok(answer) => answer.status().is_success() && answer.bytes().await.is_ok(),
            Err(_) => false,
        };
        assert!(!good, "{kind}: the caller knows of no success");
        assert_eq!(sandbox.count("contacts"), made - 1, "{kind}: nothing is there yet");
        tokio::time::sleep(Duration::from_millis(400)).await;
        assert_eq!(sandbox.count("contacts"), made, "{kind}: it took effect after all");
    }
}

#[tokio::test]
async fn webhooks_are_lost_late_doubled_and_overtaken() {
    let (sandbox, amocrm) = StandIn::amocrm().await;
    let change = async |name: &str| _ = amocrm.make("contacts", &json!({ "name": name })).await;
    amocrm.switch("hooks", &json!([{ "kind": "lost", "setting": "add_contact" }])).await;
    change("lost").await;
    assert!(sandbox.take_hooks().is_empty());
    sandbox.set_hook_faults(vec![HookFault::always(HookFaultKind::Delayed, "", Duration::from_secs(7))]);
    change("late").await;
    assert_eq!(sandbox.take_hooks()[0].wait, Duration::from_secs(7));
    amocrm.switch("hooks", &json!([{ "kind": "doubled", "milliseconds": 5 }])).await;
    change("doubled").await;
    let both = sandbox.take_hooks();
    assert_eq!(both[0].body, both[1].body);
    amocrm.switch("hooks", &json!([{ "kind": "overtaken" }])).await;
    change("first").await;
    change("second").await;
    let order: Vec<bool> = sandbox.take_hooks().iter().map(|hook| hook.body.contains("first")).collect();
    assert_eq!(order, [false, true]);
}

#[tokio::test]
async fn a_web_servers_page_stands_where_the_api_was() {
    let (_, amocrm) = StandIn::amocrm().await;
    let (_, vtiger) = StandIn::vtiger().await;
    for (kind, status) in [("moved", 301), ("not_found_page", 404), ("not_allowed_page", 405), ("page", 200)] {
        let fault = json!({ "faults": [{ "kind": kind, "calls": "POST /api/v4/leads", "times": u32::MAX }] });
        amocrm.switch("faults", &fault).await;
        for _ in 0..2 {
            let answer = amocrm.call(Method::POST, "/api/v4/leads", &json!([{ "name": "x" }])).await;
            assert_eq!(answer, (status, Value::Null), "{kind}: a page and no JSON");
        }
        vtiger.switch("faults", &json!({ "faults": [{ "kind": kind, "calls": "getchallenge" }] })).await;
        let path = "/webservice.php?operation=getchallenge&username=admin";
        assert_eq!(vtiger.call(Method::GET, path, &Value::Null).await, (status, Value::Null));
    }
    amocrm.switch("faults", &json!({ "faults": [] })).await;
    amocrm.make("leads", &json!({ "name": "x" })).await;
}

#[tokio::test]
async fn a_link_to_a_company_that_is_gone_is_refused() {
    let (_, amocrm) = StandIn::amocrm().await;
    let contact = amocrm.make("contacts", &json!({ "name": "Анна" })).await;
    let company = amocrm.make("companies", &json!({ "name": "Заря" })).await;
    let link = json!([{ "entity_id": contact, "to_entity_id": company, "to_entity_type": "companies" }]);
    assert_eq!(amocrm.call(Method::POST, "/api/v4/contacts/link", &link).await.0, 200);
    assert_eq!(amocrm.read("contacts", contact).await["_embedded"]["companies"][0]["id"], company);
    amocrm.call(Method::DELETE, &format!("/_sandbox/companies/{company}"), &Value::Null).await;
    assert_eq!(amocrm.read("contacts", contact).await["_embedded"]["companies"], json!([]));
    assert_eq!(amocrm.call(Method::POST, "/api/v4/contacts/link", &link).await.0, 400);
}

#[tokio::test]
async fn what_a_manager_deletes_is_restored_as_it_was_and_both_are_told() {
    let (sandbox, amocrm) = StandIn::amocrm().await;
    for entity in ["contacts", "leads"] {
        let id = amocrm.make(entity, &json!({ "name": "Анна" })).await;
        sandbox.take_hooks();
        let path = format!("/_sandbox/{entity}/{id}");
        assert_eq!(amocrm.call(Method::DELETE, &path, &Value::Null).await.0, 204);
        assert_eq!(amocrm.read(entity, id).await, Value::Null, "204 and nothing");
        amocrm.switch(&format!("{entity}/{id}/restore"), &Value::Null).await;
        assert_eq!(amocrm.read(entity, id).await["name"], "Анна");
        assert_eq!(subjects(&sandbox), [format!("{entity}[delete]"), format!("{entity}[restore]")]);
    }
}

#[tokio::test]
async fn a_merge_keeps_one_contact_with_the_deals_of_both() {
    let (sandbox, amocrm) = StandIn::amocrm().await;
    let first = json!({ "name": "Анна", "custom_fields_values": phone("+79160000001", "MOB") });
    let second = json!({ "name": "Аня", "custom_fields_values": phone("+79160000002", "HOME") });
    let (kept, gone) = (amocrm.make("contacts", &first).await, amocrm.make("contacts", &second).await);
    let lead = json!({ "name": "Вишнёвый сад", "_embedded": { "contacts": [{ "id": gone, "is_main": true }] } });
    let lead = amocrm.make("leads", &lead).await;
    sandbox.take_hooks();
    amocrm.switch(&format!("contacts/{gone}/merge"), &json!({ "into": kept })).await;
    assert_eq!(amocrm.read("contacts", gone).await, Value::Null);
    let contact = amocrm.read("contacts", kept).await;
    assert_eq!(contact["_embedded"]["leads"], json!([{ "id": lead }]));
    let values = contact["custom_fields_values"][0]["values"].as_array().expect("phones").iter();
    let kinds: Vec<&str> = values.filter_map(|value| value["enum_code"].as_str()).collect();
    assert_eq!(kinds, ["MOB", "HOME"]);
    assert_eq!(subjects(&sandbox), ["contacts[update]"], "one body tells of the change and of the deletion");
    let (status, _) = amocrm.call(Method::POST, &format!("/_sandbox/contacts/{gone}/restore"), &Value::Null).await;
    assert_eq!(status, 404, "a merge is for good");
}

#[tokio::test]
async fn a_renamed_stage_keeps_its_id_and_a_deleted_one_loses_its_deals() {
    let (sandbox, amocrm) = StandIn::amocrm().await;
    let (pipeline, cart) = sandbox.stage("Воронка", "Корзина").expect("a stage");
    let lead = amocrm.make("leads", &json!({ "pipeline_id": pipeline, "status_id": cart })).await;
    let rename = json!({ "pipeline": "Воронка", "stage": "Корзина", "name": "Корзина (новая)" });
    amocrm.switch("stages", &rename).await;
    assert_eq!(sandbox.stage("Воронка", "Корзина (новая)"), Some((pipeline, cart)));
    amocrm.switch("stages", &json!({ "pipeline": "Воронка", "name": "Касса" })).await;
    amocrm.switch("stages", &json!({ "pipeline": "Касса", "stage": "Корзина (новая)" })).await;
    let first = sandbox.stage("Касса", "Первичный контакт").expect("the first stage").1;
    assert_eq!(amocrm.read("leads", lead).await["status_id"], first);
    let stale = json!([{ "pipeline_id": pipeline, "status_id": cart }]);
    assert_eq!(amocrm.call(Method::POST, "/api/v4/leads", &stale).await.0, 400);
}

#[tokio::test]
async fn a_robot_moves_every_deal_that_comes_to_its_stage() {
    let (sandbox, amocrm) = StandIn::amocrm().await;
    let stage = |name: &str| sandbox.stage("Воронка", name).expect("a stage");
    let (cart, conversations) = (stage("Корзина"), stage("Переговоры"));
    amocrm.switch("robots", &json!([{ "from": cart, "to": conversations }])).await;
    let made = amocrm.make("leads", &json!({ "pipeline_id": cart.0, "status_id": cart.1 })).await;
    assert_eq!(amocrm.read("leads", made).await["status_id"], conversations.1);
    let to = json!({ "pipeline": "Воронка", "stage": "Корзина" });
    amocrm.switch(&format!("leads/{made}/move"), &to).await;
    let lead = amocrm.read("leads", made).await;
    assert_eq!(
        (&lead["status_id"], &lead["updated_by"]),
        (&json!(conversations.1), &json!(0)),
        "it is moved back at once"
    );
}

#[tokio::test]
async fn two_changes_fall_into_one_second() {
    let (sandbox, amocrm) = StandIn::amocrm().await;
    let contact = amocrm.make("contacts", &json!({ "name": "Анна" })).await;
    amocrm.switch("clock", &json!({ "hold": true })).await;
    sandbox.take_hooks();
    let mut times = Vec::new();
    for name in ["Аня", "Анюта"] {
        let path = format!("/_sandbox/contacts/{contact}");
        assert_eq!(amocrm.call(Method::PATCH, &path, &json!({ "name": name })).await.0, 200);
        times.push(amocrm.read("contacts", contact).await["updated_at"].clone());
        tokio::time::sleep(Duration::from_millis(600)).await;
    }
    assert_eq!(times[0], times[1]);
    assert_eq!(sandbox.take_hooks().len(), 2);
}

#[tokio::test]
async fn vtigers_managers_rename_merge_delete_and_restore_without_a_word() {
    let (sandbox, vtiger) = StandIn::vtiger().await;
    let make = async |module: &str, fields: Value| -> String {
        let (_, made) = vtiger.call(Method::POST, &format!("/_sandbox/{module}"), &fields).await;
        made["id"].as_str().expect("an id").to_owned()
    };
    let gone = make("Contacts", json!({ "lastname": "Нилова", "mobile": "+79160000002" })).await;
    let kept = make("Contacts", json!({ "lastname": "Нилова", "phone": "+79160000001" })).await;
    let fields = json!({ "potentialname": "Вишнёвый сад", "closingdate": "2030-01-01", "sales_stage": "Prospecting",
        "contact_id": gone });
    let deal = make("Potentials", fields).await;
    vtiger.switch(&format!("Contacts/{gone}/merge"), &json!({ "into": kept })).await;
    let contacts = sandbox.records("Contacts");
    assert_eq!(contacts.len(), 1);
    assert_eq!((&contacts[0]["mobile"], &contacts[0]["phone"]), (&json!("+79160000002"), &json!("+79160000001")));
    let read = || sandbox.records("Potentials").first().cloned().unwrap_or_default();
    assert_eq!(read()["contact_id"], json!(kept));
    let before = read()["modifiedtime"].clone();
    sandbox.pass(60);
    vtiger.switch("stages", &json!({ "stage": "Prospecting", "name": "Первый разговор" })).await;
    assert_eq!((&read()["sales_stage"], &read()["modifiedtime"]), (&json!("Первый разговор"), &before));
    vtiger.switch("workflows", &json!([["Closed Won", "Closed Lost"]])).await;
    sandbox.by_manager(5, &deal, &[("sales_stage", "Closed Won")]);
    assert_eq!(read()["sales_stage"], "Closed Lost");
    vtiger.call(Method::DELETE, &format!("/_sandbox/Potentials/{deal}"), &Value::Null).await;
    assert!(sandbox.records("Potentials").is_empty());
    vtiger.switch(&format!("Potentials/{deal}/restore"), &Value::Null).await;
    assert_eq!(sandbox.records("Potentials").len(), 1);
}

#[tokio::test]
async fn a_vtiger_call_that_was_given_up_takes_effect_later() {
    let (sandbox, vtiger) = StandIn::vtiger().await;
    let operation = async |query: String, form: Vec<(&str, String)>| -> Value {
        let request = vtiger.http.post(format!("{}/webservice.php{query}", vtiger.base)).form(&form);
        let answer = request.send().await.expect("an answer");
        answer.json().await.unwrap_or_default()
    };
    let path = "/webservice.php?operation=getchallenge&username=admin";
    let challenge = vtiger.call(Method::GET, path, &Value::Null).await.1;
    let token = challenge["result"]["token"].as_str().expect("a token").to_owned();
    let proof = hex::encode(<md5::Md5 as md5::Digest>::digest(format!("{token}StagedoorKey0001")));
    let login = [("operation", "login"), ("username", "admin")].map(|(key, value)| (key, value.to_owned()));
    let login = operation(String::new(), login.into_iter().chain([("accessKey", proof)]).collect()).await;
    let session = login["result"]["sessionName"].as_str().expect("a session").to_owned();
    let fault = json!({ "kind": "late_after_timeout", "calls": "create Contacts$", "milliseconds": 200 });
    vtiger.switch("faults", &json!({ "faults": [fault] })).await;
    let element = json!({ "lastname": "Гаев", "assigned_user_id": "19x1" }).to_string();
    let form = vec![("operation", "create".to_owned()), ("sessionName", session), ("elementType", "Contacts".into())];
    let form = form.into_iter().chain([("element", element)]).collect();
    assert_eq!(operation(String::new(), form).await, Value::Null);
    assert!(sandbox.records("Contacts").is_empty());
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(sandbox.records("Contacts").len(), 1);
}
