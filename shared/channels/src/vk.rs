//! VK, messages.send (dev.vk.com/method/messages.send; codes from VKCOM/vk-api-schema, errors.json). `random_id` is an
//! idempotency key for the whole conversation. So a message without an answer is sent again, and VK delivers it once. A
//! community's token allows 20 requests a second (SevereCloud/vksdk).

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use async_trait::async_trait;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use stagedoor_model::{MessageDecided, Messenger, MessengerInfo, TextLimit};
use stagedoor_ports::{Channel, Sending, Settled};
use stagedoor_webhook::Source;

use crate::{
    button::label,
    call::{Answer, Caller, option},
};

const VERSION: &str = "5.199";
/// Maximum length of a button's payload in characters (dev.vk.com/api/bots/development/keyboard).
const PAYLOAD: usize = 255;

const OWN: &MessengerInfo = Messenger::Vk.info();

struct Vk {
    url: String,
    token: String,
    caller: Caller,
}

pub fn build(source: &Source, caller: Caller) -> Result<Option<Arc<dyn Channel>>, String> {
    let api = option(source, "api").unwrap_or_else(|| "https://api.vk.com".into());
    let channel = option(source, "token").map(|token| {
        let url = format!("{}/method/messages.send", api.trim_end_matches('/'));
        Arc::new(Vk { url, token, caller }) as Arc<dyn Channel>
    });
    Ok(channel)
}

#[async_trait]
impl Channel for Vk {
    async fn send(&self, decision: &str, message: &MessageDecided) -> Sending {
        let random = random_id(decision).to_string();
        let mut fields =
            vec![("peer_id", message.to.value()), ("random_id", &random), ("message", &message.text), ("v", VERSION)];
        let keyboard = keyboard(message).map(|keyboard| keyboard.to_string());
        fields.extend(keyboard.as_deref().map(|keyboard| ("keyboard", keyboard)));
        let request = self.caller.post(&self.url).bearer_auth(&self.token).form(&fields);
        match self.caller.call(request).await {
            Ok(answer) => understood(&answer),
            Err(failure) => failure,
        }
    }

    async fn settle(&self, _: &str, _: &MessageDecided) -> Settled {
        Settled::Again
    }

    fn limit(&self) -> Option<TextLimit> {
        Some(OWN.text)
    }

    fn rate(&self) -> NonZeroU32 {
        OWN.rate
    }
}

/// A number that is never 0, because 0 would turn the duplicate check off.
fn random_id(decision: &str) -> i32 {
    let digest = Sha256::digest(decision.as_bytes());
    let number = digest.iter().take(4).fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
    i32::try_from(number & 0x7fff_ffff).unwrap_or(1).max(1)
}

fn keyboard(message: &MessageDecided) -> Option<Value> {
    if let Some(button) = &message.button {
        let action = json!({ "type": "open_link", "link": button.url, "label": label(&button.label, OWN) });
        return Some(json!({ "inline": true, "buttons": [[{ "action": action }]] }));
    }
    let keys: Vec<Value> =
        message.choices.iter().map(|choice| json!([{ "action": key(choice), "color": "secondary" }])).collect();
    (!keys.is_empty()).then(|| json!({ "one_time": true, "buttons": keys }))
}

/// A button whose payload comes back whole when it is pressed. A choice that is too long has no payload.
fn key(choice: &str) -> Value {
    let payload = json!({ "command": choice }).to_string();
    match payload.chars().count() <= PAYLOAD {
        true => json!({ "type": "text", "label": label(choice, OWN), "payload": payload }),
        false => json!({ "type": "text", "label": label(choice, OWN) }),
    }
}

fn understood(answer: &Answer) -> Sending {
    if let Some(id) = answer.id("/response") {
        return Sending::Sent(id);
    }
    let words = answer.text("/error/error_msg");
    match answer.number("/error/error_code") {
        Some(901 | 902 | 900 | 18 | 983..=988) => Sending::RecipientOptedOut(words),
        Some(6) => Sending::Throttled(Duration::from_secs(1)),
        Some(9) => Sending::Busy(Duration::from_secs(60)),
        Some(29) => Sending::Throttled(Duration::from_secs(900)),
        Some(5 | 7 | 14 | 15 | 27) => Sending::CredentialsRejected(words),
        Some(1 | 10) => Sending::NotSent(words),
        Some(_) => Sending::Refused(words),
        None => Sending::NotSent(format!("it answered {}", answer.status)),
    }
}
