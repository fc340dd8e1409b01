use serde_json::Value;

/// Where secrets are kept. Values never appear in an error text.
pub trait Secrets {
    /// # Errors
    /// A sentence that says what is missing and where it is to be put.
    fn resolve(&self, reference: &str) -> Result<String, String>;
}

/// `env:NAME` from the environment; `dev:<text>` is the text itself, for a hub that only this machine can reach.
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

/// Reads one environment variable; the only place that does.
///
/// # Errors
/// A sentence that names the variable.
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
