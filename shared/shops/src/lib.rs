//! Whom the hub calls because of a webhook: ticket systems that are asked back for what it only pointed to, or for what no webhook told,
//! and topics whose offer to deliver is taken.

mod http;
mod pretix;
mod sns;
mod ticketscloud;
mod yookassa;

use std::{collections::BTreeMap, sync::Arc};

pub use sns::Sns;
use stagedoor_model::SourceName;
use stagedoor_ports::OrderDesk;
use stagedoor_webhook::Source;

type Build = fn(&Source) -> Result<Arc<dyn OrderDesk>, String>;

/// Every shop that can be asked, one line each.
const DESKS: &[(&str, Build)] =
    &[("pretix", pretix::build), ("ticketscloud", ticketscloud::build), ("yookassa", yookassa::build)];

/// The desks of all sources that have one.
///
/// # Errors
/// A sentence that says which option of a source is wrong.
pub fn desks<'s>(
    sources: impl Iterator<Item = &'s Source>,
) -> Result<BTreeMap<SourceName, Arc<dyn OrderDesk>>, String> {
    sources.filter_map(|source| Some(desk(source)?.map(|desk| (source.name.clone(), desk)))).collect()
}

/// The desk of a source whose provider has one.
///
/// # Errors
/// A sentence that says which option of the source is wrong.
pub fn desk(source: &Source) -> Option<Result<Arc<dyn OrderDesk>, String>> {
    DESKS.iter().find(|(name, _)| *name == source.provider).map(|(_, build)| build(source))
}
