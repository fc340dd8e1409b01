//! Secrets that a stranger cannot guess, and that open one door each.

use stagedoor::{DEFAULT_CONFIG, THEATRE_CONFIG, read_config};

const LONG: &str = "3f1c0c5a9e7d4b2688d1f0a7c6b5e493d2f18a7b6c5d4e3f2a1b0c9d8e7f6a5b";

/// The sample's config for a public address, with secrets of the environment that are long enough and all different.
fn public(change: impl FnOnce(String) -> String) -> String {
    let mut text = String::new();
    for (number, line) in DEFAULT_CONFIG.lines().enumerate() {
        let mut line =
            line.replace("public_url = \"http://127.0.0.1:8080\"", "public_url = \"https://hub.example.ru\"");
        let mut nth = 0;
        while let Some((before, rest)) = line.split_once("\"dev:") {
            let (_, after) = rest.split_once('"').expect("a text ends");
            line = format!("{before}\"env:EDGE_{number}_{nth}\"{after}");
            nth += 1;
        }
        text.push_str(&line);
        text.push('\n');
    }
    change(text)
}

/// Reads a config by this environment, as a process of its own does: variables belong to a process.
fn told(text: &str, environment: &dyn Fn(&str) -> Option<String>) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("stagedoor.toml");
    std::fs::write(&file, text).expect("a config");
    let mut command = std::process::Command::new(std::env::current_exe().expect("this binary"));
    command
        .args(["--ignored", "--exact", "--nocapture", "edge::secrets::child_reads_a_config"])
        .env("EDGE_FILE", &file);
    for name in text.split("env:").skip(1).filter_map(|rest| rest.split('"').next()) {
        if let Some(value) = environment(name) {
            command.env(name, value);
        }
    }
    let output = command.output().expect("a child");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
#[ignore = "only as a child process"]
fn child_reads_a_config() {
    let Ok(file) = std::env::var("EDGE_FILE") else { return };
    let text = std::fs::read_to_string(&file).expect("a config");
    match read_config("stagedoor.toml", &text, None) {
        Ok(_) => println!("fine"),
        Err(mistakes) => println!("{mistakes}"),
    }
}

/// A value of its own for each variable.
fn long(name: &str) -> Option<String> {
    Some(format!("{name}{LONG}"))
}

fn with_token(text: String) -> String {
    text.replace("[hub]", "[hub]\nconsole_token = \"env:EDGE_TOKEN\"")
}

#[test]
fn long_secrets_of_the_environment_are_taken() {
    let told = told(&public(with_token), &long);
    assert!(told.contains("fine"), "{told}");
}

#[test]
fn a_short_secret_is_a_mistake_with_the_command_that_makes_one() {
    let text = public(with_token);
    let told = told(&text, &|name| Some(format!("{name}-ab")));
    let line =
        |place: &str| told.lines().find(|line| line.contains(place)).unwrap_or_else(|| panic!("{place}: {told}"));
    for (place, least) in [
        ("hub.console_token", "at least 16"),
        ("hub.erasure_key", "at least 32"),
        ("hub.link_key", "at least 32"),
        ("source.amocrm.secrets", "at least 16"),
        ("source.smsc.secrets", "at least 16"),
        ("source.telegram.secrets", "at least 16"),
    ] {
        let line = line(place);
        assert!(line.contains(least) && line.contains("openssl rand -hex 32"), "{line}");
    }
    assert!(!told.contains("-ab"), "no secret is shown: {told}");
}

#[test]
fn the_same_secret_twice_is_a_mistake_except_where_an_account_has_one() {
    let text = public(with_token);
    let same = |reference: &str, as_of: &str| {
        let (from, to) = (variable(&text, reference), variable(&text, as_of));
        told(&text, &move |name| long(if name == from { &to } else { name }))
    };
    let told = same("erasure_key", "link_key");
    assert!(told.contains("hub.link_key: is the secret of hub.erasure_key too"), "{told}");
    let told = same("console_token", "[source.smsc]");
    assert!(told.contains("hub.console_token: is the secret of source.smsc too"), "{told}");
    let told = same("[source.smsc]", "[source.amocrm]");
    assert!(told.contains("has the same secret") && told.contains("openssl rand -hex 32"), "{told}");
    let one = variable(&text, "[source.smsc]");
    let twice = text.replace(&format!("\"env:{one}\""), &format!("\"env:{one}\", \"env:{one}\""));
    let told_twice = self::told(&twice, &long);
    assert!(told_twice.contains("source.smsc") && told_twice.contains("stands there twice"), "{told_twice}");
    let told = same("[source.messenger]", "[source.whatsapp]");
    assert!(told.contains("fine"), "one app of Meta has one secret: {told}");
}

/// The variable of a key, or of a source's secret.
fn variable(text: &str, place: &str) -> String {
    let (_, rest) = text.split_once(place).unwrap_or_else(|| panic!("{place}"));
    let rest = if place.starts_with('[') { rest.split_once("secrets = [").expect("secrets").1 } else { rest };
    rest.split_once("env:").and_then(|(_, rest)| rest.split('"').next()).expect("a variable").to_owned()
}

#[test]
fn development_secrets_may_be_short_where_no_stranger_comes() {
    for text in [DEFAULT_CONFIG, THEATRE_CONFIG] {
        let text = text.replace("dev:link-key", "dev:k");
        assert!(read_config("stagedoor.toml", &text, None).is_ok());
    }
}

const OF_OTHER_SHAPES: &str = r#"
[source.letters]
function = "mail"
provider = "sendgrid"
secrets = ["env:EDGE_SENDGRID"]

[source.sms-of-ours]
function = "mail"
provider = "gateway"
secrets = ["env:EDGE_GATEWAY"]

[source.cards]
function = "ticketing"
provider = "stripe"
secrets = ["env:EDGE_STRIPE"]
options = { orders_of = "theatre" }

[source.pulse]
function = "mail"
provider = "sendpulse"
secrets = ["env:EDGE_PATH"]

[source.other-bot]
function = "messaging"
provider = "telegram"
secrets = ["env:EDGE_BOT"]
options = { bot = "stagedoor_other_bot" }

[source.stamps]
function = "mail"
provider = "postmark"
secrets = ["env:EDGE_SPACE"]
"#;

#[test]
fn secrets_of_a_shape_that_can_never_open_are_told_with_a_remedy() {
    let text = public(with_token) + OF_OTHER_SHAPES;
    // A real key of SendGrid's vectors, and its point alone.
    let key = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1flpVKS3GRqe62gw+2fNNRaINXvVpiglSI8eNEc6wEA3F+g==";
    let point = "BPN0+Dv5/OIqLSLyFuJnQYEP+3QH0pqaiDPJBfZjdX5aVSktxkanutoMPtnzTUWiDV71aYoJUiPHjRHOsBANxfo=";
    let strange = |name: &str| {
        Some(match name {
            "EDGE_SENDGRID" => point.to_owned(),
            "EDGE_GATEWAY" => format!("whsec_{LONG}!"),
            "EDGE_STRIPE" => format!("sk_live_{LONG}"),
            "EDGE_PATH" => format!("{LONG}+=/"),
            "EDGE_BOT" => format!("{LONG}:{LONG}"),
            "EDGE_SPACE" => format!("{LONG}-of-postmark\n"),
            other => return long(other),
        })
    };
    let told_strange = told(&text, &strange);
    for expected in [
        "source.letters: secrets[0] is no public key as SendGrid shows it",
        "source.cards: secrets[0] is a key of Stripe's API: the signing secret of the webhook begins with whsec_",
        "source.pulse: secrets[0] begins or ends with a slash",
        "source.other-bot: secrets[0] is no secret_token that Telegram takes",
        "source.stamps.secrets: begins or ends with white space, such as the end of a line: take it away",
    ] {
        assert!(told_strange.contains(expected), "missing {expected:?} in\n{told_strange}");
    }
    assert!(!told_strange.contains(LONG) && !told_strange.contains(&point[..20]), "{told_strange}");
    let right = |name: &str| {
        Some(match name {
            "EDGE_SENDGRID" => key.to_owned(),
            "EDGE_GATEWAY" => "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned(),
            "EDGE_STRIPE" => format!("whsec_{LONG}"),
            other => return long(other),
        })
    };
    let told_right = told(&text, &right);
    assert!(told_right.contains("fine"), "{told_right}");
}
