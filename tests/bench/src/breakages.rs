//! Checks that the simulation, or the test that a breakage names, notices each deliberate breakage.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
};

use serde::Deserialize;
use serde_json::Value;
use stagedoor_simulation::{Switches, run};

use crate::figure::{Figure, Goal};

/// The number of worlds after which a breakage counts as unnoticed.
const WORLDS: u64 = 600;

#[derive(Deserialize)]
struct List {
    breakage: Vec<Breakage>,
}

#[derive(Deserialize)]
struct Breakage {
    name: String,
    found_by: String,
}

/// A test binary of the workspace.
struct Binary {
    package: String,
    target: String,
    folder: PathBuf,
    path: PathBuf,
}

pub fn run_all() -> Result<Figure, String> {
    let root = stagedoor_testkit::samples::folder().join("..");
    let text = std::fs::read_to_string(root.join("tests/breakages.toml")).map_err(|error| error.to_string())?;
    let list: List = toml::from_str(&text).map_err(|error| error.to_string())?;
    let binaries = match list.breakage.iter().all(|one| one.found_by == "simulation") {
        true => vec![],
        false => binaries(&root)?,
    };
    let mut found = 0;
    for one in &list.breakage {
        let noticed = match one.found_by.as_str() {
            "simulation" => by_simulation(&one.name)?,
            path => by_test(&binaries, path, &one.name)?,
        };
        match noticed {
            Ok(how) => {
                eprintln!("breakage {}: found by {how}", one.name);
                found += 1;
            }
            Err(why) => eprintln!("breakage {}: NOT FOUND, {why}", one.name),
        }
    }
    let (value, limit) = (f64::from(found), list.breakage.len() as f64);
    Ok(Figure {
        figure: "simulation.breakages",
        value,
        unit: "found",
        limit: Some(limit),
        ratio: Some(value / limit.max(1.0)),
        baseline: None,
        goal: Goal::RatioAtLeast(1.0),
    })
}

type TestOutcome = Result<String, String>;

fn by_simulation(name: &str) -> Result<TestOutcome, String> {
    let switches = Switches { breakage: Some(name.to_owned().leak()), ..Switches::enabled() };
    for seed in 1..=WORLDS {
        let outcome = run(seed, &switches)?;
        if let Some(violation) = outcome.violations.first() {
            return Ok(Ok(format!("the simulation, seed {seed}: {:?}", violation.invariant)));
        }
    }
    Ok(Err(format!("{WORLDS} worlds hold")))
}

/// Runs the test of a breakage. `path` starts with the package without its prefix, or `suite` for every target of
/// that name; then follows the path of the test.
fn by_test(binaries: &[Binary], path: &str, name: &str) -> Result<TestOutcome, String> {
    let Some((of, test)) = path.split_once("::") else { return Ok(Err(format!("found_by {path:?} names no test"))) };
    let package = format!("stagedoor-{of}");
    let mut ran = false;
    for binary in binaries.iter().filter(|one| one.package == package || one.target == of) {
        // Tests of a separate target have its name in the path.
        let inner = test.strip_prefix(&format!("{}::", binary.target)).unwrap_or(test);
        let names: BTreeSet<&str> = [test, inner].into();
        let output = Command::new(&binary.path)
            .args(["--exact", "--test-threads", "1"])
            .args(names)
            .current_dir(&binary.folder)
            .env("STAGEDOOR_BREAKAGE", name)
            .output()
            .map_err(|error| error.to_string())?;
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        if told.contains("running 0 tests") {
            continue;
        }
        ran = true;
        if !output.status.success() {
            return Ok(Ok(path.to_owned()));
        }
    }
    Ok(Err(if ran { format!("{path} passes") } else { format!("there is no test {path}") }))
}

/// Builds every test binary of the workspace, as the suite does.
fn binaries(root: &Path) -> Result<Vec<Binary>, String> {
    let arguments = ["test", "--workspace", "--all-features", "--no-run", "--message-format=json"];
    let output = Command::new("cargo").args(arguments).current_dir(root).output().map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err("the tests cannot be built: cargo test --workspace --all-features --no-run".into());
    }
    let read = |line: &str| -> Option<Binary> {
        let message: Value = serde_json::from_str(line).ok()?;
        let text = |pointer: &str| message.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let (path, manifest) = (text("/executable")?, PathBuf::from(text("/manifest_path")?));
        message.pointer("/profile/test").and_then(Value::as_bool).filter(|is_test| *is_test)?;
        let package = text("/package_id")?.rsplit(['#', '/']).next()?.split('@').next()?.to_owned();
        let folder = manifest.parent()?.to_owned();
        let named = package.starts_with("stagedoor");
        let package = if named { package } else { package_of(&manifest)? };
        Some(Binary { package, target: text("/target/name")?, folder, path: path.into() })
    };
    Ok(String::from_utf8_lossy(&output.stdout).lines().filter_map(read).collect())
}

fn package_of(manifest: &Path) -> Option<String> {
    let text = std::fs::read_to_string(manifest).ok()?;
    let table: toml::Table = text.parse().ok()?;
    Some(table.get("package")?.get("name")?.as_str()?.to_owned())
}
