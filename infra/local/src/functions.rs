//! The table of receiving functions, one line each.

use std::sync::{Mutex, PoisonError};

use axum::Router;
use stagedoor_model::{SourceName, breakage};
use stagedoor_webhook::{Build, Provider, Receiver, Secret, Source, table};

type Sources = Vec<(Source, Box<dyn Provider>)>;

struct Function {
    name: &'static str,
    providers: &'static [(&'static str, Build)],
    router: fn(Receiver, Sources) -> Router,
}

const FUNCTIONS: &[Function] = &[
    Function { name: "website", providers: stagedoor_website::PROVIDERS, router: stagedoor_website::router },
    Function { name: "ticketing", providers: stagedoor_ticketing::PROVIDERS, router: stagedoor_ticketing::router },
    Function { name: "messaging", providers: stagedoor_messaging::PROVIDERS, router: stagedoor_messaging::router },
    Function { name: "mail", providers: stagedoor_mail::PROVIDERS, router: stagedoor_mail::router },
    Function { name: "crm", providers: stagedoor_crm_hooks::PROVIDERS, router: stagedoor_crm_hooks::router },
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

/// Every provider of webhooks, with the function that receives its deliveries.
pub fn providers() -> impl Iterator<Item = (&'static str, &'static str)> {
    FUNCTIONS.iter().flat_map(|function| function.providers.iter().map(|(name, _)| (*name, function.name)))
}

/// The router of one function for the given sources.
///
/// # Errors
/// A sentence that names the known functions.
pub fn router_of(function: &str, receiver: Receiver, sources: Sources) -> Result<Router, String> {
    Ok((known(function)?.router)(receiver, sources))
}

/// Makes the provider of a source.
///
/// # Errors
/// A sentence that says what is wrong and what would be right.
pub fn provider(function: &str, source: &Source) -> Result<Box<dyn Provider>, String> {
    table(known(function)?.providers, source)
}

fn known(function: &str) -> Result<&'static Function, String> {
    FUNCTIONS.iter().find(|known| known.name == function).ok_or_else(|| {
        let names: Vec<&str> = FUNCTIONS.iter().map(|known| known.name).collect();
        format!("unknown function {function:?}, expected one of {}", names.join(", "))
    })
}

/// The routers of all functions under one listener. `chats` is the queue for messages of conversations.
///
/// # Errors
/// The provider's error about its source.
pub fn router(config: &stagedoor_config::Config, events: &Receiver, chats: &Receiver) -> Result<Router, String> {
    let mut all = Router::new();
    for function in FUNCTIONS {
        let sources = config.sources_of(function.name).into_iter();
        let built = sources.map(|source| table(function.providers, &source).map(|provider| (source, provider)));
        let receiver = if function.name == "messaging" { chats } else { events };
        all = all.merge((function.router)(receiver.clone(), built.collect::<Result<_, String>>()?));
    }
    Ok(all)
}
