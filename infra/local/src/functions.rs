//! The receiving functions, one line each.

use axum::Router;
use stagedoor_webhook::{Provider, Receiver, Source};

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

/// Can a provider be made of this source? For `check-config`.
///
/// # Errors
/// A sentence that says what is wrong and what would be right.
pub fn check(function: &str, source: &Source) -> Result<(), String> {
    provider(function, source)?;
    match stagedoor_shops::desk(source) {
        Some(Err(error)) => Err(error),
        _ => Ok(()),
    }
}

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

/// Every function's router under one listener. `chats` is the queue of those who write.
///
/// # Errors
/// What a provider says of its source.
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
