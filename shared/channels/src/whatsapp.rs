//! WhatsApp Cloud API, messages (developers.facebook.com/docs/whatsapp/cloud-api/reference/messages,
//! …/support/error-codes). Free messages are allowed for 24 hours after the person's last message. Every status carries
//! `biz_opaque_callback_data`. So a webhook settles a message without an answer, and the hub does not send it again.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use async_trait::async_trait;
use serde_json::{Value, json};
use stagedoor_model::{Kind, MessageDecided, Messenger, MessengerInfo, TextLimit};
use stagedoor_ports::{Channel, Sending, Settled};
use stagedoor_webhook::Source;

use crate::{
    button::{label, with_address},
    call::{Answer, Caller, option},
};

const OWN: &MessengerInfo = Messenger::Whatsapp.info();

struct Whatsapp {
    url: String,
    token: String,
    caller: Caller,
}

pub fn build(source: &Source, caller: Caller) -> Result<Option<Arc<dyn Channel>>, String> {
    let api = option(source, "api").unwrap_or_else(|| "https://graph.facebook.com/v25.0".into());
    let number = option(source, "phone_number_id").ok_or("options.phone_number_id is needed")?;
    let channel = option(source, "token").map(|token| {
        let url = format!("{}/{number}/messages", api.trim_end_matches('/'));
        Arc::new(Whatsapp { url, token, caller }) as Arc<dyn Channel>
    });
    Ok(channel)
}

#[async_trait]
impl Channel for Whatsapp {
    async fn send(&self, decision: &str, message: &MessageDecided) -> Sending {
        let mut body = json!({
            "messaging_product": "whatsapp", "recipient_type": "individual", "biz_opaque_callback_data": decision,
        });
        if let Some(map) = body.as_object_mut() {
            // People who hide their phone are addressed by their WhatsApp user id.
            let field = if message.to.kind() == Kind::WhatsappUser { "recipient" } else { "to" };
            map.insert(field.into(), message.to.value().into());
            let (kind, content) = content(message);
            map.insert("type".into(), kind.into());
            map.insert(kind.into(), content);
        }
        match self.caller.call(self.caller.post(&self.url).bearer_auth(&self.token).json(&body)).await {
            Ok(answer) => understood(&answer),
            Err(failure) => failure,
        }
    }

    async fn settle(&self, _: &str, _: &MessageDecided) -> Settled {
        Settled::Later
    }

    fn limit(&self) -> Option<TextLimit> {
        Some(OWN.text)
    }

    fn rate(&self) -> NonZeroU32 {
        OWN.rate
    }

    fn window(&self) -> Option<Duration> {
        OWN.window
    }
}

fn content(message: &MessageDecided) -> (&'static str, Value) {
    match &message.button {
        Some(button) if message.text.chars().count() <= 1_024 => {
            let parameters = json!({ "display_text": label(&button.label, OWN), "url": button.url });
            let action = json!({ "name": "cta_url", "parameters": parameters });
            ("interactive", json!({ "type": "cta_url", "body": { "text": message.text }, "action": action }))
        }
        Some(button) => ("text", json!({ "body": with_address(&message.text, '\n', &button.url) })),
        None => ("text", json!({ "body": message.text })),
    }
}

fn understood(answer: &Answer) -> Sending {
    if let Some(id) = answer.id("/messages/0/id") {
        return Sending::Sent(id);
    }
    let words = answer.text("/error/message");
    match answer.number("/error/code") {
        Some(131_047) => Sending::Refused("outside the 24-hour window".into()),
        Some(131_026 | 131_050) => Sending::RecipientOptedOut(words),
        Some(131_056) => Sending::Busy(Duration::from_secs(6)),
        Some(4 | 80_007 | 130_429 | 131_048 | 131_064 | 133_016) => Sending::Throttled(Duration::from_secs(30)),
        Some(190 | 0 | 3 | 10 | 200..=299 | 131_031 | 368 | 131_042) => Sending::CredentialsRejected(words),
        Some(1 | 2 | 131_000 | 131_016) => Sending::NotSent(words),
        Some(_) => Sending::Refused(words),
        None => Sending::NotSent(format!("it answered {}", answer.status)),
    }
}
