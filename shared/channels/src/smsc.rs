//! SMS through smsc.ru: POST /sys/send.php with login, psw, phones, mes, id, fmt=3, charset (smsc.ru/api/http,
//! "Отправка SMS-сообщения"). Errors are `{"error", "error_code"}`. The hub chooses the id, a number up to 2147483647,
//! and status.php finds the message by phone and id. After a lost answer the hub asks for the message, and sends it
//! again only if it is unknown there.

use std::{num::NonZeroU32, time::Duration};

use async_trait::async_trait;
use sha2::{Digest, Sha256};
use stagedoor_config::SmsConfig;
use stagedoor_model::{MessageDecided, TextLimit, breakage};
use stagedoor_ports::{Channel, Sending, Settled};

use crate::{
    button::with_address,
    call::{Answer, Caller},
};

/// Client of smsc.ru.
pub struct Smsc {
    config: SmsConfig,
    caller: Caller,
}

impl Smsc {
    pub fn new(config: &SmsConfig, caller: Caller) -> Self {
        Self { config: config.clone(), caller }
    }

    fn url(&self, page: &str) -> String {
        format!("{}/sys/{page}", self.config.api.trim_end_matches('/'))
    }
}

/// The id of a message, from 1 to 2147483647.
fn id(decision: &str) -> String {
    let digest = Sha256::digest(decision.as_bytes());
    let number = digest.iter().take(4).fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
    (number & 0x7fff_ffff).max(1).to_string()
}

/// The text followed by the button's address, because an SMS has no buttons.
fn words(message: &MessageDecided) -> String {
    match &message.button {
        Some(button) => with_address(&message.text, ' ', &button.url),
        None => message.text.clone(),
    }
}

#[async_trait]
impl Channel for Smsc {
    async fn send(&self, decision: &str, message: &MessageDecided) -> Sending {
        let (secret, id, text) = (self.config.secret.reveal(), id(decision), words(message));
        let mut fields = vec![
            ("login", self.config.login.as_str()),
            ("psw", &secret),
            ("phones", message.to.value()),
            ("mes", &text),
            ("id", &id),
            ("fmt", "3"),
            ("charset", "utf-8"),
        ];
        fields.extend(self.config.sender.as_deref().map(|sender| ("sender", sender)));
        match self.caller.call(self.caller.post(&self.url("send.php")).form(&fields)).await {
            Ok(answer) => understood(&answer),
            Err(failure) => failure,
        }
    }

    async fn settle(&self, decision: &str, message: &MessageDecided) -> Settled {
        let (secret, id) = (self.config.secret.reveal(), id(decision));
        let fields = [
            ("login", self.config.login.as_str()),
            ("psw", &secret),
            ("phone", message.to.value()),
            ("id", &id),
            ("fmt", "3"),
        ];
        match self.caller.call(self.caller.post(&self.url("status.php")).form(&fields)).await {
            Ok(answer) if answer.number("/status").is_some() => Settled::Sent(id),
            // Code 3: there is no such message.
            Ok(answer) if answer.number("/error_code") == Some(3) => Settled::NotKnown,
            _ => Settled::Later,
        }
    }

    fn limit(&self) -> Option<TextLimit> {
        Some(TextLimit::utf16(1_000))
    }

    fn rate(&self) -> NonZeroU32 {
        self.config.rate
    }
}

fn understood(answer: &Answer) -> Sending {
    let words = answer.text("/error");
    match answer.number("/error_code") {
        None => match answer.id("/id") {
            Some(id) => Sending::Sent(id),
            None => Sending::NotSent(format!("it answered {}", answer.status)),
        },
        // The login or password is wrong, the balance is empty, or our IP address is blocked.
        Some(2..=4) => Sending::CredentialsRejected(words),
        // The same message went to the number within a minute, or too many calls came at once. Other messages need not
        // wait.
        Some(9) if breakage::is_on("repeated-sms-holds-all") => Sending::Throttled(Duration::from_secs(60)),
        Some(9) => Sending::Busy(Duration::from_secs(60)),
        // The number is wrong or cannot be reached at all.
        Some(7 | 8) => Sending::RecipientOptedOut(words),
        Some(_) => Sending::Refused(words),
    }
}
