//! Signature checks. Every check compares in constant time, over the raw bytes as received.

mod asymmetric;
mod hmac;

pub use self::hmac::{Encoding, HmacScheme};
pub use asymmetric::{RsaDigest, ecdsa_p256, is_certificate, is_p256_key, rsa_certificate};
use base64::{Engine, engine::general_purpose::STANDARD};
use md5::{Digest, Md5};
use stagedoor_model::{Timestamp, breakage};
use subtle::ConstantTimeEq;

use crate::{Delivery, Reject, Secret};

/// Proof that one of these checks passed.
#[derive(Debug)]
pub struct Verified(());

impl Verified {
    /// For deliveries that were verified when they came, and are read again from the journal.
    pub(crate) fn before() -> Self {
        Self(())
    }
}

/// The largest distance of a signed timestamp from now, in seconds (Standard Webhooks, "Verifying webhook
/// authenticity").
pub const TOLERANCE_SECONDS: i64 = 300;

const STANDARD_WEBHOOKS: HmacScheme = HmacScheme::sha256(Encoding::Base64).in_header("webhook-signature").after("v1,");

/// Checks Standard Webhooks 1.0: `webhook-id`, `webhook-timestamp`, `webhook-signature: v1,<base64>[ v1,<base64>…]`
/// over `id.timestamp.body` (github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md). A secret that
/// begins with `whsec_` is base64 of the key; any other is the key itself.
///
/// # Errors
/// `MissingSignature`, `MalformedSignature`, `OutsideReplayWindow`, `WrongSignature`.
pub fn standard_webhooks(delivery: &Delivery, secrets: &[Secret]) -> Result<Verified, Reject> {
    let id = delivery.header("webhook-id").ok_or(Reject::MissingSignature)?;
    // Dots separate the signed parts. With a dot in the id, two deliveries could have the same signature.
    if id.contains('.') && !breakage::is_on("dotted-id-believed") {
        return Err(Reject::MalformedSignature);
    }
    let stamp = delivery.header("webhook-timestamp").ok_or(Reject::MissingSignature)?;
    let header = delivery.header(STANDARD_WEBHOOKS.header()).ok_or(Reject::MissingSignature)?;
    let second: i64 = stamp.parse().map_err(|_| Reject::MalformedSignature)?;
    within_window(second, delivery.received_at)?;
    let before = format!("{id}.{stamp}.");
    STANDARD_WEBHOOKS.check_keyed(header.split(' '), &[before.as_bytes(), &delivery.body], secrets, key_of)
}

/// Checks UniSender's signature: `auth` stands once in the body and is hex(MD5(the body with the secret in its place)).
/// It is checked over the original bytes, because JSON cannot be written again identically.
///
/// # Errors
/// `MissingSignature`, `MalformedSignature` when it is not 32 hex digits or does not stand there once,
/// `WrongSignature`.
pub fn md5_in_body(delivery: &Delivery, auth: Option<&str>, secrets: &[Secret]) -> Result<Verified, Reject> {
    let auth = auth.ok_or(Reject::MissingSignature)?;
    if auth.len() != 32 || hex::decode(auth).is_err() {
        return Err(Reject::MalformedSignature);
    }
    let body = &delivery.body;
    let mut places = body.windows(32).enumerate().filter(|(_, part)| *part == auth.as_bytes()).map(|(at, _)| at);
    let (Some(at), None) = (places.next(), places.next()) else { return Err(Reject::MalformedSignature) };
    let (before, after) = (body.get(..at).unwrap_or(b""), body.get(at + 32..).unwrap_or(b""));
    any(secrets, |secret| {
        let mut hash = Md5::new();
        [before, secret.bytes(), after].iter().for_each(|part| hash.update(part));
        let right = hex::encode(hash.finalize());
        match bool::from(right.as_bytes().ct_eq(auth.to_ascii_lowercase().as_bytes())) {
            true => Ok(()),
            false => Err(Reject::WrongSignature),
        }
    })
}

/// Checks the password of HTTP basic authentication (RFC 7617). A secret may also be `user:password`.
///
/// # Errors
/// `MissingSignature`, `MalformedSignature`, `WrongSignature`.
pub fn basic(delivery: &Delivery, secrets: &[Secret]) -> Result<Verified, Reject> {
    let header = delivery.header("authorization").ok_or(Reject::MissingSignature)?;
    let (scheme, rest) = header.split_once(' ').ok_or(Reject::MalformedSignature)?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(Reject::MalformedSignature);
    }
    let pair = STANDARD.decode(rest.trim()).map_err(|_| Reject::MalformedSignature)?;
    let pair = String::from_utf8(pair).map_err(|_| Reject::MalformedSignature)?;
    let password = pair.split_once(':').map(|(_, password)| password);
    shown(Some(&pair), secrets).or_else(|_| shown(password, secrets))
}

/// Checks that a signed time is within `tolerance` of `now`, both in seconds. The tolerance is as long as a provider
/// may repeat a delivery.
///
/// # Errors
/// `OutsideReplayWindow`.
pub fn within(second: i64, tolerance: i64, now: Timestamp) -> Result<(), Reject> {
    let apart = now.as_second().saturating_sub(second).saturating_abs();
    if apart <= tolerance { Ok(()) } else { Err(Reject::OutsideReplayWindow) }
}

/// Checks that this header is present, without a check of the signature.
///
/// # Errors
/// `MissingSignature`.
pub fn offered(delivery: &Delivery, header: &str) -> Result<(), Reject> {
    delivery.header(header).map(drop).ok_or(Reject::MissingSignature)
}

/// Checks a secret that the sender shows itself, in a field, a header, or the path.
///
/// # Errors
/// `MissingSignature` when nothing was shown, `WrongSignature`.
pub fn shown(given: Option<&str>, secrets: &[Secret]) -> Result<Verified, Reject> {
    let given = given.filter(|text| !text.is_empty()).ok_or(Reject::MissingSignature)?;
    let matches = |secret: &Secret| match bool::from(secret.bytes().ct_eq(given.as_bytes())) {
        true => Ok(()),
        false => Err(Reject::WrongSignature),
    };
    any(secrets, matches)
}

fn key_of(secret: &Secret) -> Vec<u8> {
    let text = secret.bytes();
    let encoded = text.strip_prefix(b"whsec_".as_slice());
    encoded.and_then(|encoded| STANDARD.decode(encoded).ok()).unwrap_or_else(|| text.to_vec())
}

fn within_window(second: i64, now: Timestamp) -> Result<(), Reject> {
    within(second, TOLERANCE_SECONDS, now)
}

// Every secret is tried, so that the time taken does not reveal which one matches.
fn any(secrets: &[Secret], matches: impl Fn(&Secret) -> Result<(), Reject>) -> Result<Verified, Reject> {
    let fits = secrets.iter().filter(|secret| !secret.bytes().is_empty()).map(matches).filter(Result::is_ok).count();
    if fits > 0 { Ok(Verified(())) } else { Err(Reject::WrongSignature) }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue, Method};

    use super::*;

    const NOW: i64 = 1_736_899_200;

    fn delivery(body: &str, headers: &[(&'static str, &str)]) -> Delivery {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).expect("text")))
            .collect();
        let received_at = Timestamp::from_second(NOW + 10).expect("in range");
        let body = body.to_owned().into();
        Delivery { method: Method::POST, headers, query: String::new(), tail: String::new(), body, received_at }
    }

    fn signed_elsewhere(secret: &str, id: &str, second: i64, body: &str) -> String {
        let encoded = STANDARD.encode(secret);
        let signer = standardwebhooks::Webhook::new(&encoded).expect("a key");
        signer.sign(id, second, body.as_bytes()).expect("signed")
    }

    fn check(secret: &str, id: &str, second: i64, signature: &str) -> Result<Verified, Reject> {
        let stamp = second.to_string();
        let headers = [("webhook-id", id), ("webhook-timestamp", stamp.as_str()), ("webhook-signature", signature)];
        standard_webhooks(&delivery("{\"a\":1}", &headers), &[Secret::new(secret)])
    }

    #[test]
    fn what_the_reference_library_signs_is_believed() {
        let signature = signed_elsewhere("key", "msg_1", NOW, "{\"a\":1}");
        assert!(check("key", "msg_1", NOW, &signature).is_ok());
        assert!(check(&format!("whsec_{}", STANDARD.encode("key")), "msg_1", NOW, &signature).is_ok());
        assert!(check("key", "msg_1", NOW, &format!("v1a,xxx {signature}")).is_ok(), "one of several is enough");
    }

    #[test]
    fn a_signature_is_bound_to_its_id_time_and_key() {
        let signature = signed_elsewhere("key", "msg_1", NOW, "{\"a\":1}");
        assert_eq!(check("key", "msg_2", NOW, &signature).err(), Some(Reject::WrongSignature));
        assert_eq!(check("key", "msg_1", NOW + 1, &signature).err(), Some(Reject::WrongSignature));
        assert_eq!(check("other", "msg_1", NOW, &signature).err(), Some(Reject::WrongSignature));
        assert_eq!(check("", "msg_1", NOW, &signature).err(), Some(Reject::WrongSignature));
        let cut = signature.get(..signature.len() - 8).expect("long enough");
        assert_eq!(check("key", "msg_1", NOW, cut).err(), Some(Reject::WrongSignature));
        assert_eq!(check("key", "msg_1", NOW, "v2,abc").err(), Some(Reject::MalformedSignature));
    }

    #[test]
    fn a_delivery_replayed_six_minutes_later_is_refused() {
        let signature = signed_elsewhere("key", "msg_1", NOW - 360, "{\"a\":1}");
        assert_eq!(check("key", "msg_1", NOW - 360, &signature).err(), Some(Reject::OutsideReplayWindow));
    }

    #[test]
    fn a_shown_secret_must_be_shown_and_right() {
        let secrets = [Secret::new("old"), Secret::new("new")];
        assert!(shown(Some("new"), &secrets).is_ok() && shown(Some("old"), &secrets).is_ok());
        assert_eq!(shown(Some("ne"), &secrets).err(), Some(Reject::WrongSignature));
        assert_eq!(shown(None, &secrets).err(), Some(Reject::MissingSignature));
        assert_eq!(shown(Some(""), &[Secret::new("")]).err(), Some(Reject::MissingSignature));
    }
}
