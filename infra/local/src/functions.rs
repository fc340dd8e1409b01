//! The table of receiving functions, one line each.

use std::sync::{Mutex, PoisonError};

use axum::Router;
use stagedoor_model::{SourceName, breakage};
use stagedoor_webhook::{Provider, Receiver, Secret, Source};

type Sources = Vec<(Source, Box<dyn Provider>)>;

struct Function {
    name: &'static str,
    provider: fn(&Source) -> Result<Box<dyn Provider>, String>,
    router: fn(Receiver, Sources) -> Router,
}

const FUNCTIONS: &[Function] = &[
    Function { name: "website", provider: stagedoor_website::provider, router: stagedoor_website::router },
    Function { name: "ticketing", provider: stagedoor_ticketing::provider, router: stagedoor_ticketing::router },
    Function { name: "messaging", provider: stagedoor_messaging::provider, router: stagedoor_messaging::router },
    Function { name: "mail", provider: stagedoor_mail::provider, router: stagedoor_mail::router },
    Function { name: "crm", provider: stagedoor_crm_hooks::provider, router: stagedoor_crm_hooks::router },
];

/// Checks the sources of one config, one after another.
#[derive(Default)]
pub struct Checker {
    /// Development secrets protect nothing and may repeat.
    is_development: bool,
    /// Secrets that belong to one source, with the source's name.
    seen: Mutex<Vec<(Secret, SourceName)>>,
}

impl Checker {
    pub fn new(is_development: bool) -> Self {
        Self { is_development, seen: Mutex::default() }
    }

    /// Checks that a provider can be made of this source, and that its secret is its own.
    ///
    /// # Errors
    /// A sentence that says what is wrong and what would be right.
    pub fn check(&self, function: &str, source: &Source) -> Result<(), String> {
        let provider = provider(function, source)?;
        if let Some(Err(error)) = stagedoor_source_clients::order_api(source) {
            return Err(error);
        }
        if self.is_development || provider.secret_is_of_the_account() || breakage::is_on("secret-used-twice") {
            return Ok(());
        }
        let own = &source.secrets;
        if own.iter().enumerate().any(|(at, secret)| own.iter().take(at).any(|one| one == secret)) {
            return Err("secrets: the same secret stands there twice; one is enough".into());
        }
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let twice = seen.iter().find(|(secret, name)| *name != source.name && source.secrets.contains(secret));
        let other = twice.map(|(_, name)| name.as_str().to_owned());
        seen.extend(source.secrets.iter().map(|secret| (secret.clone(), source.name.clone())));
        match other {
            Some(other) => Err(format!(
                "secrets: source.{other} has the same secret, so each could speak for the other; make another with \
                 `openssl rand -hex 32`"
            )),
            None => Ok(()),
        }
    }
}

/// Makes the provider of a source.
///
/// # Errors
/// A sentence that says what is wrong and what would be right.
pub fn provider(function: &str, source: &Source) -> Result<Box<dyn Provider>, String> {
    match FUNCTIONS.iter().find(|known| known.name == function) {
        Some(known) => (known.provider)(source),
        None => {
            let names: Vec<&str> = FUNCTIONS.iter().map(|known| known.name).collect();
            Err(format!("unknown function {function:?}, expected one of {}", names.join(", ")))
        }
    }
}

/// The routers of all functions under one listener. `chats` is the queue for messages of conversations.
///
/// # Errors
/// The provider's error about its source.
pub fn router(config: &stagedoor_config::Config, events: &Receiver, chats: &Receiver) -> Result<Router, String> {
    let mut all = Router::new();
    for function in FUNCTIONS {
        let sources = config.sources_of(function.name).into_iter();
        let built = sources.map(|source| (function.provider)(&source).map(|provider| (source, provider)));
        let receiver = if function.name == "messaging" { chats } else { events };
        all = all.merge((function.router)(receiver.clone(), built.collect::<Result<_, String>>()?));
    }
    Ok(all)
}
