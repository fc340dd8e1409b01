//! Changes a sample's delivery and signs it again as its provider does, with the keys that stand beside the sample.

use base64::{Engine, engine::general_purpose::STANDARD};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256, RsaKeyPair},
};
use serde_json::Value;
use stagedoor_testkit::{
    SignedRequest, hmac_sha1_base64, hmac_sha1_hex, hmac_sha256_hex, md5_hex, samples::Sample, standard_signature,
};

/// The same delivery with another body, signed again where the provider signs.
pub fn signed(sample: &Sample, path: &str, body: Vec<u8>) -> SignedRequest {
    let secret = sample.notes.get("secret").expect("a secret");
    let at = sample.notes.get("at").and_then(|at| at.parse().ok()).expect("a time");
    let mut signed_request = sample.signed_request(path);
    match sample.provider.as_str() {
        "form" | "shop" | "gateway" => {
            let fresh = resigned(&body, secret, at);
            signed_request.headers.retain(|(name, _)| !name.to_lowercase().starts_with("webhook-"));
            signed_request.headers.extend(fresh);
        }
        "qtickets" => {
            signed_request.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("x-signature"));
            signed_request.headers.push(("x-signature".into(), hmac_sha1_hex(secret, &body)));
        }
        "sendgrid" => {
            let stamp = at.as_second().to_string();
            let signature = ecdsa(sample, &[stamp.as_bytes(), &body].concat());
            signed_request.headers.retain(|(name, _)| !name.to_lowercase().starts_with("x-twilio"));
            signed_request.headers.push(("x-twilio-email-event-webhook-signature".into(), signature));
            signed_request.headers.push(("x-twilio-email-event-webhook-timestamp".into(), stamp));
        }
        "stripe" => {
            let proof = stripe(secret, at.as_second(), &body);
            signed_request.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("stripe-signature"));
            signed_request.headers.push(("stripe-signature".into(), format!("t={},v1={proof}", at.as_second())));
        }
        "twilio" => {
            let url = "https://hub.example.test/mail/twilio/main";
            signed_request.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("x-twilio-signature"));
            signed_request.headers.push(("x-twilio-signature".into(), twilio(url, &body, secret)));
        }
        "unisender" => {
            signed_request.body = unisender(&body, secret);
            return signed_request;
        }
        "ses" => {
            signed_request.body = sns(sample, &body);
            return signed_request;
        }
        "viber" | "messenger" | "instagram" | "whatsapp" => {
            let (name, prefix) = match sample.provider.as_str() {
                "viber" => ("x-viber-content-signature", ""),
                _ => ("x-hub-signature-256", "sha256="),
            };
            signed_request.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
            signed_request.headers.push((name.into(), format!("{prefix}{}", hmac_sha256_hex(secret, &body))));
        }
        _ => {}
    }
    signed_request.body = body;
    signed_request
}

/// Signs the raw bytes, which need not be JSON.
fn resigned(body: &[u8], secret: &str, at: stagedoor_model::Timestamp) -> Vec<(String, String)> {
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
    let secret = sample.notes.get("secret").expect("a secret").clone();
    match sample.provider.as_str() {
        "pretix" | "ticketscloud" | "yookassa" | "amocrm" | "sendpulse" | "mailchimp" | "smsc" => {
            signed_request.path = spoil(&secret).map_or_else(|| path.to_owned(), |shown| format!("{path}/{shown}"));
        }
        "vk" => {
            let mut body: Value = serde_json::from_slice(&signed_request.body).expect("JSON");
            match spoil(&secret) {
                Some(shown) => body["secret"] = shown.into(),
                None => _ = body.as_object_mut().expect("an object").remove("secret"),
            }
            signed_request.body = body.to_string().into_bytes();
        }
        "ses" | "mailgun" | "unisender" => {
            let place = match sample.provider.as_str() {
                "ses" => "/Signature",
                "mailgun" => "/signature/signature",
                _ => "/auth",
            };
            let mut body: Value = serde_json::from_slice(&signed_request.body).expect("JSON");
            let shown = body.pointer(place).and_then(Value::as_str).and_then(spoil);
            *body.pointer_mut(place).expect("a proof") = shown.map_or(Value::Null, Value::String);
            signed_request.body = body.to_string().into_bytes();
        }
        "stripe" => {
            let at: stagedoor_model::Timestamp = sample.notes["at"].parse().expect("a time");
            let right = stripe(&secret, at.as_second(), &signed_request.body);
            signed_request.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("stripe-signature"));
            let shown = spoil(&right).map(|proof| format!("t={},v1={proof}", at.as_second()));
            signed_request.headers.extend(shown.map(|shown| ("stripe-signature".into(), shown)));
        }
        "carrotquest" => {
            let text = String::from_utf8(signed_request.body).expect("a form");
            let field = format!("token={secret}");
            let shown = spoil(&secret).map(|shown| format!("token={shown}")).unwrap_or_default();
            signed_request.body = text.replace(&field, &shown).into_bytes();
        }
        _ => {
            let proof = [
                "webhook-signature",
                "x-signature",
                "x-api-key",
                "x-telegram-bot-api-secret-token",
                "x-viber-content-signature",
                "x-hub-signature-256",
                "x-twilio-email-event-webhook-signature",
                "x-twilio-signature",
                "authorization",
            ];
            let headers = signed_request.headers.into_iter().filter_map(|(name, value)| {
                match proof.contains(&name.to_lowercase().as_str()) {
                    true => Some((name, spoil(&value)?)),
                    false => Some((name, value)),
                }
            });
            signed_request.headers = headers.collect();
        }
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

/// Stripe's signature over the time, a point and the body (docs.stripe.com/webhooks).
fn stripe(secret: &str, second: i64, body: &[u8]) -> String {
    hmac_sha256_hex(secret, &[format!("{second}.").as_bytes(), body].concat())
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
