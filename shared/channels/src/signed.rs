//! Signatures of the hub's own posts: Standard Webhooks 1.0.

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use stagedoor_webhook::Secret;

/// The value of `webhook-signature` for a body that is posted under `id`. `second` is the time in Unix seconds.
pub fn signature(secret: &Secret, id: &str, second: i64, body: &str) -> String {
    let secret = secret.reveal();
    let decoded = secret.strip_prefix("whsec_").and_then(|text| STANDARD.decode(text).ok());
    let key = decoded.unwrap_or_else(|| secret.into_bytes());
    // HMAC takes a key of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&key) else { return String::new() };
    mac.update(format!("{id}.{second}.{body}").as_bytes());
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}
