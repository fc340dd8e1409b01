//! A hub that the command line moves to another address.

use std::sync::Arc;

use stagedoor::{DEFAULT_CONFIG, Hub, bind, campaign, read_config, start};
use stagedoor_testkit::{form, free_port};
use stagedoor_tests::hub::free;

#[tokio::test(flavor = "multi_thread")]
async fn the_crms_hooks_and_fans_links_follow_listen() {
    let folder = tempfile::tempdir().expect("a folder");
    let (listen, sandbox) = (free(), free());
    let text = DEFAULT_CONFIG
        .replace("127.0.0.1:8090", "127.0.0.1:0")
        .replace("127.0.0.1:8081", &sandbox)
        .replace("127.0.0.1:8082", &free())
        .replace("8083", &free_port().to_string());
    let config = read_config("stagedoor.toml", &text, Some(listen.parse().expect("one"))).expect("a config");
    let hub = Arc::new(Hub::open(config, folder.path(), "serve").expect("a hub"));
    let _running = start(&hub, bind(hub.config.listen).await.expect("free")).await.expect("started");
    let http = stagedoor_http::builder().build().expect("a client");
    // The CRM is set up once somebody is to be written there.
    let form = form("/website/tilda", &[("Phone", "8 916 123-45-67")]).header("x-api-key", "tilda-api-key");
    assert_eq!(form.post(&http, &format!("http://{listen}")).await.expect("an answer").0, 200);
    let mut told = String::new();
    for _ in 0..40 {
        let ask = http.get(format!("http://{sandbox}/api/v4/webhooks")).bearer_auth("dev-long-lived-token");
        told = ask.send().await.expect("the sandbox").text().await.expect("text");
        if told.contains("/crm/") {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    }
    assert!(told.contains(&format!("http://{listen}/crm/")), "{told}");
    assert!(!told.contains("127.0.0.1:8080"), "{told}");
    let link = campaign::public_link(&hub, "ufa").expect("a link");
    assert!(link.starts_with(&format!("http://{listen}/l/")), "{link}");
}
