//! Plans what a contact should hold. The hub only adds phones and e-mails, each once. A value that a contact had and
//! no longer has was removed by a manager, and is not added again.

use std::collections::{BTreeMap, BTreeSet};

use stagedoor_model::{Fact, Identifier, Kind, Messenger, Record, breakage, clean_name};

use crate::{
    Catalog, Marketing, Person, bearer_of, chats, invoices,
    marketing::{marketing, tags},
    plan::{CompanyRef, ContactDraft, CrmState, Digest, Plan, Step},
};

/// Adds the step that creates or updates the contact to the plan. `contact`: its id, if it exists.
pub(super) fn plan_contact(plan: &mut Plan, person: &Person, link: &CrmState, contact: Option<u64>, catalog: &Catalog) {
    let had = had(person, link, contact);
    let phones: Vec<String> = person.shown_phones().iter().map(|phone| phone.as_str().to_owned()).collect();
    let emails: Vec<String> = person.shown_emails().iter().map(|email| email.as_str().to_owned()).collect();
    let new = |values: Vec<String>| values.into_iter().filter(|value| !had.contains(value)).collect::<Vec<_>>();
    let (mut phones, mut emails) = (new(phones), new(emails));
    let telegram =
        person.identifiers().iter().find(|i| i.kind() == Kind::Chat(Messenger::Telegram)).map(|i| i.value().to_owned());
    let mut news = telegram.is_some();
    let is_anothers = link.contact.last_sent.is_none() && bears_id_of_another(person, contact);
    let is_misnamed = bears_stand_in(person, contact) || bears_name_of_another(person, link, contact);
    // The mirror leaves out a name that the hub itself wrote there.
    let is_misnamed = is_misnamed || is_anothers && !mirrors(person, contact).any(|record| record.name.is_some());
    let renamed = person.name().filter(|_| is_misnamed).and_then(clean_name);
    let renamed = renamed.or_else(|| bears_stale_address(person, link, contact).then(|| display_name(person)));
    news |= renamed.is_some() || is_anothers;
    let name = if contact.is_none() { Some(display_name(person)) } else { renamed.clone() };
    let chats = chats(person, catalog.language);
    let marketing = marketing(person, &link.segments.keys().collect(), catalog);
    // Empties, once, the fields that marketing data filled before.
    let marketing = marketing.or_else(|| link.contact.marketed.then(Marketing::default));
    news |= chats.is_some() || marketing.is_some();
    let (tags, untagged) = if catalog.tags { tags(person, link, catalog) } else { (vec![], vec![]) };
    news |= !tags.is_empty() || catalog.tags && link.contact.marketed;
    let company = invoices::company_of(person).map(|key| CompanyRef { key, id: None });
    news |= company.is_some();
    let mut draft = ContactDraft {
        person: person.id,
        name,
        phones: vec![],
        emails: vec![],
        telegram,
        tags,
        untagged,
        chats,
        marketing,
        company,
        other_ids: BTreeSet::new(),
    };
    // An earlier version remembered no values. What it sent as a whole is not sent again.
    let sent = link.contact.last_sent.as_ref();
    let by_earlier = contact.is_some_and(|id| !link.contact_values.contains_key(&id))
        && sent == Some(&digest_of_earlier(person, contact, &draft, renamed.as_ref(), catalog));
    if by_earlier {
        (phones, emails) = (vec![], vec![]);
    }
    let settled = draft.settled(contact.is_none());
    let adds = !phones.is_empty() || !emails.is_empty();
    let digest = if adds { Digest::of(&(&settled, &phones, &emails)) } else { settled.clone() };
    (draft.phones, draft.emails) = (phones, emails);
    let refused = link.contact.rejected.as_ref().is_some_and(|rejected| rejected.digest == digest);
    let same = !adds && (sent == Some(&settled) || by_earlier);
    match contact {
        _ if refused => {}
        None => plan.steps.push((Step::CreateContact(draft), digest)),
        Some(id) if !same && (news || adds) => plan.steps.push((Step::UpdateContact(id, draft), digest)),
        Some(_) => {}
    }
}

/// Returns the mirror records of a contact.
fn mirrors(person: &Person, contact: Option<u64>) -> impl Iterator<Item = &Record> {
    let is_it =
        move |record: &&Record| matches!(record.fact, Fact::CrmContact { contact: id, .. } if Some(id) == contact);
    person.records.values().filter(is_it)
}

/// Returns the phones and e-mails that a contact has or had, as its mirror shows them.
fn mirrored(person: &Person, contact: Option<u64>) -> BTreeSet<String> {
    let mut values = BTreeSet::new();
    for record in mirrors(person, contact) {
        let own = record.held().filter(|one| matches!(one.kind(), Kind::Phone | Kind::Email));
        values.extend(own.map(|one| one.value().to_owned()));
        if !breakage::is_on("state-between-forgotten") {
            values.extend(record.stood.iter().map(|one| one.value().to_owned()));
        }
        if let Fact::CrmContact { phones, emails, .. } = &record.fact {
            values.extend(phones.iter().chain(emails).cloned());
        }
    }
    values
}

/// Returns phones and e-mails that a contact has, or that a manager removed. Values that the hub itself removed are
/// left out: the mirror may be older than the removal.
fn had(person: &Person, link: &CrmState, contact: Option<u64>) -> BTreeSet<String> {
    let mut values = mirrored(person, contact);
    if !breakage::is_on("removed-phone-comes-back") {
        values.extend(contact.and_then(|id| link.contact_values.get(&id)).into_iter().flatten().cloned());
        values.extend(contact.and_then(|id| link.left_out.get(&id)).into_iter().flatten().cloned());
    }
    let of_contact = |values: &'_ BTreeMap<u64, BTreeSet<String>>| contact.and_then(|id| values.get(&id).cloned());
    if let Some(cleared) = of_contact(&link.cleared).filter(|_| !breakage::is_on("own-removal-is-a-managers")) {
        values.retain(|value| !cleared.contains(value));
    }
    values.extend(of_contact(&link.removed).into_iter().flatten());
    values
}

impl CrmState {
    /// Remembers the phones and e-mails that contacts in the CRM hold now. Returns true if any of them is new.
    pub fn remember_values(&mut self, person: &Person) -> bool {
        let mut news = false;
        // For a contact that the hub never wrote to, the mirror is enough.
        for id in self.contact.id.iter().chain(&self.doubles).copied().collect::<Vec<_>>() {
            let gone = [&self.cleared, &self.removed].into_iter().filter_map(|values| values.get(&id)).flatten();
            let gone: BTreeSet<String> = gone.cloned().collect();
            for value in mirrored(person, Some(id)).difference(&gone).cloned() {
                news |= self.contact_values.entry(id).or_default().insert(value);
            }
        }
        news
    }

    /// Remembers the claims that the next call writes into a contact. Returns true if any of them is new. Call this
    /// before the write: its answer may be lost, and the CRM reports the value all the same.
    pub fn offer_claims(&mut self, person: &Person, draft: &ContactDraft) -> bool {
        let proven: BTreeSet<&str> = person.identifiers().into_iter().map(Identifier::value).collect();
        let values = draft.phones.iter().chain(&draft.emails).filter(|value| !proven.contains(value.as_str()));
        let before = self.offered.len();
        self.offered.extend(values.cloned());
        self.offered.len() > before
    }

    /// Returns true if the hub itself may have written this claim into a contact of the person.
    pub fn may_have_written(&self, claim: &Identifier) -> bool {
        let value = claim.value();
        let all = [&self.contact_values, &self.left_out, &self.cleared, &self.removed];
        let sent = self.contact.pending.iter().any(|pending| pending.values.contains(value));
        sent || self.offered.contains(value)
            || all.into_iter().flat_map(BTreeMap::values).any(|values| values.contains(value))
            || self.second.as_ref().is_some_and(|second| second.may_have_written(claim))
    }

    /// Remembers the phones and e-mails that the hub wrote into a contact. `room`: how many phones and e-mails the
    /// contact takes. A value without room does not count as removed by a manager.
    pub fn wrote_values(&mut self, contact: u64, draft: &ContactDraft, room: Option<(usize, usize)>) {
        let values = self.contact_values.entry(contact).or_default();
        let (phones, emails) =
            room.filter(|_| !breakage::is_on("no-room-is-removed")).unwrap_or((usize::MAX, usize::MAX));
        let is_email = |value: &&String| value.contains('@');
        let emails = emails.saturating_sub(values.iter().filter(is_email).count());
        let phones = phones.saturating_sub(values.iter().filter(|value| !is_email(value)).count());
        values.extend(draft.phones.iter().take(phones).chain(draft.emails.iter().take(emails)).cloned());
        let left: Vec<String> =
            draft.phones.iter().skip(phones).chain(draft.emails.iter().skip(emails)).cloned().collect();
        // The hub wrote these values again: they are no longer cleared.
        if let Some(cleared) = self.cleared.get_mut(&contact) {
            cleared.retain(|value| !draft.phones.contains(value) && !draft.emails.contains(value));
        }
        if !left.is_empty() {
            self.left_out.entry(contact).or_default().extend(left);
        }
    }
}

/// Returns the name for a new contact: the person's name, e-mail, phone or order number, or `?`.
fn display_name(person: &Person) -> String {
    let masked = || person.shown_emails().first().map(|email| email.as_str().to_owned());
    let phone = || person.shown_phones().first().map(|phone| phone.as_str().to_owned());
    // Names a person of whom only a payment is known.
    let order = || {
        let order = person.identifiers().iter().find(|one| one.kind() == Kind::Order)?.value().to_owned();
        Some(format!("? № {order}"))
    };
    let known = person.name().and_then(clean_name).or_else(masked).or_else(phone).or_else(order);
    known.unwrap_or_else(|| "?".to_owned())
}

/// Returns true if the contact's mirror shows a stand-in such as an address where the name should be.
fn bears_stand_in(person: &Person, contact: Option<u64>) -> bool {
    let mirrors = person.records.values().filter(
        |record| matches!(record.fact, Fact::CrmContact { contact: id, deleted: false, .. } if Some(id) == contact),
    );
    mirrors.filter_map(|record| record.name.as_ref()).any(|(_, name)| person.is_stand_in(name))
}

/// Returns true if the contact still bears a name that the hub wrote and that belongs to another person. The two
/// people counted as one then.
fn bears_name_of_another(person: &Person, link: &CrmState, contact: Option<u64>) -> bool {
    let Some(named) = link.contact.named.as_deref().filter(|_| contact.is_some() && contact == link.contact.id) else {
        return false;
    };
    let names = || person.records.values().filter_map(|record| Some((record, record.name.as_ref()?.1.as_str())));
    // Any name in the mirror is a manager's: the mirror leaves out what the hub wrote.
    let is_own = names().any(|(record, name)| {
        let is_theirs = clean_name(name).as_deref() == Some(named) || name == named;
        is_theirs || matches!(record.fact, Fact::CrmContact { contact: id, .. } if Some(id) == contact)
    });
    !is_own && person.told_name().is_some() && !breakage::is_on("name-of-another-stays")
}

/// Returns true if the contact's name is an address that is another person's now, or a typing mistake that was
/// corrected.
fn bears_stale_address(person: &Person, link: &CrmState, contact: Option<u64>) -> bool {
    let shown: BTreeSet<String> = shown(person).collect();
    let is_stale = |name: &str| {
        let mut gone = person.former.iter().chain(&person.contested);
        gone.any(|one| one.value() == name) && !shown.contains(name) && !breakage::is_on("former-address-is-a-name")
    };
    let mut told = mirrors(person, contact).filter_map(|record| record.name.as_ref()).peekable();
    let ours = link.contact.named.as_deref().filter(|_| contact.is_some() && contact == link.contact.id);
    if told.peek().is_none() { ours.is_some_and(is_stale) } else { told.any(|(_, name)| is_stale(name)) }
}

/// Returns the phones and e-mails that a manager may see.
fn shown(person: &Person) -> impl Iterator<Item = String> {
    let phones = person.shown_phones().into_iter().map(|phone| phone.as_str().to_owned());
    phones.chain(person.shown_emails().into_iter().map(|email| email.as_str().to_owned()))
}

/// Returns true if the hub made the contact for another person, for example before two people were parted.
fn bears_id_of_another(person: &Person, contact: Option<u64>) -> bool {
    let bearers = mirrors(person, contact).filter_map(bearer_of);
    let mut others = bearers.filter(|id| *id != person.id && !person.merged_ids.contains(id));
    others.next().is_some() && !breakage::is_on("anothers-id-stays")
}

/// Returns the digest that earlier versions kept of a contact. They did not remember each phone and e-mail.
fn digest_of_earlier(
    person: &Person,
    contact: Option<u64>,
    draft: &ContactDraft,
    renamed: Option<&String>,
    catalog: &Catalog,
) -> Digest {
    let known: BTreeSet<_> = mirrors(person, contact).flat_map(Record::held).collect();
    let fresh = |kind: Kind, value: &str| !known.iter().any(|one| one.kind() == kind && one.value() == value);
    let held = mirrors(person, contact).find_map(|record| match &record.fact {
        Fact::CrmContact { phones, emails, .. } => Some((phones.clone(), emails.clone())),
        _ => None,
    });
    let (mut phones, mut emails) = held.unwrap_or_default();
    let (own, owned) = (person.phones(), person.emails());
    phones.extend(own.iter().map(|phone| phone.as_str()).filter(|value| fresh(Kind::Phone, value)).map(str::to_owned));
    emails.extend(owned.iter().map(|mail| mail.as_str()).filter(|value| fresh(Kind::Email, value)).map(str::to_owned));
    let ContactDraft { telegram, chats, marketing, tags, company, .. } = draft;
    match (renamed, chats) {
        _ if company.is_some() => Digest::of(&(&phones, &emails, telegram, renamed, chats, marketing, tags, company)),
        _ if catalog.tags => Digest::of(&(&phones, &emails, telegram, renamed, chats, marketing, tags)),
        _ if marketing.is_some() => Digest::of(&(&phones, &emails, telegram, renamed, chats, marketing)),
        (None, None) => Digest::of(&(&phones, &emails, telegram)),
        (Some(name), None) => Digest::of(&(&phones, &emails, telegram, name)),
        (name, chats) => Digest::of(&(&phones, &emails, telegram, name, chats)),
    }
}
