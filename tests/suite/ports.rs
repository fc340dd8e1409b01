//! Ports that tests listen at: no two of them are one, also of processes side by side.

use std::collections::BTreeSet;

use stagedoor_testkit::free_port;

const MANY: usize = 450;

fn named() -> BTreeSet<u16> {
    (0..MANY).map(|_| free_port()).collect()
}

#[test]
#[ignore = "only as a child process"]
fn child_names_ports() {
    if std::env::var("PORTS_OF_A_CHILD").is_ok() {
        println!("\nports {:?}", named());
        // It has them as long as it lives.
        _ = std::io::stdin().read_line(&mut String::new());
    }
}

#[test]
fn a_port_is_named_once_also_by_processes_side_by_side() {
    use std::io::{BufRead, BufReader};
    let mut child = std::process::Command::new(std::env::current_exe().expect("this binary"))
        .args(["--ignored", "--exact", "--nocapture", "ports::child_names_ports"])
        .env("PORTS_OF_A_CHILD", "1")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("a child");
    let lines = BufReader::new(child.stdout.take().expect("its words")).lines();
    let line = lines.map_while(Result::ok).find_map(|line| line.strip_prefix("ports ").map(str::to_owned));
    let line = line.expect("its ports");
    let numbers = line.trim_matches(['{', '}']).split(", ").map(|one| one.parse().expect("a port"));
    let (theirs, ours): (BTreeSet<u16>, _) = (numbers.collect(), named());
    drop(child.stdin.take());
    child.wait().expect("its end");
    assert_eq!((theirs.len(), ours.len()), (MANY, MANY));
    assert!(theirs.is_disjoint(&ours));
}
