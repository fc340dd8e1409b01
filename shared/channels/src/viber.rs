//! Viber Bot API, send_message (developers.viber.com/docs/api/rest-bot-api/#send-message; status codes as
//! nyaruka/courier has them from the official page). Errors come with HTTP 200. The API has no idempotency key and no
//! status query, so a message without an answer is not sent again.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use async_trait::async_trait;
use serde_json::{Value, json};
use stagedoor_model::{MessageDecided, Messenger, MessengerInfo, TextLimit};
use stagedoor_ports::{Channel, Sending};
use stagedoor_webhook::Source;

use crate::call::{Answer, Caller, option};

const OWN: &MessengerInfo = Messenger::Viber.info();

struct Viber {
    url: String,
    token: String,
    name: String,
    caller: Caller,
}

pub fn build(source: &Source, caller: Caller) -> Result<Option<Arc<dyn Channel>>, String> {
    let api = option(source, "api").unwrap_or_else(|| "https://chatapi.viber.com".into());
    let name = option(source, "name").unwrap_or_default();
    let channel = option(source, "token").map(|token| {
        let url = format!("{}/pa/send_message", api.trim_end_matches('/'));
        Arc::new(Viber { url, token, name, caller }) as Arc<dyn Channel>
    });
    Ok(channel)
}

#[async_trait]
impl Channel for Viber {
    async fn send(&self, _: &str, message: &MessageDecided) -> Sending {
        let mut body = json!({
            "receiver": message.to.value(), "min_api_version": 3, "sender": { "name": self.name },
            "type": "text", "text": message.text,
        });
        if let Some(map) = body.as_object_mut() {
            if let Some(keyboard) = keyboard(message) {
                map.insert("keyboard".into(), keyboard);
            }
            if message.ask_phone {
                // Without this mark, a contact that comes back may be anybody's card.
                map.insert("tracking_data".into(), "ask-phone".into());
            }
        }
        let request = self.caller.post(&self.url).header("X-Viber-Auth-Token", &self.token).json(&body);
        match self.caller.call(request).await {
            Ok(answer) => understood(&answer),
            Err(failure) => failure,
        }
    }

    fn limit(&self) -> Option<TextLimit> {
        Some(OWN.text)
    }

    fn rate(&self) -> NonZeroU32 {
        OWN.rate
    }
}

fn keyboard(message: &MessageDecided) -> Option<Value> {
    let mut buttons = Vec::new();
    if let Some(button) = &message.button {
        let open = json!({ "ActionType": "open-url", "ActionBody": button.url, "Text": button.label, "Silent": true });
        buttons.push(open);
    }
    if message.ask_phone {
        buttons.push(json!({ "ActionType": "share-phone", "ActionBody": "phone", "Text": "📞" }));
    }
    buttons.extend(message.choices.iter().map(|one| json!({ "ActionType": "reply", "ActionBody": one, "Text": one })));
    (!buttons.is_empty()).then(|| json!({ "Type": "keyboard", "DefaultHeight": false, "Buttons": buttons }))
}

fn understood(answer: &Answer) -> Sending {
    let words = answer.text("/status_message");
    match answer.number("/status") {
        Some(0) => Sending::Sent(answer.id("/message_token").unwrap_or_default()),
        Some(5 | 6) => Sending::RecipientOptedOut(words),
        Some(2 | 7 | 8 | 9 | 10 | 15 | 20) => Sending::CredentialsRejected(words),
        Some(12) => Sending::Throttled(Duration::from_secs(10)),
        Some(1) if answer.status >= 500 => Sending::NotSent(words),
        Some(_) => Sending::Refused(words),
        None if answer.status == 429 => Sending::Throttled(Duration::from_secs(answer.retry_after.unwrap_or(10))),
        None => Sending::NotSent(format!("it answered {}", answer.status)),
    }
}
