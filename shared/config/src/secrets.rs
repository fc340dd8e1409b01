use serde_json::Value;

/// Minimum length in bytes of a secret in a path, of a token and of a webhook's key: 128 bits if it is drawn.
pub(crate) const SECRET: usize = 16;
/// Minimum length in bytes of a key that the hub hashes with.
pub(crate) const KEY: usize = 32;

/// The error of a secret with fewer than `least` bytes.
pub(crate) fn too_short(length: usize, least: usize) -> String {
    let used = if least == KEY { "; docs/security.md says what changes with a key in use" } else { "" };
    format!("has {length} bytes, at least {least} are needed; make another with `openssl rand -hex 32`{used}")
}

/// A store of secrets. Values never appear in an error text.
pub trait Secrets {
    /// Returns the value of a reference.
    ///
    /// # Errors
    /// A message that says what is missing and where to put it.
    fn resolve(&self, reference: &str) -> Result<String, String>;
}

/// Resolves `env:NAME` from the environment. `dev:<text>` is the text itself, for a hub that only this machine can
/// reach.
#[derive(Debug, Clone, Copy)]
pub struct LocalSecrets {
    pub allow_dev: bool,
}

impl Secrets for LocalSecrets {
    fn resolve(&self, reference: &str) -> Result<String, String> {
        match reference.split_once(':') {
            Some(("env", name)) => variable(name),
            Some(("dev", text)) if self.allow_dev && !text.is_empty() => Ok(text.to_owned()),
            Some(("dev", _)) => Err("a dev: secret is only for a hub that listens on loopback, with its console and public_url there too; use env:NAME".into()),
            Some(("ssm", _)) => Err("ssm: references are resolved on AWS only; use env:NAME here".into()),
            _ => Err("not a secret reference, expected env:NAME, ssm:/path or dev:text".into()),
        }
    }
}

/// Reads one environment variable. Only this function does so.
///
/// # Errors
/// A message that names the variable.
#[allow(clippy::disallowed_methods, reason = "the one place that reads the environment")]
pub fn variable(name: &str) -> Result<String, String> {
    match std::env::var(name) {
        Ok(value) if !value.is_empty() => Ok(value),
        Ok(_) => Err(format!("the environment variable {name} is empty")),
        Err(_) => Err(format!("the environment variable {name} is not set")),
    }
}

/// Replaces every reference in a provider's options by its secret.
pub fn resolve_options(options: &mut Value, secrets: &dyn Secrets, errors: &mut Vec<String>) {
    match options {
        Value::String(text) if ["env:", "ssm:", "dev:"].iter().any(|prefix| text.starts_with(prefix)) => {
            match secrets.resolve(text) {
                Ok(secret) => *text = secret,
                Err(error) => errors.push(error),
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| resolve_options(item, secrets, errors)),
        Value::Object(map) => map.values_mut().for_each(|item| resolve_options(item, secrets, errors)),
        _ => {}
    }
}
