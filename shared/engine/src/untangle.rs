//! Rows of a CRM go back to the people they were made for when two who were taken for one are parted.

use std::collections::{BTreeMap, BTreeSet};

use stagedoor_model::{Identifier, Kind};

use crate::{ContactLink, Link, Person, PersonId};

/// The deals that a person has back, each with the contact to hang it on.
pub type Hung = Vec<(u64, u64)>;

fn row(kind: Kind, scope: &str, id: u64) -> Option<Identifier> {
    Identifier::opaque(kind, scope, &id.to_string())
}

/// Every row of a CRM that the link has, as the index names it.
pub fn rows_of(link: &Link, scope: &str) -> BTreeSet<Identifier> {
    let contacts = link.contact.id.iter().chain(&link.doubles).chain(&link.marked);
    let deals = link.deals.values().filter_map(|deal| deal.id);
    let contacts = contacts.filter_map(|id| row(Kind::CrmContact, scope, *id));
    contacts.chain(deals.filter_map(|id| row(Kind::CrmLead, scope, id))).collect()
}

/// Takes the rows out that the index has under those from whom the person was parted, and has the rest written anew.
pub fn untangle(link: &mut Link, person: &Person, owners: &BTreeMap<Identifier, PersonId>, scope: &str) -> Hung {
    if stagedoor_model::breakage::is_on("part-leaves-rows") {
        return vec![];
    }
    let owner = |kind, id: u64| row(kind, scope, id).and_then(|row| owners.get(&row));
    let is_theirs = |kind, id: u64| owner(kind, id).is_some_and(|owner| person.parted.contains(owner));
    let their_contact = |id: &u64| is_theirs(Kind::CrmContact, *id);
    if link.contact.id.as_ref().is_some_and(their_contact) {
        link.contact = ContactLink::default();
    }
    link.contact.pushed = None;
    link.doubles.retain(|id| !their_contact(id));
    link.marked.retain(|id| !their_contact(id));
    link.deals.retain(|_, deal| !deal.id.is_some_and(|id| is_theirs(Kind::CrmLead, id)));
    link.deals.values_mut().for_each(|deal| deal.pushed = None);
    let deals = link.deals.values().filter_map(|deal| deal.id);
    let own = deals.filter(|id| owner(Kind::CrmLead, *id).is_some_and(|owner| *owner == person.id));
    link.contact.id.map(|contact| own.map(|deal| (deal, contact)).collect()).unwrap_or_default()
}
