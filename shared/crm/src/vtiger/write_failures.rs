//! Rows whose writes the CRM answers with 500 and an empty body. The cause may be the row, permanently, or the
//! database, for a while. The answer never says which (recorded: 08_other). A row is refused only if it failed several
//! times while others of its kind succeeded in between.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use stagedoor_model::breakage;
use stagedoor_ports::WriteOutcome;

use crate::vtiger::call::SERVER_ERROR;

/// Number of times that other rows must succeed between two failures of a row before the row is at fault.
const PROOFS: u32 = 3;
/// Maximum number of rows that are remembered.
const MOST: usize = 1_000;

/// Results of writes since this process started.
#[derive(Default)]
pub(super) struct WriteFailures(Mutex<Known>);

#[derive(Default)]
struct Known {
    /// Number of successful writes, by operation and module.
    taken: BTreeMap<String, u64>,
    failed: BTreeMap<(String, String), Failed>,
}

struct Failed {
    /// Number of successful writes of its kind at its last failure.
    taken: u64,
    proofs: u32,
}

impl WriteFailures {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a successful write of a row.
    pub fn taken(&self, kind: &str, row: &str) {
        let mut known = self.known();
        *known.taken.entry(kind.to_owned()).or_default() += 1;
        known.failed.remove(&(kind.to_owned(), row.to_owned()));
    }

    /// Number of successful writes of this kind so far.
    pub fn count(&self, kind: &str) -> u64 {
        self.known().taken.get(kind).copied().unwrap_or_default()
    }

    /// The outcome of a 500 for this row. `before` is the count at the start of this attempt.
    pub fn verdict(&self, kind: &str, row: &str, before: u64) -> WriteOutcome {
        let mut known = self.known();
        let taken = known.taken.get(kind).copied().unwrap_or_default();
        if known.failed.len() >= MOST {
            known.failed.clear();
        }
        let failed =
            known.failed.entry((kind.to_owned(), row.to_owned())).or_insert(Failed { taken: before, proofs: 0 });
        if taken > failed.taken {
            (failed.taken, failed.proofs) = (taken, failed.proofs + 1);
        }
        if failed.proofs >= PROOFS || breakage::is_on("server-error-is-refusal") {
            return WriteOutcome::Refused(format!("{SERVER_ERROR}, time and again, for this row alone"));
        }
        match failed.proofs {
            0 => WriteOutcome::NotSent,
            _ => WriteOutcome::Held(format!("{SERVER_ERROR}, for this row; others are taken")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_refused_only_if_others_were_taken_between_its_failures() {
        let failures = WriteFailures::default();
        for _ in 0..20 {
            assert_eq!(
                failures.verdict("revise Contacts", "1", failures.count("revise Contacts")),
                WriteOutcome::NotSent
            );
        }
        let mut verdicts = Vec::new();
        for other in 0..3 {
            failures.taken("revise Contacts", &format!("other {other}"));
            // A write of another kind proves nothing.
            failures.taken("create Potentials", "7");
            verdicts.push(failures.verdict("revise Contacts", "1", 0));
            verdicts.push(failures.verdict("revise Contacts", "1", 0));
        }
        let held = |row: &WriteOutcome| matches!(row, WriteOutcome::Held(_));
        assert!(verdicts[..4].iter().all(held) && matches!(verdicts[4], WriteOutcome::Refused(_)), "{verdicts:?}");
        failures.taken("revise Contacts", "1");
        assert_eq!(failures.verdict("revise Contacts", "1", failures.count("revise Contacts")), WriteOutcome::NotSent);
    }
}
