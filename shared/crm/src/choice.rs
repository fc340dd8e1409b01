//! Which CRM the config chooses.

use std::sync::Arc;

use stagedoor_config::{Config, CrmKind};
use stagedoor_ports::{Clock, Crm, Store};

use crate::{amocrm, vtiger};

/// The client of the configured account. `owner` names this process among those that share `store`.
///
/// # Errors
/// When a client cannot be built.
pub fn crm(
    config: &Config,
    store: &Arc<dyn Store>,
    clock: &Arc<dyn Clock>,
    owner: &str,
) -> Result<Arc<dyn Crm>, String> {
    Ok(match config.crm.kind {
        CrmKind::Amocrm => Arc::new(amocrm::from_config(config, store, clock, owner)?),
        CrmKind::Vtiger => Arc::new(vtiger::from_config(config, store, clock, owner)?),
    })
}
