//! The end of a round: who is as they should be waits no more, and whose run failed goes to the back of the queue.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::Ordering,
};

use jiff::SignedDuration;
use stagedoor_engine::PersonId;
use stagedoor_model::{Timestamp, breakage};
use stagedoor_ports::{PortError, Postponed, Taken};

use crate::{
    Reconciled, Sync,
    intents::next_look,
    lease::ELSEWHERE,
    reasons::{Cause, who_acts},
    round::{Case, Round},
};

/// Failed runs after which a person goes to the back of the queue.
const PATIENCE: u32 = 3;
/// How long they rest first; twice as long with each failure.
const FIRST_REST: SignedDuration = SignedDuration::from_secs(30);
const LONGEST_REST: SignedDuration = SignedDuration::from_mins(15);

impl Sync {
    pub(crate) async fn settle(&self, round: &Round) -> Result<Reconciled, PortError> {
        let mut report = std::mem::take(&mut *round.report());
        let now = self.clock.now();
        let is_out = report.unavailable.is_some();
        let (done, failed, all, causes) = {
            let cases = round.cases();
            let is_starved = |case: &Case| case.open > 0 && !case.failed && !case.waits_for_a_late_call();
            let rests = Rests { now, is_out: is_out && report.rows == 0, others_wait: cases.values().any(is_starved) };
            let done: Vec<Taken> =
                cases.iter().filter(|(_, case)| case.open == 0).map(|(id, case)| taken(*id, case)).collect();
            let failed = cases.iter().filter(|(_, case)| case.open > 0 && case.failed);
            let mut failed: Vec<Postponed> = failed.map(|(id, case)| rests.of(*id, case)).collect();
            // A CRM that cannot be used could not be asked for their rows either.
            let held = cases.iter().filter(|(_, case)| !is_out && !case.failed && case.waits_for_a_late_call());
            let held: Vec<Postponed> = held.map(|(id, case)| looked_up_later(*id, case, now)).collect();
            report.pending = held.len();
            failed.extend(held);
            (done, failed, cases.len(), causes(&cases, report.unavailable.as_deref()))
        };
        self.outage.store(is_out, Ordering::Relaxed);
        report.settled = done.len();
        report.left = all - done.len() - report.pending;
        if !done.is_empty() {
            self.store.settle(done).await?;
        }
        if !failed.is_empty() && !breakage::is_on("poisoned-stays-first") {
            self.store.postpone(failed).await?;
        }
        if let Some(causes) = causes {
            self.note_crm(causes).await?;
        }
        Ok(report)
    }
}

/// Why the CRM could not be used; `None` if this round does not say.
fn causes(cases: &BTreeMap<PersonId, Case>, unavailable: Option<&str>) -> Option<Vec<Cause>> {
    let Some(reason) = unavailable else { return Some(vec![]) };
    let people: BTreeSet<PersonId> = cases.iter().filter(|(_, case)| case.open > 0).map(|(id, _)| *id).collect();
    let cause = Cause { cause: "crm".into(), reason: reason.into(), who_acts: who_acts(reason), people };
    // The process that reconciles says why.
    (reason != ELSEWHERE).then(|| vec![cause])
}

fn taken(id: PersonId, case: &Case) -> Taken {
    Taken { id, version: case.version, mark: case.mark.clone() }
}

/// A call without an answer may still take effect: no failure of theirs.
fn looked_up_later(id: PersonId, case: &Case, now: Timestamp) -> Postponed {
    Postponed { taken: taken(id, case), tries: case.tries, until: Some(next_look(case, now)) }
}

/// How long those rest whose runs failed.
struct Rests {
    now: Timestamp,
    /// The CRM took nothing of anybody.
    is_out: bool,
    /// Some people were not even tried.
    others_wait: bool,
}

impl Rests {
    /// An outage is not the fault of those who were tried first: they rest only so long that others are tried, too.
    fn of(&self, id: PersonId, case: &Case) -> Postponed {
        let tries = case.tries.saturating_add(1);
        let rest = match (self.is_out, self.others_wait) {
            (false, _) => rest(tries),
            (true, true) => FIRST_REST,
            (true, false) => SignedDuration::ZERO,
        };
        let until = (tries >= PATIENCE).then(|| self.now + rest);
        Postponed { taken: taken(id, case), tries, until }
    }
}

fn rest(tries: u32) -> SignedDuration {
    let doubled = 1_i32 << tries.saturating_sub(PATIENCE).min(10);
    (FIRST_REST * doubled).min(LONGEST_REST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_fails_again_and_again_is_tried_every_quarter_of_an_hour() {
        assert_eq!(rest(PATIENCE), FIRST_REST);
        assert_eq!(rest(PATIENCE + 1), FIRST_REST * 2);
        assert_eq!(rest(u32::MAX), LONGEST_REST);
    }
}
