//! Signatures under another party's public key. The config of the source pins the key; a delivery never chooses it.

use base64::{Engine, engine::general_purpose::STANDARD};
use ring::signature::{RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, UnparsedPublicKey};
use rustls_pki_types::{
    AlgorithmIdentifier, CertificateDer, InvalidSignature, SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer,
    alg_id, pem::PemObject,
};
use webpki::{
    EndEntityCert, RawPublicKeyEntity,
    ring::{ECDSA_P256_SHA256, RSA_PKCS1_2048_8192_SHA256},
};

use super::{Verified, any};
use crate::{Reject, Secret};

/// Checks that `given` is base64 of an ECDSA P-256 signature in DER over SHA-256 of `message`. Each entry of `keys` is
/// base64 of a public key (SubjectPublicKeyInfo), which is not secret.
///
/// # Errors
/// `MissingSignature`, `MalformedSignature`, `WrongSignature`.
pub fn ecdsa_p256(message: &[u8], given: Option<&str>, keys: &[Secret]) -> Result<Verified, Reject> {
    let given = decoded(given)?;
    any(keys, |key| {
        let key = STANDARD.decode(key.reveal().trim()).map_err(|_| Reject::WrongSignature)?;
        let key = SubjectPublicKeyInfoDer::from(key);
        let key = RawPublicKeyEntity::try_from(&key).map_err(|_| Reject::WrongSignature)?;
        key.verify_signature(ECDSA_P256_SHA256, message, &given).map_err(|_| Reject::WrongSignature)
    })
}

/// The bytes of a P-256 SubjectPublicKeyInfo before its uncompressed point (RFC 5480).
const P256: [u8; 27] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04,
];

/// True if this is base64 of a public key that [`ecdsa_p256`] can use: a SubjectPublicKeyInfo, not a bare point of the
/// curve.
pub fn is_p256_key(text: &str) -> bool {
    STANDARD.decode(text.trim()).is_ok_and(|key| key.len() == P256.len() + 64 && key.starts_with(&P256))
}

/// The digest of an RSA signature (PKCS #1 v1.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RsaDigest {
    Sha1,
    Sha256,
}

/// Checks that `given` is base64 of an RSA signature over `message`. Each entry of `certificates` is an X.509
/// certificate, in PEM or as base64 of its DER.
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
    let algorithm = match digest {
        RsaDigest::Sha1 => &RsaSha1,
        RsaDigest::Sha256 => RSA_PKCS1_2048_8192_SHA256,
    };
    any(certificates, |text| {
        let certificate = certificate(&text.reveal()).ok_or(Reject::WrongSignature)?;
        let certificate = EndEntityCert::try_from(&certificate).map_err(|_| Reject::WrongSignature)?;
        certificate.verify_signature(algorithm, message, &given).map_err(|_| Reject::WrongSignature)
    })
}

/// True if this is a certificate that can be pinned.
pub fn is_certificate(text: &str) -> bool {
    certificate(text).is_some_and(|one| EndEntityCert::try_from(&one).is_ok())
}

/// Reads exactly one certificate. In a bundle it would be unclear which one counts.
fn certificate(text: &str) -> Option<CertificateDer<'static>> {
    match text.contains("BEGIN CERTIFICATE") {
        true => {
            let mut all = CertificateDer::pem_slice_iter(text.trim().as_bytes());
            let one = all.next()?.ok()?;
            all.next().is_none().then_some(one)
        }
        false => STANDARD.decode(text.trim()).ok().map(CertificateDer::from),
    }
}

fn decoded(given: Option<&str>) -> Result<Vec<u8>, Reject> {
    STANDARD.decode(given.ok_or(Reject::MissingSignature)?.trim()).map_err(|_| Reject::MalformedSignature)
}

/// The algorithm of SNS's first signature version. webpki does not support SHA-1.
#[derive(Debug)]
struct RsaSha1;

impl SignatureVerificationAlgorithm for RsaSha1 {
    fn verify_signature(&self, key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, key);
        key.verify(message, signature).map_err(|_| InvalidSignature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::RSA_ENCRYPTION
    }

    /// Used only for signatures of certificates, which are not checked here.
    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::RSA_PKCS1_SHA256
    }
}
