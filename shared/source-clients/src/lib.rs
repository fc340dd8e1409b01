//! Whom the hub calls because of a webhook: ticket systems that are asked back for what it only pointed to, or for what no webhook told,
//! and topics whose offer to deliver is taken.

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

/// Every shop that can be asked, one line each.
const DESKS: &[(&str, Build)] =
    &[("pretix", pretix::build), ("ticketscloud", ticketscloud::build), ("yookassa", yookassa::build)];

/// The shops that can be asked, by source.
pub type Desks = BTreeMap<SourceName, Arc<dyn OrderApi>>;

/// The desks of all sources that have one.
///
/// # Errors
/// A sentence that says which option of a source is wrong.
pub fn order_apis<'s>(sources: impl Iterator<Item = &'s Source>) -> Result<Desks, String> {
    sources.filter_map(|source| Some(order_api(source)?.map(|order_api| (source.name.clone(), order_api)))).collect()
}

/// The same over another carrier, such as a stand-in in this process.
///
/// # Errors
/// A sentence that says which option of a source is wrong.
pub fn desks_over<'s>(http: &Arc<dyn HttpClient>, sources: impl Iterator<Item = &'s Source>) -> Result<Desks, String> {
    let built = sources.filter_map(|source| Some((source, build_of(source)?)));
    built.map(|(source, build)| Ok((source.name.clone(), build(source, http)?))).collect()
}

/// The desk of a source whose provider has one.
///
/// # Errors
/// A sentence that says which option of the source is wrong.
pub fn order_api(source: &Source) -> Option<Result<Arc<dyn OrderApi>, String>> {
    build_of(source).map(|build| build(source, &http::Sockets::lazy()))
}

fn build_of(source: &Source) -> Option<Build> {
    DESKS.iter().find(|(name, _)| *name == source.provider).map(|(_, build)| *build)
}
