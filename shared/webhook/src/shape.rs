//! Checks the shape of a source's secrets. A secret of another shape never matches, and the reason would be hard to
//! find.

use base64::{Engine, engine::general_purpose::STANDARD};
use stagedoor_model::breakage;

use crate::Source;

/// The shape that a secret must have, and the remedy.
#[derive(Clone, Copy)]
pub struct SecretShape {
    fits: fn(&str) -> bool,
    remedy: &'static str,
}

impl SecretShape {
    /// A shape with its remedy. `remedy` follows `secrets[0]` in the sentence and says what would be right.
    pub const fn new(fits: fn(&str) -> bool, remedy: &'static str) -> Self {
        Self { fits, remedy }
    }

    /// A secret that is the last part of the path to which the provider posts.
    pub const PATH: Self = Self::new(
        is_path_part,
        "begins or ends with a slash, which a path loses: make another, as `openssl rand -hex 32` does",
    );
}

impl Source {
    /// Checks the shape of all secrets.
    ///
    /// # Errors
    /// A sentence that names the first secret of another shape by its position, without its text.
    pub fn secrets_have(&self, shape: SecretShape) -> Result<(), String> {
        let strange = self.secrets.iter().position(|secret| !(shape.fits)(&secret.reveal()));
        match strange.filter(|_| !breakage::is_on("secrets-of-any-shape")) {
            Some(number) => Err(format!("secrets[{number}] {}", shape.remedy)),
            None => Ok(()),
        }
    }
}

/// The rest of the path is decoded, and may hold slashes. Only those at its ends are lost.
fn is_path_part(text: &str) -> bool {
    !text.starts_with('/') && !text.ends_with('/')
}

/// True for a key of Standard Webhooks: text of any kind, or base64 after `whsec_`.
pub fn is_standard_key(text: &str) -> bool {
    text.strip_prefix("whsec_").is_none_or(|encoded| STANDARD.decode(encoded).is_ok_and(|key| !key.is_empty()))
}
