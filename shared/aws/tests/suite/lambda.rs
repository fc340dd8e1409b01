//! Functions as AWS runs them: cargo-lambda's runtime, moto's SQS and DynamoDB, the CRM sandbox.

use std::{
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
    time::Duration,
};

use stagedoor_aws::create_tables;
use stagedoor_sandbox::{PipelineSeed, Sandbox, Seed};
use stagedoor_testkit::free_port;

use crate::moto::{Moto, moto, root, tool};

struct Watch {
    child: Child,
    port: u16,
}

impl Drop for Watch {
    fn drop(&mut self) {
        // The watch starts cargo, and cargo the function: the whole group goes.
        _ = Command::new("kill").args(["--", &format!("-{}", self.child.id())]).status();
        _ = self.child.wait();
    }
}

fn watch(function: &str, moto: &Moto, config: &std::path::Path) -> Watch {
    let port = free_port();
    let package = format!("stagedoor-{function}");
    // The watch would build it too, but nobody waits for ever at a first call.
    let built = Command::new("cargo")
        .args([
            "build",
            "--quiet",
            "--package",
            &package,
            "--bin",
            function,
            "--features",
            &format!("{package}/lambda"),
        ])
        .current_dir(root())
        .status();
    assert!(built.is_ok_and(|status| status.success()), "{function} is built");
    let child = Command::new(tool("cargo-lambda"))
        .args(["lambda", "watch", "--ignore-changes", "-P", &port.to_string(), "-p", &package])
        .args(["--features", &format!("{package}/lambda")])
        .current_dir(root())
        .env("AWS_ENDPOINT_URL", &moto.url)
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", "test")
        .env("AWS_REGION", "eu-central-1")
        .env("STAGEDOOR_CONFIG", config)
        .env("STAGEDOOR_DEV_SECRETS", "yes")
        .env("STAGEDOOR_TABLES", "stagedoor")
        .env("STAGEDOOR_QUEUE_URL", format!("{}/123456789012/events", moto.url))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .expect("cargo-lambda; tests/run installs it");
    Watch { child, port }
}

/// `cargo lambda invoke <function> --data-file events/lambda/<function>.json`; the first call builds the function.
async fn invoke(function: &str, watch: &Watch) -> String {
    let data = root().join(format!("events/lambda/{function}.json"));
    for _ in 0..90 {
        let output = Command::new(tool("cargo-lambda"))
            .args(["lambda", "invoke", function, "-P", &watch.port.to_string(), "--data-file"])
            .arg(&data)
            .current_dir(root())
            .output()
            .expect("cargo-lambda");
        if output.status.success() {
            return String::from_utf8_lossy(&output.stdout).into_owned();
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    panic!("{function} did not answer");
}

async fn sandbox() -> (Sandbox, u16) {
    let stages =
        ["Интерес", "Переговоры", "Промокод выдан", "Корзина", "Оплачено", "Возврат"].map(String::from).to_vec();
    let cities = ["Москва", "Казань", "Нижний Новгород", "Уфа"];
    let pipelines = cities.map(|name| PipelineSeed { name: name.into(), stages: stages.clone() }).to_vec();
    let sandbox = Sandbox::new(Seed { pipelines, ..Seed::default() });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(sandbox.clone().serve(listener));
    (sandbox, port)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_goes_through_the_website_function_sqs_and_the_sync_function_into_the_crm() {
    let moto = moto().await;
    create_tables(&moto.config, "stagedoor").await.expect("tables");
    let sqs = aws_sdk_sqs::Client::new(&moto.config);
    let queue = sqs.create_queue().queue_name("events").send().await.expect("a queue").queue_url.expect("its address");
    let (crm, port) = sandbox().await;
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("stagedoor.toml");
    let text = std::fs::read_to_string(root().join("infra/local/stagedoor.toml")).expect("the local config");
    let text = text.replace("127.0.0.1:8081", &format!("127.0.0.1:{port}")).replace("public_url", "# public_url");
    std::fs::write(&config, text).expect("written");

    let website = watch("website", &moto, &config);
    let answer = invoke("website", &website).await;
    assert!(answer.contains("\"statusCode\":200"), "{answer}");
    let got = sqs.receive_message().queue_url(&queue).send().await.expect("a message").messages.unwrap_or_default();
    let body = got.first().and_then(|message| message.body.clone()).expect("one event is in SQS");
    assert!(body.contains("stagedoor.form.submitted.v1"), "{body}");
    drop(website);

    let sync = watch("sync", &moto, &config);
    let answer = invoke("sync", &sync).await;
    // The message that is no event is the only one that comes again.
    assert_eq!(answer.trim(), "{\"batchItemFailures\":[{\"itemIdentifier\":\"broken\"}]}");
    assert_eq!((crm.count("contacts"), crm.count("leads")), (1, 1));
    let again = invoke("sync", &sync).await;
    assert_eq!(again, answer);
    assert_eq!((crm.count("contacts"), crm.count("leads")), (1, 1), "a second delivery changes nothing");
}
