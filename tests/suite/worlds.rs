//! Worlds of the simulation: `docs/simulation.md`.

use stagedoor_simulation::{Switches, run, run_many};

#[test]
fn three_hundred_unkind_worlds_end_with_the_truth_in_the_crm() {
    let broken = run_many(1, 300, &Switches::enabled()).expect("worlds");
    let first = broken.first().map(ToString::to_string).unwrap_or_default();
    assert!(broken.is_empty(), "{} of 300 worlds are broken; the first:\n{first}", broken.len());
}

#[test]
fn one_seed_tells_one_story() {
    let tell = || run(7, &Switches::enabled()).expect("a world").story;
    assert_eq!(tell(), tell());
}
