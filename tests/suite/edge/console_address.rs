//! The console has an address of its own, and shows personal data to nobody without its token.

use std::process::{Child, Command, Stdio};

use stagedoor::{DEFAULT_CONFIG, read_config};
use stagedoor_testkit::form;
use stagedoor_tests::hub::{TestHub, free};

/// What no answer to a stranger may hold.
const PERSONAL: [&str; 4] = ["Каренина", "9161234567", "anna@example.com", "form.submitted"];
const TOKEN: &str = "open-sesame-open-sesame";

async fn with_anna(change: impl FnOnce(String) -> String) -> TestHub {
    let hub = TestHub::with(change).await;
    let fields = [("Name", "Анна Каренина"), ("Phone", "8 916 123-45-67"), ("Email", "anna@example.com")];
    let signed_request =
        form("/website/tilda", &[&fields[..], &[("tranid", "1:2")]].concat()).header("x-api-key", "tilda-api-key");
    hub.take(&signed_request).await;
    hub.settled().await;
    hub
}

fn token(text: String) -> String {
    text.replace("[hub]", &format!("[hub]\nconsole_token = \"dev:{TOKEN}\""))
}

fn client() -> reqwest::Client {
    let client = stagedoor_http::builder().redirect(reqwest::redirect::Policy::none());
    client.build().expect("a client")
}

/// nginx in front of the hub; it ends with the test.
struct Nginx {
    process: Child,
    base: String,
    _folder: tempfile::TempDir,
}

impl Nginx {
    /// Asks to be nothing more than what a first how-to says, with `lines` added to its one location.
    async fn before(address: &str, lines: &str) -> Self {
        Self::with(|listen, _| {
            format!(
                "server {{ listen {listen}; server_name hub.theatre.example; \
                 location / {{ proxy_pass {address}; {lines} }} }}"
            )
        })
        .await
    }

    /// With what stands in `http`, made of an address to listen at and a folder for logs.
    async fn with(http: impl FnOnce(&str, &str) -> String) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (root, listen) = (folder.path().display(), free());
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .iter()
            .map(|kind| format!("{kind}_temp_path {root}/{kind};\n"))
            .collect();
        let own = http(&listen, &root.to_string());
        let config = format!(
            "daemon off; pid {root}/pid; error_log {root}/error.log; worker_processes 1; user root; events {{}}\n\
             http {{ access_log off; {temporary} {own} }}"
        );
        let file = folder.path().join("nginx.conf");
        std::fs::write(&file, config).expect("a config");
        let process = Command::new("nginx")
            .arg("-c")
            .arg(&file)
            .args(["-p", &root.to_string(), "-e", "stderr"])
            .stderr(Stdio::null())
            .spawn()
            .expect("nginx (Debian's nginx-light)");
        let nginx = Self { process, base: format!("http://{listen}"), _folder: folder };
        for _ in 0..400 {
            if client().get(&nginx.base).send().await.is_ok() {
                return nginx;
            }
            tokio::time::sleep(std::time::Duration::from_millis(25)).await;
        }
        panic!("nginx did not come up");
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Its worker leaves when the master's socket closes.
        _ = Command::new("kill").args(["-QUIT", &self.process.id().to_string()]).status();
        _ = self.process.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_default_nginx_webhooks_are_taken_and_nothing_personal_is_seen() {
    let hub = with_anna(|text| text).await;
    let nginx = Nginx::before(&hub.base, "").await;
    let http = client();
    assert_eq!(http.get(format!("{}/healthz", nginx.base)).send().await.expect("an answer").status(), 200);
    let signed_request = form("/website/tilda", &[("Phone", "8 916 123-45-68"), ("tranid", "1:3")]);
    let taken = signed_request.header("x-api-key", "tilda-api-key").post(&http, &nginx.base).await.expect("an answer");
    assert_eq!(taken.0, 200, "webhooks go through: {taken:?}");
    let known = hub.hub.store.totals().await.expect("totals");
    assert!(known.people >= 1);
    let paths =
        ["", "console/waiting", "console/parked", "console/unrecognized", "console/report", "console/report.csv"];
    for path in paths {
        let answer = http.get(format!("{}/{path}", nginx.base)).send().await.expect("an answer");
        assert_eq!(answer.status(), 404, "/{path}");
        let text = answer.text().await.expect("text");
        assert!(PERSONAL.iter().all(|word| !text.contains(word)), "/{path}: {text}");
    }
    let find = http.post(format!("{}/console/find", nginx.base)).form(&[("identifier", "anna@example.com")]);
    assert_eq!(find.send().await.expect("an answer").status(), 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_of_the_docs_lets_webhooks_through_and_nothing_else() {
    let hub = with_anna(|text| text.replace("[hub]", "[hub]\ntrusted_proxies = [\"127.0.0.1\"]")).await;
    let file = stagedoor_testkit::samples::folder().join("../infra/machine/nginx.conf");
    let example = std::fs::read_to_string(file).expect("an example");
    let address = hub.base.trim_start_matches("http://").to_owned();
    let mut log = std::path::PathBuf::new();
    let nginx = Nginx::with(|listen, folder| {
        log = std::path::Path::new(folder).join("hub.log");
        let plain = example.lines().filter(|line| !line.trim().starts_with("ssl_")).collect::<Vec<_>>().join("\n");
        plain
            .replace("listen 443 ssl", &format!("listen {listen}"))
            .replace("/var/log/nginx/hub.log", &log.display().to_string())
            .replace("/var/log/nginx/hub.error.log", &errors(&log).display().to_string())
            .replace("127.0.0.1:8080", &address)
    })
    .await;
    let http = client();
    let ask =
        async |path: &str| http.get(format!("{}{path}", nginx.base)).send().await.expect("an answer").status().as_u16();
    for path in [
        "/",
        "/console/find",
        "/console/report",
        "/healthz",
        "/metrics",
        "//console/report",
        "/website/../console/report",
    ] {
        assert_eq!(ask(path).await, 404, "{path}");
    }
    let signed_request = form("/website/tilda", &[("Phone", "8 916 123-45-69"), ("tranid", "1:4")]);
    let taken = signed_request.header("x-api-key", "tilda-api-key").post(&http, &nginx.base).await.expect("an answer");
    assert_eq!(taken.0, 200);
    // A secret in the path is in no log.
    assert_eq!(
        http.post(format!("{}/crm/amocrm/s3cr3t-in-the-path", nginx.base)).send().await.expect("one").status(),
        415
    );
    assert_eq!(ask("/u/a-token-of-somebody").await, 404);
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    let logged = std::fs::read_to_string(&log).expect("a log");
    assert!(logged.contains("/crm/amocrm/...") && !logged.contains("s3cr3t"), "{logged}");
    assert!(logged.contains("/u/...") && !logged.contains("a-token"), "{logged}");
}

/// Where nginx writes what went wrong, beside `log`.
fn errors(log: &std::path::Path) -> std::path::PathBuf {
    log.with_extension("error.log")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_of_the_docs_logs_no_secret_while_the_hub_is_down_or_a_body_is_too_large() {
    let file = stagedoor_testkit::samples::folder().join("../infra/machine/nginx.conf");
    let example = std::fs::read_to_string(file).expect("an example");
    let mut log = std::path::PathBuf::new();
    let nginx = Nginx::with(|listen, folder| {
        log = std::path::Path::new(folder).join("hub.log");
        let plain = example.lines().filter(|line| !line.trim().starts_with("ssl_")).collect::<Vec<_>>().join("\n");
        plain
            .replace("listen 443 ssl", &format!("listen {listen}"))
            .replace("/var/log/nginx/hub.log", &log.display().to_string())
            .replace("/var/log/nginx/hub.error.log", &errors(&log).display().to_string())
            .replace("127.0.0.1:8080", &free())
    })
    .await;
    for (body, status) in [(vec![], 502), (vec![b'x'; 2 << 20], 413)] {
        let asked = client().post(format!("{}/crm/amocrm/s3cr3t-in-the-path", nginx.base)).body(body);
        assert_eq!(asked.send().await.expect("an answer").status().as_u16(), status);
    }
    let link = client().get(format!("{}/u/s3cr3t-of-somebody", nginx.base));
    assert_eq!(link.send().await.expect("an answer").status(), 502);
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    let logs = std::fs::read_dir(log.parent().expect("a folder")).expect("a folder").flatten();
    let logs: Vec<_> = logs.map(|one| one.path()).filter(|path| path.extension() == Some("log".as_ref())).collect();
    let told: String = logs.iter().map(|log| std::fs::read_to_string(log).expect("a log")).collect();
    assert!(logs.contains(&errors(&log)) && told.contains("/crm/amocrm/...\" 502"), "{logs:?}: {told}");
    assert!(!told.contains("s3cr3t"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_in_front_of_the_console_sees_nothing_without_the_token() {
    let hub = with_anna(|text| text).await;
    // The default (HTTP/1.0 to what is behind), and what how-tos add.
    for lines in [
        "",
        "proxy_http_version 1.1; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;",
        "proxy_http_version 1.1; proxy_set_header X-Real-IP $remote_addr;",
        // Nothing of it tells a proxy from a browser.
        "proxy_http_version 1.1; proxy_set_header Host 127.0.0.1; proxy_set_header Connection \"\";",
    ] {
        let nginx = Nginx::before(&hub.console_address, lines).await;
        for host in ["127.0.0.1", "hub.theatre.example"] {
            let answer = client().get(&nginx.base).header("host", host).send().await.expect("an answer");
            assert_eq!(answer.status(), 401, "{lines}");
            let text = answer.text().await.expect("text");
            assert!(PERSONAL.iter().all(|word| !text.contains(word)), "{lines}: {text}");
        }
    }
}

#[tokio::test]
async fn a_console_without_a_configured_token_makes_one_and_keeps_it() {
    let hub = with_anna(|text| text).await;
    let http = client();
    let page = http.get(&hub.console).send().await.expect("an answer");
    assert_eq!(page.status(), 200, "with what is printed at the start");
    assert!(page.text().await.expect("text").contains("form.submitted"), "it shows what came");
    let file = hub.folder.path().join("console_token");
    let kept = std::fs::read_to_string(&file).expect("a file");
    assert!(kept.trim().len() >= 64 && hub.console.contains(kept.trim()), "it is kept");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).expect("a file").permissions());
    assert_eq!(mode & 0o777, 0o600, "for the hub's user alone");
    let again = stagedoor::console::ConsoleToken::of(&hub.hub).expect("a token");
    let address = hub.console_address.trim_start_matches("http://").parse().expect("an address");
    assert_eq!(again.link(address), format!("{}/", hub.console), "the next start takes the same");
    let printed = again.invitation(address, false);
    assert!(printed.contains("console_token") && !printed.contains(kept.trim()), "a log gets no token: {printed}");
    for n in 0..2 {
        let answer = http.get(&hub.console_address).send().await.expect("an answer");
        assert_eq!(answer.status(), 401, "this machine, without it");
        let refused = hub.hub.counters.all().get(&("console".to_owned(), "refused".to_owned())).copied();
        assert_eq!(refused, Some(n + 1), "each refusal is counted");
    }
}

#[tokio::test]
async fn another_site_presses_no_button_of_the_console() {
    let hub = TestHub::with(token).await;
    let http = client();
    let press = || http.post(format!("{}/console/parked", hub.console_address)).basic_auth("me", Some(TOKEN));
    let own = hub.console_address.clone();
    for (name, value, expected) in [
        ("origin", "https://elsewhere.example", 403),
        ("origin", "null", 403),
        ("sec-fetch-site", "cross-site", 403),
        ("sec-fetch-site", "same-site", 403),
        ("sec-fetch-site", "same-origin", 303),
        ("origin", own.as_str(), 303),
        ("origin", "https://é.example", 403),
        ("sec-fetch-site", "é", 403),
    ] {
        let value = reqwest::header::HeaderValue::from_bytes(value.as_bytes()).expect("a header");
        let answer = press().header(name, value.clone()).send().await.expect("an answer");
        assert_eq!(answer.status(), expected, "{name}: {value:?}");
    }
}

#[tokio::test]
async fn every_answer_of_the_console_bears_the_same_headers() {
    let hub = TestHub::with(token).await;
    let http = client();
    let url = |path: &str| format!("{}{path}", hub.console_address);
    let asked = [
        (http.get(url("/")), 401),
        (http.get(url("/")).basic_auth("me", Some(TOKEN)), 200),
        (http.get(url("/nothing")).basic_auth("me", Some(TOKEN)), 404),
        (http.get(url("/console/find")).basic_auth("me", Some(TOKEN)), 405),
        (http.post(url("/console/parked")).basic_auth("me", Some(TOKEN)).header("origin", "null"), 403),
    ];
    for (request, status) in asked {
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status(), status);
        let header =
            |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or("").to_owned();
        assert_eq!(header("cache-control"), "no-store", "{status}");
        assert_eq!(header("x-content-type-options"), "nosniff", "{status}");
        let policy = header("content-security-policy");
        for part in ["default-src 'none'", "base-uri 'none'", "frame-ancestors 'none'", "form-action 'self'"] {
            assert!(policy.contains(part), "{status}: {policy}");
        }
    }
    assert_eq!(
        http.get(url("/nothing")).send().await.expect("an answer").status(),
        401,
        "no path tells a stranger more"
    );
}

#[tokio::test]
async fn who_guesses_the_token_has_to_wait_each_time_longer() {
    let hub = TestHub::with(token).await;
    let http = client();
    let ask = async |given: &str| {
        let request = http.get(format!("{}/", hub.console_address)).header("authorization", given);
        let answer = request.send().await.expect("an answer");
        let wait = answer.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        (answer.status().as_u16(), wait)
    };
    let basic = {
        use base64::Engine;
        base64::engine::general_purpose::STANDARD.encode(format!("me:{TOKEN}"))
    };
    for right in
        [format!("Bearer {TOKEN}"), format!("bearer {TOKEN}"), format!("basic {basic}"), format!("BASIC {basic}")]
    {
        assert_eq!(ask(&right).await.0, 200, "the scheme's case does not matter");
    }
    let mut answers = Vec::new();
    for n in 0..8 {
        answers.push(ask(&format!("Bearer guess-{n}")).await);
    }
    assert_eq!(answers[..5], [(401, None); 5], "a person may mistype");
    assert!(answers[5..].iter().all(|(status, wait)| *status == 429 && wait.is_some()), "{answers:?}");
    let right = format!("Bearer {TOKEN}");
    assert_eq!(ask(&right).await.0, 429, "in the pause nothing is compared");
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    assert_eq!(ask("Bearer guess").await.0, 401);
    assert!(ask("Bearer guess").await.1 >= Some(2), "the next pause is longer");
    let counted = hub.hub.counters.all();
    let count = |outcome: &str| counted.get(&("console".to_owned(), outcome.to_owned())).copied().unwrap_or(0);
    assert_eq!((count("refused"), count("slowed")), (6, 5));
}

#[tokio::test]
async fn an_old_token_that_comes_again_and_again_locks_nobody_out() {
    let hub = TestHub::with(token).await;
    let http = client();
    let ask = async |given: &str| {
        let request = http.get(format!("{}/", hub.console_address)).bearer_auth(given);
        request.send().await.expect("an answer").status().as_u16()
    };
    // A scraper, and between its calls a person who mistypes.
    for n in 0..20 {
        assert_eq!(ask("the-token-of-last-year").await, 401, "{n}");
        if n % 8 == 0 {
            assert_eq!(ask(&format!("mistyped-{n}")).await, 401, "{n}");
        }
    }
    assert_eq!(ask(TOKEN).await, 200);
}

#[test]
fn a_hub_that_strangers_can_reach_needs_a_token_and_takes_no_development_secrets() {
    let told = |text: &str| read_config("stagedoor.toml", text, None).map(|_| ()).expect_err("mistakes");
    let public =
        DEFAULT_CONFIG.replace("public_url = \"http://127.0.0.1:8080\"", "public_url = \"https://hub.example.ru\"");
    let beyond = DEFAULT_CONFIG.replace("console = \"127.0.0.1:8090\"", "console = \"0.0.0.0:8090\"");
    for (text, why) in [(&public, "strangers can reach"), (&beyond, "the console listens on another address")] {
        let told = told(text);
        let line = told.lines().find(|line| line.contains("hub.console_token")).unwrap_or_else(|| panic!("{told}"));
        assert!(line.contains(why) && line.contains("openssl rand -hex 32"), "{line}");
        assert!(told.contains("dev: secret"), "{told}");
    }
    let proxied = |proxies: &str| DEFAULT_CONFIG.replace("[hub]", &format!("[hub]\ntrusted_proxies = [{proxies}]"));
    let nowhere = proxied("\"127.0.0.1\"").replace("public_url = \"http://127.0.0.1:8080\"\n", "");
    let mistakes = told(&nowhere);
    assert!(mistakes.contains("hub.trusted_proxies: stands there without public_url"), "{mistakes}");
    assert!(mistakes.contains("dev: secret"), "a hub behind a proxy is not for development: {mistakes}");
    for wide in ["0.0.0.0/0", "::/0", "0.0.0.0/1", "2000::/3"] {
        let mistakes = told(&proxied(&format!("\"127.0.0.1\", \"{wide}\"")));
        assert!(mistakes.contains(wide) && mistakes.contains("addresses of strangers"), "{mistakes}");
    }
    for one in ["10.0.0.0/8", "fd00::/8", "192.0.2.1"] {
        assert!(read_config("stagedoor.toml", &proxied(&format!("\"{one}\"")), None).is_ok(), "{one}");
    }
    let local =
        DEFAULT_CONFIG.replace("public_url = \"http://127.0.0.1:8080\"", "public_url = \"http://localhost:8080\"");
    assert!(read_config("stagedoor.toml", &local, None).is_ok(), "localhost is this machine");
    let one = DEFAULT_CONFIG.replace("127.0.0.1:8090", "127.0.0.1:8080");
    assert!(told(&one).contains("hub.console: 127.0.0.1:8080 is where webhooks are taken"), "{}", told(&one));
}
