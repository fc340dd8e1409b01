//! The hub's own id in a row says whose row it is.

use std::collections::BTreeSet;

use stagedoor_engine::PersonId;
use stagedoor_model::breakage;
use stagedoor_ports::WriteOutcome;

/// A row that bears the id of somebody else than it is written for must not be written. `held` is the text of the hub's field:
/// a person's id, for a deal with a show behind it.
pub(crate) fn misidentified(held: &str, person: PersonId, other_ids: &BTreeSet<PersonId>) -> Option<WriteOutcome> {
    let bearer = PersonId::parse(held.split('|').next()?.trim()).ok()?;
    let is_other = bearer != person && !other_ids.contains(&bearer) && !breakage::is_on("foreign-row-overwritten");
    is_other.then_some(WriteOutcome::Misidentified(bearer))
}
