//! Secrets by reference from the Parameter Store of Systems Manager (docs.aws.amazon.com/systems-manager,
//! GetParameters).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
};

use aws_sdk_ssm::Client;
use stagedoor_config::{LocalSecrets, Secrets};

/// The largest number of names in one call (Systems Manager API, GetParameters).
const NAMES: usize = 10;

/// Notes which parameters a config names. A first pass with it finds out what has to be fetched.
#[derive(Default)]
pub struct Wanted(Mutex<BTreeSet<String>>);

impl Wanted {
    /// The names of the parameters so far.
    pub fn names(&self) -> BTreeSet<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Secrets for Wanted {
    fn resolve(&self, reference: &str) -> Result<String, String> {
        if let Some(name) = reference.strip_prefix("ssm:") {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned());
        }
        Ok(String::new())
    }
}

/// The fetched parameters, and the environment for all other references.
pub struct Fetched {
    values: BTreeMap<String, String>,
    local: LocalSecrets,
}

impl Fetched {
    /// Fetches every named parameter, decrypted.
    ///
    /// # Errors
    /// When the store does not answer. A missing parameter is an error of the config, which `resolve` reports.
    pub async fn fetch(
        aws: &aws_config::SdkConfig,
        names: &BTreeSet<String>,
        local: LocalSecrets,
    ) -> Result<Self, String> {
        let mut values = BTreeMap::new();
        if names.is_empty() {
            return Ok(Self { values, local });
        }
        let client = Client::new(aws);
        let all: Vec<String> = names.iter().cloned().collect();
        for chunk in all.chunks(NAMES) {
            let request = client.get_parameters().set_names(Some(chunk.to_vec())).with_decryption(true);
            let answer = request.send().await.map_err(|error| {
                let cause = error.as_service_error().map_or_else(|| "no answer".to_owned(), ToString::to_string);
                format!("the parameters {} cannot be read: {cause}", chunk.join(", "))
            })?;
            let found = answer.parameters.unwrap_or_default().into_iter();
            values.extend(found.filter_map(|one| Some((one.name?, one.value?))));
        }
        Ok(Self { values, local })
    }
}

impl Secrets for Fetched {
    fn resolve(&self, reference: &str) -> Result<String, String> {
        let Some(name) = reference.strip_prefix("ssm:") else { return self.local.resolve(reference) };
        match self.values.get(name) {
            Some(value) if !value.is_empty() => Ok(value.clone()),
            _ => Err(format!(
                "there is no parameter {name} in the Parameter Store; put it there with `aws ssm put-parameter \
                 --type SecureString --name {name} --value …`"
            )),
        }
    }
}
