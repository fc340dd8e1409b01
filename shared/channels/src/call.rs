//! One HTTP call, and what its failure means: whether anything can have reached the other side.

use std::time::Duration;

use reqwest::{Client, RequestBuilder};
use serde_json::Value;
use stagedoor_ports::Sending;

#[derive(Clone)]
pub struct Caller(Client);

/// An answer with a body.
pub struct Answer {
    pub status: u16,
    pub retry_after: Option<u64>,
    pub body: Value,
}

impl Caller {
    pub fn new() -> Result<Self, String> {
        let client = stagedoor_http::builder()
            .connect_timeout(Duration::from_secs(5))
            .timeout(Duration::from_secs(15))
            .redirect(reqwest::redirect::Policy::none())
            .user_agent("stagedoor")
            .build();
        client.map(Self).map_err(|error| format!("no HTTP client: {error}"))
    }

    pub fn post(&self, url: &str) -> RequestBuilder {
        self.0.post(url)
    }

    pub async fn call(&self, request: RequestBuilder) -> Result<Answer, Sending> {
        let response = request.send().await.map_err(failed)?;
        let status = response.status().as_u16();
        let header = response.headers().get("retry-after").and_then(|value| value.to_str().ok());
        let retry_after = header.and_then(|text| text.parse().ok());
        // A gateway's error page says that the message did not get through, or that its answer did not.
        let text = response.text().await.map_err(|_| Sending::Lost)?;
        match (status, serde_json::from_str(&text)) {
            (500.., Err(_)) if status == 502 || status == 504 => Err(Sending::Lost),
            (500.., Err(_)) => Err(Sending::NotSent(format!("it answered {status}"))),
            (_, Ok(body)) => Ok(Answer { status, retry_after, body }),
            (_, Err(_)) => Ok(Answer { status, retry_after, body: Value::Null }),
        }
    }
}

/// The error's own text may hold the URL, and the URL a token.
fn failed(error: reqwest::Error) -> Sending {
    if error.is_connect() || error.is_builder() {
        return Sending::NotSent("it cannot be reached".into());
    }
    Sending::Lost
}

impl Answer {
    pub fn text(&self, pointer: &str) -> String {
        self.body.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    pub fn number(&self, pointer: &str) -> Option<i64> {
        self.body.pointer(pointer)?.as_i64()
    }

    /// An id, whether it is a number or a text.
    pub fn id(&self, pointer: &str) -> Option<String> {
        match self.body.pointer(pointer)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }
}

/// `options` of a source that say how to send.
pub fn option(source: &stagedoor_webhook::Source, name: &str) -> Option<String> {
    source.options.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
}
