//! Rows that a manager deleted stay deleted until the person buys. A purchase that the deleted row never showed makes
//! a new row.

use std::collections::BTreeSet;

use stagedoor_model::{Fact, Order, OrderState, Rung, Timestamp, breakage};

use super::{ContactState, CrmState, DealState, manager_moves};
use crate::{Catalog, Deal, Person, Settlement, Settlements, ShowKey, Stage, deals::deals_of, settlements};

/// Returns every contact of a person that the hub knows of, also deleted ones.
pub(crate) fn contacts(person: &Person, link: &CrmState) -> BTreeSet<u64> {
    link.contact.id.iter().chain(&link.doubles).chain(&person.contacts()).copied().collect()
}

/// Returns true if a person gets a new contact after all of theirs were deleted. That is so if they bought later, or
/// if the contact was deleted while two people counted as one.
pub(super) fn gets_contact_anew(person: &Person, link: &CrmState, catalog: &Catalog) -> bool {
    let died = deleted_at(person, link).filter(|_| !breakage::is_on("deleted-for-ever"));
    died.is_some_and(|at| {
        if is_owed(link, at) {
            return true;
        }
        let money = settlements(person.records.values());
        let deals = deals_of(person, catalog, &money);
        deals.iter().any(|(show, deal)| is_bought(deal, link.deals.get(show), &money, catalog, at))
    })
}

/// Returns true if a person must get a new contact. `at`: when their last contact was deleted.
fn is_owed(link: &CrmState, at: Timestamp) -> bool {
    link.owed_contact >= Some(at) && !breakage::is_on("merged-contact-stays-away")
}

impl CrmState {
    /// Forgets rows that a manager deleted if the person bought since, so that the hub makes them anew. Returns true
    /// if there were any. A forgotten row stays a double: if a manager restores it, the hub closes it as one.
    pub fn renew_deleted(&mut self, person: &Person, catalog: &Catalog) -> bool {
        let moves = manager_moves(person);
        let gone_at = |id: u64| moves.get(&id).filter(|moved| moved.deleted).map(|moved| moved.at);
        let is_gone = |deal: &DealState| deal.id.and_then(gone_at).is_some();
        if self.move_to_living(person, is_gone) {
            return true;
        }
        let died = deleted_at(person, self).filter(|_| self.contact.id.is_some());
        if died.is_none() && !self.deals.values().any(is_gone) || breakage::is_on("deleted-for-ever") {
            return false;
        }
        let money = settlements(person.records.values());
        let deals = deals_of(person, catalog, &money);
        let is_new = |show: &ShowKey, deal: &Deal, at| is_bought(deal, self.deals.get(show), &money, catalog, at);
        let is_back =
            died.is_some_and(|at| is_owed(self, at) || deals.iter().any(|(show, deal)| is_new(show, deal, at)));
        let (mut changed, mut heirs) = (false, BTreeSet::new());
        for (show, known) in &mut self.deals {
            let lives = |id: &&u64| gone_at(**id).is_none();
            let open = known.doubles.iter().filter(lives).find(|id| !known.closed.contains(id)).copied();
            // A manager kept the deal that was closed as a double: the money of a purchase has no other place.
            let has_money = deals.get(show).is_some_and(|deal| deal.bought_at.is_some());
            let has_money = has_money && !breakage::is_on("closed-double-never-counts");
            let open = open.or_else(|| known.doubles.iter().find(lives).copied().filter(|_| has_money));
            match known.id.and_then(gone_at) {
                Some(at)
                    if open.is_some()
                        || deals.get(show).is_some_and(|deal| is_bought(deal, Some(known), &money, catalog, at)) =>
                {
                    become_of(known, open);
                    heirs.extend(open);
                    changed = true;
                }
                _ => {}
            }
        }
        if is_back {
            let former = std::mem::take(&mut self.contact);
            self.doubles.extend(former.id);
            // The call that makes it may still take effect.
            let ContactState { looked_until, claimed, pending, .. } = former;
            self.contact = ContactState { looked_until, claimed, pending, ..ContactState::default() };
            let living = self.deals.values().filter(|deal| !is_gone(deal)).filter_map(|deal| deal.id);
            (self.unhung, self.unhung_reason) = (living.collect(), None);
        }
        // The deal may hang on another person's contact: it was made while the two counted as one.
        if !heirs.is_empty() && !breakage::is_on("heir-hangs-elsewhere") {
            self.unhung.extend(heirs);
            self.unhung_reason = None;
        }
        changed || is_back
    }

    /// Makes a living contact of a joined person count in place of a deleted one. The deals of the deleted contact
    /// hang on no contact, so they move to the living one. Returns true if the contact changed.
    fn move_to_living(&mut self, person: &Person, is_gone: impl Fn(&DealState) -> bool) -> bool {
        let deleted = super::deleted_contacts(person);
        let held = contacts(person, self);
        let living = held.difference(&deleted).next().copied();
        let (Some(former), Some(id)) = (self.contact.id.filter(|id| deleted.contains(id)), living) else {
            return false;
        };
        if breakage::is_on("deals-of-deleted-contact-stay") {
            return false;
        }
        self.exchange_contact(former, id);
        let deals = self.deals.values().filter(|deal| !is_gone(deal)).filter_map(|deal| deal.id);
        self.unhung.extend(deals.collect::<Vec<_>>());
        self.unhung_reason = None;
        true
    }
}

impl CrmState {
    /// Makes the first living contact count, for example one that was restored or that a manager made earlier. What the
    /// hub sent to the contact before it says nothing of this one. Returns true if the contact changed.
    pub fn count_first_contact(&mut self, person: &Person) -> bool {
        let deleted = super::deleted_contacts(person);
        let first = contacts(person, self).difference(&deleted).next().copied();
        match (self.contact.id, first) {
            (Some(former), Some(id))
                if former != id && !deleted.contains(&former) && !breakage::is_on("sent-to-another-contact-counts") =>
            {
                self.exchange_contact(former, id);
                true
            }
            _ => false,
        }
    }

    /// Makes the state describe another contact. The former one stays a double.
    fn exchange_contact(&mut self, former: u64, id: u64) {
        // The hub wrote to it before, so it may show what is gone since.
        let marketed = self.doubles.remove(&id);
        self.doubles.insert(former);
        let ContactState { looked_until, claimed, pending, .. } = std::mem::take(&mut self.contact);
        self.contact =
            ContactState { id: Some(id), looked_until, claimed, pending, marketed, ..ContactState::default() };
    }
}

/// Makes the state describe another row, or no row yet.
fn become_of(known: &mut DealState, id: Option<u64>) {
    let doubles = known.doubles.iter().copied().chain(known.id).filter(|one| Some(*one) != id).collect();
    let (closed, claimed) = (std::mem::take(&mut known.closed), std::mem::take(&mut known.claimed));
    // The hub may have put the deal at any stage for another person.
    let stages = if id.is_some() && !breakage::is_on("heir-stage-unknown") { Stage::ALL.to_vec() } else { vec![] };
    // The call that makes another deal may still take effect.
    let (looked_until, pending) = (known.looked_until, known.pending.take());
    *known =
        DealState { id, doubles, closed, claimed, looked_until, pending, sent_stages: stages, ..DealState::default() };
}

/// Returns when the last contact of a person was deleted. `None` if one lives, or if there was none.
fn deleted_at(person: &Person, link: &CrmState) -> Option<Timestamp> {
    let (mut left, mut last) = (contacts(person, link), None);
    for record in person.records.values() {
        if let Fact::CrmContact { contact, deleted: true, changed_at, .. } = record.fact
            && left.remove(&contact)
        {
            last = last.max(Some(changed_at));
        }
    }
    last.filter(|_| left.is_empty())
}

/// Returns true if the order is paid, by its settlement or by the shop.
pub(super) fn is_paid(order: &Order, settlement: &Settlement) -> bool {
    settlement.paid_at.or(order.paid_at).is_some()
}

/// Returns when the last order was paid that the deal in the CRM does not show as paid. `None` if there is no such order,
/// or if the deal shows no paid order at all: earlier builds stored none.
pub(super) fn paid_since(deal: &Deal, known: &DealState, money: &Settlements<'_>) -> Option<Timestamp> {
    let orders = deal.made_of.iter().filter_map(|key| money.orders.get(key)).filter(|_| !known.paid_orders.is_empty());
    let new = orders.filter(|(order, _)| !known.paid_orders.contains(order.number.as_ref().unwrap_or(&order.id)));
    new.filter_map(|(order, settlement)| settlement.paid_at.or(order.paid_at)).max()
}

/// Returns true if the deal has a purchase that the deleted row did not show. `at`: when the row was deleted.
fn is_bought(
    deal: &Deal,
    known: Option<&DealState>,
    money: &Settlements<'_>,
    catalog: &Catalog,
    at: Timestamp,
) -> bool {
    // The hub tried to show the order before: a later deletion does not bring the row back for it.
    let is_tried = known.is_some_and(|known| known.rejected.is_some() || known.held.is_some());
    let is_unshowable = is_tried || catalog.pipeline(&deal.show).is_none();
    let is_unshowable = is_unshowable && !breakage::is_on("unshown-remade");
    let orders = deal.made_of.iter().filter_map(|key| money.orders.get(key));
    let mut bought = orders.filter(|(order, settlement)| {
        let number = order.number.as_ref().unwrap_or(&order.id);
        let is_shown = known.is_some_and(|known| known.orders.contains(number));
        let has_come = settlement.came.last().is_some_and(|(came, _)| *came > at);
        let bought_at = settlement.paid_at.max(order.paid_at).max(Some(order.placed_at));
        let is_unseen = !is_shown && (has_come || !is_unshowable || bought_at > Some(at));
        let is_alive = order.state != OrderState::Cancelled || settlement.kept() > 0;
        let is_news = is_unseen || has_come || is_shown && is_paid(order, settlement) && was_unpaid(known, number);
        is_alive && is_news
    });
    bought.next().is_some()
}

/// Returns true if the row showed the order as unpaid. Earlier builds stored only the stage.
fn was_unpaid(known: Option<&DealState>, number: &String) -> bool {
    let Some(known) = known else { return false };
    let by_stage = known.stage.is_some_and(|stage| stage == Stage::Lost || stage < Stage::Ladder(Rung::Paid));
    match known.paid_orders.contains(number) {
        true if !breakage::is_on("seen-payment-remade") => false,
        _ => by_stage || !known.paid_orders.is_empty(),
    }
}
