//! The HTTP client for shops.

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

/// Creates the HTTP client.
///
/// # Errors
/// A message, if no client can be built.
pub fn client() -> std::result::Result<reqwest::Client, String> {
    stagedoor_http::builder()
        .connect_timeout(Duration::from_secs(5))
        .timeout(Duration::from_secs(20))
        .redirect(reqwest::redirect::Policy::none())
        .user_agent("stagedoor")
        .build()
        .map_err(|error| format!("no HTTP client: {error}"))
}

/// HTTP client over sockets, created at the first call. Reading all root certificates takes milliseconds, and a config
/// check or the start of a function makes no call.
#[derive(Default)]
pub struct Sockets(OnceLock<reqwest::Client>);

impl Sockets {
    /// Returns a client that is created at its first call.
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

/// Client of one shop's API.
pub struct Shop {
    base: Url,
    http: Arc<dyn HttpClient>,
    /// Value of the `Authorization` header.
    authorization: String,
}

impl Shop {
    /// Creates the client of the shop at `base`.
    ///
    /// # Errors
    /// A message for `check-config`.
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

    /// Makes a GET call. `path` is taken segment by segment, so values from a webhook cannot leave their place. The
    /// host is always the configured one, even if an answer names another. `None` means a 404 of the shop itself.
    /// Callers read rows as a `Value`, one by one, because here an answer of another shape is an error.
    ///
    /// # Errors
    /// `Retry` if the shop does not answer as expected, `Fail` if it refuses the key or the config is at fault.
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
            // A page instead of JSON comes from another web server in the shop's place.
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
