//! Letters through aiosmtpd, an SMTP server that nobody of us wrote.

use std::{io::BufRead, num::NonZeroU32, process::Stdio};

use serde_json::{Value, json};
use stagedoor_config::{Config, Encryption, SmtpConfig};
use stagedoor_model::{Button, Email, Identifier, MessageDecided, SourceName, Timestamp};
use stagedoor_ports::{Channel, Sending};
use stagedoor_testkit::form_signed;
use stagedoor_tests::hub::TestHub;
use stagedoor_webhook::Secret;

struct Sink {
    port: u16,
    lines: std::sync::mpsc::Receiver<String>,
    process: std::process::Child,
}

impl Drop for Sink {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

impl Sink {
    fn start() -> Self {
        let root = stagedoor_testkit::samples::folder().join("..").canonicalize().expect("the repository");
        let mut process = std::process::Command::new(root.join(".tools/python/bin/python"))
            .arg(root.join("tests/clients/smtp_sink.py"))
            .stdout(Stdio::piped())
            .spawn()
            .expect("aiosmtpd; tests/run installs it");
        let out = std::io::BufReader::new(process.stdout.take().expect("its output"));
        let (say, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| say.send(line)));
        let port = lines.recv_timeout(std::time::Duration::from_secs(20)).expect("a port").parse().expect("a number");
        Self { port, lines, process }
    }

    fn letter(&self) -> Value {
        let line = self.lines.recv_timeout(std::time::Duration::from_secs(10)).expect("a letter");
        serde_json::from_str(&line).expect("JSON")
    }

    fn channel(&self, password: &str) -> std::sync::Arc<dyn Channel> {
        let mut config: Config =
            stagedoor::read_config("stagedoor.toml", stagedoor::DEFAULT_CONFIG, None).expect("a config");
        config.smtp = Some(SmtpConfig {
            host: "127.0.0.1".into(),
            port: self.port,
            encryption: Encryption::None,
            login: Some("tour".into()),
            secret: Secret::new(password),
            from: "Вишнёвый сад <tour@example.ru>".into(),
            reply_to: Some("kassa@example.ru".into()),
            tag: Some(("X-PM-Tag".into(), "{mailing}".into())),
            rate: NonZeroU32::MIN,
        });
        let channels = stagedoor_channels::channels(&config).expect("channels");
        channels[&SourceName::new("email").expect("a name")].clone()
    }
}

fn to(address: &str) -> MessageDecided {
    let to = Identifier::email(Email::parse(address).expect("an address"));
    MessageDecided {
        subject: Some("«Вишнёвый сад»: места ещё свободны 🎭".into()),
        unsubscribe: Some("https://hub.example.ru/u/0123456789abcdef".into()),
        button: Some(Button {
            label: "К заказу".into(), url: "https://hub.example.ru/l/fedcba9876543210".into()
        }),
        campaign: Some("cart".into()),
        // A point alone on its line ends a letter, if nobody looks after it (RFC 5321, section 4.5.2).
        ..MessageDecided::new(
            SourceName::new("email").expect("a name"),
            to,
            "Анна, места ждут.\n.\nДо встречи!".into(),
            Timestamp::MAX,
        )
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_smtp_server_gets_a_whole_letter_that_is_unsubscribed_from_by_one_click() {
    let sink = Sink::start();
    let channel = sink.channel("a secret");
    for address in ["anna@example.com", "boris@пример.рф"] {
        let sent = channel.send("email.1", &to(address)).await;
        assert_eq!(sent, Sending::Sent("email.1".into()));
        let letter = sink.letter();
        assert_eq!(letter["to"], Email::parse(address).expect("an address").as_str());
        assert_eq!(letter["from"], "Вишнёвый сад <tour@example.ru>");
        assert_eq!(letter["subject"], "«Вишнёвый сад»: места ещё свободны 🎭");
        assert_eq!(letter["message_id"], "<email.1@example.ru>");
        assert_eq!(letter["unsubscribe"], "<https://hub.example.ru/u/0123456789abcdef>");
        assert_eq!(letter["post"], "List-Unsubscribe=One-Click");
        assert_eq!(letter["defects"], serde_json::json!([]));
        let plain = letter["plain"].as_str().expect("text").replace("\r\n", "\n");
        assert!(plain.starts_with("Анна, места ждут.\n.\nДо встречи!\n"), "{plain}");
        assert!(plain.contains("К заказу: https://hub.example.ru/l/fedcba9876543210"), "{plain}");
        let html = letter["html"].as_str().expect("HTML");
        assert!(html.contains("href=\"https://hub.example.ru/u/0123456789abcdef\""), "{html}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_foreign_smtp_server_refuses_is_told_as_what_it_is() {
    let sink = Sink::start();
    let channel = sink.channel("a secret");
    let sent = channel.send("email.2", &to("gone@example.com")).await;
    assert!(matches!(sent, Sending::RecipientOptedOut(_)), "no such mailbox: {sent:?}");
    let sent = channel.send("email.3", &to("busy@example.com")).await;
    assert!(matches!(sent, Sending::Busy(_)), "not now: {sent:?}");
    assert_eq!(channel.send("email.3", &to("busy@example.com")).await, Sending::Sent("email.3".into()));
    let sent = sink.channel("another secret").send("email.4", &to("anna@example.com")).await;
    assert!(matches!(sent, Sending::CredentialsRejected(_)), "a wrong password holds the channel: {sent:?}");
    assert!(!format!("{sent:?}").contains("secret"));
    drop(sink);
    let sent = channel.send("email.5", &to("anna@example.com")).await;
    assert!(matches!(sent, Sending::NotSent(_)), "nobody is there: {sent:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cart_that_was_left_becomes_a_letter_in_a_foreign_server_and_its_one_click_ends_letters() {
    let sink = Sink::start();
    let clock = stagedoor_tests::clock::Moved::at(1_809_334_800);
    let port = sink.port;
    let hub = TestHub::by(std::sync::Arc::new(clock.clone()), move |text| {
        let (before, relay) = text.split_once("[smtp]").expect("the relay");
        let (relay, after) = relay.split_once("[identity]").expect("what follows it");
        let own = |line: &str| match line.split_once(" = ") {
            Some(("port", _)) => format!("port = {port}"),
            Some(("login", _)) => "login = \"tour\"".to_owned(),
            Some(("secret", _)) => "secret = \"dev:a secret\"".to_owned(),
            _ => line.to_owned(),
        };
        let relay: Vec<String> = relay.lines().map(own).collect();
        format!("{before}[smtp]{}\n\n[identity]{after}", relay.join("\n")).replace("hold_out = 20", "hold_out = 0")
    })
    .await;
    let consents = json!([{ "purpose": "marketing", "channel": "email", "given": true }]);
    let cart = json!({
        "kind": "cart_abandoned", "cart_id": "1", "email": "anna@example.com", "amount": "3000.00", "currency": "RUB",
        "show": "cherry-kazan", "consents": consents, "at": hub.now().to_string(),
    });
    hub.take(&form_signed("/website/site", &cart, "generic-source-secret", "cart-1", hub.now())).await;
    hub.settled().await;
    clock.on(2 * 3_600 + 1);
    hub.hub.sync.wake().await.expect("woken");
    let letter = sink.letter();
    assert_eq!(letter["to"], "anna@example.com");
    hub.settled().await;
    assert_eq!(hub.messengers.lists().mailed("134").len(), 1);
    let url = letter["unsubscribe"].as_str().expect("a link").trim_matches(['<', '>']).to_owned();
    // As multipart, which RFC 8058 allows as well.
    let body = "--b\r\nContent-Disposition: form-data; name=\"List-Unsubscribe\"\r\n\r\nOne-Click\r\n--b--\r\n";
    let http = stagedoor_tests::http();
    let told = http.post(&url).header("content-type", "multipart/form-data; boundary=b").body(body).send();
    assert_eq!(told.await.expect("an answer").status(), 200);
    hub.settled().await;
    assert!(hub.messengers.lists().mailed("134").is_empty());
}
