use bytes::Bytes;
use http::{HeaderMap, Method};
use stagedoor_model::Timestamp;

/// One HTTP request as it came. Only the body is decompressed.
#[derive(Clone)]
pub struct Delivery {
    pub method: Method,
    pub headers: HeaderMap,
    pub query: String,
    /// The path after the source's name, without slashes around it.
    pub tail: String,
    pub body: Bytes,
    pub received_at: Timestamp,
}

impl Delivery {
    /// The value of a header; `None` if it is absent or not text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// True if the content type is a form.
    pub fn is_form(&self) -> bool {
        self.header("content-type").is_some_and(|kind| kind.to_ascii_lowercase().starts_with("application/x-www-form"))
    }
}
