//! Telegram Bot API, sendMessage (core.telegram.org/bots/api#sendmessage; errors as in tdlib/telegram-bot-api). Limits:
//! core.telegram.org/bots/faq, "about 30 messages per second", "avoid sending more than one message per second" in one
//! chat. The API has no idempotency key and no status query, so a message without an answer is not sent again.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use async_trait::async_trait;
use serde_json::{Value, json};
use stagedoor_model::{MessageDecided, Messenger, MessengerInfo, TextLimit};
use stagedoor_ports::{Channel, Sending};
use stagedoor_webhook::Source;

use crate::call::{Answer, Caller, option};

const OWN: &MessengerInfo = Messenger::Telegram.info();

struct Telegram {
    /// URL with the token in it, as the API requires. It is never logged.
    url: String,
    caller: Caller,
}

pub fn build(source: &Source, caller: Caller) -> Result<Option<Arc<dyn Channel>>, String> {
    let api = option(source, "api").unwrap_or_else(|| "https://api.telegram.org".into());
    let channel = option(source, "token").map(|token| {
        let url = format!("{}/bot{token}/sendMessage", api.trim_end_matches('/'));
        Arc::new(Telegram { url, caller }) as Arc<dyn Channel>
    });
    Ok(channel)
}

#[async_trait]
impl Channel for Telegram {
    async fn send(&self, _: &str, message: &MessageDecided) -> Sending {
        let Ok(chat) = message.to.value().parse::<i64>() else { return Sending::Refused("not a chat's id".into()) };
        let mut body = json!({
            "chat_id": chat, "text": message.text, "link_preview_options": { "is_disabled": true },
        });
        if let (Some(markup), Some(body)) = (markup(message), body.as_object_mut()) {
            body.insert("reply_markup".into(), markup);
        }
        match self.caller.call(self.caller.post(&self.url).json(&body)).await {
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

    fn pause(&self) -> Duration {
        OWN.pause
    }
}

/// A message has one markup. The shop's button has priority over the phone request, and that over the menu.
fn markup(message: &MessageDecided) -> Option<Value> {
    if let Some(button) = &message.button {
        return Some(json!({ "inline_keyboard": [[{ "text": button.label, "url": button.url }]] }));
    }
    if message.ask_phone {
        let key = json!({ "text": "📞", "request_contact": true });
        return Some(json!({ "keyboard": [[key]], "resize_keyboard": true, "one_time_keyboard": true }));
    }
    let keys: Vec<Value> = message.choices.iter().map(|choice| json!([{ "text": choice }])).collect();
    (!keys.is_empty()).then(|| json!({ "keyboard": keys, "resize_keyboard": true, "one_time_keyboard": true }))
}

fn understood(answer: &Answer) -> Sending {
    if answer.status == 200
        && let Some(id) = answer.id("/result/message_id")
    {
        return Sending::Sent(id);
    }
    let code = answer.number("/error_code").unwrap_or(i64::from(answer.status));
    let words = answer.text("/description");
    match code {
        429 => {
            let seconds = answer.number("/parameters/retry_after").and_then(|n| u64::try_from(n).ok());
            Sending::Throttled(Duration::from_secs(seconds.or(answer.retry_after).unwrap_or(5)))
        }
        401 | 404 => Sending::CredentialsRejected(words),
        // This error was temporary in a developer's report, so the person does not count as unreachable.
        403 if words.contains("can't send messages to the user") => Sending::Refused(words),
        403 => Sending::RecipientOptedOut(words),
        400 if words.contains("chat not found") => Sending::RecipientOptedOut(words),
        500.. => Sending::NotSent(format!("it answered {code}")),
        _ => Sending::Refused(words),
    }
}
