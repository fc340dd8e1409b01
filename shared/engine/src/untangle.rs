//! Gives rows of a CRM back to the people for whom they were made when two people who counted as one are parted.

use std::collections::{BTreeMap, BTreeSet};

use stagedoor_model::{Fact, Identifier, Kind, Record, Timestamp, breakage};

use crate::{ContactState, CrmState, DealState, InvoiceState, Person, PersonId, ShowKey, Stage};

/// The changes of a contact after its person was parted from another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parting {
    pub person: PersonId,
    pub contact: u64,
    /// Deals of this contact, wherever they hang now.
    pub deals: Vec<u64>,
    /// The shows of these deals, if known: each of these deals gets the person's id again.
    pub shows: BTreeMap<u64, ShowKey>,
    /// Contacts of the people from whom the person was parted. They must not hold these deals.
    pub strangers: BTreeSet<u64>,
    /// Deals of those people, also closed doubles, each with the contact where it must hang, if there is one.
    pub others_deals: BTreeMap<u64, Option<u64>>,
    /// Contacts of which this one is no duplicate, despite marks from the time when their people were one.
    pub no_duplicate_of: BTreeSet<u64>,
    /// All contacts of the person. A mark as duplicate of any other contact is removed. If empty, marks stay.
    pub kin: BTreeSet<u64>,
    /// Phones, e-mails and chats that may stand in the contact and belong to another person.
    pub values: BTreeSet<Identifier>,
}

impl Parting {
    /// Creates a parting without changes.
    pub fn of(person: PersonId, contact: u64) -> Self {
        let (strangers, kin, values) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let (others_deals, no_duplicate_of) = (BTreeMap::new(), BTreeSet::new());
        let (deals, shows) = (vec![], BTreeMap::new());
        Self { person, contact, deals, shows, strangers, others_deals, no_duplicate_of, kin, values }
    }

    /// Returns true if nobody is parted, and the contact is the only one left of its person.
    pub fn is_of_one(&self) -> bool {
        self.kin.iter().eq([&self.contact]) && self.strangers.is_empty() && self.others_deals.is_empty()
    }
}

fn row(kind: Kind, scope: &str, id: u64) -> Option<Identifier> {
    Identifier::opaque(kind, scope, &id.to_string())
}

/// Returns every row of a CRM that the state holds, with the identifiers of the index.
pub fn rows_of(link: &CrmState, scope: &str) -> BTreeSet<Identifier> {
    let contacts = link.contact.id.iter().chain(&link.doubles).chain(&link.marked);
    let deals = link.deals.values().flat_map(|deal| deal.id.iter().chain(&deal.doubles).chain(&deal.closed).copied());
    let contacts = contacts.filter_map(|id| row(Kind::CrmContact, scope, *id));
    contacts.chain(deals.filter_map(|id| row(Kind::CrmLead, scope, id))).collect()
}

/// Returns the stages at which the hub's own calls may have left the deal while the people were one. The deal may
/// have been closed as a double then, or have been the deal of all of them.
fn sent_while_one(deal: &DealState, others: &[&CrmState]) -> Vec<Stage> {
    let all = || others.iter().flat_map(|link| link.deals.values());
    let is_double = all().any(|one| deal.id.is_some_and(|id| one.doubles.contains(&id)));
    let theirs: Vec<&DealState> = all().filter(|one| deal.id.is_some() && one.id == deal.id).collect();
    let mut sent = vec![Stage::Lost];
    match theirs.is_empty() && !is_double {
        _ if breakage::is_on("parted-deal-keeps-stage") => {}
        // Their states no longer tell: the hub may have put the deal at any stage.
        true => sent.extend(Stage::ALL),
        false => sent.extend(theirs.iter().flat_map(|one| one.stage.iter().chain(&one.sent_stages))),
    }
    let mut fresh = Vec::new();
    for stage in sent {
        if !deal.sent_stages.contains(&stage) && !fresh.contains(&stage) {
            fresh.push(stage);
        }
    }
    fresh
}

/// Removes rows from the state of a merged person that the index assigns to people from whom the person was parted.
/// States are joined in each run, which would bring these rows back.
pub fn without_rows_of_parted(
    link: &mut CrmState,
    person: &Person,
    owners: &BTreeMap<Identifier, PersonId>,
    scope: &str,
) {
    let is_theirs = |kind, id: u64| {
        let owner = row(kind, scope, id).and_then(|row| owners.get(&row));
        owner.is_some_and(|owner| person.parted.contains(owner))
    };
    let their_contact = |id: &u64| is_theirs(Kind::CrmContact, *id);
    if link.contact.id.as_ref().is_some_and(their_contact) {
        link.contact = unanswered_contact(&mut link.contact);
    }
    link.doubles.retain(|id| !their_contact(id));
    link.marked.retain(|id| !their_contact(id));
    for deal in link.deals.values_mut() {
        deal.doubles.retain(|id| !is_theirs(Kind::CrmLead, *id));
        deal.closed.retain(|id| !is_theirs(Kind::CrmLead, *id));
    }
    link.deals.retain(|_, deal| {
        if deal.id.is_some_and(|id| is_theirs(Kind::CrmLead, id)) {
            *deal = without_row(deal);
            return deal.id.is_some() || deal.pending.is_some();
        }
        true
    });
}

/// Keeps only the unanswered call, which may still create the person's own contact.
fn unanswered_contact(contact: &mut ContactState) -> ContactState {
    if breakage::is_on("parted-call-forgotten") {
        return ContactState::default();
    }
    let (pending, looked_until) = (contact.pending.take(), contact.looked_until);
    ContactState { pending, looked_until, ..ContactState::default() }
}

/// Returns what is left of a deal whose row belongs to another person. An unanswered call from the time when they
/// were one may still create the person's own deal, which may be a double by now.
fn without_row(deal: &mut DealState) -> DealState {
    if breakage::is_on("parted-call-forgotten") {
        return DealState::default();
    }
    let mut doubles = std::mem::take(&mut deal.doubles);
    let id = doubles.pop_first();
    let sent_stages = id.map(|_| Stage::ALL.to_vec()).unwrap_or_default();
    let (pending, looked_until) = (deal.pending.take(), deal.looked_until);
    let closed = std::mem::take(&mut deal.closed);
    DealState {
        id,
        doubles,
        closed,
        sent_stages,
        pending,
        looked_until,
        claimed: id.into_iter().collect(),
        ..DealState::default()
    }
}

/// Removes rows that the index assigns to people from whom the person was parted, and makes the rest be written anew.
/// `owners`: owners of the rows in this state and in `links`, the states of the others. If the person was not
/// absorbed meanwhile, their own state says where the hub put the deals.
pub fn untangle(
    link: &mut CrmState,
    person: &Person,
    owners: &BTreeMap<Identifier, PersonId>,
    (links, was_absorbed): (&BTreeMap<PersonId, &CrmState>, bool),
    scope: &str,
) -> Vec<Parting> {
    if breakage::is_on("part-leaves-rows") {
        return vec![];
    }
    let others: Vec<&CrmState> = links.values().copied().collect();
    let owner = |kind, id: u64| row(kind, scope, id).and_then(|row| owners.get(&row));
    let their_contact = |id: &u64| owner(Kind::CrmContact, *id).is_some_and(|owner| person.parted.contains(owner));
    let is_own = |kind, id: u64| owner(kind, id).is_some_and(|owner| *owner == person.id);
    // An order that is handed on also parts people who never had one contact.
    let had_theirs = was_absorbed || link.contact.id.as_ref().is_some_and(their_contact);
    if link.contact.id.as_ref().is_some_and(their_contact) {
        let own = link.doubles.iter().chain(&link.marked).copied().find(|id| is_own(Kind::CrmContact, *id));
        let left = unanswered_contact(&mut link.contact);
        link.contact = ContactState { id: own, claimed: own.into_iter().collect(), ..left };
        link.doubles.retain(|id| Some(*id) != own);
        link.marked.retain(|id| Some(*id) != own);
    }
    without_rows_of_parted(link, person, owners, scope);
    for deal in link.deals.values_mut() {
        (deal.last_sent, deal.is_parted) = (None, true);
        if was_absorbed || breakage::is_on("kept-link-any-stage") {
            let sent = sent_while_one(deal, &others);
            deal.sent_stages.extend(sent);
        }
    }
    // Mailings that reached the person's own addresses while they were one are not sent again.
    for (key, written) in others.iter().flat_map(|other| &other.written) {
        let mut own = written.clone();
        own.steps.retain(|step| person.identifiers().contains(&step.to));
        if !own.steps.is_empty() && !breakage::is_on("parted-written-again") {
            let known = link.written.remove(key);
            link.written.insert(key.clone(), known.map_or(own.clone(), |known| known.join(own)));
        }
    }
    // While the two were one, their invoices hung on one contact. The state may be older than that.
    link.invoices.values_mut().for_each(|invoice| invoice.last_sent = None);
    // They may be marked as duplicates of a contact that is another person's now, so they are marked anew.
    let marked = std::mem::take(&mut link.marked);
    // Rows that were written while the two were one bear the other's id.
    link.other_ids.extend(&person.parted);
    link.contact.last_sent = None;
    // The contact may also show e-mails and segments of the other person.
    link.contact.marketed |= link.contact.id.is_some();
    let held = person.identifiers_and_claims();
    let values: BTreeSet<Identifier> = person.former.iter().filter(|one| !held.contains(one)).cloned().collect();
    // Removing the other person's values makes room.
    link.left_out.clear();
    // The state of the joined person knows what was written and removed meanwhile.
    if !breakage::is_on("memory-of-joined-lost") {
        for other in &others {
            let of_link = |link: &CrmState| [link.contact_values.clone(), link.cleared.clone(), link.removed.clone()];
            for (own, theirs) in link.memories().into_iter().zip(of_link(other)) {
                for (contact, values) in theirs.into_iter().filter(|(contact, _)| is_own(Kind::CrmContact, *contact)) {
                    own.entry(contact).or_default().extend(values);
                }
            }
        }
    }
    link.memories().into_iter().for_each(|memory| memory.retain(|contact, _| !their_contact(contact)));
    let is_other = |value: &String| values.iter().any(|one| one.value() == value);
    // A deleted contact may be restored with all its values. It is cleared then.
    let gone = crate::plan::deleted_contacts(person);
    let is_there = |id: &u64| !gone.contains(id) || breakage::is_on("gone-contact-counts-as-parted");
    for (contact, known) in link.contact_values.iter_mut().filter(|(contact, _)| is_there(contact)) {
        let taken: Vec<String> = known.extract_if(.., is_other).collect();
        if !taken.is_empty() {
            link.cleared.entry(*contact).or_default().extend(taken);
        }
    }
    let of_scope = |one: &Identifier| one.kind() == Kind::CrmContact && one.scope() == scope;
    let theirs = owners.iter().filter(|(row, owner)| of_scope(row) && person.parted.contains(owner));
    let strangers: BTreeSet<u64> = theirs.filter_map(|(row, _)| row.value().parse().ok()).collect();
    let deals = link.deals.values().filter_map(|deal| deal.id).filter(|id| is_own(Kind::CrmLead, *id));
    let deals: Vec<u64> = deals.collect();
    // Invoices go with the person's own orders: the other person's plan no longer covers them.
    take_invoices(link, person, &others);
    let is_there = |record: &&Record| matches!(record.fact, Fact::CrmContact { deleted: false, .. });
    let mirrored = person.records.values().filter(is_there).flat_map(|record| &record.identifiers);
    let mirrored = mirrored.filter(|one| of_scope(one)).filter_map(|row| row.value().parse().ok());
    let all_marked: BTreeSet<u64> = others.iter().flat_map(|other| &other.marked).chain(&marked).copied().collect();
    let known: BTreeSet<u64> = link.doubles.iter().copied().chain(marked).chain(mirrored).collect();
    let all: BTreeSet<u64> = known.into_iter().filter(|id| !their_contact(id)).chain(link.contact.id).collect();
    // A manager deleted their contact: their deals hang on another one, if there is one.
    let is_deleted = |record: &&Record| matches!(record.fact, Fact::CrmContact { deleted: true, .. });
    let deleted: BTreeSet<&Identifier> =
        person.records.values().filter(is_deleted).flat_map(|record| &record.identifiers).collect();
    let is_gone = |id: &u64| row(Kind::CrmContact, scope, *id).is_some_and(|row| deleted.contains(&row));
    let own = link.contact.id.filter(|id| !is_gone(id));
    let own = own.or_else(|| all.iter().copied().find(|id| !is_gone(id)));
    // No contact is a duplicate of a deleted one, such as one that a manager merged. The one that counts is no
    // duplicate.
    let dead_count = breakage::is_on("duplicate-of-gone-stays");
    let kin: BTreeSet<u64> = all.iter().copied().filter(|id| !is_gone(id) || dead_count).collect();
    let counts = kin.first().copied().filter(|_| !dead_count);
    let theirs = others_deals(person, owners, links, scope);
    let contacts: BTreeSet<u64> = all.iter().chain(own.iter()).copied().collect();
    let beside: Vec<(u64, Vec<u64>)> = kin
        .iter()
        .filter(|contact| Some(**contact) != own && !is_gone(contact))
        .map(|contact| (*contact, vec![]))
        .collect();
    // The person has no contact (any more). The deals are attached once the hub has made one.
    if own.is_none() && !breakage::is_on("parted-deal-unhung") {
        link.unhung.extend(deals.iter().copied());
        link.unhung_from.clone_from(&strangers);
        // A deleted contact does not forbid a new one here. A manager merged it where the hub had marked it, or its
        // deals hung on the other's contact.
        let is_merged = all.iter().any(|id| is_gone(id) && all_marked.contains(id));
        if is_merged || had_theirs && deals.iter().any(|id| !is_deleted_deal(person, *id)) {
            link.owed_contact = link.owed_contact.max(last_deleted(person, &of_scope));
        }
    }
    let main = own.map(|contact| (contact, deals));
    let parting = |(contact, deals): (u64, Vec<u64>)| {
        let kin = if counts == Some(contact) { BTreeSet::from([contact]) } else { kin.clone() };
        let (strangers, values) = (strangers.clone(), values.clone());
        let known = link.deals.iter().filter_map(|(show, deal)| Some((deal.id?, show.clone())));
        let shows = known.filter(|(deal, _)| deals.contains(deal)).collect();
        let others_deals = theirs.clone();
        let no_duplicate_of = BTreeSet::new();
        Parting { person: person.id, contact, deals, shows, strangers, others_deals, no_duplicate_of, kin, values }
    };
    let mut partings: Vec<Parting> = main.into_iter().chain(beside).map(parting).collect();
    // A mark on a parted person's contact may name a contact of this person, and their own parting may be long over.
    if !contacts.is_empty() && !breakage::is_on("marks-of-parted-stay") {
        let unmark = |stranger: &u64| {
            let who = owner(Kind::CrmContact, *stranger).copied().unwrap_or(person.id);
            Parting { no_duplicate_of: contacts.clone(), ..Parting::of(who, *stranger) }
        };
        partings.extend(strangers.iter().map(unmark));
    }
    partings
}

/// Returns the deals of the people from whom the person was parted, each with its owner's contact, if there is one.
fn others_deals(
    person: &Person,
    owners: &BTreeMap<Identifier, PersonId>,
    links: &BTreeMap<PersonId, &CrmState>,
    scope: &str,
) -> BTreeMap<u64, Option<u64>> {
    if breakage::is_on("doubles-of-parted-stay") {
        return BTreeMap::new();
    }
    let number = |kind: Kind, (row, owner): (&Identifier, &PersonId)| {
        let is_theirs = row.kind() == kind && row.scope() == scope && person.parted.contains(owner);
        is_theirs.then(|| Some((row.value().parse::<u64>().ok()?, *owner))).flatten()
    };
    let mut homes = BTreeMap::<PersonId, u64>::new();
    for (contact, owner) in owners.iter().filter_map(|one| number(Kind::CrmContact, one)) {
        let is_main = links.get(&owner).is_some_and(|link| link.contact.id == Some(contact));
        if is_main || !homes.contains_key(&owner) {
            homes.insert(owner, contact);
        }
    }
    let deals = owners.iter().filter_map(|one| number(Kind::CrmLead, one));
    deals.map(|(deal, owner)| (deal, homes.get(&owner).copied())).collect()
}

/// Takes over the invoices of the person's own orders from the state of the person who had these orders until now.
fn take_invoices(link: &mut CrmState, person: &Person, others: &[&CrmState]) {
    if breakage::is_on("invoice-stays-with-other") {
        return;
    }
    let orders = person.records.values().filter_map(|record| match &record.fact {
        Fact::Order { order: Some(order), .. } => Some(format!("{}:{}", record.source, order.id)),
        _ => None,
    });
    for key in orders.collect::<Vec<_>>() {
        let known = link.invoices.get(&key).is_some_and(|invoice| invoice.id.is_some() || invoice.pending.is_some());
        let theirs = others
            .iter()
            .filter_map(|other| other.invoices.get(&key))
            .find(|one| one.id.is_some() || one.pending.is_some());
        if let Some(invoice) = theirs.filter(|_| !known) {
            link.invoices.insert(key, InvoiceState { last_sent: None, rejected: None, ..invoice.clone() });
        }
    }
}

/// Returns true if the CRM reports the deal as deleted.
pub(crate) fn is_deleted_deal(person: &Person, deal: u64) -> bool {
    let is_it = |fact: &Fact| matches!(fact, Fact::CrmLead { lead, deleted: true, .. } if *lead == deal);
    person.records.values().any(|record| is_it(&record.fact))
}

/// Returns when the last contact of a person in this CRM was deleted.
fn last_deleted(person: &Person, of_scope: &impl Fn(&Identifier) -> bool) -> Option<Timestamp> {
    let contacts = person.records.values().filter(|record| record.identifiers.iter().any(of_scope));
    let deleted = contacts.filter_map(|record| match record.fact {
        Fact::CrmContact { deleted: true, changed_at, .. } => Some(changed_at),
        _ => None,
    });
    deleted.max()
}

/// Returns, by contact, phones and e-mails that the hub wrote and that are no longer the person's. Each is a corrected
/// typing mistake, or a claim that another person has proved since. Values that were removed before are not returned.
pub fn outdated(link: &CrmState, person: &Person) -> Vec<Parting> {
    let (held, proven) = (person.identifiers_and_claims(), person.identifiers());
    let is_written = |one: &&Identifier| matches!(one.kind(), Kind::Phone | Kind::Email);
    let former = person.former.iter().filter(|one| !held.contains(one) && !breakage::is_on("corrected-typo-stays"));
    // A value that the hub never offered there is a manager's.
    let is_offered = |one: &&Identifier| link.offered.contains(one.value()) && !proven.contains(one);
    let contested = person.contested.iter().filter(is_offered).filter(|_| !breakage::is_on("proven-elsewhere-stays"));
    let former: Vec<&Identifier> = former.chain(contested).filter(is_written).collect();
    if former.is_empty() {
        return vec![];
    }
    let of_contact = |contact: &u64| {
        let known = link.contact_values.get(contact)?;
        let stands = |one: &&&Identifier| known.contains(one.value());
        let values: BTreeSet<Identifier> = former.iter().filter(stands).map(|one| (*one).clone()).collect();
        let parting = Parting { values, ..Parting::of(person.id, *contact) };
        (!parting.values.is_empty()).then_some(parting)
    };
    // A deleted contact may be restored with all its values.
    let gone = crate::plan::deleted_contacts(person);
    let is_there = |id: &&u64| !gone.contains(*id) || breakage::is_on("gone-contact-counts-as-cleared");
    link.contact.id.iter().chain(&link.doubles).filter(is_there).filter_map(of_contact).collect()
}

impl CrmState {
    /// Returns what is remembered of the phones and e-mails of each contact.
    fn memories(&mut self) -> [&mut BTreeMap<u64, BTreeSet<String>>; 3] {
        [&mut self.contact_values, &mut self.cleared, &mut self.removed]
    }

    /// Notes, before the hub removes these values, who removes them. A value that no longer stands there was removed
    /// by a manager. `standing`: what each contact holds now, if known. Returns true if anything is new.
    pub fn note_clearing(&mut self, partings: &[Parting], standing: &BTreeMap<u64, BTreeSet<Identifier>>) -> bool {
        let mut news = false;
        for Parting { contact, values, .. } in partings {
            for one in values {
                // The hub began to remove it before.
                if self.cleared.get(contact).is_some_and(|cleared| cleared.contains(one.value())) {
                    continue;
                }
                let is_there = standing.get(contact).is_none_or(|standing| standing.contains(one));
                let by_hub = is_there || breakage::is_on("removal-before-correction-forgotten");
                let noted = if by_hub { &mut self.cleared } else { &mut self.removed };
                news |= noted.entry(*contact).or_default().insert(one.value().to_owned());
            }
        }
        news
    }

    /// Notes that these contacts are deleted. Once restored, they hold the values that were to be removed.
    pub fn note_gone(&mut self, partings: &[Parting], gone: &BTreeSet<u64>) {
        for parting in partings.iter().filter(|parting| gone.contains(&parting.contact)) {
            let Some(cleared) = self.cleared.get_mut(&parting.contact) else { continue };
            let is_theirs = |value: &String| parting.values.iter().any(|one| one.value() == value);
            let kept: Vec<String> = cleared.extract_if(.., is_theirs).collect();
            self.contact_values.entry(parting.contact).or_default().extend(kept);
        }
    }

    /// Notes that these values no longer stand in these contacts.
    pub fn note_cleared(&mut self, partings: &[Parting]) {
        for parting in partings {
            if let Some(known) = self.contact_values.get_mut(&parting.contact) {
                known.retain(|value| !parting.values.iter().any(|one| one.value() == value));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use stagedoor_model::RecordKey;

    use super::*;
    use crate::Pending;

    fn somebody(order: &str) -> Person {
        let origin = RecordKey(order.into());
        Person {
            id: PersonId::of(&origin),
            origin,
            born: Timestamp::UNIX_EPOCH,
            records: BTreeMap::new(),
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

    #[test]
    fn the_deal_of_somebody_who_has_no_contact_yet_hangs_on_it_once_it_is_made() {
        let person = somebody("order/shop:1");
        let mut link = CrmState::default();
        link.deals.insert(ShowKey("ufa".into()), DealState { id: Some(22), ..DealState::default() });
        let owners = row(Kind::CrmLead, "", 22).map(|deal| (deal, person.id)).into_iter().collect();
        assert!(untangle(&mut link, &person, &owners, (&BTreeMap::new(), false), "").is_empty());
        assert_eq!(link.unhung, BTreeSet::from([22]));
    }

    #[test]
    fn rows_that_a_call_without_an_answer_may_still_make_are_looked_for_after_a_parting() {
        let other = somebody("order/shop:2");
        let person = Person { parted: BTreeSet::from([other.id]), ..somebody("order/shop:1") };
        let pending = Some(Pending::since(Timestamp::UNIX_EPOCH));
        let (ufa, kazan) = (ShowKey("ufa".into()), ShowKey("kazan".into()));
        let contact = ContactState { id: Some(11), pending: pending.clone(), ..ContactState::default() };
        let mut link = CrmState { contact, ..CrmState::default() };
        link.deals.insert(ufa.clone(), DealState { id: Some(22), pending: pending.clone(), ..DealState::default() });
        let joined = DealState { id: Some(23), doubles: [24].into(), closed: [24].into(), ..DealState::default() };
        link.deals.insert(kazan.clone(), joined);
        let owner = |kind, id, who: &Person| row(kind, "", id).map(|row| (row, who.id));
        let owners = [
            owner(Kind::CrmContact, 11, &other),
            owner(Kind::CrmLead, 22, &other),
            owner(Kind::CrmLead, 23, &other),
            owner(Kind::CrmLead, 24, &person),
        ];
        let owners = owners.into_iter().flatten().collect();
        untangle(&mut link, &person, &owners, (&BTreeMap::new(), false), "");
        assert_eq!((link.contact.id, &link.contact.pending), (None, &pending));
        let of_ufa = link.deals.get(&ufa).expect("an unanswered call");
        assert_eq!((of_ufa.id, &of_ufa.pending), (None, &pending));
        assert_eq!(link.deals.get(&kazan).and_then(|deal| deal.id), Some(24), "it was closed as a double");
    }
}
