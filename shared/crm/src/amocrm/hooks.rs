//! The hub's subscription to webhooks of the account.

use std::time::Duration;

use http::Method;
use serde_json::json;
use stagedoor_ports::CrmError;

use crate::amocrm::{client::AmoCrm, schema};

/// Time between two subscriptions. An administrator may have deleted the webhook, and the CRM disables one that it
/// cannot deliver to. A subscription is an upsert by destination.
pub(super) const RESUBSCRIBE: Duration = Duration::from_secs(3_600);

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
