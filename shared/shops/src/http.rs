//! The one way in which shops are asked.

use std::time::Duration;

use reqwest::StatusCode;
use serde::de::DeserializeOwned;
use stagedoor_ports::{PortError, Result};
use url::Url;

/// # Errors
/// When none can be made.
pub fn client() -> std::result::Result<reqwest::Client, String> {
    reqwest::Client::builder()
        .connect_timeout(Duration::from_secs(5))
        .timeout(Duration::from_secs(20))
        .redirect(reqwest::redirect::Policy::none())
        .user_agent("stagedoor")
        .build()
        .map_err(|error| format!("no HTTP client: {error}"))
}

pub struct Shop {
    base: Url,
    http: reqwest::Client,
    /// The value of the `Authorization` header.
    authorization: String,
}

impl Shop {
    /// # Errors
    /// A sentence for `check-config`.
    pub fn new(base: &str, authorization: String) -> std::result::Result<Self, String> {
        let mut base: Url = base.parse().map_err(|_| {
            "options.base_url is no URL, expected the shop's address such as https://tickets.example.ru".to_owned()
        })?;
        if !matches!(base.scheme(), "http" | "https") {
            return Err("options.base_url must begin with https:// or http://".into());
        }
        base.set_query(None);
        Ok(Self { base, http: client()?, authorization })
    }

    /// `path` is taken segment by segment, so that what a stranger's webhook named cannot leave its place; the host is
    /// the configured one whatever an answer says. `None` is 404.
    pub async fn get<T: DeserializeOwned>(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Option<T>> {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| PortError::Fail("the shop's address has no path".into()))?
            .pop_if_empty()
            .extend(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let request =
            self.http.get(url).header("authorization", &self.authorization).header("accept", "application/json");
        let response = request.send().await.map_err(|error| {
            let what = if error.is_timeout() { "did not answer in time" } else { "cannot be reached" };
            PortError::Retry(format!("the shop {what}"))
        })?;
        match response.status() {
            StatusCode::NOT_FOUND => Ok(None),
            status if status.is_success() => {
                let read = response.json().await;
                read.map(Some).map_err(|_| PortError::Retry("the shop's answer has another shape".into()))
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Err(PortError::Fail("the shop refuses our key; look at the source's options".into()))
            }
            status => Err(PortError::Retry(format!("the shop answered {}", status.as_u16()))),
        }
    }
}
