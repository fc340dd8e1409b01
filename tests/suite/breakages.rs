//! `tests/breakages.toml` and the code name the same breakages, and every test that finds one exists.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

fn sources(folder: &Path, all: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() && !path.ends_with("target") && !path.ends_with(".git") {
            sources(&path, all);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            all.push(path);
        }
    }
}

/// Returns true if a file has the test, and one of its modules is named by the path. A macro makes the other modules.
fn is_in(test: &str, path: &Path, text: &str) -> bool {
    let parts: Vec<&str> = test.split("::").collect();
    let Some(([_, modules @ ..], function)) = parts.split_last().map(|(last, rest)| (rest, last)) else { return false };
    let modules: Vec<&&str> = modules.iter().filter(|one| **one != "tests").collect();
    let path = path.with_extension("");
    let names = |module: &&str| path.iter().any(|part| part == *module);
    text.contains(&format!("fn {function}(")) && (modules.is_empty() || modules.iter().any(|module| names(module)))
}

#[test]
fn every_breakage_is_in_the_code_and_in_the_list() {
    let root = stagedoor_testkit::samples::folder().join("..");
    let mut files = Vec::new();
    for folder in ["shared", "functions", "infra", "tests"] {
        sources(&root.join(folder), &mut files);
    }
    let code: Vec<String> = files.iter().map(|path| std::fs::read_to_string(path).expect("a source")).collect();
    let asked = ["is_on(\"", "breakage(\""];
    let in_code: BTreeSet<&str> = code
        .iter()
        .flat_map(|text| asked.iter().flat_map(|call| text.split(call).skip(1)))
        .filter_map(|rest| rest.split('"').next())
        .filter(|name| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'))
        .collect();
    let text = std::fs::read_to_string(root.join("tests/breakages.toml")).expect("the list");
    let table: toml::Table = text.parse().expect("TOML");
    let list = table["breakage"].as_array().expect("breakages");
    let names: Vec<&str> = list.iter().map(|one| one["name"].as_str().expect("a name")).collect();
    assert!(names.is_sorted_by(|a, b| a < b), "sorted by name, each once: {names:?}");
    let listed: BTreeSet<&str> = names.iter().copied().collect();
    assert_eq!(in_code, listed);
    let found_by: BTreeMap<&str, &str> = list
        .iter()
        .map(|one| (one["name"].as_str().expect("a name"), one["found_by"].as_str().expect("a test")))
        .collect();
    for (name, test) in found_by.into_iter().filter(|(_, test)| *test != "simulation") {
        assert!(files.iter().zip(&code).any(|(path, text)| is_in(test, path, text)), "{name}: there is no {test}");
    }
}
