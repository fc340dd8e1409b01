//! The hub's subscription to webhooks of the account.

use http::Method;
use serde_json::json;
use stagedoor_ports::CrmError;

use crate::amocrm::{client::AmoCrm, schema};

/// Changes that the hub subscribes to (amocrm.ru/developers/content/crm_platform/webhooks-api).
const HOOKS: [&str; 8] = [
    "add_contact",
    "update_contact",
    "delete_contact",
    "restore_contact",
    "add_lead",
    "status_lead",
    "delete_lead",
    "restore_lead",
];

impl AmoCrm {
    pub(super) async fn subscribe(&self, destination: &str) -> Result<(), CrmError> {
        let body = json!({ "destination": destination, "settings": HOOKS, "sort": 10 });
        let made = self.transport.call(Method::POST, "/api/v4/webhooks", Some(&body)).await;
        made.map(drop).map_err(schema::unusable)
    }
}
