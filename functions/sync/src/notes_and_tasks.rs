//! Writes conversations as notes, and messages that the bot did not understand as tasks. This happens in bulk, after
//! the contacts exist. A CRM has no key against duplicates for them. So a note or task without an answer is looked up
//! by its text first.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use stagedoor_engine::{NoteDraft, PendingText, PersonId, TaskDraft};
use stagedoor_model::Timestamp;
use stagedoor_ports::{CrmError, CrmLookup, PortError, WriteOutcome, Writes};

use crate::{
    FlushMode, Sync,
    lease::ELSEWHERE,
    run::{PersonRun, SyncRun},
};

/// Time that a manager has to answer.
const DUE: SignedDuration = SignedDuration::from_hours(4);

struct DueText<T> {
    person: PersonId,
    contact: u64,
    draft: T,
}

impl Sync {
    pub(crate) async fn pending_text(&self, sync_run: &SyncRun, pace: FlushMode) -> Result<(), PortError> {
        if sync_run.stopped() {
            return Ok(());
        }
        if let Err(error) = self.look_up_remarks(sync_run).await? {
            tracing::warn!(%error, "notes could not be looked up");
            sync_run.stop(error.to_string());
            return Ok(());
        }
        let batch = self.crm.info().batch.max(1);
        let full = |len: usize| if pace == FlushMode::FullBatches { len / batch * batch } else { len };
        let mut notes: Vec<DueText<NoteDraft>> = due(sync_run, |person_run| {
            let note = person_run.plan.note.clone()?;
            if person_run.link.pending_note.is_some() {
                person_run.held += 1;
                return None;
            }
            // After a lost answer, the lookup compares with the text that the CRM stores.
            Some(NoteDraft { text: (self.crm.info().stored_text)(&note.text), ..note })
        });
        notes.truncate(full(notes.len()));
        for chunk in notes.chunks(batch) {
            self.note(sync_run, chunk).await?;
        }
        let mut tasks: Vec<DueText<TaskDraft>> = due(sync_run, |person_run| {
            let task = person_run.plan.task.clone()?;
            if person_run.link.pending_task.is_some() {
                person_run.held += 1 + usize::from(person_run.plan.more);
                return None;
            }
            Some(TaskDraft { text: (self.crm.info().stored_text)(&task.text), ..task })
        });
        tasks.truncate(full(tasks.len()));
        for chunk in tasks.chunks(batch) {
            self.task(sync_run, chunk).await?;
        }
        Ok(())
    }

    async fn may_call(&self, sync_run: &SyncRun) -> Result<bool, PortError> {
        if sync_run.stopped() {
            return Ok(false);
        }
        let mine = self.lease().await?;
        if !mine {
            sync_run.stop(ELSEWHERE.into());
        }
        Ok(mine)
    }

    async fn note(&self, sync_run: &SyncRun, notes: &[DueText<NoteDraft>]) -> Result<(), PortError> {
        if !self.may_call(sync_run).await? {
            return Ok(());
        }
        let (now, late_for) = (self.clock.now(), self.crm.info().late_for);
        let intended = each(sync_run, notes, |person_run, due| {
            let pending_text = PendingText::of_note(&due.draft, now);
            person_run.link.pending_note = Some(PendingText { late_until: Some(now + late_for), ..pending_text });
        });
        self.keep(sync_run, intended).await?;
        let rows: Vec<(u64, String)> = notes.iter().map(|due| (due.contact, due.draft.text.clone())).collect();
        let answers = self.crm.apply(Writes::AddNotes(&rows)).await;
        let changed = answered(sync_run, notes, answers, |person_run, written| {
            let pending_text = person_run.link.pending_note.take();
            if written {
                person_run.link.noted.extend(pending_text.into_iter().flat_map(|pending_text| pending_text.lines));
                person_run.link.noted.retain(|mark| person_run.plan.marks.contains(mark));
            }
        });
        self.keep(sync_run, changed).await
    }

    async fn task(&self, sync_run: &SyncRun, tasks: &[DueText<TaskDraft>]) -> Result<(), PortError> {
        if !self.may_call(sync_run).await? {
            return Ok(());
        }
        let (now, late_for) = (self.clock.now(), self.crm.info().late_for);
        let intended = each(sync_run, tasks, |person_run, due| {
            let pending_text = PendingText::of_task(&due.draft, now);
            person_run.link.pending_task = Some(PendingText { late_until: Some(now + late_for), ..pending_text });
        });
        self.keep(sync_run, intended).await?;
        let rows: Vec<(u64, String, Timestamp)> =
            tasks.iter().map(|due| (due.contact, due.draft.text.clone(), sync_run.at + DUE)).collect();
        let answers = self.crm.apply(Writes::AddTasks(&rows)).await;
        let changed = answered(sync_run, tasks, answers, |person_run, written| {
            let pending_text = person_run.link.pending_task.take();
            if let Some(pending_text) = pending_text.filter(|_| written) {
                person_run.link.troubles.extend(pending_text.lines);
                person_run.link.tasked = pending_text.about.or(person_run.link.tasked.take());
            }
        });
        self.keep(sync_run, changed).await
    }

    /// Looks up notes and tasks that were sent and never answered. A missing one is written again once the call can
    /// have no late effect.
    async fn look_up_remarks(&self, sync_run: &SyncRun) -> Result<Result<(), CrmError>, PortError> {
        let (notes, tasks, since) = unanswered(sync_run);
        let Some(since) = since else { return Ok(Ok(())) };
        let (mut found_notes, mut found_tasks) = (Vec::new(), Vec::new());
        if !notes.is_empty() {
            match self.crm.find(CrmLookup::Notes { contacts: &notes, since }).await.map(|found| found.texts) {
                Ok(found) => found_notes = found,
                Err(error) => return Ok(Err(error)),
            }
        }
        if !tasks.is_empty() {
            match self.crm.find(CrmLookup::Tasks { contacts: &tasks, since }).await.map(|found| found.texts) {
                Ok(found) => found_tasks = found,
                Err(error) => return Ok(Err(error)),
            }
        }
        let mut changed = BTreeSet::new();
        let (now, late_for) = (self.clock.now(), self.crm.info().late_for);
        for (person, person_run) in sync_run.person_runs().iter_mut() {
            let Some(contact) = contact_of(person_run) else { continue };
            let is_there = |found: &[(u64, String)], pending_text: &PendingText| {
                found.iter().any(|(at, text)| *at == contact && pending_text.is(text))
            };
            let is_over = |pending_text: &PendingText| pending_text.is_over(now, late_for);
            if let Some(pending_text) = person_run.link.pending_note.take() {
                changed.insert(*person);
                let found = is_there(&found_notes, &pending_text);
                person_run.link.pending_note = (!found && !is_over(&pending_text)).then(|| pending_text.clone());
                if found {
                    person_run.link.noted.extend(pending_text.lines);
                    // The planned note held these lines too; the rest is planned again.
                    person_run.open = person_run.open.saturating_sub(usize::from(
                        person_run.plan.note.take().is_some_and(|note| note.lines.is_subset(&person_run.link.noted)),
                    ));
                }
            }
            if let Some(pending_text) = person_run.link.pending_task.take() {
                changed.insert(*person);
                let found = is_there(&found_tasks, &pending_text);
                person_run.link.pending_task = (!found && !is_over(&pending_text)).then(|| pending_text.clone());
                if found {
                    person_run.link.troubles.extend(pending_text.lines);
                    person_run.link.tasked = pending_text.about.or(person_run.link.tasked.take());
                    person_run.open =
                        person_run.open.saturating_sub(usize::from(person_run.plan.task.take().is_some()));
                }
            }
        }
        self.keep(sync_run, changed).await?;
        Ok(Ok(()))
    }
}

fn contact_of(person_run: &PersonRun) -> Option<u64> {
    person_run.plan.contact.or(person_run.link.contact.id)
}

fn due<T>(sync_run: &SyncRun, draft: impl Fn(&mut PersonRun) -> Option<T>) -> Vec<DueText<T>> {
    let mut person_runs = sync_run.person_runs();
    let mut all = Vec::new();
    for (person, person_run) in person_runs.iter_mut() {
        let Some(draft) = draft(person_run) else { continue };
        match contact_of(person_run) {
            Some(contact) => all.push(DueText { person: *person, contact, draft }),
            // If the CRM refuses the contact, its conversation waits for the same manager.
            None if person_run.link.contact.rejected.is_some() => person_run.open = person_run.open.saturating_sub(1),
            None => person_run.held += usize::from(person_run.is_contact_held()),
        }
    }
    all
}

fn each<T>(sync_run: &SyncRun, all: &[DueText<T>], change: impl Fn(&mut PersonRun, &DueText<T>)) -> BTreeSet<PersonId> {
    let mut person_runs = sync_run.person_runs();
    let mut changed = BTreeSet::new();
    for due in all {
        if let Some(person_run) = person_runs.get_mut(&due.person) {
            change(person_run, due);
            changed.insert(due.person);
        }
    }
    changed
}

/// Takes over the answers. `settle` gets true if the row is done. A refused row is given up, because the CRM will not
/// take it later either.
fn answered<T>(
    sync_run: &SyncRun,
    all: &[DueText<T>],
    answers: Vec<WriteOutcome>,
    settle: impl Fn(&mut PersonRun, bool),
) -> BTreeSet<PersonId> {
    let mut person_runs = sync_run.person_runs();
    let (mut changed, mut unsent) = (BTreeSet::new(), 0);
    for (due, row) in all.iter().zip(answers) {
        let Some(person_run) = person_runs.get_mut(&due.person) else { continue };
        match row {
            row @ (WriteOutcome::Done(_) | WriteOutcome::Refused(_)) => {
                if let WriteOutcome::Refused(reason) = &row {
                    tracing::warn!(person = %due.person, reason, "the CRM refused a note or a task");
                }
                settle(person_run, true);
                person_run.open = person_run.open.saturating_sub(1);
                sync_run.report().rows += 1;
            }
            WriteOutcome::NotSent => {
                settle(person_run, false);
                person_run.failed = true;
                unsent += 1;
            }
            WriteOutcome::Gone(gone) => {
                settle(person_run, false);
                person_run.failed = true;
                sync_run.is_gone(gone);
            }
            WriteOutcome::Held(_) | WriteOutcome::Misidentified(_) => settle(person_run, false),
            WriteOutcome::Unknown => {}
        }
        changed.insert(due.person);
    }
    sync_run.unsent(unsent, all.len());
    changed
}

/// Contacts whose notes and whose tasks must be looked up, and the earliest time to look from.
fn unanswered(sync_run: &SyncRun) -> (BTreeSet<u64>, BTreeSet<u64>, Option<Timestamp>) {
    let (mut notes, mut tasks, mut since) = (BTreeSet::new(), BTreeSet::new(), None::<Timestamp>);
    for person_run in sync_run.person_runs().values() {
        let Some(contact) = contact_of(person_run) else { continue };
        let pending_calls = [(&person_run.link.pending_note, &mut notes), (&person_run.link.pending_task, &mut tasks)];
        for (pending, contacts) in pending_calls {
            if let Some(pending_text) = pending {
                contacts.insert(contact);
                since = Some(since.map_or(pending_text.at, |known| known.min(pending_text.at)));
            }
        }
    }
    (notes, tasks, since)
}
