//! MAX Bot API, POST /messages (dev.max.ru/docs-api, as OpenAPI in max-messenger-bot/max-bot-api-schemas). Limits: 30
//! requests a second in all, two messages a second to one person. The API has no idempotency key and no status query, so
//! a message without an answer is not sent again. Messages go by `user_id`: a callback may lack the id of its chat.
//!
//! The bot's token stands in `Authorization`, without `Bearer`. The host's certificate comes from the Russian Trusted
//! Root CA, which `options.ca_file` names.

use std::{
    collections::BTreeSet,
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use serde_json::{Value, json};
use stagedoor_model::{MessageDecided, Messenger, MessengerInfo, TextLimit, breakage};
use stagedoor_ports::{Channel, Sending, Webhook};
use stagedoor_webhook::{Secret, Source};

use crate::{
    button::label,
    call::{Answer, Caller, option},
};

const OWN: &MessengerInfo = Messenger::Max.info();
/// Maximum length of the label of a button that is no link, in characters (schema: Button.text).
const CHOICE: usize = 128;
/// Maximum number of rows of a keyboard.
const ROWS: usize = 30;
/// This many people in a row whose chats are suspended are no accident: then MAX has suspended the bot.
const SUSPENDED: usize = 3;
/// The wait after 429. MAX documents no Retry-After.
const FLOOD: u64 = 2;
/// What the hub wants to hear.
const UPDATES: [&str; 6] =
    ["bot_started", "bot_stopped", "dialog_removed", "message_created", "message_edited", "message_callback"];

struct Max {
    api: String,
    token: String,
    /// The secret of the subscription: the source's first.
    secret: Option<Secret>,
    caller: Caller,
    /// People whose chats were suspended, since the last message that arrived.
    suspended: Mutex<BTreeSet<String>>,
}

pub fn build(source: &Source, caller: Caller) -> Result<Option<Arc<dyn Channel>>, String> {
    let api = option(source, "api").unwrap_or_else(|| "https://platform-api2.max.ru".into());
    let channel = option(source, "token").map(|token| {
        let api = api.trim_end_matches('/').to_owned();
        let secret = source.secrets.first().cloned();
        Arc::new(Max { api, token, secret, caller, suspended: Mutex::default() }) as Arc<dyn Channel>
    });
    Ok(channel)
}

#[async_trait]
impl Channel for Max {
    async fn send(&self, _: &str, message: &MessageDecided) -> Sending {
        let Ok(user) = message.to.value().parse::<u64>() else { return Sending::Refused("not a person's id".into()) };
        let mut body = json!({ "text": message.text });
        if let (Some(keyboard), Some(body)) = (keyboard(message), body.as_object_mut()) {
            body.insert("attachments".into(), json!([keyboard]));
        }
        let query = [("user_id", user.to_string()), ("disable_link_preview", "true".to_owned())];
        let request = self.caller.post(&format!("{}/messages", self.api)).query(&query);
        match self.caller.call(request.header("authorization", &self.token).json(&body)).await {
            Ok(answer) => self.understood(&answer, message.to.value()),
            Err(failure) => failure,
        }
    }

    async fn check_webhook(&self, url: &str) -> Webhook {
        match self.subscription(url).await {
            Ok(state) => state,
            Err(fault) => Webhook::Missing(fault),
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

fn keyboard(message: &MessageDecided) -> Option<Value> {
    let link = message.button.iter();
    let link = link.map(|one| json!({ "type": "link", "text": label(&one.label, OWN), "url": one.url }));
    let phone = message.ask_phone.then(|| json!({ "type": "request_contact", "text": "📞" }));
    // A press sends the label as the person's own message. So no press has to be answered.
    let choice = |one: &String| json!({ "type": "message", "text": TextLimit::utf16(CHOICE).shortened(one) });
    let rows: Vec<Value> =
        link.chain(phone).chain(message.choices.iter().map(choice)).take(ROWS).map(|one| json!([one])).collect();
    (!rows.is_empty()).then(|| json!({ "type": "inline_keyboard", "payload": { "buttons": rows } }))
}

impl Max {
    fn understood(&self, answer: &Answer, to: &str) -> Sending {
        let mut suspended = self.suspended.lock().unwrap_or_else(PoisonError::into_inner);
        if answer.status == 200
            && let Some(id) = answer.id("/message/body/mid")
        {
            suspended.clear();
            return Sending::Sent(id);
        }
        let (code, words) = (answer.text("/code"), answer.text("/message"));
        match (answer.status, code.as_str()) {
            (429, _) => Sending::Throttled(Duration::from_secs(answer.retry_after.unwrap_or(FLOOD))),
            (_, "attachment.not.ready") => Sending::Busy(Duration::from_secs(FLOOD)),
            (401, _) | (_, "verify.token" | "deprecated.token") => Sending::CredentialsRejected(words),
            (403, "chat.denied") if words.contains("error.dialog") => {
                if suspended.len() < SUSPENDED {
                    suspended.insert(to.to_owned());
                }
                match suspended.len() < SUSPENDED || breakage::is_on("suspended-bot-withdraws-all") {
                    true => Sending::RecipientOptedOut(words),
                    // MAX says the same of a bot that it has not admitted yet. Then nobody has stopped it.
                    false => Sending::CredentialsRejected(format!("{words}: has MAX suspended the bot?")),
                }
            }
            (404, _) => Sending::RecipientOptedOut(words),
            (500.., _) => Sending::NotSent(format!("it answered {}", answer.status)),
            (200, _) if words.is_empty() => Sending::Refused("an answer without a message's id".into()),
            _ => Sending::Refused(words),
        }
    }

    /// Looks for the hub among the subscriptions. MAX ends one after eight hours without an answer, so a missing one is
    /// made again. Subscriptions of others stay.
    async fn subscription(&self, url: &str) -> Result<Webhook, String> {
        let place = format!("{}/subscriptions", self.api);
        let known = self.asked(self.caller.get(&place)).await?;
        let all = known.body.pointer("/subscriptions").and_then(Value::as_array).ok_or("it names no subscriptions")?;
        if all.iter().any(|one| one.get("url").and_then(Value::as_str) == Some(url)) {
            return Ok(Webhook::Stands);
        }
        let secret = self.secret.as_ref().map(Secret::reveal).unwrap_or_default();
        let body = json!({ "url": url, "update_types": UPDATES, "secret": secret });
        let made = self.asked(self.caller.post(&place).json(&body)).await?;
        match made.body.pointer("/success").and_then(Value::as_bool) {
            Some(true) => Ok(Webhook::MadeAgain),
            _ => Err(format!("it makes no subscription: {}", made.text("/message"))),
        }
    }

    async fn asked(&self, request: reqwest::RequestBuilder) -> Result<Answer, String> {
        match self.caller.call(request.header("authorization", &self.token)).await {
            Ok(answer) if answer.status == 200 => Ok(answer),
            Ok(answer) => Err(format!("it answered {}: {}", answer.status, answer.text("/message"))),
            Err(_) => Err("it cannot be reached".into()),
        }
    }
}
