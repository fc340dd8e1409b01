//! E-mails by SMTP through the relay in the config (RFC 5321), a provider's or the organiser's own. The relay signs
//! them (DKIM).
//!
//! - An advertising e-mail carries `List-Unsubscribe` and `List-Unsubscribe-Post: List-Unsubscribe=One-Click` (RFC
//!   8058, section 3.1). The relay must be set up so that its signature covers both.
//! - Refusals by code (RFC 5321, section 4.2.1): 4yz is tried again, 5yz is not. 5.1.1 to 5.1.6 (RFC 3463) mean that
//!   there is no such mailbox. 530, 534, 535 and 538 (RFC 4954) mean that the relay does not accept our login.
//! - SMTP has no status query, so an e-mail without an answer is not sent again. Its Message-ID is made of the
//!   decision's id, so a relay that detects duplicates drops them.

use std::{
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use lettre::{
    Message,
    message::{
        Mailbox, MultiPart,
        header::{Header, HeaderName, HeaderValue},
    },
    transport::smtp::{
        Error as SmtpError,
        authentication::{Credentials, Mechanism},
        client::{AsyncSmtpConnection, TlsParameters},
        extension::ClientId,
    },
};
use maud::{DOCTYPE, html};
use stagedoor_config::{Encryption, SmtpConfig};
use stagedoor_model::MessageDecided;
use stagedoor_ports::{Channel, Sending};
use stagedoor_texts::{Language, fans};

/// Time-out of one command.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Pause after a temporary refusal.
const REST: Duration = Duration::from_secs(60);

/// Number of idle connections that are kept.
const KEPT: usize = 8;

/// Client of the SMTP relay.
pub struct Smtp {
    config: SmtpConfig,
    from: Mailbox,
    reply_to: Option<Mailbox>,
    /// `None` if nothing is encrypted, which is for a relay on this machine.
    tls: Option<TlsParameters>,
    idle: Arc<Mutex<Vec<AsyncSmtpConnection>>>,
}

impl Smtp {
    /// Creates the client.
    ///
    /// # Errors
    /// A message, if an address is not valid or the relay's host name cannot be used for TLS.
    pub fn new(config: &SmtpConfig) -> Result<Self, String> {
        let mailbox = |text: &str, key: &str| text.parse::<Mailbox>().map_err(|_| format!("smtp.{key} is no address"));
        let reply_to = config.reply_to.as_deref().map(|text| mailbox(text, "reply_to")).transpose()?;
        let from = mailbox(&config.from, "from")?;
        let tls = match config.encryption {
            Encryption::None => None,
            _ => Some(TlsParameters::new(config.host.clone()).map_err(|_| "smtp.host: no TLS to it can be prepared")?),
        };
        Ok(Self { config: config.clone(), from, reply_to, tls, idle: Arc::default() })
    }

    /// Returns an idle connection that the relay still answers, or a new one.
    async fn connection(&self) -> Result<AsyncSmtpConnection, SmtpError> {
        loop {
            let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some(mut connection) = idle else { break };
            if connection.test_connected().await {
                return Ok(connection);
            }
        }
        let (address, name) = ((self.config.host.as_str(), self.config.port), ClientId::default());
        let tls = self.tls.clone().filter(|_| self.config.encryption == Encryption::Tls);
        let mut connection = AsyncSmtpConnection::connect_tokio1(address, Some(TIMEOUT), &name, tls, None).await?;
        if let Some(tls) = self.tls.clone().filter(|_| self.config.encryption == Encryption::Starttls) {
            connection.starttls(tls, &name).await?;
        }
        if let Some(login) = &self.config.login {
            let credentials = Credentials::new(login.clone(), self.config.secret.reveal());
            connection.auth(&[Mechanism::Plain, Mechanism::Login], &credentials).await?;
        }
        Ok(connection)
    }

    fn keep(&self, connection: AsyncSmtpConnection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < KEPT && !connection.has_broken() {
            idle.push(connection);
        }
    }

    fn letter(&self, decision: &str, message: &MessageDecided) -> Result<Message, String> {
        let to: Mailbox = message.to.value().parse().map_err(|_| "the address is none that SMTP takes".to_owned())?;
        let mut builder = Message::builder()
            .from(self.from.clone())
            .to(to)
            .subject(message.subject.clone().unwrap_or_default())
            .message_id(Some(format!("<{decision}@{}>", self.from.email.domain())));
        if let Some(reply_to) = &self.reply_to {
            builder = builder.reply_to(reply_to.clone());
        }
        if let Some(url) = &message.unsubscribe {
            builder = builder.header(ListUnsubscribe(format!("<{url}>"))).header(OneClick);
        }
        let mut letter = builder
            .multipart(MultiPart::alternative_plain_html(plain(message), styled(message)))
            .map_err(|error| format!("no letter can be made of it: {error}"))?;
        if let (Some((name, value)), Some(mailing)) = (&self.config.tag, &message.campaign) {
            let name = HeaderName::new_from_ascii(name.clone()).map_err(|_| "smtp.tag has no header's name")?;
            letter.headers_mut().insert_raw(HeaderValue::new(name, value.replace("{mailing}", mailing)));
        }
        Ok(letter)
    }
}

#[derive(Clone)]
struct ListUnsubscribe(String);

impl Header for ListUnsubscribe {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("List-Unsubscribe")
    }
    fn parse(text: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self(text.to_owned()))
    }
    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), self.0.clone())
    }
}

#[derive(Clone)]
struct OneClick;

impl Header for OneClick {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("List-Unsubscribe-Post")
    }
    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }
    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "List-Unsubscribe=One-Click".to_owned())
    }
}

/// The text of the unsubscribe link, in Russian if the message contains Cyrillic letters.
fn farewell(message: &MessageDecided) -> String {
    let is_russian = message.text.chars().any(|c| matches!(c, 'а'..='я' | 'А'..='Я'));
    fans::unsubscribe().to(if is_russian { Language::Russian } else { Language::English })
}

fn plain(message: &MessageDecided) -> String {
    let mut text = message.text.clone();
    if let Some(button) = &message.button {
        text.push_str(&format!("\n\n{}: {}", button.label, button.url));
    }
    if let Some(url) = &message.unsubscribe {
        text.push_str(&format!("\n\n-- \n{}: {url}", farewell(message)));
    }
    text
}

fn styled(message: &MessageDecided) -> String {
    let page = html! {
        (DOCTYPE)
        html {
            head { meta charset="utf-8"; }
            body style="font:16px/1.5 sans-serif;color:#1d1b18;max-width:36em;margin:0 auto;padding:1em" {
                @for paragraph in message.text.split("\n\n") {
                    p { @for (index, line) in paragraph.lines().enumerate() { @if index > 0 { br; } (line) } }
                }
                @if let Some(button) = &message.button {
                    p { a href=(button.url) style="background:#1a6fa3;color:#fff;padding:.7em 1.2em;border-radius:.5em;text-decoration:none" { (button.label) } }
                }
                @if let Some(url) = &message.unsubscribe {
                    p style="font-size:13px;color:#5d574d" { a href=(url) style="color:inherit" { (farewell(message)) } }
                }
            }
        }
    };
    page.into_string()
}

#[async_trait]
impl Channel for Smtp {
    async fn send(&self, decision: &str, message: &MessageDecided) -> Sending {
        let letter = match self.letter(decision, message) {
            Ok(letter) => letter,
            Err(reason) => return Sending::Refused(reason),
        };
        // A failure before the e-mail is transmitted has sent nothing.
        let mut connection = match tokio::time::timeout(TIMEOUT, self.connection()).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => {
                return refusal(&error).unwrap_or_else(|| Sending::NotSent("the relay cannot be reached".into()));
            }
            Err(_) => return Sending::NotSent("the relay does not answer".into()),
        };
        match tokio::time::timeout(TIMEOUT * 2, connection.send(letter.envelope(), &letter.formatted())).await {
            Ok(Ok(_)) => {
                self.keep(connection);
                Sending::Sent(decision.to_owned())
            }
            Ok(Err(error)) => refusal(&error).unwrap_or(Sending::Lost),
            Err(_) => Sending::Lost,
        }
    }

    fn rate(&self) -> NonZeroU32 {
        self.config.rate
    }
}

/// Interprets the relay's answer. `None` if there was none. Its text may hold the address, so only the code is passed
/// on.
fn refusal(error: &SmtpError) -> Option<Sending> {
    let number = u16::from(error.status()?);
    let words = format!("the relay answered {number}");
    let said = error.to_string();
    Some(match number {
        530 | 534 | 535 | 538 => Sending::CredentialsRejected(words),
        400..=499 => Sending::Busy(REST),
        // Any other refusal may concern us or the content of the e-mail.
        _ if stagedoor_model::is_no_mailbox(None, &said) == Some(true) => Sending::RecipientOptedOut(words),
        _ => Sending::Refused(words),
    })
}

#[cfg(test)]
mod tests {
    use stagedoor_model::{Button, Email, Identifier, SourceName};
    use stagedoor_webhook::Secret;

    use super::*;

    fn smtp() -> Smtp {
        let config = SmtpConfig {
            host: "127.0.0.1".into(),
            port: 25,
            encryption: Encryption::None,
            login: None,
            secret: Secret::new(""),
            from: "Вишнёвый сад <tour@example.ru>".into(),
            reply_to: None,
            tag: Some(("X-PM-Tag".into(), "{mailing}".into())),
            rate: NonZeroU32::MIN,
        };
        Smtp::new(&config).expect("a channel")
    }

    fn message() -> MessageDecided {
        let to = Identifier::email(Email::parse("anna@example.com").expect("an address"));
        let until = "2027-05-01T00:00:00Z".parse().expect("a time");
        MessageDecided {
            subject: Some("Ваша корзина".into()),
            unsubscribe: Some("https://hub.example.ru/u/0123456789abcdef".into()),
            button: Some(Button {
                label: "Купить <билет>".into(), url: "https://hub.example.ru/l/x".into()
            }),
            campaign: Some("cart".into()),
            ..MessageDecided::new(
                SourceName::new("email").expect("a name"),
                to,
                "Добрый день, <b>Анна</b>!\n\nБилеты ждут.".into(),
                until,
            )
        }
    }

    #[tokio::test]
    async fn a_letter_of_advertising_is_unsubscribed_from_by_one_click() {
        let letter = smtp().letter("email.1", &message()).expect("a letter");
        let text = String::from_utf8(letter.formatted()).expect("text");
        assert!(text.contains("List-Unsubscribe: <https://hub.example.ru/u/0123456789abcdef>\r\n"), "{text}");
        assert!(text.contains("List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"), "{text}");
        assert!(text.contains("Message-ID: <email.1@example.ru>\r\n") && text.contains("X-PM-Tag: cart\r\n"), "{text}");
        let service = MessageDecided { unsubscribe: None, ..message() };
        let text = String::from_utf8(smtp().letter("email.2", &service).expect("a letter").formatted()).expect("text");
        assert!(!text.contains("List-Unsubscribe"), "{text}");
    }

    #[test]
    fn what_somebody_calls_themselves_is_no_header_of_the_letter() {
        for name in ["Anna\r\nBcc: everybody@example.com", "Анна\nBcc: everybody@example.com", "x\r\n\r\nhello"] {
            let message = MessageDecided { subject: Some(format!("{name}, come")), ..message() };
            let letter = smtp().letter("email.3", &message).expect("a letter");
            let text = String::from_utf8(letter.formatted()).expect("text");
            let headers = text.split("\r\n\r\n").next().expect("headers");
            let injected = headers.lines().any(|line| line.to_ascii_lowercase().starts_with("bcc:"));
            assert!(!injected && headers.contains("List-Unsubscribe: "), "{headers}");
        }
    }

    #[test]
    fn what_somebody_calls_themselves_is_no_markup_of_the_letter() {
        let page = styled(&message());
        assert!(page.contains("&lt;b&gt;Анна&lt;/b&gt;") && page.contains("Купить &lt;билет&gt;"), "{page}");
        assert!(plain(&message()).ends_with("Отписаться: https://hub.example.ru/u/0123456789abcdef"));
    }
}
