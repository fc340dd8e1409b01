//! Log lines of a process whose standard error is no terminal.

use std::process::Command;

#[test]
fn log_lines_in_a_file_are_json_without_colours() {
    let output = Command::new(std::env::current_exe().expect("this binary"))
        .args(["--ignored", "--exact", "--nocapture", "machine::logs::child_logs"])
        .env("RUST_LOG", "info")
        .output()
        .expect("a child");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    assert!(!told.contains('\u{1b}'), "{told:?}");
    let lines: Vec<serde_json::Value> = told
        .lines()
        .filter(|line| line.starts_with('{'))
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    assert_eq!(lines.len(), 2, "{told}");
    assert_eq!(lines[0]["level"], "WARN");
    assert_eq!(lines[0]["target"], "suite::machine::logs");
    assert_eq!(lines[0]["fields"]["message"], "people wait for the CRM");
    assert_eq!(lines[0]["fields"]["seconds"], 3);
    assert!(lines[0]["timestamp"].as_str().is_some_and(|at| at.ends_with('Z')), "{}", lines[0]);
    assert_eq!(lines[1]["fields"]["reason"], "two\nlines and \u{1b}[31m", "what others wrote stays one line");
}

#[test]
#[ignore = "only as a child process"]
fn child_logs() {
    stagedoor::start_logs();
    tracing::warn!(seconds = 3, "people wait for the CRM");
    tracing::info!(reason = "two\nlines and \u{1b}[31m", "the CRM refused a row");
}
