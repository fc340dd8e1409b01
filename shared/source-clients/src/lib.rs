//! Clients that the hub calls because of a webhook: ticket systems that it asks for details or missed changes, and SNS
//! topics whose subscription it confirms.

mod http;
mod pretix;
mod rows;
mod sns;
mod ticketscloud;
mod yookassa;

use std::{collections::BTreeMap, sync::Arc};

pub use sns::Sns;
use stagedoor_model::SourceName;
use stagedoor_ports::{HttpClient, OrderApi};
use stagedoor_webhook::Source;

type Build = fn(&Source, &Arc<dyn HttpClient>) -> Result<Arc<dyn OrderApi>, String>;

/// Constructors of all ticket systems that can be asked, by provider.
const DESKS: &[(&str, Build)] =
    &[("pretix", pretix::build), ("ticketscloud", ticketscloud::build), ("yookassa", yookassa::build)];

/// Clients of ticket systems, by source.
pub type Desks = BTreeMap<SourceName, Arc<dyn OrderApi>>;

/// Creates the clients of all sources that have one.
///
/// # Errors
/// A message that names the wrong option of a source.
pub fn order_apis<'s>(sources: impl Iterator<Item = &'s Source>) -> Result<Desks, String> {
    sources.filter_map(|source| Some(order_api(source)?.map(|order_api| (source.name.clone(), order_api)))).collect()
}

/// Creates the clients over the given HTTP client, for example a stand-in in this process.
///
/// # Errors
/// A message that names the wrong option of a source.
pub fn desks_over<'s>(http: &Arc<dyn HttpClient>, sources: impl Iterator<Item = &'s Source>) -> Result<Desks, String> {
    let built = sources.filter_map(|source| Some((source, build_of(source)?)));
    built.map(|(source, build)| Ok((source.name.clone(), build(source, http)?))).collect()
}

/// Creates the client of a source. `None` if its provider has none.
///
/// # Errors
/// A message that names the wrong option of the source.
pub fn order_api(source: &Source) -> Option<Result<Arc<dyn OrderApi>, String>> {
    build_of(source).map(|build| build(source, &http::Sockets::lazy()))
}

fn build_of(source: &Source) -> Option<Build> {
    DESKS.iter().find(|(name, _)| *name == source.provider).map(|(_, build)| *build)
}
