//! The files of `infra/machine`, as far as they can be tried here. `edge::console_address` runs the nginx example.

use std::{collections::BTreeSet, path::PathBuf, process::Command};

use stagedoor::functions::Checker;
use stagedoor_config::{Listeners, Reading, Secrets, load_for};

fn file(name: &str) -> PathBuf {
    stagedoor_testkit::samples::folder().join("../infra/machine").join(name)
}

fn text(name: &str) -> String {
    std::fs::read_to_string(file(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Secrets as an operator makes them, each another one.
struct Made;

impl Secrets for Made {
    fn resolve(&self, reference: &str) -> Result<String, String> {
        Ok(format!("{reference:0>64}"))
    }
}

#[test]
fn the_config_to_begin_with_is_fine_and_names_the_secrets_that_are_asked_for() {
    let config = text("stagedoor.toml");
    let checker = Checker::new(false);
    let check = |function: &str, source: &stagedoor_webhook::Source| checker.check(function, source);
    let reading = Reading::OneMachine(Listeners::default());
    load_for(reading, "stagedoor.toml", &config, &Made, &check).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let counts = config.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n");
    let asked: BTreeSet<&str> =
        counts.split("\"env:").skip(1).map(|rest| rest.split('"').next().expect("a name")).collect();
    let secrets = text("secrets.env");
    let given: BTreeSet<&str> =
        secrets.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.strip_suffix('=')).collect();
    assert_eq!(asked, given);
}

/// Runs `hub` as far as its secrets go, with `env` in the hub's place.
fn hub_reads(secrets: &str) -> std::process::Output {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("secrets.env");
    std::fs::write(&file, secrets).expect("secrets");
    let script = text("hub").replace("/etc/stagedoor/secrets.env", &file.display().to_string());
    let (reading, _) = script.split_once("exec runuser").expect("the hub at its end");
    Command::new("sh").args(["-c", &format!("{reading}exec env")]).current_dir(&folder).output().expect("a shell")
}

#[test]
fn the_shell_evaluates_nothing_of_the_secrets() {
    let values = [
        ("SD_CODE", "$(exit${IFS}3)`exit`;exit&exit|exit"),
        ("SD_PADDED", "YWJj=="),
        ("SD_MARKS", "a#b;c&d$HOME~*?<>(){}[]!%^\"'"),
        ("SD_EMPTY", ""),
        ("SD_LAST", "it-has-no-line-break"),
    ];
    let lines: Vec<String> = values.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let output = hub_reads(&format!("# A=1\n; B=2\n\n{}", lines.join("\n")));
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    let read: BTreeSet<&str> = told.lines().filter(|line| line.starts_with("SD_")).collect();
    assert_eq!(read, lines.iter().map(String::as_str).collect());
    // What systemd would read otherwise is refused, and not shown.
    for line in ["SD_A=s3cr\\et", "SD_A=\"s3cret\"", "SD_A=s3cret s3cret", "s3cret", "s3-cret=s3cret", "=s3cret"] {
        let output = hub_reads(&format!("SD_FINE=1\n{line}\n"));
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && told.contains("line 2 of secrets.env"), "{line}: {told}");
        assert!(!told.contains("s3c") && output.stdout.is_empty(), "{line}: {told}");
    }
}

#[test]
fn systemd_takes_the_unit_and_finds_it_well_shut() {
    let folder = tempfile::tempdir().expect("a folder");
    let unit = folder.path().join("stagedoor.service");
    // The program is not installed here.
    let here = text("stagedoor.service").replace("ExecStart=/usr/local/bin/stagedoor ", "ExecStart=/bin/true ");
    std::fs::write(&unit, here).expect("a unit");
    let analyze = |args: &[&str]| {
        let told = Command::new("systemd-analyze").args(args).arg(&unit).output().expect("systemd-analyze (systemd)");
        let text = String::from_utf8_lossy(&told.stdout) + String::from_utf8_lossy(&told.stderr);
        assert!(told.status.success(), "{text}");
        text.into_owned()
    };
    let told = analyze(&["verify"]);
    assert!(!told.contains("stagedoor.service"), "{told}");
    // In tenths: below 2 is what systemd calls OK.
    analyze(&["security", "--offline=true", "--threshold=20"]);
}

#[test]
fn the_unit_gives_the_hub_the_time_that_it_takes_to_drain() {
    let unit = text("stagedoor.service");
    let seconds = unit.lines().find_map(|line| line.strip_prefix("TimeoutStopSec=")).expect("a time");
    let compose = text("compose.yaml");
    let grace = compose.lines().find_map(|line| line.trim().strip_prefix("stop_grace_period: ")).expect("a time");
    for time in [seconds, grace.trim_end_matches('s')] {
        let time: u64 = time.parse().expect("seconds");
        assert!(time > stagedoor::serve::DRAIN_TIME.as_secs() + 5, "{time}");
    }
    let address = compose.split("# [hub] trusted_proxies = [\"").nth(1).and_then(|rest| rest.split('"').next());
    assert!(compose.contains(&format!("ipv4_address: {}\n", address.expect("an address"))), "Caddy's own");
}
