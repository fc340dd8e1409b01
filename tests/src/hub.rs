//! A whole hub on free ports with its sandbox, in this process.

use std::{sync::Arc, time::Duration};

use stagedoor::{DEFAULT_CONFIG, Hub, Running, Status, THEATRE_CONFIG, read_config, start};
use stagedoor_model::Timestamp;
use stagedoor_ports::{Clock, SystemClock};
use stagedoor_sandbox::{Messengers, Payments, Post, Sandbox, VtigerSandbox};
use stagedoor_testkit::{SignedRequest, form_signed, free_port};
use tokio::net::TcpListener;

pub struct TestHub {
    pub hub: Arc<Hub>,
    /// The URL that takes webhooks.
    pub base: String,
    /// The console's URL with its token as the password.
    pub console: String,
    /// The console's URL without the token.
    pub console_address: String,
    pub sandbox: Sandbox,
    pub messengers: Messengers,
    pub post: Post,
    pub folder: tempfile::TempDir,
    http: reqwest::Client,
    _running: Running,
}

/// A theatre's hub, with the sandbox of its Vtiger.
pub struct TheatreHub {
    pub hub: Arc<Hub>,
    pub base: String,
    pub vtiger: VtigerSandbox,
    /// The second CRM, if the config has one.
    pub amo: Option<Sandbox>,
    pub payments: Payments,
    pub folder: tempfile::TempDir,
    http: reqwest::Client,
    _running: Running,
}

impl TheatreHub {
    pub async fn start() -> Self {
        Self::by(Arc::new(SystemClock), |text| text).await
    }

    /// A hub with this clock and a changed config.
    pub async fn by(clock: Arc<dyn Clock>, change: impl FnOnce(String) -> String) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let text = THEATRE_CONFIG
            .replace("127.0.0.1:8090", "127.0.0.1:0")
            .replace("127.0.0.1:8081", &free())
            .replace("127.0.0.1:8082", &free())
            // The system's port comes last: a part of it may read as the number of another.
            .replace("127.0.0.1:8080", &address.to_string());
        let config = read_config("theatre.toml", &change(text), None).expect("a config");
        let hub = Arc::new(Hub::open_by(clock, config, folder.path(), "serve").expect("a hub"));
        let running = start(&hub, listener).await.expect("started");
        let vtiger = running.vtiger.clone().expect("a sandbox");
        let amo = running.sandbox.clone();
        let payments = running.messengers.as_ref().expect("stand-ins").payments().clone();
        let http = stagedoor_http::builder().build().expect("a client");
        Self { hub, base: format!("http://{address}"), vtiger, amo, payments, folder, http, _running: running }
    }

    /// Posts a delivery and insists that the hub accepts it.
    pub async fn take(&self, signed_request: &SignedRequest) {
        let (status, answer) = signed_request.post(&self.http, &self.base).await.expect("the hub answers");
        assert_eq!(status, 200, "{answer}");
    }

    /// Waits until nothing is queued and nobody waits for the CRM.
    pub async fn settled(&self) -> Status {
        settled(&self.hub).await
    }
}

impl TestHub {
    pub async fn start() -> Self {
        Self::with(|text| text).await
    }

    /// A hub with a changed config and the real clock. It has no quiet hours, so that tests do not depend on the time
    /// of day.
    pub async fn with(change: impl FnOnce(String) -> String) -> Self {
        Self::by(Arc::new(SystemClock), |text| change(text.replace("quiet = \"21:00-09:00\"\n", ""))).await
    }

    /// A hub with this clock, which the test moves, and a changed config.
    pub async fn by(clock: Arc<dyn Clock>, change: impl FnOnce(String) -> String) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let text = DEFAULT_CONFIG
            .replace("127.0.0.1:8090", "127.0.0.1:0")
            .replace("127.0.0.1:8081", &free())
            .replace("127.0.0.1:8082", &free())
            .replace("8083", &free_port().to_string())
            // The system's port comes last: a part of it may read as the number of another.
            .replace("127.0.0.1:8080", &address.to_string())
            // Another test covers the rate; here it would only cost time.
            .replace("kind = \"amocrm\"", "kind = \"amocrm\"\nrate = 200");
        let config = read_config("stagedoor.toml", &change(text), None).expect("a config");
        let hub = Arc::new(Hub::open_by(clock, config, folder.path(), "serve").expect("a hub"));
        let running = start(&hub, listener).await.expect("started");
        let sandbox = running.sandbox.clone().expect("a sandbox");
        let messengers = running.messengers.clone().expect("stand-ins");
        let post = running.post.clone().expect("a relay");
        // The client never reuses a connection that the hub is about to close as idle.
        let http = stagedoor_http::builder().pool_idle_timeout(Duration::from_secs(5)).build().expect("a client");
        let console_address = format!("http://{}", running.console);
        let console = running.console_token.link(running.console).trim_end_matches('/').to_owned();
        Self {
            hub,
            base: format!("http://{address}"),
            console,
            console_address,
            sandbox,
            messengers,
            post,
            folder,
            http,
            _running: running,
        }
    }

    pub async fn post(&self, signed_request: &SignedRequest) -> (u16, String) {
        signed_request.post(&self.http, &self.base).await.expect("the hub answers")
    }

    /// Posts a delivery and insists that the hub accepts it.
    pub async fn take(&self, signed_request: &SignedRequest) {
        let (status, answer) = self.post(signed_request).await;
        assert_eq!(status, 200, "{answer}");
    }

    /// The hub's own time.
    pub fn now(&self) -> Timestamp {
        self.hub.sync.clock.now()
    }

    /// Posts a form in which the owners of these phones consent to SMS.
    pub async fn consents_to_sms(&self, phones: &[&str]) {
        for phone in phones {
            let consents =
                serde_json::json!([{ "purpose": "marketing", "channel": "sms", "given": true, "wording": "2027-1" }]);
            // This is earlier than all other statements of the tests.
            let at = "2026-01-15T09:00:00Z";
            let body = serde_json::json!({ "kind": "lead", "phone": phone, "consents": consents, "at": at });
            let id = format!("sms-{phone}");
            let form = form_signed("/website/site", &body, "generic-source-secret", &id, self.now());
            self.take(&form).await;
        }
        self.settled().await;
    }

    /// Waits until nothing is queued and nobody waits for the CRM.
    pub async fn settled(&self) -> Status {
        settled(&self.hub).await
    }
}

async fn settled(hub: &Hub) -> Status {
    let (mut calm, mut last) = (0, None);
    for _ in 0..1200 {
        // A file that is busy for a moment proves nothing.
        let status = hub.status().await;
        let is_calm = |status: &Status| status.queue_depth + status.outbox == 0 && status.waiting == 0;
        calm = if status.as_ref().is_ok_and(is_calm) { calm + 1 } else { 0 };
        match status {
            Ok(status) if calm >= 12 => return status,
            status => last = Some(status),
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("not settled in thirty seconds: {last:?}");
}

/// An address where nothing listens.
pub fn free() -> String {
    format!("127.0.0.1:{}", free_port())
}
