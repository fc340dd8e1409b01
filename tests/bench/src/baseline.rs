//! The plain per-order integration that people write: find the contact, create or update it, find the deal, create
//! the deal. Its calls are counted on a part of the same burst; at seven a second the whole burst would take hours.

use serde_json::{Value, json};
use stagedoor_sandbox::{Sandbox, Seed};
use tokio::net::TcpListener;

use crate::paid_order::order;

const SAMPLE: usize = 200;

pub async fn calls_an_order() -> Result<f64, String> {
    let seed = Seed { rate: 1_000_000, ..Seed::default() };
    let token = seed.long_lived.clone();
    let sandbox = Sandbox::new(seed);
    let listener = TcpListener::bind("127.0.0.1:0").await.map_err(|error| error.to_string())?;
    let base = format!("http://{}", listener.local_addr().map_err(|error| error.to_string())?);
    let serving = tokio::spawn(sandbox.clone().serve(listener));
    let http = stagedoor_http::builder().build().map_err(|error| error.to_string())?;
    let plain = Plain { http, base, token };
    for n in 0..SAMPLE {
        plain.take(&order(n)).await.map_err(|error| error.to_string())?;
    }
    serving.abort();
    let calls: u64 = sandbox.calls().values().sum();
    Ok(calls as f64 / SAMPLE as f64)
}

struct Plain {
    http: reqwest::Client,
    base: String,
    token: String,
}

impl Plain {
    async fn take(&self, order: &Value) -> Result<(), reqwest::Error> {
        let text = |pointer: &str| order.pointer(pointer).and_then(Value::as_str).unwrap_or("").to_owned();
        let phone = text("/data/buyer/phone");
        let fields = json!([{ "field_code": "PHONE", "values": [{ "value": phone, "enum_code": "WORK" }] }]);
        let found = self.find("contacts", phone.get(2..).unwrap_or("")).await?;
        let contact = match found {
            Some(id) => {
                let path = format!("/api/v4/contacts/{id}");
                self.send(reqwest::Method::PATCH, &path, &json!({ "custom_fields_values": fields })).await?;
                Some(id)
            }
            None => {
                let row = json!([{ "name": text("/data/buyer/name"), "custom_fields_values": fields }]);
                self.send(reqwest::Method::POST, "/api/v4/contacts", &row)
                    .await?
                    .pointer("/_embedded/contacts/0/id")
                    .and_then(Value::as_u64)
            }
        };
        let name = format!("Order {}", text("/data/id"));
        if self.find("leads", &name).await?.is_none() {
            let row = json!([{ "name": name, "price": 1500, "_embedded": { "contacts": [{ "id": contact }] } }]);
            self.send(reqwest::Method::POST, "/api/v4/leads", &row).await?;
        }
        Ok(())
    }

    async fn find(&self, entity: &str, words: &str) -> Result<Option<u64>, reqwest::Error> {
        let request = self.http.get(format!("{}/api/v4/{entity}", self.base)).query(&[("query", words)]);
        let text = request.bearer_auth(&self.token).send().await?.text().await?;
        let answer: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
        Ok(answer.pointer(&format!("/_embedded/{entity}/0/id")).and_then(Value::as_u64))
    }

    async fn send(&self, method: reqwest::Method, path: &str, body: &Value) -> Result<Value, reqwest::Error> {
        let request = self.http.request(method, format!("{}{path}", self.base)).json(body);
        request.bearer_auth(&self.token).send().await?.json().await
    }
}
