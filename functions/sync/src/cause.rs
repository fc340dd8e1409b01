use std::collections::BTreeSet;

use stagedoor_engine::PersonId;

/// A reason with its cause, before its start time is known.
pub(crate) struct Cause {
    pub cause: String,
    pub reason: String,
    pub who_acts: &'static str,
    pub people: BTreeSet<PersonId>,
}
