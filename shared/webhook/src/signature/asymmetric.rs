//! Signatures under somebody else's public key. The key is what the source's config pins, never what a delivery points at.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, RSA_PKCS1_2048_8192_SHA256,
    UnparsedPublicKey, VerificationAlgorithm,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use x509_cert::{
    Certificate,
    der::{Decode, DecodePem, Encode},
};

use super::{Verified, any};
use crate::{Reject, Secret};

/// `given` is base64 of an ECDSA P-256 signature in DER over SHA-256 of `message`; each secret is the base64 of a public key
/// (SubjectPublicKeyInfo), which is not secret at all.
///
/// # Errors
/// `MissingSignature`, `MalformedSignature`, `WrongSignature`.
pub fn ecdsa_p256(message: &[u8], given: Option<&str>, keys: &[Secret]) -> Result<Verified, Reject> {
    let given = decoded(given)?;
    any(keys, |key| {
        let key = STANDARD.decode(key.reveal().trim()).map_err(|_| Reject::WrongSignature)?;
        verify(&ECDSA_P256_SHA256_ASN1, &key, message, &given)
    })
}

/// The digest that an RSA signature (PKCS #1 v1.5) is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RsaDigest {
    Sha1,
    Sha256,
}

/// `given` is base64 of an RSA signature; each secret is an X.509 certificate, in PEM or as the base64 of its DER.
///
/// # Errors
/// `MissingSignature`, `MalformedSignature`, `WrongSignature`.
pub fn rsa_certificate(
    message: &[u8],
    given: Option<&str>,
    digest: RsaDigest,
    certificates: &[Secret],
) -> Result<Verified, Reject> {
    let given = decoded(given)?;
    let algorithm: &'static dyn VerificationAlgorithm = match digest {
        RsaDigest::Sha1 => &RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY,
        RsaDigest::Sha256 => &RSA_PKCS1_2048_8192_SHA256,
    };
    any(certificates, |text| {
        let key = key_of(&text.reveal()).ok_or(Reject::WrongSignature)?;
        verify(algorithm, &key, message, &given)
    })
}

/// Whether this is a certificate that can be pinned.
pub fn is_certificate(text: &str) -> bool {
    key_of(text).is_some()
}

fn key_of(text: &str) -> Option<Vec<u8>> {
    let certificate = if text.contains("BEGIN CERTIFICATE") {
        Certificate::from_pem(text.trim()).ok()?
    } else {
        Certificate::from_der(&STANDARD.decode(text.trim()).ok()?).ok()?
    };
    certificate.tbs_certificate().subject_public_key_info().to_der().ok()
}

fn decoded(given: Option<&str>) -> Result<Vec<u8>, Reject> {
    STANDARD.decode(given.ok_or(Reject::MissingSignature)?.trim()).map_err(|_| Reject::MalformedSignature)
}

fn verify(
    algorithm: &'static dyn VerificationAlgorithm,
    key: &[u8],
    message: &[u8],
    given: &[u8],
) -> Result<(), Reject> {
    // aws-lc takes a SubjectPublicKeyInfo as it takes a bare key.
    let key = UnparsedPublicKey::new(algorithm, key);
    key.verify(message, given).map_err(|_| Reject::WrongSignature)
}
