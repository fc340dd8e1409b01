//! Changes a sample's delivery and signs it again as its provider does, with the keys that stand beside the sample.

use base64::{Engine, engine::general_purpose::STANDARD};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256, RsaKeyPair},
};
use serde_json::Value;
use stagedoor_model::Timestamp;
use stagedoor_testkit::{
    SignedRequest, hmac_sha1_base64, hmac_sha1_hex, hmac_sha256_hex, md5_hex, samples::Sample, standard_signature,
};

use crate::profile::{self, Digest, Encoding, Proof, Scheme};

/// The same delivery with another body, signed again where the provider signs.
pub fn signed(sample: &Sample, path: &str, body: Vec<u8>) -> SignedRequest {
    let secret = sample.notes.get("secret").expect("a secret");
    let at: Timestamp = sample.notes.get("at").and_then(|at| at.parse().ok()).expect("a time");
    let profile = profile::of(&sample.provider);
    let (proof, second) = (&profile.proof, at.as_second());
    let mut signed_request = sample.signed_request(path);
    let mut put = |fresh: Vec<(String, String)>| {
        signed_request.headers.retain(|(name, _)| fresh.iter().all(|(new, _)| !new.eq_ignore_ascii_case(name)));
        signed_request.headers.extend(fresh);
    };
    let header = proof.header().unwrap_or_default().to_owned();
    match proof.scheme {
        Scheme::StandardWebhooks => put(resigned(&body, secret, at)),
        Scheme::Hmac => put(vec![(header, hmac(proof, secret, &body))]),
        Scheme::Timed => {
            let mac = hmac_sha256_hex(secret, &[format!("{second}.").as_bytes(), &body].concat());
            put(vec![(header, format!("t={second},v1={mac}"))]);
        }
        Scheme::UrlAndFields => {
            let url = profile.options.get("url").and_then(Value::as_str).expect("a URL");
            put(vec![(header, twilio(url, &body, secret))]);
        }
        Scheme::Ecdsa => {
            let stamp = second.to_string();
            let signature = ecdsa(sample, &[stamp.as_bytes(), &body].concat());
            put(vec![(header.replace("-signature", "-timestamp"), stamp), (header, signature)]);
        }
        Scheme::Md5 => return SignedRequest { body: unisender(&body, secret), ..signed_request },
        Scheme::Sns => return SignedRequest { body: sns(sample, &body), ..signed_request },
        Scheme::Shown | Scheme::Fields => {}
    }
    SignedRequest { body, ..signed_request }
}

/// A provider's HMAC over the body, as its header carries it.
fn hmac(proof: &Proof, secret: &str, body: &[u8]) -> String {
    let mac = match proof.digest {
        Digest::Sha1 => hmac_sha1_hex(secret, body),
        Digest::Sha256 => hmac_sha256_hex(secret, body),
    };
    let text = match proof.encoding {
        Encoding::Hex => mac,
        Encoding::Base64 => STANDARD.encode(hex::decode(mac).expect("hex")),
    };
    format!("{}{text}", proof.prefix)
}

/// Signs the raw bytes, which need not be JSON.
fn resigned(body: &[u8], secret: &str, at: Timestamp) -> Vec<(String, String)> {
    let signature = standard_signature(secret, "msg_bent", at, body);
    let headers = [
        ("webhook-id", "msg_bent".into()),
        ("webhook-timestamp", at.as_second().to_string()),
        ("webhook-signature", signature),
    ];
    headers.map(|(name, value)| (name.to_owned(), value)).to_vec()
}

/// The delivery with changed proof of authenticity: headers, fields or path parts. `spoil` returns the new value, or
/// `None` to remove it.
pub fn spoilt(sample: &Sample, path: &str, spoil: impl Fn(&str) -> Option<String>) -> SignedRequest {
    let mut signed_request = sample.signed_request(path);
    let secret = sample.notes.get("secret").expect("a secret");
    let profile = profile::of(&sample.provider);
    match profile.proof.place.split_once(' ') {
        Some(("json", pointer)) => {
            let mut body: Value = serde_json::from_slice(&signed_request.body).expect("JSON");
            let shown = body.pointer(pointer).and_then(Value::as_str).and_then(spoil);
            *body.pointer_mut(pointer).expect("a proof") = shown.map_or(Value::Null, Value::String);
            signed_request.body = body.to_string().into_bytes();
        }
        Some(("form", field)) => {
            let text = String::from_utf8(signed_request.body).expect("a form");
            let shown = spoil(secret).map(|shown| format!("{field}={shown}")).unwrap_or_default();
            signed_request.body = text.replace(&format!("{field}={secret}"), &shown).into_bytes();
        }
        // Other parts of the header prove nothing.
        Some((_, header)) if profile.proof.scheme == Scheme::Timed => {
            let at: Timestamp = sample.notes["at"].parse().expect("a time");
            let message = [format!("{}.", at.as_second()).as_bytes(), &signed_request.body].concat();
            signed_request.headers.retain(|(name, _)| !name.eq_ignore_ascii_case(header));
            let shown = spoil(&hmac_sha256_hex(secret, &message));
            let shown = shown.map(|proof| (header.to_owned(), format!("t={},v1={proof}", at.as_second())));
            signed_request.headers.extend(shown);
        }
        Some((_, header)) => {
            let headers = signed_request.headers.into_iter();
            let changed = headers.filter_map(|(name, value)| match name.eq_ignore_ascii_case(header) {
                true => Some((name, spoil(&value)?)),
                false => Some((name, value)),
            });
            signed_request.headers = changed.collect();
        }
        None => signed_request.path = spoil(secret).map_or(path.to_owned(), |shown| format!("{path}/{shown}")),
    }
    signed_request
}

fn key(sample: &Sample) -> Vec<u8> {
    STANDARD.decode(sample.notes.get("signing").expect("a key of our own")).expect("base64")
}

fn ecdsa(sample: &Sample, message: &[u8]) -> String {
    let random = SystemRandom::new();
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &key(sample), &random).expect("a key");
    STANDARD.encode(key.sign(&random, message).expect("signed"))
}

/// Twilio's signature (twilio.com/docs/usage/security).
fn twilio(url: &str, body: &[u8], secret: &str) -> String {
    let fields = url::form_urlencoded::parse(body).map(|(name, value)| (name.into_owned(), value.into_owned()));
    let mut fields: Vec<(String, String)> = fields.collect();
    fields.sort();
    fields.dedup();
    let message = fields.iter().fold(url.to_owned(), |text, (name, value)| text + name + value);
    hmac_sha1_base64(secret, message.as_bytes())
}

/// Replaces the value of `auth` if the body is JSON that has one.
fn unisender(body: &[u8], secret: &str) -> Vec<u8> {
    let auth = serde_json::from_slice::<Value>(body).ok().and_then(|body| body["auth"].as_str().map(str::to_owned));
    let (Some(auth), Ok(text)) = (auth.filter(|auth| auth.len() == 32), String::from_utf8(body.to_vec())) else {
        return body.to_vec();
    };
    let right = md5_hex(text.replacen(&auth, secret, 1).as_bytes());
    text.replacen(&auth, &right, 1).into_bytes()
}

/// SNS's signature, version 2 (docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html).
fn sns(sample: &Sample, body: &[u8]) -> Vec<u8> {
    let Ok(mut message) = serde_json::from_slice::<Value>(body) else { return body.to_vec() };
    let keys = ["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"];
    let part = |key: &&str| message.get(*key)?.as_str().map(|value| format!("{key}\n{value}\n"));
    let signed: String = keys.iter().filter_map(part).collect();
    let key = RsaKeyPair::from_pkcs8(&key(sample)).expect("a key");
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature).expect("signed");
    if message.get("Signature").is_some_and(Value::is_string) {
        message["Signature"] = STANDARD.encode(signature).into();
    }
    message.to_string().into_bytes()
}
