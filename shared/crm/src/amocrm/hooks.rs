//! The hub's subscription to webhooks of the account.

use std::time::Duration;

use http::Method;
use serde_json::json;
use stagedoor_ports::CrmError;

use crate::amocrm::{client::AmoCrm, schema};

/// How often the subscription is made again: an admin may have deleted it, and the CRM disables what it could not
/// deliver to. It is an upsert by destination.
pub(super) const RESUBSCRIBE: Duration = Duration::from_secs(3_600);

/// What the hub wants to hear of (amocrm.ru/developers/content/crm_platform/webhooks-api).
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
