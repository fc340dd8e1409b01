use std::{sync::Arc, time::Duration};

use jiff::tz::TimeZone;
use stagedoor_config::{Config, Credentials};
use stagedoor_ports::{Clock, Store};

use crate::{
    http::HttpClient,
    vtiger::{Settings, Vtiger},
};

/// Creates the client of a configured installation. `owner` names this process among those that share `store`.
///
/// # Errors
/// A message, if the config describes another CRM.
pub fn from_config(
    http: Arc<dyn HttpClient>,
    config: &Config,
    store: &Arc<dyn Store>,
    clock: &Arc<dyn Clock>,
    owner: &str,
) -> Result<Vtiger, String> {
    let Credentials::AccessKey { user, key, sessions } = &config.crm.credentials else {
        return Err("crm: a Vtiger needs user and access_key".into());
    };
    let stages = config.catalog.pipelines.iter().flat_map(|one| one.stages.values().cloned());
    let settings = Settings {
        base_url: config.crm.base_url.clone(),
        region: config.region,
        timeout: config.crm.timeout,
        grace: Duration::from_secs(3),
        late_for: config.crm.late_for,
        owner: config.crm.owner.clone(),
        service: config.catalog.invoicing.is_some().then(|| config.crm.service.clone()),
        visitors: config.catalog.invoicing.as_ref().map(|invoicing| invoicing.visitors.clone()).unwrap_or_default(),
        zone: config.catalog.zone.clone().unwrap_or(TimeZone::UTC),
        stages: stages.collect(),
        language: config.catalog.language,
    };
    let shared = (Arc::clone(store), Arc::clone(clock), owner);
    Ok(Vtiger::over(http, settings, (user.clone(), key.clone()), *sessions, shared))
}
