//! HTTP calls of channels. A failure says whether the message may have reached the other side.

use std::time::Duration;

use reqwest::{Certificate, Client, ClientBuilder, RequestBuilder};
use serde_json::Value;
use stagedoor_model::breakage;
use stagedoor_ports::Sending;

/// HTTP client of a channel.
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
        Self::of(stagedoor_http::builder())
    }

    /// Like [`Caller::new`]. It also trusts the root certificates of this PEM file.
    ///
    /// # Errors
    /// A sentence about `options.ca_file`: the file cannot be read, or holds no certificate.
    pub fn trusting(file: &str) -> Result<Self, String> {
        let pem = std::fs::read(file).map_err(|error| format!("options.ca_file: cannot read {file}: {error}"))?;
        let roots = Certificate::from_pem_bundle(&pem).unwrap_or_default();
        if roots.is_empty() {
            return Err(format!("options.ca_file: {file} holds no certificate in PEM"));
        }
        match breakage::is_on("own-roots-untrusted") {
            true => Self::new(),
            false => Self::of(stagedoor_http::builder().tls_certs_merge(roots)),
        }
    }

    fn of(builder: ClientBuilder) -> Result<Self, String> {
        let client = builder
            .connect_timeout(Duration::from_secs(5))
            .timeout(Duration::from_secs(15))
            .redirect(reqwest::redirect::Policy::none())
            .user_agent("stagedoor")
            .build();
        client.map(Self).map_err(|error| format!("no HTTP client: {error}"))
    }

    pub fn get(&self, url: &str) -> RequestBuilder {
        self.0.get(url)
    }

    pub fn post(&self, url: &str) -> RequestBuilder {
        self.0.post(url)
    }

    /// Makes a call and reads its answer.
    ///
    /// # Errors
    /// [`Sending::NotSent`] if the message was not sent, [`Sending::Lost`] if that is unknown.
    pub async fn call(&self, request: RequestBuilder) -> Result<Answer, Sending> {
        let response = request.send().await.map_err(failed)?;
        let status = response.status().as_u16();
        let header = response.headers().get("retry-after").and_then(|value| value.to_str().ok());
        let retry_after = header.and_then(|text| text.parse().ok());
        // A gateway's error page means that the message did not get through, or that its answer did not.
        let text = response.text().await.map_err(|_| Sending::Lost)?;
        match (status, serde_json::from_str(&text)) {
            (500.., Err(_)) if status == 502 || status == 504 => Err(Sending::Lost),
            (500.., Err(_)) => Err(Sending::NotSent(format!("it answered {status}"))),
            (_, Ok(body)) => Ok(Answer { status, retry_after, body }),
            (_, Err(_)) => Ok(Answer { status, retry_after, body: Value::Null }),
        }
    }
}

/// Interprets a failed request. The error's own text is not used, because it may hold the URL with a token.
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

    /// The id at this JSON pointer, given as a number or a text.
    pub fn id(&self, pointer: &str) -> Option<String> {
        match self.body.pointer(pointer)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }
}

/// A text in `options` of a source that configures sending. `None` if it is absent or empty.
pub fn option(source: &stagedoor_webhook::Source, name: &str) -> Option<String> {
    source.options.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
}
