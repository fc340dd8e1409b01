//! Creation of the CRM client that the config names.

use std::sync::Arc;

use stagedoor_config::{Config, CrmKind};
use stagedoor_engine::Invoicing;
use stagedoor_model::SECOND_CRM;
use stagedoor_ports::{Clock, Crm, Store};

use crate::{
    amocrm,
    http::{HttpClient, SocketClient},
    vtiger,
};

/// Creates the client of the configured account. `owner` names this process among those that share `store`.
///
/// # Errors
/// A message, if the client cannot be built.
pub fn crm(
    config: &Config,
    store: &Arc<dyn Store>,
    clock: &Arc<dyn Clock>,
    owner: &str,
) -> Result<Arc<dyn Crm>, String> {
    crm_over(Arc::new(SocketClient::new(config.crm.timeout)?), config, store, clock, owner)
}

/// Creates the client of the configured account over the given HTTP client, for example a stand-in in this process.
///
/// # Errors
/// A message, if the client cannot be built.
pub fn crm_over(
    http: Arc<dyn HttpClient>,
    config: &Config,
    store: &Arc<dyn Store>,
    clock: &Arc<dyn Clock>,
    owner: &str,
) -> Result<Arc<dyn Crm>, String> {
    Ok(match config.crm.kind {
        CrmKind::Amocrm => Arc::new(amocrm::from_config(http, config, store, clock, owner)?),
        CrmKind::Vtiger => Arc::new(vtiger::from_config(http, config, store, clock, owner)?),
    })
}

/// A CRM and the way in which invoices are written in it.
type Invoiced = (Arc<dyn Crm>, Option<Invoicing>);

/// Creates the client of the second account and returns how its invoices are written. `None` if the config has no
/// second CRM.
///
/// # Errors
/// A message, if the client cannot be built.
pub fn second(
    config: &Config,
    store: &Arc<dyn Store>,
    clock: &Arc<dyn Clock>,
    owner: &str,
) -> Result<Option<Invoiced>, String> {
    let Some(second) = &config.second_crm else { return Ok(None) };
    let http = SocketClient::new(second.timeout)?;
    second_over(Arc::new(http), config, store, clock, owner)
}

/// Creates the client of the second account over the given HTTP client, for example a stand-in in this process.
///
/// # Errors
/// A message, if the client cannot be built.
pub fn second_over(
    http: Arc<dyn HttpClient>,
    config: &Config,
    store: &Arc<dyn Store>,
    clock: &Arc<dyn Clock>,
    owner: &str,
) -> Result<Option<Invoiced>, String> {
    let Some(second) = &config.second_crm else { return Ok(None) };
    let mut config = config.clone();
    config.crm = second.clone();
    config.catalog.invoicing = second.invoicing.clone();
    // Webhooks of the second CRM arrive under its own source name.
    config.sources.retain(|one| one.function != "crm" || one.source.name.as_str() == SECOND_CRM);
    Ok(Some((crm_over(http, &config, store, clock, owner)?, second.invoicing.clone())))
}
