//! Each client of the hub over TLS, against an authority that only its process trusts.

use std::{num::NonZeroU32, process::Stdio, time::Duration};

use http::Request;
use stagedoor_config::{Config, Encryption, SmtpConfig};
use stagedoor_crm::SocketClient;
use stagedoor_model::{Email, Identifier, MessageDecided, SourceName, Timestamp};
use stagedoor_ports::{HttpClient, HttpError, Sending};
use stagedoor_sandbox::{
    Post,
    smtp::{LOGIN, PASSWORD},
};
use stagedoor_tests::tls::Authority;
use stagedoor_webhook::Secret;
use tokio::net::TcpListener;

async fn get(port: u16) -> Result<(u16, Vec<u8>), HttpError> {
    let client = SocketClient::new(Duration::from_secs(5)).expect("a client");
    let request = Request::get(format!("https://localhost:{port}/")).body(Default::default()).expect("a request");
    client.send(request).await.map(|answer| (answer.status().as_u16(), answer.into_body().to_vec()))
}

async fn letter(port: u16) -> Sending {
    let mut config: Config =
        stagedoor::read_config("stagedoor.toml", stagedoor::DEFAULT_CONFIG, None).expect("a config");
    config.smtp = Some(SmtpConfig {
        host: "localhost".into(),
        port,
        encryption: Encryption::Tls,
        login: Some(LOGIN.into()),
        secret: Secret::new(PASSWORD),
        from: "tour@example.ru".into(),
        reply_to: None,
        tag: None,
        rate: NonZeroU32::MIN,
    });
    let channels = stagedoor_channels::channels(&config).expect("channels");
    let through = SourceName::new("email").expect("a name");
    let to = Identifier::email(Email::parse("anna@example.ru").expect("an address"));
    let message = MessageDecided {
        subject: Some("Места".into()),
        ..MessageDecided::new(through.clone(), to, "Анна, места ждут.".into(), Timestamp::MAX)
    };
    channels[&through].send("decided", &message).await
}

fn told(name: &str) -> Option<u16> {
    std::env::var(name).ok()?.parse().ok()
}

/// What a process is trusted with is asked of its environment, so it is another process.
#[tokio::test]
#[ignore = "only as a child process"]
async fn child_client() {
    let (Some(page), Some(relay)) = (told("SD_PAGE"), told("SD_RELAY")) else { return };
    let (status, body) = get(page).await.expect("an answer over TLS");
    assert_eq!((status, body.as_slice()), (200, b"behind TLS".as_slice()));
    let sent = letter(relay).await;
    assert!(matches!(sent, Sending::Sent(_)), "{sent:?}");
}

async fn servers(authority: &Authority) -> (u16, u16, Post) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let page = listener.local_addr().expect("an address").port();
    let router = axum::Router::new().fallback(async || "behind TLS");
    tokio::spawn(async move { axum::serve(listener, router).await });
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let relay = listener.local_addr().expect("an address").port();
    let post = Post::default();
    tokio::spawn(post.clone().serve(listener));
    (authority.before(page).await, authority.before(relay).await, post)
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_and_letters_go_over_tls_to_whom_the_machine_trusts_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::new(folder.path());
    let (page, relay, post) = servers(&authority).await;
    let child = tokio::process::Command::new(std::env::current_exe().expect("this binary"))
        .args(["--ignored", "--exact", "tls::child_client"])
        .env("SD_PAGE", page.to_string())
        .env("SD_RELAY", relay.to_string())
        .env("SSL_CERT_FILE", &authority.file)
        .stdin(Stdio::null())
        .output();
    let child = child.await.expect("a child");
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
    assert_eq!(post.arrived().len(), 1);
    // This process knows no such authority.
    assert_eq!(get(page).await, Err(HttpError::NoConnection));
    assert_eq!(letter(relay).await, Sending::NotSent("the relay cannot be reached".into()));
    assert_eq!(post.arrived().len(), 1);
}
