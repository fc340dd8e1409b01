//! The data folder of a hub, as the binary treats it.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

fn stagedoor(data: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stagedoor"));
    command.arg("--data").arg(data).args(arguments).output().expect("the binary runs")
}

fn folder() -> PathBuf {
    tempfile::tempdir().expect("a folder").keep()
}

#[test]
fn a_second_tour_leaves_the_files_of_the_one_that_runs() {
    let data = folder();
    for play in [None, Some(["replay", "season"])] {
        let own = data.join(if play.is_some() { "season" } else { "tour" });
        std::fs::create_dir_all(&own).expect("a folder");
        std::fs::write(own.join("hub.db"), "of the first").expect("a file");
        let running = stagedoor::lock(&own).expect("nobody else serves");
        let second = stagedoor(&data, play.as_ref().map_or(&[], |words| words.as_slice()));
        let said = String::from_utf8_lossy(&second.stderr).into_owned();
        assert!(!second.status.success() && said.contains("another hub serves"), "{said}");
        assert_eq!(std::fs::read(own.join("hub.db")).expect("it is there"), b"of the first");
        drop(running);
    }
    std::fs::remove_dir_all(data).expect("removed");
}

#[test]
fn a_command_for_a_mistyped_folder_makes_no_hub_there() {
    let data = folder().join("nothere");
    for command in [["status"].as_slice(), &["status", "--json"], &["explain", "phone:+79161234501"], &["parked"]] {
        let told = stagedoor(&data, command);
        let said = String::from_utf8_lossy(&told.stderr).into_owned();
        assert!(!told.status.success() && said.contains("there is no hub in"), "{command:?}: {said}");
        assert!(!data.exists(), "{command:?}");
    }
}
