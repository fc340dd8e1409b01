//! SMS through any gateway, behind an adapter of the organiser. The contract is ours (docs/outreach.md): a POST of
//! `{"id", "phone", "text"}`, signed by Standard Webhooks with the decision's id as `webhook-id`. 2xx with `{"id"}`
//! means sent, and 409 already sent. 410 withdraws the number. 429 with Retry-After means wait. Any other 4xx refuses.
//! The adapter recognises a decision by its id, so a message without an answer is sent again.

use std::{num::NonZeroU32, time::Duration};

use async_trait::async_trait;
use serde_json::json;
use stagedoor_config::SmsConfig;
use stagedoor_model::MessageDecided;
use stagedoor_ports::{Channel, Clock, Sending, Settled, SystemClock};

use crate::{call::Caller, signed::signature};

/// Client of the adapter.
pub struct SmsHttp {
    config: SmsConfig,
    caller: Caller,
}

impl SmsHttp {
    pub fn new(config: &SmsConfig, caller: Caller) -> Self {
        Self { config: config.clone(), caller }
    }
}

#[async_trait]
impl Channel for SmsHttp {
    async fn send(&self, decision: &str, message: &MessageDecided) -> Sending {
        let address = message.button.as_ref().map(|button| format!(" {}", button.url)).unwrap_or_default();
        let text = format!("{}{address}", message.text);
        let body = json!({ "id": decision, "phone": message.to.value(), "text": text, "sender": self.config.sender });
        let (body, second) = (body.to_string(), SystemClock.now().as_second());
        let request = self
            .caller
            .post(&self.config.api)
            .header("content-type", "application/json")
            .header("webhook-id", decision)
            .header("webhook-timestamp", second.to_string())
            .header("webhook-signature", signature(&self.config.secret, decision, second, &body))
            .body(body);
        let answer = match self.caller.call(request).await {
            Ok(answer) => answer,
            Err(failure) => return failure,
        };
        let words = answer.text("/error");
        match answer.status {
            200..=299 | 409 => Sending::Sent(answer.id("/id").unwrap_or_else(|| decision.to_owned())),
            410 => Sending::RecipientOptedOut(words),
            429 => Sending::Throttled(Duration::from_secs(answer.retry_after.unwrap_or(30))),
            401 | 403 => Sending::CredentialsRejected(words),
            400..=499 => Sending::Refused(words),
            status => Sending::NotSent(format!("it answered {status}")),
        }
    }

    async fn settle(&self, _: &str, _: &MessageDecided) -> Settled {
        Settled::Again
    }

    fn rate(&self) -> NonZeroU32 {
        self.config.rate
    }
}
