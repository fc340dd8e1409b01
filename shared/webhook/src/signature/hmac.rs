//! HMAC signatures (RFC 2104). What differs between providers is data: the digest, the encoding, the header and a
//! prefix.

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::Sha256;
use stagedoor_model::breakage;
use subtle::ConstantTimeEq;

use super::{Verified, any, offered, within};
use crate::{Delivery, Reject, Secret};

/// The digest of an HMAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Digest {
    Sha1,
    Sha256,
}

/// How the bytes of an HMAC are written as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    Hex,
    Base64,
}

/// How a provider signs: `HmacScheme::sha256(Encoding::Base64).in_header("tito-signature")`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HmacScheme {
    digest: Digest,
    encoding: Encoding,
    header: &'static str,
    prefix: &'static str,
}

/// The largest number of signatures of one request that are checked: two during the rotation of a secret, and room for
/// more.
const SIGNATURES: usize = 5;

impl HmacScheme {
    /// HMAC-SHA1.
    pub const fn sha1(encoding: Encoding) -> Self {
        Self { digest: Digest::Sha1, encoding, header: "", prefix: "" }
    }

    /// HMAC-SHA256.
    pub const fn sha256(encoding: Encoding) -> Self {
        Self { digest: Digest::Sha256, encoding, header: "", prefix: "" }
    }

    /// The header that carries the signature, in lower case.
    #[must_use]
    pub const fn in_header(mut self, header: &'static str) -> Self {
        self.header = header;
        self
    }

    /// A text before the signature, such as `sha256=`. A signature without it is malformed.
    #[must_use]
    pub const fn after(mut self, prefix: &'static str) -> Self {
        self.prefix = prefix;
        self
    }

    /// The header that carries the signature, in lower case.
    pub const fn header(&self) -> &'static str {
        self.header
    }

    /// Checks that the header is present, before the body is received.
    ///
    /// # Errors
    /// `MissingSignature`.
    pub fn offered(&self, head: &Delivery) -> Result<(), Reject> {
        offered(head, self.header)
    }

    /// Checks the signature in the header over the body.
    ///
    /// # Errors
    /// `MissingSignature`, `MalformedSignature` when prefix or encoding are wrong, `WrongSignature`.
    pub fn verify(&self, delivery: &Delivery, secrets: &[Secret]) -> Result<Verified, Reject> {
        self.check(delivery.header(self.header), &[&delivery.body], secrets)
    }

    /// Checks a header of the form `t=<unix seconds>,v1=<signature>[,v1=…]`, signed over the time, a dot and the body.
    /// Other parts of the header are ignored. `tolerance` is in seconds.
    ///
    /// # Errors
    /// As of [`Self::verify`], and `OutsideReplayWindow`.
    pub fn verify_timed(&self, delivery: &Delivery, tolerance: i64, secrets: &[Secret]) -> Result<Verified, Reject> {
        let header = delivery.header(self.header).ok_or(Reject::MissingSignature)?;
        let all = |key: &'static str| {
            let parts = header.split(',').filter_map(|part| part.trim().split_once('='));
            parts.filter(move |(name, _)| *name == key).map(|(_, value)| value)
        };
        let stamp = all("t").next().ok_or(Reject::MalformedSignature)?;
        let at: i64 = stamp.parse().map_err(|_| Reject::MalformedSignature)?;
        within(at, tolerance, delivery.received_at)?;
        if all("v1").next().is_none() {
            return Err(Reject::MissingSignature);
        }
        self.check_any(all("v1"), &[stamp.as_bytes(), b".", &delivery.body], secrets)
    }

    /// Checks that `given` is the signature over the parts, one after another.
    ///
    /// # Errors
    /// As of [`Self::verify`].
    pub fn check(&self, given: Option<&str>, parts: &[&[u8]], secrets: &[Secret]) -> Result<Verified, Reject> {
        self.check_any(std::iter::once(given.ok_or(Reject::MissingSignature)?), parts, secrets)
    }

    /// Like [`Self::check`], for several signatures of which one must be right. Each secret costs one HMAC over the
    /// parts, for any number of signatures.
    ///
    /// # Errors
    /// `MalformedSignature` when none is well-formed, `WrongSignature`.
    pub fn check_any<'a>(
        &self,
        given: impl Iterator<Item = &'a str>,
        parts: &[&[u8]],
        secrets: &[Secret],
    ) -> Result<Verified, Reject> {
        self.check_keyed(given, parts, secrets, |secret| secret.bytes().to_vec())
    }

    /// Like [`Self::check_any`], with a key that is made of the secret.
    pub(super) fn check_keyed<'a>(
        &self,
        given: impl Iterator<Item = &'a str>,
        parts: &[&[u8]],
        secrets: &[Secret],
        key: impl Fn(&Secret) -> Vec<u8>,
    ) -> Result<Verified, Reject> {
        let each = breakage::is_on("mac-per-signature");
        let given = given.filter_map(|text| self.decoded(text));
        let given: Vec<Vec<u8>> = given.take(if each { usize::MAX } else { SIGNATURES }).collect();
        if given.is_empty() {
            return Err(Reject::MalformedSignature);
        }
        any(secrets, |secret| {
            let key = key(secret);
            let right = self.mac(&key, parts)?;
            let fits = |given: &Vec<u8>| {
                let again = if each { self.mac(&key, parts).ok() } else { None };
                bool::from(again.as_ref().unwrap_or(&right).ct_eq(given.as_slice()))
            };
            // Every signature is compared, so that the time taken does not reveal which one matches.
            let count = given.iter().filter(|one| fits(one)).count();
            if count > 0 { Ok(()) } else { Err(Reject::WrongSignature) }
        })
    }

    fn decoded(&self, text: &str) -> Option<Vec<u8>> {
        let text = text.trim().strip_prefix(self.prefix)?.trim();
        match self.encoding {
            Encoding::Hex => hex::decode(text).ok(),
            Encoding::Base64 => STANDARD.decode(text).ok(),
        }
    }

    fn mac(&self, key: &[u8], parts: &[&[u8]]) -> Result<Vec<u8>, Reject> {
        match self.digest {
            Digest::Sha1 => mac::<Hmac<Sha1>>(key, parts),
            Digest::Sha256 => mac::<Hmac<Sha256>>(key, parts),
        }
    }
}

fn mac<M: Mac + KeyInit>(key: &[u8], parts: &[&[u8]]) -> Result<Vec<u8>, Reject> {
    let mut mac = <M as KeyInit>::new_from_slice(key).map_err(|_| Reject::WrongSignature)?;
    parts.iter().for_each(|part| mac.update(part));
    Ok(mac.finalize().into_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(scheme: HmacScheme, given: Option<&str>, body: &str, secret: &str) -> Option<Reject> {
        scheme.check(given, &[body.as_bytes()], &[Secret::new(secret)]).err()
    }

    #[test]
    fn test_case_2_of_rfc_2202_and_rfc_4231_verifies_in_both_encodings() {
        let body = "what do ya want for nothing?";
        let sha1 = "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79";
        let sha256 = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        for (hex_scheme, base64_scheme, vector) in [
            (HmacScheme::sha1(Encoding::Hex), HmacScheme::sha1(Encoding::Base64), sha1),
            (HmacScheme::sha256(Encoding::Hex), HmacScheme::sha256(Encoding::Base64), sha256),
        ] {
            let text = STANDARD.encode(hex::decode(vector).expect("hex"));
            assert_eq!(check(hex_scheme, Some(vector), body, "Jefe"), None);
            assert_eq!(check(base64_scheme, Some(&text), body, "Jefe"), None);
            assert_eq!(check(base64_scheme, Some(&text), body, "jefe"), Some(Reject::WrongSignature));
            assert_eq!(check(hex_scheme, Some("xyz"), body, "Jefe"), Some(Reject::MalformedSignature));
            assert_eq!(check(hex_scheme, None, body, "Jefe"), Some(Reject::MissingSignature));
        }
    }

    #[test]
    fn a_signature_without_its_prefix_is_malformed() {
        let scheme = HmacScheme::sha1(Encoding::Hex).after("sha1=");
        let (body, right) = ("what do ya want for nothing?", "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
        assert_eq!(check(scheme, Some(&format!("sha1={right}")), body, "Jefe"), None);
        assert_eq!(check(scheme, Some(right), body, "Jefe"), Some(Reject::MalformedSignature));
    }

    #[test]
    fn the_published_viber_vector_verifies() {
        // Bogdaan/viber-bot-php, SignatureTest: key "2" over the body "1".
        let vector = "4703d481ddedca88184497744b52937586bef3b273645082c04529f73b85456e";
        let scheme = HmacScheme::sha256(Encoding::Hex);
        assert_eq!(check(scheme, Some(vector), "1", "2"), None);
        assert_eq!(check(scheme, Some(&vector.replace('4', "5")), "1", "2"), Some(Reject::WrongSignature));
    }
}
