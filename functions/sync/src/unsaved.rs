//! The people of a run whose states in the CRM changed since they were saved.

use std::collections::BTreeSet;

use stagedoor_engine::{PersonId, ShowKey, Step};
use stagedoor_model::breakage;

use crate::{
    crm_change::{CrmChange, PlannedChange},
    run::{PersonRun, SyncRun},
};

/// The most people whose new contacts wait to be saved with the marks of their deals.
const MOST_UNSAVED: usize = 500;

impl SyncRun {
    /// Notes that the states of these people are about to be saved. What changes from here on is unsaved again.
    pub(crate) fn saves(&self, people: &BTreeSet<PersonId>) {
        self.unsaved.lock().unwrap_or_else(std::sync::PoisonError::into_inner).retain(|id| !people.contains(id));
    }

    /// Notes that the states of these people have to be saved before the run ends.
    pub(crate) fn is_unsaved(&self, people: BTreeSet<PersonId>) {
        self.unsaved.lock().unwrap_or_else(std::sync::PoisonError::into_inner).extend(people);
    }

    /// The people whose states have to be saved, who are no longer noted then.
    pub(crate) fn take_unsaved(&self) -> BTreeSet<PersonId> {
        std::mem::take(&mut *self.unsaved.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// Marks these people as saved: the stored state is one revision further.
    pub(crate) fn kept(&self, people: &BTreeSet<PersonId>) {
        let mut person_runs = self.person_runs();
        people.iter().for_each(|id| {
            if let Some(person_run) = person_runs.get_mut(id) {
                person_run.link.revision += 1;
            }
        });
    }

    /// The people of `people` whose new state is to be saved now. For all others this call made a contact, and this run
    /// makes a deal of theirs, and saves their state before that call: one write instead of two. They stay noted as
    /// unsaved until then. A crash in between is like one before the answer: the pending mark stands, and the next
    /// lookup finds the contact. So that a crash costs few lookups, few wait.
    pub(crate) fn not_saved_by_the_next_call(
        &self,
        tasks: &[PlannedChange],
        people: BTreeSet<PersonId>,
    ) -> BTreeSet<PersonId> {
        if self.stopped() || self.is_over() || breakage::is_on("answers-saved-twice") {
            return people;
        }
        // A lane holds changes of one kind.
        let are_new = matches!(tasks.first(), Some((_, CrmChange::CreateContact(_), _)));
        let unsaved = self.unsaved.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        let person_runs = self.person_runs();
        let has_contact = |id: &&PersonId| person_runs.get(id).is_some_and(|one| one.link.contact.id.is_some());
        if !are_new || unsaved.iter().filter(has_contact).count() >= MOST_UNSAVED {
            return people;
        }
        let goes_on = |id: &PersonId| {
            let Some(PersonRun { link, plan, .. }) = person_runs.get(id) else { return false };
            let is_open =
                |show: &ShowKey| link.deals.get(show).is_none_or(|deal| deal.id.is_none() && deal.pending.is_none());
            let makes_deal = |step: &Step| matches!(step, Step::CreateDeal(draft) if is_open(&draft.show));
            let has_contact = plan.contact.or(link.contact.id).is_some() && link.contact.rejected.is_none();
            has_contact && plan.steps.iter().any(|(step, _)| makes_deal(step))
        };
        let (later, now): (BTreeSet<_>, BTreeSet<_>) = people.into_iter().partition(goes_on);
        drop(person_runs);
        self.is_unsaved(later);
        now
    }
}
