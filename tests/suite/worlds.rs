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

/// In world 478 a note gets no answer, and its person is joined into another before it is looked for.
#[test]
fn a_world_in_which_somebody_is_joined_whose_note_got_no_answer_comes_to_rest() {
    let outcome = run(478, &Switches::enabled()).expect("a world");
    assert!(outcome.violations.is_empty(), "{outcome}");
}
