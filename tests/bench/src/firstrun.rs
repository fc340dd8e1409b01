//! Measures `cargo build` on a fresh clone, into an empty folder. Downloads happen before and are excluded.

use std::{path::Path, process::Command};

use serde_json::Value;

use crate::figure::{Figure, Goal};

pub fn run() -> Result<Vec<Figure>, String> {
    cargo(&["fetch", "--locked"], Path::new("target"))?;
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let before = children()?;
    let told = cargo(&["build", "--locked", "--offline", "--message-format=json"], folder.path())?;
    let seconds = children()? - before;
    // Messages of crates and build scripts that cargo compiled and ran.
    let done = ["compiler-artifact", "build-script-executed"];
    let lines = told.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let units = lines.filter(|line| line["reason"].as_str().is_some_and(|reason| done.contains(&reason))).count();
    let plain =
        |figure, value, unit, goal| Figure { figure, value, unit, limit: None, ratio: None, baseline: None, goal };
    Ok(vec![
        plain("firstrun.build", seconds, "CPU s", Goal::ValueAtMost(170.0)),
        plain("firstrun.crates", units as f64, "units", Goal::None),
    ])
}

/// Runs cargo as a stranger does, without the environment of this process's own build.
fn cargo(arguments: &[&str], target: &Path) -> Result<String, String> {
    let mut command = Command::new("cargo");
    let is_setting = |name: &str| {
        name.starts_with("CARGO_") && name != "CARGO_HOME" || name.starts_with("RUSTC") || name == "RUSTFLAGS"
    };
    for name in std::env::vars().map(|(name, _)| name).filter(|name| is_setting(name)) {
        command.env_remove(name);
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let output = command.args(arguments).current_dir(root).env("CARGO_TARGET_DIR", target).output();
    let output = output.map_err(|error| format!("cargo: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    String::from_utf8(output.stdout).map_err(|error| error.to_string())
}

/// CPU seconds of all children that have ended: fields 16 and 17 of proc_pid_stat(5), in hundredths.
fn children() -> Result<f64, String> {
    let text = std::fs::read_to_string("/proc/self/stat").map_err(|error| error.to_string())?;
    let rest = text.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let ticks = rest.split(' ').skip(13).take(2).map(str::parse::<f64>).collect::<Result<Vec<_>, _>>();
    Ok(ticks.map_err(|error| error.to_string())?.iter().sum::<f64>() / 100.0)
}
