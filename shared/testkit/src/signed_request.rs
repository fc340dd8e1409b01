use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use md5::Digest;
use serde_json::Value;
use sha1::Sha1;
use sha2::Sha256;
use stagedoor_model::Timestamp;

/// One delivery with its signature, ready to be posted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedRequest {
    /// `/<function>/<source>`, and any further path of the provider.
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl SignedRequest {
    pub fn new(path: &str, content_type: &str, body: Vec<u8>) -> Self {
        Self { path: path.to_owned(), headers: vec![("content-type".into(), content_type.into())], body }
    }

    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Posts the delivery to the hub at `base`. Returns the status and the body.
    ///
    /// # Errors
    /// When the hub cannot be reached.
    pub async fn post(&self, http: &reqwest::Client, base: &str) -> Result<(u16, String), reqwest::Error> {
        let mut request = http.post(format!("{base}{}", self.path)).body(self.body.clone());
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let response = request.send().await?;
        Ok((response.status().as_u16(), response.text().await?))
    }
}

/// A form-encoded delivery, as browsers and Tilda send it.
pub fn form(path: &str, fields: &[(&str, &str)]) -> SignedRequest {
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    SignedRequest::new(path, "application/x-www-form-urlencoded", body.into_bytes())
}

pub fn json(path: &str, body: &Value) -> SignedRequest {
    SignedRequest::new(path, "application/json", body.to_string().into_bytes())
}

/// A JSON delivery signed by Standard Webhooks.
pub fn form_signed(path: &str, body: &Value, secret: &str, id: &str, now: Timestamp) -> SignedRequest {
    let signed_request = json(path, body);
    let signature = standard_signature(secret, id, now, &signed_request.body);
    let second = now.as_second().to_string();
    signed_request.header("webhook-id", id).header("webhook-timestamp", &second).header("webhook-signature", &signature)
}

/// The signature of Standard Webhooks: `v1,…`.
pub fn standard_signature(secret: &str, id: &str, now: Timestamp, body: &[u8]) -> String {
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).map(|mut mac| {
        mac.update(format!("{id}.{}.", now.as_second()).as_bytes());
        mac.update(body);
        STANDARD.encode(mac.finalize().into_bytes())
    });
    format!("v1,{}", mac.unwrap_or_default())
}

pub fn hmac_sha1_hex(secret: &str, body: &[u8]) -> String {
    let mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes()).map(|mut mac| {
        mac.update(body);
        hex::encode(mac.finalize().into_bytes())
    });
    mac.unwrap_or_default()
}

pub fn hmac_sha1_base64(secret: &str, message: &[u8]) -> String {
    STANDARD.encode(hex::decode(hmac_sha1_hex(secret, message)).unwrap_or_default())
}

pub fn md5_hex(body: &[u8]) -> String {
    hex::encode(md5::Md5::digest(body))
}

pub fn hmac_sha256_hex(secret: &str, body: &[u8]) -> String {
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).map(|mut mac| {
        mac.update(body);
        hex::encode(mac.finalize().into_bytes())
    });
    mac.unwrap_or_default()
}

/// Reports as UniSender sends them. `auth` is the MD5 of the body with the key in its place.
pub fn unisender(path: &str, events: &[Value], key: &str) -> SignedRequest {
    let body = |auth: &str| {
        let users = serde_json::json!([{ "login": "tour", "Events": events }]);
        serde_json::json!({ "auth": auth, "num": 1, "events_by_user": users }).to_string()
    };
    let auth = md5_hex(body(key).as_bytes());
    SignedRequest::new(path, "application/json", body(&auth).into_bytes())
}

/// An order as Qtickets sends it: `X-Signature = hex(HMAC-SHA1(secret, raw body))`.
pub fn qtickets(path: &str, kind: &str, body: &Value, secret: &str) -> SignedRequest {
    let signed_request = json(path, body);
    let signature = hmac_sha1_hex(secret, &signed_request.body);
    signed_request
        .header("x-event-type", kind)
        .header("x-model-name", "Order")
        .header("user-agent", "Qtickets-Webhooks/2.0")
        .header("x-signature", &signature)
}
