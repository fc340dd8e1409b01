//! What every provider of webhooks has, derived from the tables of the functions. docs/add-a-provider.md names the files.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
};

use stagedoor::read_config;
use stagedoor_testkit::samples;
use stagedoor_tests::profile::{self, covers, function_of};

fn root() -> PathBuf {
    samples::folder().join("..").canonicalize().expect("the repository")
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn sources(folder: &Path, all: &mut Vec<PathBuf>) {
    for path in std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            sources(&path, all);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            all.push(path);
        }
    }
}

/// The files that the page names for a webhook provider, as patterns with `<name>` and `<function>`.
fn named_files() -> Vec<String> {
    let page = read("docs/add-a-provider.md");
    let (_, part) = page.split_once("## Files of a webhook provider").expect("the list of files");
    let table = part.split("\n## ").next().expect("a part").lines().filter(|line| line.starts_with("| `"));
    let files: Vec<String> = table.filter_map(|line| Some(line.split('`').nth(1)?.to_owned())).collect();
    assert!(files.len() >= 5, "{files:?}");
    files
}

fn of_provider(pattern: &str, name: &str) -> String {
    pattern.replace("<name>", name).replace("<function>", function_of(name))
}

#[test]
fn every_provider_has_the_files_that_the_page_names() {
    for name in profile::names() {
        for file in named_files() {
            let file = of_provider(&file, name);
            let (folder, pattern) = file.rsplit_once('/').expect("a folder");
            let (start, end) = pattern.split_once("<case>").unwrap_or((pattern, ""));
            let files = std::fs::read_dir(root().join(folder)).unwrap_or_else(|error| panic!("{folder}: {error}"));
            let mut names = files.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
            let is_there = names.any(|one| match pattern.contains("<case>") {
                true => one.starts_with(start) && one.ends_with(end),
                false => one == pattern,
            });
            assert!(is_there, "{name} has no {file}");
        }
        assert!(!profile::of(name).model.is_empty());
    }
}

/// A provider whose name is a word of the domain: a channel, a CRM, or a contract of ours.
pub(crate) fn is_of_the_domain(name: &str) -> bool {
    let contract = matches!(profile::of(name).proof.scheme, profile::Scheme::StandardWebhooks);
    contract || matches!(function_of(name), "messaging" | "crm")
}

/// True if the text has the name as a word of its own.
pub(crate) fn names(text: &str, name: &str) -> bool {
    let is_part = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    text.match_indices(name)
        .any(|(at, _)| !is_part(text[..at].chars().next_back()) && !is_part(text[at + name.len()..].chars().next()))
}

/// The lines of a file that are code.
fn code(path: &Path) -> String {
    let text = std::fs::read_to_string(path).expect("a file");
    let text = text.split("\n#[cfg(test)]").next().unwrap_or_default().to_lowercase();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).map(|line| format!("{line}\n")).collect()
}

/// True if the hub also sends through the service: that takes more than the files of a webhook.
fn is_sent_through(name: &str) -> bool {
    ["lists", "channels"].iter().any(|folder| root().join(format!("shared/{folder}/src/{name}.rs")).exists())
}

/// Folders of other things that have a provider's name: adapters that send, stand-ins, the demo and its tests.
const OTHERS: [&str; 6] =
    ["shared/lists", "shared/channels", "shared/crm", "shared/testkit", "infra/sandbox", "infra/local/src/console"];

/// Places outside of these that name a provider all the same, and why.
const ELSEWHERE: [(&str, &str); 4] = [
    // The former name of SendGrid's owner is a part of its headers.
    ("functions/mail/src/sendgrid.rs", "twilio"),
    // An example in a message about a mistake.
    ("shared/config/src/mailings.rs", "mailgun"),
    // An SMS text may ask for an answer only where answers are heard.
    ("shared/config/src/checked.rs", "twilio"),
    // An example of an identifier in a help text.
    ("infra/local/src/commands.rs", "qtickets"),
];

#[test]
fn outside_of_its_files_no_production_code_names_a_provider() {
    let mut all = Vec::new();
    ["functions", "shared", "infra"].iter().for_each(|folder| sources(&root().join(folder), &mut all));
    let patterns = named_files();
    let mut wrong = BTreeSet::new();
    for path in all {
        let file = path.strip_prefix(root()).expect("in the repository").display().to_string();
        if OTHERS.iter().any(|folder| file.starts_with(folder)) || file.contains("/tests/") {
            continue;
        }
        let code = code(&path);
        for name in profile::names().into_iter().filter(|name| !is_of_the_domain(name) && !is_sent_through(name)) {
            let own = patterns.iter().any(|pattern| of_provider(pattern, name) == file)
                // Where the hub has to ask the shop for the order.
                || [format!("shared/source-clients/src/{name}.rs"), "shared/source-clients/src/lib.rs".into()].contains(&file);
            if !own && names(&code, name) && !ELSEWHERE.contains(&(file.as_str(), name)) {
                wrong.insert(format!("{file} names {name}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A provider is one line of its function: its name, alone.
#[test]
fn a_provider_is_one_line_of_the_table() {
    for name in profile::names() {
        let table = read(format!("functions/{}/src/lib.rs", function_of(name)));
        let lines: Vec<&str> = table.lines().filter(|line| names(line, name) && !line.starts_with("//!")).collect();
        assert_eq!(lines.iter().filter(|line| line.trim() == name).count(), 1, "{name}: {lines:?}");
    }
}

/// The tests take their tables from the providers: none names most of them by hand.
#[test]
fn no_table_of_the_tests_is_written_by_hand() {
    let mut all = Vec::new();
    ["tests", "shared/testkit"].iter().for_each(|folder| sources(&root().join(folder), &mut all));
    let known = profile::names();
    for path in all {
        let text = std::fs::read_to_string(&path).expect("a file");
        let named = known.iter().filter(|name| text.contains(&format!("\"{name}\""))).count();
        assert!(named < known.len() / 2, "{} names {named} providers: use stagedoor_tests::profile", path.display());
    }
}

/// `cargo fmt` does not see files behind the macro `providers!`.
#[test]
fn their_files_are_formatted() {
    let files: Vec<PathBuf> = profile::names()
        .into_iter()
        .map(|name| root().join(format!("functions/{}/src/{name}.rs", function_of(name))))
        .collect();
    let told = Command::new("rustfmt").args(["--edition", "2024", "--check"]).args(files).current_dir(root()).output();
    let told = told.expect("rustfmt");
    let text = String::from_utf8_lossy(&told.stdout);
    assert!(told.status.success(), "run `rustfmt --edition 2024 functions/*/src/*.rs`\n{text}");
}

/// The list of providers in docs/providers/README.md, as the tables of the functions give it.
fn list_of_pages() -> String {
    let mut text = String::from("| function | providers |\n|---|---|\n");
    for function in ["website", "ticketing", "mail", "messaging", "crm"] {
        let links = stagedoor::functions::providers().filter(|(_, of)| *of == function);
        let links: Vec<String> = links.map(|(name, _)| format!("[{name}]({name}.md)")).collect();
        text.push_str(&format!("| `{function}` | {} |\n", links.join(", ")));
    }
    text
}

#[test]
fn the_page_of_providers_lists_them_all() {
    let page = read("docs/providers/README.md");
    assert!(page.contains(&list_of_pages()), "run the ignored test writes_the_list_of_providers");
}

/// `cargo test -p stagedoor-tests -- --ignored writes_the_list_of_providers` after a provider was added.
#[test]
#[ignore = "rewrites docs/providers/README.md"]
fn writes_the_list_of_providers() {
    let page = read("docs/providers/README.md");
    let (before, rest) = page.split_once("| function | providers |\n").expect("the list");
    let after: String = rest.lines().skip_while(|line| line.starts_with('|')).map(|line| format!("{line}\n")).collect();
    let text = format!("{before}{}{after}", list_of_pages());
    std::fs::write(root().join("docs/providers/README.md"), text).expect("written");
}

/// A ticket shop's page has a source that the sample config takes as it is.
#[test]
fn the_config_on_each_page_is_accepted() {
    let shops = profile::names().into_iter().filter(|name| function_of(name) == "ticketing");
    for name in shops {
        let page = read(format!("docs/providers/{name}.md"));
        let config = page.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a config");
        assert!(config.contains(&format!("provider = \"{name}\"")), "{name}: {config}");
        let own = config.split("[source.").nth(1).and_then(|rest| rest.split(']').next()).expect("a source");
        let config = config.replace(&format!("[source.{own}"), "[source.of-the-page").replace("env:", "dev:");
        let text = format!("{}\n{config}", stagedoor::DEFAULT_CONFIG);
        let told = read_config("stagedoor.toml", &text, None);
        assert!(told.is_ok(), "{name}: {:?}", told.err());
    }
}

#[test]
fn a_place_is_covered_by_its_pattern() {
    let patterns: Vec<String> = ["a/*/b", "**/type", "c/**"].map(str::to_owned).to_vec();
    for (place, is_covered) in [
        ("a/*/b", true),
        ("a/b", false),
        ("type", true),
        ("x/*/type", true),
        ("typed", false),
        ("c", true),
        ("c/d", true),
    ] {
        assert_eq!(covers(&patterns, place), is_covered, "{place}");
    }
}
