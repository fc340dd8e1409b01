//! Alarms as a POST of JSON to an address of the organiser. A configured secret signs it by Standard Webhooks. A
//! repeated post of an alarm carries the same `webhook-id`.

use serde_json::Value;
use stagedoor_config::AlarmWebhook;
use stagedoor_ports::Sending;

use crate::{call::Caller, signed::signature};

/// Client of the address that receives alarms.
pub struct AlarmHook {
    config: AlarmWebhook,
    caller: Caller,
}

impl AlarmHook {
    /// Creates the client.
    ///
    /// # Errors
    /// A message, if no HTTP client can be built.
    pub fn new(config: &AlarmWebhook) -> Result<Self, String> {
        Ok(Self { config: config.clone(), caller: Caller::new()? })
    }

    /// Posts `body` under `id`. `second` is the time in Unix seconds. Any 2xx answer counts as accepted.
    ///
    /// # Errors
    /// The reason why the post was not accepted, without the address, which is a secret. The caller posts again.
    pub async fn post(&self, id: &str, second: i64, body: &Value) -> Result<(), String> {
        let body = body.to_string();
        let mut request = self
            .caller
            .post(&self.config.url.reveal())
            .header("content-type", "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", second.to_string());
        if let Some(secret) = &self.config.secret {
            request = request.header("webhook-signature", signature(secret, id, second, &body));
        }
        match self.caller.call(request.body(body)).await {
            Ok(answer) if (200..300).contains(&answer.status) => Ok(()),
            Ok(answer) => Err(format!("it answered {}", answer.status)),
            Err(Sending::NotSent(reason)) => Err(reason),
            Err(_) => Err("its answer was lost".into()),
        }
    }
}
