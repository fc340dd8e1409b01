//! Rows of a CRM go back to the people they were made for when two who were taken for one are parted.

use std::collections::{BTreeMap, BTreeSet};

use stagedoor_model::{Identifier, Kind, breakage};

use crate::{ContactLink, Link, Person, PersonId, Stage};

/// What has to change at a contact after its person was parted from somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parting {
    pub contact: u64,
    /// Deals that are this contact's, wherever they hang now.
    pub deals: Vec<u64>,
    /// Contacts of those from whom the person was parted: none of them has a part in these deals.
    pub strangers: BTreeSet<u64>,
    /// Phones, e-mails and chats that may stand in the contact and are somebody else's.
    pub values: BTreeSet<Identifier>,
}

fn row(kind: Kind, scope: &str, id: u64) -> Option<Identifier> {
    Identifier::opaque(kind, scope, &id.to_string())
}

/// Every row of a CRM that the link has, as the index names it.
pub fn rows_of(link: &Link, scope: &str) -> BTreeSet<Identifier> {
    let contacts = link.contact.id.iter().chain(&link.doubles).chain(&link.marked);
    let deals = link.deals.values().flat_map(|deal| deal.id.iter().chain(&deal.doubles).chain(&deal.closed).copied());
    let contacts = contacts.filter_map(|id| row(Kind::CrmContact, scope, *id));
    contacts.chain(deals.filter_map(|id| row(Kind::CrmLead, scope, id))).collect()
}

/// Takes the rows out of the link that the index has under those from whom the person was parted, and has the rest written
/// anew. `owners` are those of the rows of this link and of the links of the others.
pub fn untangle(
    link: &mut Link,
    person: &Person,
    owners: &BTreeMap<Identifier, PersonId>,
    scope: &str,
) -> Vec<Parting> {
    if breakage::is_on("part-leaves-rows") {
        return vec![];
    }
    let owner = |kind, id: u64| row(kind, scope, id).and_then(|row| owners.get(&row));
    let is_theirs = |kind, id: u64| owner(kind, id).is_some_and(|owner| person.parted.contains(owner));
    let is_own = |kind, id: u64| owner(kind, id).is_some_and(|owner| *owner == person.id);
    let their_contact = |id: &u64| is_theirs(Kind::CrmContact, *id);
    if link.contact.id.as_ref().is_some_and(their_contact) {
        let own = link.doubles.iter().chain(&link.marked).copied().find(|id| is_own(Kind::CrmContact, *id));
        link.contact = ContactLink { id: own, claimed: own.into_iter().collect(), ..ContactLink::default() };
        link.doubles.retain(|id| Some(*id) != own);
        link.marked.retain(|id| Some(*id) != own);
    }
    link.doubles.retain(|id| !their_contact(id));
    link.marked.retain(|id| !their_contact(id));
    link.deals.retain(|_, deal| !deal.id.is_some_and(|id| is_theirs(Kind::CrmLead, id)));
    for deal in link.deals.values_mut() {
        deal.doubles.retain(|id| !is_theirs(Kind::CrmLead, *id));
        deal.closed.retain(|id| !is_theirs(Kind::CrmLead, *id));
        (deal.pushed, deal.is_parted) = (None, true);
        // While the two were one it may have been closed as the double of the other's.
        if !deal.sent_stages.contains(&Stage::Lost) {
            deal.sent_stages.push(Stage::Lost);
        }
    }
    // While the two were one their invoices hung on one contact, and the link may be older than that.
    link.invoices.values_mut().for_each(|invoice| invoice.pushed = None);
    // Rows that were written while the two were one bear the other's id.
    link.other_ids.extend(&person.parted);
    link.contact.pushed = None;
    // Marks of letters and segments of the other stand there, too.
    link.contact.marketed |= link.contact.id.is_some();
    let held = person.identifiers();
    let values: BTreeSet<Identifier> = person.former.iter().filter(|one| !held.contains(one)).cloned().collect();
    for (contact, known) in &mut link.contact_values {
        if !their_contact(contact) {
            known.retain(|value| !values.iter().any(|one| one.value() == value));
        }
    }
    let of_scope = |one: &&Identifier| one.kind() == Kind::CrmContact && one.scope() == scope;
    let theirs = owners.iter().filter(|(row, owner)| of_scope(row) && person.parted.contains(owner));
    let strangers: BTreeSet<u64> = theirs.filter_map(|(row, _)| row.value().parse().ok()).collect();
    let deals = link.deals.values().filter_map(|deal| deal.id).filter(|id| is_own(Kind::CrmLead, *id)).collect();
    let main = link.contact.id.map(|contact| (contact, deals));
    let others = link.doubles.iter().map(|contact| (*contact, vec![]));
    let parting = |(contact, deals): (u64, Vec<u64>)| {
        let (strangers, values) = (strangers.clone(), values.clone());
        Parting { contact, deals, strangers, values }
    };
    main.into_iter().chain(others).map(parting).collect()
}
