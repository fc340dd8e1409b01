use std::sync::Arc;

use stagedoor_config::{Config, Credentials};
use stagedoor_ports::{Clock, Store};

use crate::{
    amocrm::{AmoCrm, Authorization, OAuth, Settings},
    http::HttpClient,
};

/// Creates the client of a configured account. `owner` names this process among those that share `store`.
///
/// # Errors
/// A message, if the config describes another CRM.
pub fn from_config(
    http: Arc<dyn HttpClient>,
    config: &Config,
    store: &Arc<dyn Store>,
    clock: &Arc<dyn Clock>,
    owner: &str,
) -> Result<AmoCrm, String> {
    let authorization = match &config.crm.credentials {
        Credentials::LongLived(token) => Authorization::LongLived(token.reveal()),
        Credentials::OAuth { client_id, client_secret, redirect_uri } => {
            let client = (client_id.clone(), client_secret.reveal(), redirect_uri.clone());
            Authorization::OAuth(Box::new(OAuth::new(client, Arc::clone(store), Arc::clone(clock), owner.to_owned())))
        }
        Credentials::AccessKey { .. } => return Err("crm: an amoCRM needs token or [crm.oauth]".into()),
    };
    let hooks = config.sources.iter().find(|one| one.function == "crm");
    let hook = config.public_url.as_ref().zip(hooks).and_then(|(url, one)| {
        let secret = one.source.secrets.first()?.reveal();
        Some(format!("{url}/crm/{}/{secret}", one.source.name))
    });
    let stages = config.catalog.pipelines.iter();
    let stages = stages.flat_map(|one| one.stages.values().map(|stage| (one.name.clone(), stage.clone()))).collect();
    let settings = Settings {
        base_url: config.crm.base_url.clone(),
        region: config.region,
        rate: config.crm.rate,
        timeout: config.crm.timeout,
        late_for: config.crm.late_for,
        hook,
        stages,
        language: config.catalog.language,
    };
    Ok(AmoCrm::over(http, settings, authorization).remembering(store))
}
