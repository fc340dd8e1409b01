//! Joins what is known of two people in the CRM once they are one. Each `join` names every field of the other,
//! without `..`, so that a field that is added later cannot be forgotten.

use std::collections::BTreeSet;

use stagedoor_model::{Timestamp, breakage};

use super::{ContactState, CrmState, DealState, InvoiceState, Pending};
use crate::PersonId;

impl Pending {
    /// Joins two pending calls. A row that is found may come from either call. So values and name are dropped, and the
    /// row may show the orders of both.
    fn join(self, other: Self) -> Self {
        let Self { at, late_until, values: _, named: _, marketed, mut orders, paid_orders } = other;
        let marketed = self.marketed || marketed;
        orders.extend(self.orders);
        let paid_orders = self.paid_orders.intersection(&paid_orders).cloned().collect();
        let late_until = self.late_until.max(late_until);
        Self { late_until, marketed, orders, paid_orders, ..Self::since(self.at.min(at)) }
    }
}

/// Joins two pending calls, without those that were looked up until `looked_until`. Each run joins the states again.
fn joined(one: Option<Pending>, other: Option<Pending>, looked_until: Option<Timestamp>) -> Option<Pending> {
    let fresh = |pending: &Pending| Some(pending.at) > looked_until;
    match (one.filter(fresh), other.filter(fresh)) {
        (Some(one), Some(other)) => Some(one.join(other)),
        (one, other) => one.or(other),
    }
}

impl ContactState {
    /// Keeps the contact that exists. `last_sent` is about that contact alone. `is_second`: the contact of `other`
    /// counts.
    fn join(self, other: Self, is_second: bool) -> Self {
        let (known, second) = if is_second { (other, self) } else { (self, other) };
        let Self { id, last_sent, pending, rejected, held, marketed, named, looked_until, claimed } = known;
        let Self {
            id: _,
            last_sent: _,
            pending: second_intent,
            rejected: second_parked,
            held: second_held,
            marketed: _,
            named: _,
            looked_until: second_looked,
            claimed: second_claimed,
        } = second;
        let looked_until = looked_until.max(second_looked);
        Self {
            id,
            last_sent,
            pending: joined(pending, second_intent, looked_until),
            rejected: rejected.or(second_parked.filter(|_| id.is_none())),
            held: held.or(second_held.filter(|_| id.is_none())),
            marketed,
            named,
            looked_until,
            claimed: claimed.into_iter().chain(second_claimed).collect(),
        }
    }
}

impl DealState {
    /// Returns true if this deal was closed as a double and the other's deal was not.
    fn counts_less_than(&self, other: &Self) -> bool {
        // A deal that was closed and counts all the same took the place of one that a manager deleted.
        let counts_again = |one: &Self, id: &u64| one.closed.contains(id) && !breakage::is_on("old-mark-comes-back");
        let is_closed =
            |one: &Self, by: &Self| one.id.is_some_and(|id| by.closed.contains(&id) && !counts_again(one, &id));
        is_closed(self, other) && !is_closed(other, self)
    }

    /// Joins two people's deals for one show. One deal becomes the double of the other. A deal that was closed as a
    /// double stays closed.
    fn join(self, other: Self) -> Self {
        let is_closed = self.counts_less_than(&other) && !breakage::is_on("closed-double-counts");
        // A new deal is being made in place of the other one.
        let is_replaced =
            other.id.is_some_and(|id| self.doubles.contains(&id)) && !breakage::is_on("replaced-row-back");
        let is_second = other.id.is_some() && (self.id.is_none() && !is_replaced || is_closed);
        let (known, second) = if is_second { (other, self) } else { (self, other) };
        let Self {
            id,
            last_sent,
            stage,
            pipeline,
            stage_at,
            weighed,
            sent_stages,
            is_parted,
            absent,
            pending,
            rejected,
            held,
            orders,
            paid_orders,
            doubles,
            closed,
            looked_until,
            claimed,
        } = known;
        let Self {
            id: second_id,
            last_sent: _,
            stage: _,
            pipeline: _,
            stage_at: _,
            weighed: _,
            sent_stages: _,
            is_parted: _,
            absent: _,
            pending: second_intent,
            rejected: second_parked,
            held: second_held,
            orders: _,
            paid_orders: _,
            doubles: second_doubles,
            closed: second_closed,
            looked_until: second_looked,
            claimed: second_claimed,
        } = second;
        let looked_until = looked_until.max(second_looked);
        let doubles = doubles.into_iter().chain(second_doubles).chain(second_id);
        Self {
            id,
            last_sent,
            stage,
            pipeline,
            stage_at,
            weighed,
            sent_stages,
            is_parted,
            absent,
            pending: joined(pending, second_intent, looked_until),
            rejected: rejected.or(second_parked.filter(|_| id.is_none())),
            held: held.or(second_held.filter(|_| id.is_none())),
            orders,
            paid_orders,
            doubles: doubles.filter(|double| id != Some(*double)).collect(),
            closed: closed.into_iter().chain(second_closed).collect(),
            looked_until,
            claimed: claimed.into_iter().chain(second_claimed).collect(),
        }
    }
}

impl InvoiceState {
    /// Keeps the invoice that exists: an order has one invoice.
    fn join(self, other: Self) -> Self {
        let (known, second) = if self.id.is_none() { (other, self) } else { (self, other) };
        let Self { id, last_sent, pending, rejected, fixed, asked, anew, deal, contact, mut old } = known;
        let pending = joined(pending, second.pending, None);
        old.extend(second.old.into_iter().filter(|one| id != Some(*one)));
        Self { id, last_sent, pending, rejected, fixed, asked, anew, deal, contact, old }
    }
}

impl CrmState {
    /// Joins what two people had in the CRM. `self` is the elder's state.
    #[must_use]
    pub fn join(mut self, other: Self) -> Self {
        let Self {
            // Each state has its own revision. Due times are computed anew and may differ from the elder's.
            revision: _,
            turns_at: _,
            look_again_at: _,
            // The joined person differs from each of the two, so these are evaluated anew.
            write_again_at: _,
            looked: _,
            gone_asked_at: _,
            contact,
            deals,
            marked,
            doubles,
            unhung,
            unhung_from,
            owed_contact,
            unhung_reason,
            contact_values,
            left_out,
            offered,
            cleared,
            removed,
            other_ids,
            noted,
            tasked,
            pending_note: note_intent,
            pending_task: task_intent,
            invoices,
            second,
            companies,
            unmatched,
            troubles,
            segments,
            lists,
            written,
            untangled,
            joined: their_joined,
            later,
        } = other;
        self.later = std::mem::take(&mut self.later).with(later);
        (self.looked, self.write_again_at, self.gone_asked_at) = (None, None, None);
        self.unhung.extend(unhung);
        self.unhung_from.extend(unhung_from);
        self.owed_contact = self.owed_contact.max(owed_contact);
        self.unhung_reason = self.unhung_reason.or(unhung_reason);
        // The elder's state goes on. The other's state is what was known before the join.
        let is_in = |known: Option<&BTreeSet<String>>, value: &String| known.is_some_and(|known| known.contains(value));
        let known = self.contact_values.clone();
        for (id, mut values) in contact_values {
            values.retain(|value| !is_in(self.cleared.get(&id), value));
            self.contact_values.entry(id).or_default().extend(values);
        }
        for (id, mut values) in cleared {
            values.retain(|value| !is_in(known.get(&id), value));
            self.cleared.entry(id).or_default().extend(values);
        }
        for (id, values) in removed {
            self.removed.entry(id).or_default().extend(values);
        }
        self.offered.extend(offered);
        for (id, values) in left_out {
            self.left_out.entry(id).or_default().extend(values);
        }
        let is_among = |marked: &BTreeSet<u64>, one: Option<u64>| one.is_some_and(|id| marked.contains(&id));
        // The elder's contact took the place of the other's, for example because a manager deleted that one. Then the
        // hub took the mark off, and the other's state still has it.
        let is_decided = is_among(&self.doubles, contact.id) && !breakage::is_on("old-mark-comes-back");
        let is_marked = is_among(&marked, self.contact.id) && !is_among(&self.marked, contact.id) && !is_decided;
        let counts = self.contact.id.filter(|_| is_decided);
        let is_replaced = is_among(&self.doubles, contact.id) && !breakage::is_on("replaced-row-back");
        let is_missing = self.contact.id.is_none() && !is_replaced;
        let is_marked = is_marked && !breakage::is_on("closed-double-counts");
        let both = [self.contact.id, contact.id];
        let is_second = contact.id.is_some() && (is_missing || is_marked);
        self.contact = self.contact.join(contact, is_second);
        self.doubles.extend(doubles);
        self.doubles.extend(both.into_iter().flatten().filter(|id| self.contact.id != Some(*id)));
        self.second = match (self.second, second) {
            (Some(own), Some(other)) => Some(Box::new(own.join(*other))),
            (own, other) => own.or(other),
        };
        // A person who was joined into one of the two and parted since may have rows there. That holds even if the
        // other parted from them long ago.
        let entangled = |joined: &BTreeSet<PersonId>, untangled: &BTreeSet<PersonId>| joined - untangled;
        let theirs = entangled(&their_joined, &untangled);
        let entangled = &entangled(&self.joined, &self.untangled) | &theirs;
        self.untangled.extend(untangled);
        self.untangled.retain(|id| !entangled.contains(id) || breakage::is_on("anothers-parting-is-own"));
        self.joined.extend(their_joined);
        self.companies.extend(companies);
        self.unmatched.extend(unmatched);
        self.troubles.extend(troubles);
        for (key, invoice) in invoices {
            let known = self.invoices.entry(key).or_default();
            *known = std::mem::take(known).join(invoice);
        }
        for (show, deal) in deals {
            let known = self.deals.entry(show).or_default();
            *known = std::mem::take(known).join(deal);
        }
        self.marked.extend(marked.into_iter().filter(|id| Some(*id) != counts));
        self.other_ids.extend(other_ids);
        self.noted.extend(noted);
        self.tasked = self.tasked.max(tasked);
        self.pending_note = self.pending_note.or(note_intent);
        self.pending_task = self.pending_task.or(task_intent);
        for (list, places) in lists {
            let known = self.lists.entry(list).or_default();
            for (address, place) in places {
                let place = known.get(&address).map_or(place.clone(), |known| known.clone().min(place));
                known.insert(address, place);
            }
        }
        for (key, written) in written {
            let both = match self.written.remove(&key) {
                Some(known) => known.join(written),
                None => written,
            };
            self.written.insert(key, both);
        }
        for (segment, since) in segments {
            let known = self.segments.entry(segment).or_insert(since);
            *known = since.min(*known);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ShowKey;

    /// A person with a contact, a deal, and ids marked as their doubles.
    fn link(contact: u64, deal: u64, marked: &[u64], closed: &[u64]) -> CrmState {
        let mut link = CrmState::default();
        (link.contact.id, link.marked) = (Some(contact), marked.iter().copied().collect());
        let own = DealState { id: Some(deal), closed: closed.iter().copied().collect(), ..DealState::default() };
        link.deals.insert(ShowKey("ufa".into()), own);
        link
    }

    #[test]
    fn rows_in_whose_place_others_are_being_made_do_not_come_back_with_a_join() {
        let mut making = link(9, 14, &[], &[]);
        making.doubles.extend(making.contact.id.take());
        let pending = Pending::since(Timestamp::UNIX_EPOCH);
        making.contact.pending = Some(pending.clone());
        for deal in making.deals.values_mut() {
            deal.doubles.extend(deal.id.take());
            deal.pending = Some(pending.clone());
        }
        let joined = making.join(link(9, 14, &[], &[]));
        let deal = joined.deals.values().next().expect("a deal");
        assert_eq!((joined.contact.id, deal.id), (None, None));
        assert!(joined.contact.pending.is_some() && deal.pending.is_some());
        assert!(joined.doubles.contains(&9) && deal.doubles.contains(&14));
    }

    #[test]
    fn rows_that_were_closed_as_doubles_stay_so_when_their_person_is_joined_again() {
        let (closed, counts) = (link(13, 11, &[], &[]), link(9, 14, &[13], &[11]));
        for joined in [closed.clone().join(counts.clone()), counts.join(closed)] {
            let deal = joined.deals.values().next().expect("a deal");
            assert_eq!((joined.contact.id, deal.id), (Some(9), Some(14)));
            assert!(joined.doubles.contains(&13) && deal.doubles.contains(&11));
        }
    }

    #[test]
    fn rows_that_took_the_place_of_deleted_ones_count_although_they_were_doubles_before() {
        let other = link(9, 14, &[13], &[11]);
        let mut elder = link(13, 11, &[], &[]).join(other.clone());
        assert_eq!(elder.contact.id, Some(9));
        // A manager deleted the contact and the deal that counted.
        elder.contact = ContactState { id: Some(13), ..ContactState::default() };
        (elder.doubles, elder.marked) = (BTreeSet::from([9]), BTreeSet::new());
        for deal in elder.deals.values_mut() {
            (deal.id, deal.doubles) = (Some(11), BTreeSet::from([14]));
        }
        let joined = elder.join(other);
        let deal = joined.deals.values().next().expect("a deal");
        assert_eq!((joined.contact.id, deal.id), (Some(13), Some(11)), "each run reads the other's state again");
        assert!(joined.marked.is_empty(), "its mark was taken off");
    }

    #[test]
    fn rows_of_somebody_parted_stay_to_be_put_in_order_though_another_parted_from_them_before() {
        let id = |n: u8| PersonId::of(&stagedoor_model::RecordKey(format!("order/shop:{n}")));
        let (stranger, elder) = (id(1), id(2));
        // The stranger was joined into the elder, whose state still has the stranger's rows.
        let mut entangled = link(9, 14, &[], &[]);
        entangled.joined = [stranger].into();
        let parted = CrmState { untangled: [stranger, elder].into(), ..link(13, 11, &[], &[]) };
        for joined in [entangled.clone().join(parted.clone()), parted.clone().join(entangled)] {
            assert_eq!(joined.untangled, [elder].into());
        }
        let settled = CrmState { joined: [stranger].into(), untangled: [stranger].into(), ..CrmState::default() };
        assert_eq!(settled.join(parted).untangled, [stranger, elder].into());
    }
}
