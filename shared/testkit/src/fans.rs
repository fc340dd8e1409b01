//! Fans in messengers: the webhooks of their actions, with the secrets of the local config. The shapes are those of
//! the samples in `events/`.

use serde_json::{Value, json};
use stagedoor_model::Messenger;

use crate::{SignedRequest, hmac_sha256_hex, json as posted};

/// A person's account at a messenger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Account {
    Telegram(u64),
    Viber(String),
    Vk(u64),
    Messenger(u64),
    Whatsapp(String),
    Max(u64),
}

impl Account {
    /// An account of somebody at this messenger, with an id of the usual form. Instagram's users are Messenger's here.
    pub fn sample(messenger: Messenger) -> Self {
        match messenger {
            Messenger::Telegram => Self::Telegram(5_342_492_667),
            Messenger::Viber => Self::Viber("01234567890A=".into()),
            Messenger::Vk => Self::Vk(578_716_413),
            Messenger::Messenger | Messenger::Instagram => Self::Messenger(1_476_077_422_222_289),
            Messenger::Whatsapp => Self::Whatsapp("79161234567".into()),
            Messenger::Max => Self::Max(123_456_789),
        }
    }
}

/// A fan with an account and a nickname.
#[derive(Debug, Clone)]
pub struct ChatFan {
    pub account: Account,
    pub nickname: String,
}

const VK_GROUP: u64 = 191_949_777;
const PAGE: &str = "707356222221168";

/// A body with Meta's signature over exactly these bytes.
pub fn signed_by_meta(path: &str, body: &Value, secret: &str) -> SignedRequest {
    let signed_request = posted(path, body);
    let signature = format!("sha256={}", hmac_sha256_hex(secret, &signed_request.body));
    signed_request.header("x-hub-signature-256", &signature)
}

pub fn signed_by_viber(path: &str, body: &Value, secret: &str) -> SignedRequest {
    let signed_request = posted(path, body);
    let signature = hmac_sha256_hex(secret, &signed_request.body);
    signed_request.header("x-viber-content-signature", &signature)
}

fn telegram(update: &Value) -> SignedRequest {
    posted("/messaging/telegram", update).header("x-telegram-bot-api-secret-token", "stagedoor-telegram-secret")
}

fn viber(callback: &Value) -> SignedRequest {
    signed_by_viber("/messaging/viber", callback, "stagedoor-viber-auth-token")
}

/// The token under which MAX signs contact cards.
const MAX_TOKEN: &str = "dev-max-token";

fn max(update: &Value) -> SignedRequest {
    posted("/messaging/max", update).header("x-max-bot-api-secret", "stagedoor-max-secret")
}

fn vk(kind: &str, event: &str, object: Value) -> SignedRequest {
    let body = json!({
        "group_id": VK_GROUP, "type": kind, "event_id": event, "v": "5.199", "object": object, "secret": "abc123xyz",
    });
    posted("/messaging/vk", &body)
}

fn messenger(update: Value) -> SignedRequest {
    let entry = json!({ "id": PAGE, "time": 1_795_600_000_000_u64, "messaging": [update] });
    signed_by_meta("/messaging/messenger", &json!({ "object": "page", "entry": [entry] }), "stagedoor-meta-app-secret")
}

fn whatsapp(contact: Value, message: Value) -> SignedRequest {
    whatsapp_change(contact, "messages", message)
}

fn whatsapp_change(contact: Value, kind: &str, one: Value) -> SignedRequest {
    let metadata = json!({ "display_phone_number": "79990000000", "phone_number_id": "106540352242922" });
    let value = json!({ "messaging_product": "whatsapp", "metadata": metadata, "contacts": [contact], kind: [one] });
    let entry = json!({ "id": "102290129340398", "changes": [{ "value": value, "field": "messages" }] });
    let body = json!({ "object": "whatsapp_business_account", "entry": [entry] });
    signed_by_meta("/messaging/whatsapp", &body, "stagedoor-meta-app-secret")
}

impl ChatFan {
    pub fn new(account: Account, nickname: &str) -> Self {
        Self { account, nickname: nickname.to_owned() }
    }

    /// The messenger's id, as the stand-ins know it.
    pub fn id(&self) -> String {
        match &self.account {
            Account::Telegram(id) | Account::Vk(id) | Account::Messenger(id) | Account::Max(id) => id.to_string(),
            Account::Viber(id) | Account::Whatsapp(id) => id.clone(),
        }
    }

    fn telegram_message(&self, serial: u64, second: i64, more: &Value) -> SignedRequest {
        let id = self.id().parse::<u64>().unwrap_or(1);
        let from = json!({ "id": id, "is_bot": false, "first_name": self.nickname, "language_code": "ru" });
        let chat = json!({ "id": id, "first_name": self.nickname, "type": "private" });
        let mut message = json!({ "message_id": serial, "from": from, "chat": chat, "date": second });
        if let (Some(message), Some(more)) = (message.as_object_mut(), more.as_object()) {
            message.extend(more.clone());
        }
        telegram(&json!({ "update_id": serial, "message": message }))
    }

    /// Opens the chat, through a link's token or without one. `serial` is the messenger's id of the fact.
    pub fn start(&self, token: Option<&str>, serial: u64, second: i64) -> SignedRequest {
        match &self.account {
            Account::Telegram(_) => {
                let text = token.map_or_else(|| "/start".to_owned(), |token| format!("/start {token}"));
                self.telegram_message(serial, second, &json!({ "text": text }))
            }
            Account::Viber(id) => {
                let mut callback = json!({
                    "event": "conversation_started", "timestamp": second * 1_000, "message_token": serial, "type": "open",
                    "user": { "id": id, "name": self.nickname, "language": "ru" }, "subscribed": false,
                });
                if let (Some(map), Some(token)) = (callback.as_object_mut(), token) {
                    map.insert("context".into(), token.into());
                }
                viber(&callback)
            }
            Account::Vk(id) => {
                let mut message = json!({
                    "id": serial, "date": second, "from_id": id, "peer_id": id, "out": 0, "text": "Начать",
                    "payload": "{\"command\":\"start\"}",
                });
                if let (Some(map), Some(token)) = (message.as_object_mut(), token) {
                    map.insert("ref".into(), token.into());
                }
                vk(
                    "message_new",
                    &format!("vk-{serial}"),
                    json!({ "message": message, "client_info": { "lang_id": 0 } }),
                )
            }
            Account::Messenger(id) => {
                let mut postback =
                    json!({ "payload": "__GET_STARTED__", "title": "Начать", "mid": format!("m_{serial}") });
                if let (Some(map), Some(token)) = (postback.as_object_mut(), token) {
                    map.insert(
                        "referral".into(),
                        json!({ "source": "SHORTLINK", "type": "OPEN_THREAD", "ref": token }),
                    );
                }
                messenger(json!({
                    "sender": { "id": id.to_string() }, "recipient": { "id": PAGE }, "timestamp": second * 1_000,
                    "postback": postback,
                }))
            }
            Account::Whatsapp(id) => {
                let text = token.map_or_else(|| "Здравствуйте".to_owned(), |token| format!("Хочу промокод [{token}]"));
                self.whatsapp_text(id, &text, serial, second)
            }
            Account::Max(id) => {
                let mut update = json!({
                    "update_type": "bot_started", "timestamp": second * 1_000, "chat_id": id + 1_000,
                    "user": self.max_user(*id), "user_locale": "ru",
                });
                if let (Some(map), Some(token)) = (update.as_object_mut(), token) {
                    map.insert("payload".into(), token.into());
                }
                max(&update)
            }
        }
    }

    fn max_user(&self, id: u64) -> Value {
        json!({ "user_id": id, "first_name": self.nickname, "is_bot": false, "last_activity_time": 0 })
    }

    fn max_message(&self, id: u64, serial: u64, second: i64, content: &Value) -> SignedRequest {
        let mut body = json!({ "mid": format!("mid.{serial:032x}"), "seq": serial, "text": "" });
        if let (Some(body), Some(content)) = (body.as_object_mut(), content.as_object()) {
            body.extend(content.clone());
        }
        let recipient = json!({ "chat_id": id + 1_000, "chat_type": "dialog", "user_id": 229_229_229 });
        let message = json!({
            "recipient": recipient, "timestamp": second * 1_000, "body": body, "sender": self.max_user(id),
        });
        max(&json!({
            "update_type": "message_created", "timestamp": second * 1_000, "message": message, "user_locale": "ru",
        }))
    }

    fn whatsapp_text(&self, id: &str, text: &str, serial: u64, second: i64) -> SignedRequest {
        let contact = json!({ "profile": { "name": self.nickname }, "wa_id": id });
        let message = json!({
            "from": id, "id": format!("wamid.{serial}"), "timestamp": second.to_string(), "type": "text",
            "text": { "body": text },
        });
        whatsapp(contact, message)
    }

    pub fn say(&self, text: &str, serial: u64, second: i64) -> SignedRequest {
        match &self.account {
            Account::Telegram(_) => self.telegram_message(serial, second, &json!({ "text": text })),
            Account::Viber(id) => viber(&json!({
                "event": "message", "timestamp": second * 1_000, "message_token": serial,
                "sender": { "id": id, "name": self.nickname, "language": "ru" },
                "message": { "type": "text", "text": text },
            })),
            Account::Vk(id) => {
                let message = json!({
                    "id": serial, "date": second, "from_id": id, "peer_id": id, "out": 0, "text": text, "attachments": [],
                });
                vk(
                    "message_new",
                    &format!("vk-{serial}"),
                    json!({ "message": message, "client_info": { "lang_id": 0 } }),
                )
            }
            Account::Messenger(id) => messenger(json!({
                "sender": { "id": id.to_string() }, "recipient": { "id": PAGE }, "timestamp": second * 1_000,
                "message": { "mid": format!("m_{serial}"), "text": text },
            })),
            Account::Whatsapp(id) => self.whatsapp_text(id, text, serial, second),
            Account::Max(id) => self.max_message(*id, serial, second, &json!({ "text": text })),
        }
    }

    /// Shares the fan's own phone by the messenger's button. Only Telegram and MAX say whose phone it is.
    pub fn share_phone(&self, phone: &str, serial: u64, second: i64) -> SignedRequest {
        if let Account::Max(id) = self.account {
            let card = format!(
                "BEGIN:VCARD\r\nVERSION:3.0\r\nTEL;TYPE=cell:{}\r\nFN:{}\r\nEND:VCARD\r\n",
                phone.trim_start_matches('+'),
                self.nickname
            );
            let hash = hmac_sha256_hex(MAX_TOKEN, card.as_bytes());
            let payload = json!({ "vcf_info": card, "max_info": self.max_user(id), "hash": hash });
            let contact = json!({ "attachments": [{ "type": "contact", "payload": payload }] });
            return self.max_message(id, serial, second, &contact);
        }
        let id = self.id().parse::<u64>().unwrap_or(1);
        let contact = json!({ "phone_number": phone, "first_name": self.nickname, "user_id": id });
        self.telegram_message(serial, second, &json!({ "contact": contact }))
    }

    /// A report that the hub's message reached the phone. Only WhatsApp sends it; Telegram and VK do not.
    pub fn delivered(&self, message: &str, second: i64) -> Option<SignedRequest> {
        let Account::Whatsapp(id) = &self.account else { return None };
        let contact = json!({ "profile": { "name": self.nickname }, "wa_id": id });
        let status =
            json!({ "id": message, "status": "delivered", "timestamp": second.to_string(), "recipient_id": id });
        Some(whatsapp_change(contact, "statuses", status))
    }

    /// A report on a message that the messenger took before: `read`, or `failed` if it cannot be delivered. Only for
    /// WhatsApp.
    pub fn reported(&self, message: &str, state: &str, second: i64) -> Option<SignedRequest> {
        let Account::Whatsapp(id) = &self.account else { return None };
        let contact = json!({ "profile": { "name": self.nickname }, "wa_id": id });
        let errors = match state {
            "failed" => json!([{ "code": 131_026, "title": "Message undeliverable" }]),
            _ => json!([]),
        };
        let status = json!({
            "id": message, "status": state, "timestamp": second.to_string(), "recipient_id": id, "errors": errors,
        });
        Some(whatsapp_change(contact, "statuses", status))
    }

    /// Blocks the bot. Messenger and WhatsApp send nothing about it.
    pub fn block(&self, serial: u64, second: i64) -> Option<SignedRequest> {
        match &self.account {
            Account::Telegram(id) => {
                let user = json!({ "id": id, "is_bot": false, "first_name": self.nickname });
                let chat = json!({ "id": id, "first_name": self.nickname, "type": "private" });
                let change = json!({
                    "chat": chat, "from": user, "date": second, "new_chat_member": { "status": "kicked", "until_date": 0 },
                });
                Some(telegram(&json!({ "update_id": serial, "my_chat_member": change })))
            }
            Account::Viber(id) => Some(viber(&json!({
                "event": "unsubscribed", "timestamp": second * 1_000, "message_token": serial, "user_id": id,
            }))),
            Account::Vk(id) => Some(vk("message_deny", &format!("vk-{serial}"), json!({ "user_id": id }))),
            Account::Max(id) => Some(max(&json!({
                "update_type": "bot_stopped", "timestamp": second * 1_000, "chat_id": id + 1_000,
                "user": self.max_user(*id), "user_locale": "ru",
            }))),
            Account::Messenger(_) | Account::Whatsapp(_) => None,
        }
    }
}
