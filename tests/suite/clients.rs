//! Published amoCRM clients, which nobody of us wrote, are content with the sandbox.

use std::{path::PathBuf, process::Command};

use stagedoor_sandbox::{Messengers, Platform, Sandbox, Seed};

fn root() -> PathBuf {
    stagedoor_testkit::samples::folder().join("..").canonicalize().expect("the repository")
}

async fn sandbox() -> String {
    // The clients keep no rate: that is what they are blamed for.
    let sandbox = Sandbox::new(Seed { rate: 10_000, ..Seed::default() });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let base = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(sandbox.serve(listener));
    base
}

async fn content(mut command: Command) {
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("joined");
    let output = output.expect("the client runs; tests/run installs it");
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_client_amocrm_api_is_content() {
    let mut command = Command::new(root().join(".tools/python/bin/python"));
    command.arg(root().join("tests/clients/amocrm_api.py")).arg(sandbox().await);
    content(command).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_node_client_amocrm_js_is_content() {
    let mut command = Command::new("node");
    command
        .arg(root().join("tests/clients/amocrm_js.js"))
        .arg(sandbox().await)
        .arg(root().join(".tools/node/node_modules"));
    content(command).await;
}

async fn lists() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let base = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(stagedoor_sandbox::Lists::default().serve(listener));
    base
}

/// With the stand-in's address and key.
async fn python(script: &str) -> Command {
    let mut command = Command::new(root().join(".tools/python/bin/python"));
    command.arg(root().join("tests/clients").join(script)).arg(lists().await).arg(stagedoor_sandbox::lists::KEY);
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn mailchimps_own_python_client_is_content_with_its_stand_in() {
    content(python("mailchimp_marketing.py").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sendpulses_own_python_client_is_content_with_its_stand_in() {
    content(python("sendpulse_client.py").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_listmonk_client_is_content_with_its_stand_in() {
    content(python("listmonk_client.py").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_unisender_client_is_content_with_its_stand_in() {
    let mut command = Command::new("node");
    command
        .arg(root().join("tests/clients/unisender_client.js"))
        .arg(lists().await)
        .arg(stagedoor_sandbox::lists::KEY)
        .arg(root().join(".tools/node/node_modules"));
    content(command).await;
}

/// The stand-ins of messengers, with two people who opened MAX's chat, and one who then stopped the bot.
async fn messengers() -> String {
    let messengers = Messengers::default();
    for id in ["123", "124", "403"] {
        messengers.open(Platform::Max, id);
    }
    messengers.block(Platform::Max, "403");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let base = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(messengers.serve(listener));
    base
}

#[tokio::test(flavor = "multi_thread")]
async fn max_own_node_client_is_content_with_its_stand_in() {
    let mut command = Command::new("node");
    command
        .arg(root().join("tests/clients/max_bot_api.js"))
        .arg(messengers().await)
        .arg("dev-max-token")
        .arg(root().join(".tools/node/node_modules"));
    content(command).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_max_client_is_content_with_its_stand_in() {
    let mut command = Command::new(root().join(".tools/python/bin/python"));
    command.arg(root().join("tests/clients/maxapi_client.py")).arg(messengers().await).arg("dev-max-token");
    content(command).await;
}
