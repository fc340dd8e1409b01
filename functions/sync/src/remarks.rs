//! What was said in chats becomes notes, and what the bot did not understand becomes tasks: in bulk, after the contacts are
//! there. A CRM has no key against doubles for them, so one that was not answered is looked for by its text first.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use stagedoor_engine::{NoteDraft, PersonId, Remark, TaskDraft};
use stagedoor_model::Timestamp;
use stagedoor_ports::{CrmError, PortError, Row};

use crate::{
    Pace, Sync,
    lease::ELSEWHERE,
    round::{Case, Round},
};

/// A manager has until then to answer.
const DUE: SignedDuration = SignedDuration::from_hours(4);

struct Due<T> {
    person: PersonId,
    contact: u64,
    draft: T,
}

impl Sync {
    pub(crate) async fn remark(&self, round: &Round, pace: Pace) -> Result<(), PortError> {
        if round.stopped() {
            return Ok(());
        }
        if let Err(error) = self.look_up_remarks(round).await? {
            tracing::warn!(%error, "notes could not be looked up");
            round.stop(error.to_string());
            return Ok(());
        }
        let batch = self.crm.batch().max(1);
        let full = |len: usize| if pace == Pace::FullBatches { len / batch * batch } else { len };
        let mut notes: Vec<Due<NoteDraft>> = due(round, |case| {
            let note = case.plan.note.clone()?;
            if case.link.note_intent.is_some() {
                case.held += 1;
                return None;
            }
            // What is looked for after a lost answer is what the CRM holds.
            Some(NoteDraft { text: self.crm.as_held(&note.text), ..note })
        });
        notes.truncate(full(notes.len()));
        for chunk in notes.chunks(batch) {
            self.note(round, chunk).await?;
        }
        let mut tasks: Vec<Due<TaskDraft>> = due(round, |case| {
            let task = case.plan.task.clone()?;
            if case.link.task_intent.is_some() {
                case.held += 1 + usize::from(case.plan.more);
                return None;
            }
            Some(TaskDraft { text: self.crm.as_held(&task.text), ..task })
        });
        tasks.truncate(full(tasks.len()));
        for chunk in tasks.chunks(batch) {
            self.task(round, chunk).await?;
        }
        Ok(())
    }

    async fn may_call(&self, round: &Round) -> Result<bool, PortError> {
        if round.stopped() {
            return Ok(false);
        }
        let mine = self.lease().await?;
        if !mine {
            round.stop(ELSEWHERE.into());
        }
        Ok(mine)
    }

    async fn note(&self, round: &Round, notes: &[Due<NoteDraft>]) -> Result<(), PortError> {
        if !self.may_call(round).await? {
            return Ok(());
        }
        let (now, late_for) = (self.clock.now(), self.crm.late_for());
        let intended = each(round, notes, |case, due| {
            let remark = Remark::of_note(&due.draft, now);
            case.link.note_intent = Some(Remark { late_until: Some(now + late_for), ..remark });
        });
        self.keep(round, intended).await?;
        let rows: Vec<(u64, String)> = notes.iter().map(|due| (due.contact, due.draft.text.clone())).collect();
        let answers = self.crm.add_notes(&rows).await;
        let changed = answered(round, notes, answers, |case, written| {
            let remark = case.link.note_intent.take();
            if written {
                case.link.noted.extend(remark.into_iter().flat_map(|remark| remark.lines));
                case.link.noted.retain(|mark| case.plan.marks.contains(mark));
            }
        });
        self.keep(round, changed).await
    }

    async fn task(&self, round: &Round, tasks: &[Due<TaskDraft>]) -> Result<(), PortError> {
        if !self.may_call(round).await? {
            return Ok(());
        }
        let (now, late_for) = (self.clock.now(), self.crm.late_for());
        let intended = each(round, tasks, |case, due| {
            let remark = Remark::of_task(&due.draft, now);
            case.link.task_intent = Some(Remark { late_until: Some(now + late_for), ..remark });
        });
        self.keep(round, intended).await?;
        let rows: Vec<(u64, String, Timestamp)> =
            tasks.iter().map(|due| (due.contact, due.draft.text.clone(), round.at + DUE)).collect();
        let answers = self.crm.add_tasks(&rows).await;
        let changed = answered(round, tasks, answers, |case, written| {
            let remark = case.link.task_intent.take();
            if let Some(remark) = remark.filter(|_| written) {
                case.link.troubles.extend(remark.lines);
                case.link.tasked = remark.about.or(case.link.tasked.take());
            }
        });
        self.keep(round, changed).await
    }

    /// What was sent and never answered: is it there? What is not found is written again once the call can have no late effect.
    async fn look_up_remarks(&self, round: &Round) -> Result<Result<(), CrmError>, PortError> {
        let (notes, tasks, since) = unanswered(round);
        let Some(since) = since else { return Ok(Ok(())) };
        let (mut found_notes, mut found_tasks) = (Vec::new(), Vec::new());
        if !notes.is_empty() {
            match self.crm.find_notes(&notes, since).await {
                Ok(found) => found_notes = found,
                Err(error) => return Ok(Err(error)),
            }
        }
        if !tasks.is_empty() {
            match self.crm.find_tasks(&tasks, since).await {
                Ok(found) => found_tasks = found,
                Err(error) => return Ok(Err(error)),
            }
        }
        let mut changed = BTreeSet::new();
        let (now, late_for) = (self.clock.now(), self.crm.late_for());
        for (person, case) in round.cases().iter_mut() {
            let Some(contact) = contact_of(case) else { continue };
            let is_there = |found: &[(u64, String)], remark: &Remark| {
                found.iter().any(|(at, text)| *at == contact && remark.is(text))
            };
            let is_over = |remark: &Remark| remark.is_over(now, late_for);
            if let Some(remark) = case.link.note_intent.take() {
                changed.insert(*person);
                let found = is_there(&found_notes, &remark);
                case.link.note_intent = (!found && !is_over(&remark)).then(|| remark.clone());
                if found {
                    case.link.noted.extend(remark.lines);
                    // What was planned held these lines too; the rest is planned anew.
                    case.open = case.open.saturating_sub(usize::from(
                        case.plan.note.take().is_some_and(|note| note.lines.is_subset(&case.link.noted)),
                    ));
                }
            }
            if let Some(remark) = case.link.task_intent.take() {
                changed.insert(*person);
                let found = is_there(&found_tasks, &remark);
                case.link.task_intent = (!found && !is_over(&remark)).then(|| remark.clone());
                if found {
                    case.link.troubles.extend(remark.lines);
                    case.link.tasked = remark.about.or(case.link.tasked.take());
                    case.open = case.open.saturating_sub(usize::from(case.plan.task.take().is_some()));
                }
            }
        }
        self.keep(round, changed).await?;
        Ok(Ok(()))
    }
}

fn contact_of(case: &Case) -> Option<u64> {
    case.plan.contact.or(case.link.contact.id)
}

fn due<T>(round: &Round, draft: impl Fn(&mut Case) -> Option<T>) -> Vec<Due<T>> {
    let mut cases = round.cases();
    let mut all = Vec::new();
    for (person, case) in cases.iter_mut() {
        let Some(draft) = draft(case) else { continue };
        match contact_of(case) {
            Some(contact) => all.push(Due { person: *person, contact, draft }),
            // A contact that the CRM refuses waits for the same manager as its conversation.
            None if case.link.contact.parked.is_some() => case.open = case.open.saturating_sub(1),
            None => case.held += usize::from(case.is_contact_held()),
        }
    }
    all
}

fn each<T>(round: &Round, all: &[Due<T>], change: impl Fn(&mut Case, &Due<T>)) -> BTreeSet<PersonId> {
    let mut cases = round.cases();
    let mut changed = BTreeSet::new();
    for due in all {
        if let Some(case) = cases.get_mut(&due.person) {
            change(case, due);
            changed.insert(due.person);
        }
    }
    changed
}

/// `settle` is told whether the row is there. One that is refused will not be taken later either: it is given up.
fn answered<T>(
    round: &Round,
    all: &[Due<T>],
    answers: Vec<Row>,
    settle: impl Fn(&mut Case, bool),
) -> BTreeSet<PersonId> {
    let mut cases = round.cases();
    let (mut changed, mut unsent) = (BTreeSet::new(), 0);
    for (due, row) in all.iter().zip(answers) {
        let Some(case) = cases.get_mut(&due.person) else { continue };
        match row {
            row @ (Row::Done(_) | Row::Refused(_)) => {
                if let Row::Refused(reason) = &row {
                    tracing::warn!(person = %due.person, reason, "the CRM refused a note or a task");
                }
                settle(case, true);
                case.open = case.open.saturating_sub(1);
                round.report().rows += 1;
            }
            Row::NotSent => {
                settle(case, false);
                case.failed = true;
                unsent += 1;
            }
            Row::Gone(gone) => {
                settle(case, false);
                case.failed = true;
                round.is_gone(gone);
            }
            Row::Held(_) | Row::Misidentified(_) => settle(case, false),
            Row::Unknown => {}
        }
        changed.insert(due.person);
    }
    round.unsent(unsent, all.len());
    changed
}

/// Contacts whose notes and whose tasks have to be looked at, and from when on.
fn unanswered(round: &Round) -> (BTreeSet<u64>, BTreeSet<u64>, Option<Timestamp>) {
    let (mut notes, mut tasks, mut since) = (BTreeSet::new(), BTreeSet::new(), None::<Timestamp>);
    for case in round.cases().values() {
        let Some(contact) = contact_of(case) else { continue };
        let intents = [(&case.link.note_intent, &mut notes), (&case.link.task_intent, &mut tasks)];
        for (intent, contacts) in intents {
            if let Some(remark) = intent {
                contacts.insert(contact);
                since = Some(since.map_or(remark.at, |known| known.min(remark.at)));
            }
        }
    }
    (notes, tasks, since)
}
