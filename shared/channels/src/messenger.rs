//! Messenger and Instagram: the Send API (developers.facebook.com/docs/messenger-platform/reference/send-api,
//! …/error-codes; nyaruka/courier has the codes that these pages leave out). Free messages are allowed for 24 hours
//! after the person's last activity. The API has no idempotency key and no status query, so a message without an
//! answer is not sent again.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use async_trait::async_trait;
use serde_json::{Value, json};
use stagedoor_model::{MessageDecided, Messenger, MessengerInfo, TextLimit};
use stagedoor_ports::{Channel, Sending};
use stagedoor_webhook::Source;

use crate::{
    button::{label, with_address},
    call::{Answer, Caller, option},
};

struct Page {
    url: String,
    token: String,
    /// Messenger or Instagram.
    own: &'static MessengerInfo,
    caller: Caller,
}

pub fn build(source: &Source, caller: Caller) -> Result<Option<Arc<dyn Channel>>, String> {
    let api = option(source, "api").unwrap_or_else(|| "https://graph.facebook.com/v25.0".into());
    let own = match source.provider.as_str() {
        "instagram" => Messenger::Instagram,
        _ => Messenger::Messenger,
    };
    let own = own.info();
    let channel = option(source, "token").map(|token| {
        let url = format!("{}/me/messages", api.trim_end_matches('/'));
        Arc::new(Page { url, token, own, caller }) as Arc<dyn Channel>
    });
    Ok(channel)
}

#[async_trait]
impl Channel for Page {
    async fn send(&self, _: &str, message: &MessageDecided) -> Sending {
        let body = json!({
            "recipient": { "id": message.to.value() }, "messaging_type": "RESPONSE",
            "message": content(message, self.own),
        });
        // The query could hold the token too, but servers on the way log queries.
        let request = self.caller.post(&self.url).bearer_auth(&self.token).json(&body);
        match self.caller.call(request).await {
            Ok(answer) => understood(&answer),
            Err(failure) => failure,
        }
    }

    fn limit(&self) -> Option<TextLimit> {
        Some(self.own.text)
    }

    fn rate(&self) -> NonZeroU32 {
        self.own.rate
    }

    fn window(&self) -> Option<Duration> {
        self.own.window
    }
}

fn content(message: &MessageDecided, own: &MessengerInfo) -> Value {
    match &message.button {
        // A template's text has at most 640 characters. A longer text is sent plain, with the address in it.
        Some(button) if message.text.chars().count() <= 640 => {
            let button = json!({ "type": "web_url", "url": button.url, "title": label(&button.label, own) });
            let payload = json!({ "template_type": "button", "text": message.text, "buttons": [button] });
            json!({ "attachment": { "type": "template", "payload": payload } })
        }
        Some(button) => json!({ "text": with_address(&message.text, '\n', &button.url) }),
        None => {
            let replies: Vec<Value> = message
                .choices
                .iter()
                .take(13)
                .map(|choice| json!({ "content_type": "text", "title": label(choice, own), "payload": choice }))
                .collect();
            match replies.is_empty() {
                true => json!({ "text": message.text }),
                false => json!({ "text": message.text, "quick_replies": replies }),
            }
        }
    }
}

fn understood(answer: &Answer) -> Sending {
    if let Some(id) = answer.id("/message_id") {
        return Sending::Sent(id);
    }
    let words = answer.text("/error/message");
    let (code, subcode) = (answer.number("/error/code"), answer.number("/error/error_subcode"));
    match (code, subcode) {
        (Some(10), Some(2_018_278)) => Sending::Refused("outside the 24-hour window".into()),
        (Some(551), _) | (Some(200), Some(1_545_041)) | (Some(100), Some(2_018_001)) => {
            Sending::RecipientOptedOut(words)
        }
        (Some(190), _) | (Some(10 | 200 | 368), _) => Sending::CredentialsRejected(words),
        (Some(4 | 32 | 613 | 80_006), _) => Sending::Throttled(Duration::from_secs(60)),
        (Some(1_200 | 2), _) => Sending::NotSent(words),
        (Some(_), _) => Sending::Refused(words),
        (None, _) => Sending::NotSent(format!("it answered {}", answer.status)),
    }
}
