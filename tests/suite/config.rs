//! A wrong config: every mistake at once, with place and remedy.

use stagedoor::{DEFAULT_CONFIG, read_config};

#[test]
fn every_mistake_is_told_at_once_with_its_line_and_remedy() {
    let text = DEFAULT_CONFIG
        .replace("region = \"RU\"", "region = \"Russia\"")
        .replace("currency = \"RUB\"", "currency = \"XXQ\"")
        .replace(
            "zone = \"Europe/Moscow\"\nknown_as = { qtickets = [\"41\"]",
            "zone = \"Moscow\"\nknown_as = { qtickts = [\"41\"]",
        )
        .replace("cities = [\"Казань\"]", "citys = [\"Казань\"]")
        .replace("provider = \"tilda\"", "provider = \"tulda\"")
        .replace("provider = \"carrotquest\"", "provider = \"carrotquest\"\noptions = { colour = \"blue\" }")
        .replace("secrets = [\"dev:SuperSecret\"]", "secrets = [\"SuperSecret\"]")
        .replace("show = \"cherry-kazan\"", "show = \"cherry-omsk\"")
        .replace(
            "interested = \"Интерес\"\ntalked = \"Переговоры\"",
            "intrested = \"Интерес\"\ntalked = \"Переговоры\"",
        );
    let told = read_config("stagedoor.toml", &text, None).expect_err("mistakes");
    for expected in [
        "hub.region: unknown region",
        "hub.currency: unknown currency",
        "show \"cherry-moscow\".zone: unknown zone, expected an IANA name such as Europe/Moscow",
        "there is no source \"qtickts\"",
        "pipeline: unknown field `citys`",
        "unknown stage \"intrested\", expected one of interested",
        "source.qtickets.secrets: not a secret reference, expected env:NAME",
    ] {
        assert!(told.contains(expected), "missing {expected:?} in\n{told}");
    }
    assert!(
        told.lines().all(|line| line.starts_with("stagedoor.toml:") || line.ends_with("in the configuration")),
        "{told}"
    );
    assert!(!told.contains("SuperSecret"), "no secret in a message");
    let line = text.lines().position(|line| line.contains("Russia")).expect("there") + 1;
    assert!(told.contains(&format!("stagedoor.toml:{line}: hub.region")), "{told}");
}

#[test]
fn providers_and_their_options_are_checked_too() {
    let text = DEFAULT_CONFIG
        .replace("provider = \"tilda\"", "provider = \"tulda\"")
        .replace("origins = [\"https://cherry.example.ru\"]", "origins = []")
        .replace("function = \"crm\"", "function = \"crmm\"");
    let told = read_config("stagedoor.toml", &text, None).expect_err("mistakes");
    for expected in
        ["unknown provider \"tulda\", expected one of tilda", "options.origins is empty", "unknown function \"crmm\""]
    {
        assert!(told.contains(expected), "missing {expected:?} in\n{told}");
    }
}

#[test]
fn broken_toml_is_told_with_its_line() {
    let told = read_config("stagedoor.toml", "[hub]\nregion = \n", None).expect_err("a mistake");
    assert!(told.starts_with("stagedoor.toml:2: syntax"), "{told}");
}

#[test]
fn development_secrets_are_refused_beyond_loopback() {
    let told = read_config("stagedoor.toml", DEFAULT_CONFIG, Some(([0, 0, 0, 0], 8080).into())).expect_err("mistakes");
    assert!(told.contains("a dev: secret is only for a hub that listens on loopback"), "{told}");
}
