//! A config whose values can be read and cannot work, and one whose mistakes stand side by side.

use stagedoor::{DEFAULT_CONFIG, read_config};
use stagedoor_model::Timestamp;

/// The default config with these replacements, each of which has to fit, and further sections.
fn changed(replaced: &[(&str, &str)], more: &str) -> String {
    let replace = |text: String, (from, to): &(&str, &str)| {
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1)
    };
    let text = replaced.iter().fold(DEFAULT_CONFIG.to_owned(), replace);
    format!("{text}\n{more}\n")
}

fn mistakes(text: &str) -> String {
    read_config("stagedoor.toml", text, None).expect_err("mistakes")
}

#[test]
fn one_word_that_cannot_be_read_hides_no_other_mistake_of_its_section() {
    let alarms = "[alarms]\nlanguage = \"de\"\nwaiting_minutes = 0\nsilent_hours = -1\nsilent_except = [\"ghost\"]";
    let mailing = "[mailing.m]\nsegment = \"none\"\nthrough = [\"pigeon\"]\ncolour = \"red\"\ntext = \"{nmae}\"";
    let hub = "[hub]\ncolour = \"red\"\nshape = 7\n";
    let text =
        changed(&[("[hub]\n", hub), ("region = \"RU\"", "region = \"Russia\"")], &format!("{alarms}\n{mailing}"));
    let told = mistakes(&text);
    for expected in [
        "hub: unknown field `colour`",
        "hub: unknown field `shape`",
        "hub.region: unknown region",
        "alarms: unknown variant `de`",
        "alarms: invalid value: integer `-1`",
        "alarms.waiting_minutes: is 0",
        "alarms.silent_except: there is no source \"ghost\"",
        "mailing.m: unknown channel \"pigeon\", expected messenger, email, sms",
        "mailing.m: unknown field `colour`",
        "mailing.m",
    ] {
        assert!(told.contains(expected), "missing {expected:?} in\n{told}");
    }
    assert!(!told.contains("missing field `language`"), "{told}");
    let line = text.lines().position(|line| line.contains("shape = 7")).expect("there") + 1;
    assert!(told.contains(&format!("stagedoor.toml:{line}: hub: unknown field `shape`")), "{told}");
}

#[test]
fn a_value_that_cannot_work_is_a_mistake() {
    let sources = "
[source.shop-p]
function = \"ticketing\"
provider = \"pretix\"
secrets = [\"dev:a-secret-of-pretix\"]
rate = 0
[source.shop-p.options]
base_url = \"https://pretix.eu\"
organizer = \"org/../x\"
token = \"plain-token\"

[source.shop-t]
function = \"ticketing\"
provider = \"ticketscloud\"
secrets = [\"dev:a-secret-of-tc\"]
[source.shop-t.options]
base_url = \"https://ticketscloud.com\"
key = \"\"

[schedule]
pull_seconds = 0

[identity]
phones = 0

[alarms]
silent_hours = 999999
";
    let replaced = [
        ("region = \"RU\"", "region = \"ZZ\""),
        ("currency = \"RUB\"", "currency = \"XXX\""),
        ("shop_id = \"100500\"", "shop_id = \"\""),
        ("key = \"dev:yk-secret-key\"", "key = \"plain-key\""),
    ];
    let kept = DEFAULT_CONFIG.contains("[schedule]") || DEFAULT_CONFIG.contains("\n[identity]");
    let sources = if kept {
        sources.replace("[schedule]\npull_seconds = 0\n\n[identity]\nphones = 0\n", "")
    } else {
        sources.to_owned()
    };
    let told = mistakes(&changed(&replaced, &sources));
    for expected in [
        "hub.region: no country with phone numbers",
        "hub.currency: nobody pays in it",
        "options.shop_id and options.key are needed",
        "source.yookassa.options.key: not a secret reference",
        "options.organizer is the short name",
        "source.shop-p.options.token: not a secret reference",
        "source.shop-p.rate: must be 1 to",
        "options.key is empty",
        "alarms.silent_hours: must be 0 to 8784",
    ] {
        assert!(told.contains(expected), "missing {expected:?} in\n{told}");
    }
    assert!(!told.contains("plain-"), "no secret in a message: {told}");
}

#[test]
fn a_pool_that_is_over_is_told_by_the_clock_and_an_odd_prefix_is_a_mistake() {
    let pool = "[promo.old]\nsize = 5\nprefix = \"УФА\"\nexpires_at = \"2020-01-01T00:00:00Z\"";
    let config = read_config("stagedoor.toml", &changed(&[], pool), None).expect("a config");
    let at = |text: &str| config.over(text.parse::<Timestamp>().expect("a time"));
    assert!(at("2019-01-01T00:00:00Z").is_empty());
    let told = at("2021-01-01T00:00:00Z");
    assert!(told.len() == 1 && told[0].starts_with("promo.old: expires_at"), "{told:?}");
    let told = mistakes(&changed(&[], &pool.replace("УФА", "УФА $")));
    assert!(told.contains("promo.old.prefix: has up to 20 letters"), "{told}");
}

#[test]
fn the_account_of_an_amocrm_is_no_zero() {
    let source = stagedoor_tests::provider_harness::source("amocrm", "a-secret-of-the-path");
    let options = serde_json::json!({ "account": 0 });
    let built = stagedoor::functions::provider("crm", &stagedoor_webhook::Source { options, ..source });
    assert!(built.is_err_and(|error| error.starts_with("options.account")));
}
