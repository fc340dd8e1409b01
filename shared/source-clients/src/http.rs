//! The one way in which shops are asked.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;
use stagedoor_model::breakage;
use stagedoor_ports::{HttpClient, HttpError, PortError, Result};
use stagedoor_webhook::lenient;
use url::Url;

/// # Errors
/// When none can be made.
pub fn client() -> std::result::Result<reqwest::Client, String> {
    stagedoor_http::builder()
        .connect_timeout(Duration::from_secs(5))
        .timeout(Duration::from_secs(20))
        .redirect(reqwest::redirect::Policy::none())
        .user_agent("stagedoor")
        .build()
        .map_err(|error| format!("no HTTP client: {error}"))
}

/// The client over sockets. It is made at the first call: to read all root certificates takes milliseconds, and a config is
/// checked, and a function started, without a call.
#[derive(Default)]
pub struct Sockets(OnceLock<reqwest::Client>);

impl Sockets {
    pub fn lazy() -> Arc<dyn HttpClient> {
        Arc::new(Self::default())
    }
}

#[async_trait]
impl HttpClient for Sockets {
    async fn send(&self, request: Request<Bytes>) -> std::result::Result<Response<Bytes>, HttpError> {
        let failed = |error: reqwest::Error| match error.is_timeout() {
            true => HttpError::NoAnswer,
            false => HttpError::NoConnection,
        };
        let request = reqwest::Request::try_from(request).map_err(failed)?;
        let client = match self.0.get() {
            Some(client) => client,
            None => {
                let made = client().map_err(|_| HttpError::NoConnection)?;
                self.0.get_or_init(|| made)
            }
        };
        let answer = client.execute(request).await.map_err(failed)?;
        let mut read = Response::new(Bytes::new());
        *read.status_mut() = answer.status();
        *read.body_mut() = answer.bytes().await.map_err(failed)?;
        Ok(read)
    }
}

pub struct Shop {
    base: Url,
    http: Arc<dyn HttpClient>,
    /// The value of the `Authorization` header.
    authorization: String,
}

impl Shop {
    /// # Errors
    /// A sentence for `check-config`.
    pub fn new(base: &str, authorization: String, http: &Arc<dyn HttpClient>) -> std::result::Result<Self, String> {
        let mut base: Url = base.parse().map_err(|_| {
            "options.base_url is no URL, expected the shop's address such as https://tickets.example.ru".to_owned()
        })?;
        if !matches!(base.scheme(), "http" | "https") {
            return Err("options.base_url must begin with https:// or http://".into());
        }
        base.set_query(None);
        Ok(Self { base, http: Arc::clone(http), authorization })
    }

    /// `path` is taken segment by segment, so that what a stranger's webhook named cannot leave its place; the host is
    /// the configured one whatever an answer says. `None` is a 404 of the shop's own. Rows are asked for as a `Value` and read
    /// one by one: here an answer of another shape is one that does not stand.
    pub async fn get<T: DeserializeOwned>(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Option<T>> {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| PortError::Fail("the shop's address has no path".into()))?
            .pop_if_empty()
            .extend(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let request = Request::get(url.as_str())
            .header("authorization", &self.authorization)
            .header("accept", "application/json")
            .body(Bytes::new())
            .map_err(|_| {
                PortError::Fail("the shop's address or key cannot be sent; look at the source's options".into())
            })?;
        let answer = self.http.send(request).await.map_err(|error| {
            let what = match error {
                HttpError::NoAnswer => "did not answer in time",
                HttpError::NoConnection => "cannot be reached",
            };
            PortError::Retry(format!("the shop {what}"))
        })?;
        match answer.status() {
            // A page instead is of a web server that stands where the shop was.
            StatusCode::NOT_FOUND if is_json(answer.body()) || breakage::is_on("page-of-a-shop-is-gone") => Ok(None),
            status if status.is_success() => {
                let other = || PortError::Retry("the shop's answer has another shape".into());
                let value: Value = serde_json::from_slice(answer.body()).map_err(|_| other())?;
                lenient(&value, &[]).map(|(read, _)| Some(read)).map_err(|_| other())
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Err(PortError::Fail("the shop refuses our key; look at the source's options".into()))
            }
            status => Err(PortError::Retry(format!("the shop answered {}", status.as_u16()))),
        }
    }
}

fn is_json(body: &Bytes) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok()
}
