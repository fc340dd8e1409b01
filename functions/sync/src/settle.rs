//! The end of a run. People who are up to date wait no more. People whose runs failed go to the back of the queue.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::Ordering,
};

use jiff::SignedDuration;
use stagedoor_engine::PersonId;
use stagedoor_model::{Timestamp, breakage};
use stagedoor_ports::{PortError, Postponed, Taken};

use crate::{
    RunReport, Sync,
    cause::Cause,
    lease::ELSEWHERE,
    pending::next_look,
    reasons::who_acts,
    run::{PersonRun, SyncRun},
};

/// Failed runs after which a person goes to the back of the queue.
const PATIENCE: u32 = 3;
/// Length of the first rest. It doubles with each failure.
const FIRST_REST: SignedDuration = SignedDuration::from_secs(30);
const LONGEST_REST: SignedDuration = SignedDuration::from_mins(15);

impl Sync {
    pub(crate) async fn settle(&self, sync_run: &SyncRun) -> Result<RunReport, PortError> {
        let mut report = std::mem::take(&mut *sync_run.report());
        let now = self.clock.now();
        let is_out = report.unavailable.is_some();
        let (done, failed, all, causes) = {
            let person_runs = sync_run.person_runs();
            let is_starved = |person_run: &PersonRun| {
                person_run.open > 0 && !person_run.failed && !person_run.waits_for_a_late_call()
            };
            let rests =
                Rests { now, is_out: is_out && report.rows == 0, others_wait: person_runs.values().any(is_starved) };
            let done: Vec<Taken> = person_runs
                .iter()
                .filter(|(_, person_run)| person_run.open == 0)
                .map(|(id, person_run)| taken(*id, person_run))
                .collect();
            let failed = person_runs.iter().filter(|(_, person_run)| person_run.open > 0 && person_run.failed);
            let mut failed: Vec<Postponed> = failed.map(|(id, person_run)| rests.of(*id, person_run)).collect();
            // A CRM that cannot be used could not be asked for their rows either.
            let held = person_runs
                .iter()
                .filter(|(_, person_run)| !is_out && !person_run.failed && person_run.waits_for_a_late_call());
            let held: Vec<Postponed> = held.map(|(id, person_run)| looked_up_later(*id, person_run, now)).collect();
            report.pending = held.len();
            failed.extend(held);
            (done, failed, person_runs.len(), causes(&person_runs, report.unavailable.as_deref()))
        };
        self.outage.store(is_out, Ordering::Relaxed);
        report.settled = done.len();
        report.left = all - done.len() - report.pending;
        if !done.is_empty() {
            self.store.mark_clean(done).await?;
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

/// Causes why the CRM could not be used. `None` if this run does not know.
fn causes(person_runs: &BTreeMap<PersonId, PersonRun>, unavailable: Option<&str>) -> Option<Vec<Cause>> {
    let Some(reason) = unavailable else { return Some(vec![]) };
    let people: BTreeSet<PersonId> =
        person_runs.iter().filter(|(_, person_run)| person_run.open > 0).map(|(id, _)| *id).collect();
    let cause = Cause { cause: "crm".into(), reason: reason.into(), who_acts: who_acts(reason), people };
    // The process that reconciles gives the reason.
    (reason != ELSEWHERE).then(|| vec![cause])
}

fn taken(id: PersonId, person_run: &PersonRun) -> Taken {
    Taken { id, version: person_run.version, mark: person_run.mark.clone() }
}

/// Postpones a person without counting a failure, because a call without an answer may still take effect.
fn looked_up_later(id: PersonId, person_run: &PersonRun, now: Timestamp) -> Postponed {
    Postponed { taken: taken(id, person_run), tries: person_run.tries, until: Some(next_look(person_run, now)) }
}

/// Rests for people whose runs failed.
struct Rests {
    now: Timestamp,
    /// True if the CRM took no row of any person.
    is_out: bool,
    /// True if some people were not even tried.
    others_wait: bool,
}

impl Rests {
    /// An outage is not the fault of the people who were tried first. They rest only so long that others are tried,
    /// too.
    fn of(&self, id: PersonId, person_run: &PersonRun) -> Postponed {
        let tries = person_run.tries.saturating_add(1);
        let rest = match (self.is_out, self.others_wait) {
            (false, _) => rest(tries),
            (true, true) => FIRST_REST,
            (true, false) => SignedDuration::ZERO,
        };
        let until = (tries >= PATIENCE).then(|| self.now + rest);
        Postponed { taken: taken(id, person_run), tries, until }
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
