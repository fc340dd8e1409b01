//! Alarms by a POST of JSON to an address of the organiser's. It is signed by Standard Webhooks if a secret is given, and an
//! alarm that is posted again bears the same `webhook-id`.

use serde_json::Value;
use stagedoor_config::AlarmWebhook;
use stagedoor_ports::Sending;

use crate::{call::Caller, signed::signature};

pub struct AlarmHook {
    config: AlarmWebhook,
    caller: Caller,
}

impl AlarmHook {
    /// # Errors
    /// A sentence: no HTTP client can be made.
    pub fn new(config: &AlarmWebhook) -> Result<Self, String> {
        Ok(Self { config: config.clone(), caller: Caller::new()? })
    }

    /// Posts `body` under `id` at `second` of Unix time. Any answer of the 200s takes it.
    ///
    /// # Errors
    /// Why it was not taken, without the address, which is a secret. To be posted again.
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
