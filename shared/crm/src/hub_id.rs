//! The hub's own id in a row, which names the person whose row it is.

use std::collections::BTreeSet;

use stagedoor_engine::PersonId;
use stagedoor_model::breakage;
use stagedoor_ports::WriteOutcome;

/// Returns an outcome if the row carries the id of another person, because such a row must not be written. `held` is
/// the text of the hub's field: a person's id, followed by a show for a deal.
pub(crate) fn misidentified(held: &str, person: PersonId, other_ids: &BTreeSet<PersonId>) -> Option<WriteOutcome> {
    let bearer = PersonId::parse(held.split('|').next()?.trim()).ok()?;
    let is_other = bearer != person && !other_ids.contains(&bearer) && !breakage::is_on("foreign-row-overwritten");
    is_other.then_some(WriteOutcome::Misidentified(bearer))
}
