//! Which of two states that a CRM told of one row is the later.

use crate::{Fact, Timestamp, breakage};

/// When a row was changed, when it was found to be there again, and whether it is deleted.
fn times(fact: &Fact) -> Option<(Timestamp, Option<Timestamp>, bool)> {
    match fact {
        Fact::CrmContact { changed_at, restored_at, deleted, .. }
        | Fact::CrmLead { changed_at, restored_at, deleted, .. } => Some((*changed_at, *restored_at, *deleted)),
        _ => None,
    }
}

/// Whether the first of two states stands against the other. A restored row stands against an earlier deletion; what stands in
/// it is as old as its last change, however late the CRM tells of the restore. `tie` decides between states of one instant.
pub fn is_later<T: Ord>(one: (&Fact, &T), other: (&Fact, &T)) -> bool {
    let rank = |fact: &Fact, is_deletion: bool| {
        let (changed_at, restored_at, deleted) = times(fact)?;
        let is_there_since = restored_at.map_or(changed_at, |restored| restored.max(changed_at));
        if is_deletion || breakage::is_on("late-restore-is-news") {
            return Some((is_there_since, deleted, false));
        }
        // A restore keeps the time of the last change: a manager's move of that time does not outlive it.
        let is_restored = restored_at.is_some() && matches!(fact, Fact::CrmLead { .. });
        Some((changed_at, deleted, is_restored))
    };
    let is_deletion = [one.0, other.0].into_iter().any(|fact| times(fact).is_some_and(|(.., deleted)| deleted));
    (rank(one.0, is_deletion), one.0, one.1) >= (rank(other.0, is_deletion), other.0, other.1)
}

/// The later state. It is there since the later of the two says so.
pub fn later(mut late: Fact, early: &Fact) -> Fact {
    let known = times(early).and_then(|(_, restored_at, _)| restored_at);
    match &mut late {
        Fact::CrmContact { restored_at, deleted: false, .. } | Fact::CrmLead { restored_at, deleted: false, .. } => {
            *restored_at = known.max(*restored_at);
        }
        _ => {}
    }
    late
}
