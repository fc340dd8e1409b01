//! Stale marks of duplicates on the contact that counts. A manager deleted the original, merged it into this contact,
//! or merged marked contacts into it. A merge keeps the marks of both.

use std::collections::{BTreeMap, BTreeSet};

use stagedoor_model::breakage;

use crate::{CrmState, Parting, Person, plan, untangle::is_deleted_deal};

/// Returns the contact that counts, if it may be marked as a duplicate. `person`: as the CRM of this state sees them.
/// If the contact was marked itself, its deals moved to the original then, and hang on no contact since that was
/// deleted.
pub fn stale_mark(link: &CrmState, person: &Person) -> Option<Parting> {
    if link.marked.is_empty() || breakage::is_on("duplicate-left-alone-stays-marked") {
        return None;
    }
    let (gone, counts) = gone_and_counting(link, person)?;
    let passes_marks = |id: &u64| *id == counts || gone.contains(id);
    if !link.marked.iter().any(passes_marks) {
        return None;
    }
    let was_marked = link.marked.contains(&counts) && !breakage::is_on("deals-of-original-stay");
    let known = link.deals.iter().filter_map(|(show, deal)| Some((deal.id?, show.clone())));
    let shows: BTreeMap<_, _> = known.filter(|(id, _)| was_marked && !is_deleted_deal(person, *id)).collect();
    let (deals, kin) = (shows.keys().copied().collect(), BTreeSet::from([counts]));
    Some(Parting { deals, shows, kin, ..Parting::of(person.id, counts) })
}

/// Returns the deleted contacts of a person, and the contact that counts.
fn gone_and_counting(link: &CrmState, person: &Person) -> Option<(BTreeSet<u64>, u64)> {
    let gone = plan::deleted_contacts(person);
    let counts = plan::contacts(person, link).into_iter().find(|id| !gone.contains(id))?;
    Some((gone, counts))
}

impl CrmState {
    /// Notes that the contact that counts has no mark any more. A contact that is restored later is marked anew.
    pub fn note_unmarked(&mut self, person: &Person) {
        if let Some((gone, counts)) = gone_and_counting(self, person) {
            self.marked.retain(|id| *id != counts && !gone.contains(id));
        }
    }
}

#[cfg(test)]
mod tests {
    use stagedoor_model::{Fact, Record, RecordKey, SourceName, Timestamp};

    use super::*;
    use crate::{DealState, PersonId, ShowKey};

    /// A person with these deleted contacts.
    fn without(deleted: &[u64]) -> Person {
        let origin = RecordKey("order/shop:1".into());
        let record = |contact: &u64| {
            let key = RecordKey(format!("crm-contact:{contact}"));
            let (changed_at, hub_id, restored_at) = (Timestamp::UNIX_EPOCH, None, None);
            let (phones, emails, deleted) = (vec![], vec![], true);
            let fact = Fact::CrmContact { changed_at, contact: *contact, deleted, phones, emails, hub_id, restored_at };
            let source = SourceName::new("crm").expect("a name");
            (key.clone(), Record::new(key, source, changed_at, fact))
        };
        Person {
            id: PersonId::of(&origin),
            origin,
            born: Timestamp::UNIX_EPOCH,
            records: deleted.iter().map(record).collect(),
            blocked_with: BTreeSet::new(),
            merged_ids: BTreeSet::new(),
            absorbed_origins: BTreeMap::new(),
            parted: BTreeSet::new(),
            absorbed_by: BTreeSet::new(),
            former: BTreeSet::new(),
            contested: BTreeSet::new(),
            withdrawn_beside: BTreeSet::new(),
            later: crate::Later::default(),
        }
    }

    /// A person with the contacts 3, 7 and 9 and the deal 20. The hub last wrote to 7.
    fn link(marked: &[u64]) -> CrmState {
        let mut link =
            CrmState { doubles: [3, 9].into(), marked: marked.iter().copied().collect(), ..CrmState::default() };
        link.contact.id = Some(7);
        link.deals.insert(ShowKey("ufa".into()), DealState { id: Some(20), ..DealState::default() });
        link
    }

    #[test]
    fn the_deals_of_a_deleted_original_hang_on_the_duplicate_that_the_hub_wrote_to_last() {
        let (person, mut link) = (without(&[3]), link(&[7, 9]));
        let stale = stale_mark(&link, &person).expect("a mark");
        assert_eq!((stale.contact, stale.deals, stale.kin), (7, vec![20], [7].into()));
        link.note_unmarked(&person);
        assert_eq!(link.marked, [9].into());
        assert_eq!(stale_mark(&link, &person), None);
    }

    #[test]
    fn deals_stay_where_they_are_when_a_duplicate_is_merged_into_its_original() {
        let stale = stale_mark(&link(&[7, 9]), &without(&[9])).expect("the mark may be merged, too");
        assert_eq!((stale.contact, stale.deals.len()), (3, 0));
        assert_eq!(stale_mark(&link(&[7, 9]), &without(&[])), None);
    }
}
