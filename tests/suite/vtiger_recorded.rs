//! The stand-in for Vtiger is held to what was recorded from a running one: every recorded exchange is played against it,
//! in order, and status, content type, codes, sentences and shapes are compared.

use std::collections::BTreeMap;

use md5::{Digest, Md5};
use serde_json::{Map, Value, json};
use stagedoor_sandbox::{VtigerSandbox, VtigerSeed};
use tokio::net::TcpListener;

const FILES: [&str; 11] = [
    "01_auth",
    "02_meta",
    "03_create",
    "04_read_write",
    "05_query",
    "06_relations_sync",
    "07_duplicates",
    "08_other",
    "09_permissions",
    "10_companies_tasks_invoices",
    "11_invoices_where_they_work",
];

/// What the stand-in does otherwise, and why.
const DIFFERENT: [(&str, &str); 4] = [
    ("11_invoices_where_they_work/invoice", DETAILS),
    ("11_invoices_where_they_work/invoice_retrieve", DETAILS),
    ("11_invoices_where_they_work/invoice_with_tax", DETAILS),
    ("11_invoices_where_they_work/invoice_received_at_once", DETAILS),
];
const DETAILS: &str = "without LineItems_FinalDetails, which is for its form and tells the same once more";

/// Custom fields of the second installation that was recorded.
const SECOND: [(&str, &str); 7] = [
    ("Accounts", "cf_stagedoor_id"),
    ("Accounts", "cf_stagedoor_inn"),
    ("Accounts", "cf_stagedoor_kpp"),
    ("Invoice", "cf_stagedoor_id"),
    ("Potentials", "cf_stagedoor_orders"),
    ("Potentials", "cf_stagedoor_payment"),
    ("Potentials", "cf_stagedoor_city"),
];

struct Player {
    sandbox: VtigerSandbox,
    base: String,
    http: reqwest::Client,
    /// Names of sessions and ids as they were, to what they are here.
    known: BTreeMap<String, String>,
    /// Challenges as they were, to what they are here, by user.
    tokens: Vec<(String, String)>,
}

impl Player {
    async fn new(fields: &[(&str, &str)]) -> Self {
        let mut seed = VtigerSeed::default();
        seed.fields.extend(fields.iter().map(|(module, name)| ((*module).into(), (*name).into(), (*name).into())));
        let sandbox = VtigerSandbox::new(seed);
        // What was there before the first recorded exchange.
        for (number, name, mobile) in [(2, "Иванова", "+79990000001"), (3, "Smith", ""), (5, "O'Brien", "")] {
            sandbox.next_number(number);
            sandbox.added_by_manager(1, "Contacts", &[("lastname", name), ("mobile", mobile)]).expect("added");
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        tokio::spawn(sandbox.clone().serve(listener));
        let http = stagedoor_http::builder().build().expect("a client");
        Self { sandbox, base, http, known: BTreeMap::new(), tokens: Vec::new() }
    }

    async fn send(&self, request: &Value) -> Value {
        let path = request["path"].as_str().expect("a path");
        let url = format!("{}{path}", self.base);
        let pairs = |key: &str| -> Vec<(String, String)> {
            let all = request[key].as_object().into_iter().flatten();
            all.map(|(name, value)| (name.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
                .collect()
        };
        let built = match request["method"].as_str() {
            Some("POST") => match request["raw_body"].as_str() {
                Some(body) => self.http.post(url).header("content-type", "application/json").body(body.to_owned()),
                None => self.http.post(url).form(&pairs("form")),
            },
            _ => self.http.get(url).query(&pairs("query")),
        };
        let response = built.send().await.expect("an answer");
        let (status, kind) = (response.status().as_u16(), response.headers().get("content-type").cloned());
        let body = response.text().await.expect("a body");
        let mut answer =
            json!({ "status": status, "content_type": kind.map(|kind| kind.to_str().unwrap_or("").to_owned()) });
        match serde_json::from_str::<Value>(&body) {
            Ok(value) => answer["json"] = value,
            Err(_) => answer["text"] = body.into(),
        }
        answer
    }

    async fn login(&self, user: &str, key: &str) -> String {
        let asked = json!({ "method": "GET", "path": "/webservice.php", "query": { "operation": "getchallenge", "username": user } });
        let token = self.send(&asked).await["json"]["result"]["token"].as_str().expect("a token").to_owned();
        let proof = hex::encode(Md5::digest(format!("{token}{key}")));
        let form = json!({ "operation": "login", "username": user, "accessKey": proof });
        let asked = json!({ "method": "POST", "path": "/webservice.php", "form": form });
        self.send(&asked).await["json"]["result"]["sessionName"].as_str().expect("a session").to_owned()
    }

    /// A recorded request in the names of this run.
    async fn here(&mut self, name: &str, request: &Value) -> Value {
        let mut request = request.clone();
        for part in ["query", "form"] {
            let Some(all) = request[part].as_object().cloned() else { continue };
            let mut changed = Map::new();
            for (key, value) in all {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                let text = match key.as_str() {
                    "sessionName" if !matches!(name, "op_bogus_session" | "session_file_gone") => {
                        self.session(name, &text).await
                    }
                    "accessKey" => self.proof(&text).await,
                    _ => text,
                };
                changed.insert(key, text.into());
            }
            request[part] = changed.into();
        }
        request
    }

    async fn session(&mut self, name: &str, recorded: &str) -> String {
        if let Some(known) = self.known.get(recorded) {
            return known.clone();
        }
        // It was begun before the recording; whose it was, the name of the exchange tells.
        let limited = name.starts_with("limited_user") || name == "session_of_user_made_inactive";
        let here = match limited {
            true => self.login("sales1", "StagedoorKey0002").await,
            false => self.login("admin", "StagedoorKey0001").await,
        };
        self.known.insert(recorded.to_owned(), here.clone());
        here
    }

    /// The proof for the challenge that this one answered.
    async fn proof(&mut self, recorded: &str) -> String {
        for key in ["StagedoorKey0001", "StagedoorKey0002"] {
            for (then, now) in &self.tokens {
                if hex::encode(Md5::digest(format!("{then}{key}"))) == recorded {
                    return hex::encode(Md5::digest(format!("{now}{key}")));
                }
            }
        }
        recorded.to_owned()
    }

    /// What somebody did beside the recorded calls.
    async fn before(&mut self, name: &str, pair: &Value) {
        match name {
            "login_token_expired" => self.sandbox.pass(400),
            "getchallenge_inactive_user" => {
                // It had come in before.
                let session = self.login("sales1", "StagedoorKey0002").await;
                self.known.insert("inactive".into(), session);
                self.sandbox.set_active("sales1", false);
            }
            "session_of_user_made_inactive" => {
                let here = self.known["inactive"].clone();
                let recorded = pair["request"]["query"]["sessionName"].as_str().expect("a session").to_owned();
                self.known.insert(recorded, here);
            }
            "listtypes" => self.sandbox.set_active("sales1", true),
            "default_limit_is_100" => {
                self.sandbox.next_number(500);
                for n in 0..250 {
                    self.sandbox.added_by_manager(1, "Contacts", &[("lastname", &format!("Many {n}"))]).expect("added");
                }
            }
            "unique_first" => self.sandbox.set_unique("Contacts", &["email", "cf_stagedoor_id"]),
            "potential_unique" => self.sandbox.set_unique("Potentials", &["cf_stagedoor_id"]),
            "unique_email_only_duplicate" => self.sandbox.set_unique("Contacts", &["email"]),
            "database_down_getchallenge" => self.sandbox.set_down(true),
            "limited_user_listtypes" => {
                self.sandbox.set_down(false);
                self.sandbox.set_unique("Contacts", &[]);
            }
            "describe_Accounts" => self.sandbox.set_unique("Potentials", &[]),
            _ => {}
        }
        // The record gets the number that it had.
        let made = pair.pointer("/response/json/result/id").and_then(Value::as_str).unwrap_or_default();
        let makes = pair.pointer("/request/form/operation").and_then(Value::as_str) == Some("create");
        let first = pair.pointer("/response/json/result/Accounts").and_then(Value::as_str);
        let number = |id: &str| id.split_once('x').and_then(|(_, number)| number.parse::<u64>().ok());
        if let Some(number) = number(made).filter(|_| makes).or_else(|| first.and_then(number)) {
            self.sandbox.next_number(number);
        }
    }

    fn learn(&mut self, pair: &Value, answer: &Value) {
        let both = |path: &str| {
            let text = |value: &Value| value.pointer(path).and_then(Value::as_str).map(str::to_owned);
            text(&pair["response"]).zip(text(answer))
        };
        if let Some((then, now)) = both("/json/result/sessionName") {
            self.known.insert(then, now);
        }
        self.tokens.extend(both("/json/result/token"));
    }
}

/// Status, content type, code, sentence, and the names and kinds of what is in it.
fn outline(response: &Value) -> Value {
    let body = match response.get("json") {
        Some(body) if body["success"] == json!(false) => {
            let message = body["error"]["message"].as_str().unwrap_or_default();
            // Of a syntax error the beginning: which tokens its parser names is its own affair.
            let message = if message.starts_with("Syntax Error") { "Syntax Error" } else { message };
            json!({ "code": body["error"]["code"], "message": message })
        }
        Some(body) => shape(body),
        // A start page is a page.
        None => match response["text"].as_str() {
            Some(text) if !text.contains('<') => text.into(),
            Some(_) => json!("a page"),
            None => json!("a page"),
        },
    };
    json!({ "status": response["status"], "kind": response["content_type"], "body": body })
}

/// What became of the fields that were sent, as they are held: what is cut or replaced is the same here.
fn kept(pair: &Value, response: &Value) -> Value {
    let element = pair.pointer("/request/form/element").and_then(Value::as_str).unwrap_or_default();
    let Ok(Value::Object(sent)) = serde_json::from_str::<Value>(element) else { return Value::Null };
    // Times and numbers are those of the day.
    let of_the_day = |key: &str| matches!(key, "createdtime" | "modifiedtime" | "contact_no" | "LineItems");
    let held = sent.keys().filter(|key| !of_the_day(key));
    held.map(|key| (key.clone(), response["json"]["result"][key].clone())).collect::<Map<_, _>>().into()
}

fn shape(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            fields.iter().map(|(key, value)| (key.clone(), shape(value))).collect::<Map<_, _>>().into()
        }
        Value::Array(all) => all.first().map_or(json!([]), |first| json!([shape(first)])),
        Value::String(_) => "text".into(),
        Value::Number(_) => "number".into(),
        other => other.clone(),
    }
}

#[tokio::test]
async fn every_recorded_exchange_is_answered_as_it_was() {
    let mut player = Player::new(&[]).await;
    let (mut all, mut different) = (0, Vec::new());
    for file in FILES {
        let path = format!("{}/../infra/sandbox/recorded/vtiger/{file}.json", env!("CARGO_MANIFEST_DIR"));
        let pairs: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(path).expect("a file")).expect("JSON");
        player.sandbox.set_makes_invoices(file.starts_with("11"));
        if file.starts_with("10") {
            // Another installation was recorded from here on.
            player = Player::new(&SECOND).await;
        }
        for pair in pairs {
            let name = pair["name"].as_str().expect("a name").to_owned();
            player.before(&name, &pair).await;
            let request = player.here(&name, &pair["request"]).await;
            let answer = player.send(&request).await;
            player.learn(&pair, &answer);
            all += 1;
            let then = json!([outline(&pair["response"]), kept(&pair, &pair["response"])]);
            let now = json!([outline(&answer), kept(&pair, &answer)]);
            if then != now {
                different.push((format!("{file}/{name}"), then, now));
            }
        }
    }
    println!("{} of {all} recorded exchanges agree", all - different.len());
    for (name, then, now) in &different {
        println!("{name}\n  recorded {then}\n  here     {now}");
    }
    let names: Vec<&str> = different.iter().map(|(name, _, _)| name.as_str()).collect();
    assert_eq!(names, DIFFERENT.map(|(name, _)| name));
}
