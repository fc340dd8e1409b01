//! What people type proves nothing. A claimed phone or e-mail is kept and shown to managers, and joins no existing
//! person. The rules depend on the set of facts, never on the order in which they arrive:
//!
//! 1. A claim in a chat joins nobody.
//! 2. Forms that hold nothing but claims join each other by what they claim. One visitor who asks twice is one lead.
//! 3. Such forms join no person of whom anything is proved. If a claimed value has a proven owner, the two are noted in
//!    each other's `blocked_with`, and a manager is asked.
//! 4. A manager's "the same person", or a click on the link of a confirming letter, turns the claims made until then
//!    into identifiers. A later form with the same values begins anew.

use std::collections::{BTreeMap, BTreeSet};

use stagedoor_model::{Fact, Identifier, Kind, Record, Timestamp, Verdict, breakage};
use stagedoor_texts::tasks;

use crate::{
    BlockedJoin, GuardReason, Guards, Person,
    cluster::UnionFind,
    decisions,
    money::Trouble,
    proofs::{is_claimed, is_confirmation},
};

/// Joins forms by what they claim, until one of their claims is confirmed.
pub(crate) fn join_forms(
    clusters: &mut UnionFind<'_>,
    records: &[&Record],
    shared: &BTreeSet<Identifier>,
    guards: &Guards,
) {
    let forms: Vec<&&Record> = records.iter().filter(|record| is_claimed(record)).collect();
    if forms.is_empty() {
        return;
    }
    let mut confirmed = confirmations(records);
    confirmed.sort();
    let mut confirmed = confirmed.into_iter().peekable();
    let mut leads = UnionFind::new(guards, decisions::apart(records));
    for form in &forms {
        while let Some((_, named)) = confirmed.next_if(|(at, _)| *at < form.at) {
            seal(&mut leads, clusters, &named);
        }
        let is_open = clusters.of_record(&form.key).and_then(|root| clusters.clusters.get(&root));
        if is_open.is_some_and(|grown| !grown.is_proven) {
            leads.add(form, form.claims.iter().filter(|one| guards.joins(form, one, shared)));
        }
    }
    clusters.blocked_joins.append(&mut leads.blocked_joins);
    for lead in leads.clusters.into_values() {
        let mut keys = lead.cluster.records.iter();
        let Some(first) = keys.next() else { continue };
        for key in keys {
            if let (Some(one), Some(other)) = (clusters.of_record(first), clusters.of_record(key)) {
                merge(clusters, one, other);
            }
        }
        // Facts about an address that nobody proves, such as a bounce, are joined to the lead that claims the address.
        for address in lead.cluster.identifiers {
            let told = clusters.of_identifier(&address);
            let told = told.filter(|root| clusters.clusters.get(root).is_some_and(|grown| !grown.is_somebody));
            if let (Some(one), Some(other)) = (clusters.of_record(first), told) {
                merge(clusters, one, other);
            }
        }
    }
}

fn merge(clusters: &mut UnionFind<'_>, one: usize, other: usize) {
    if one != other && !clusters.are_apart(one, other, None) {
        clusters.merge(one, other);
    }
}

/// Returns the times when claims were confirmed, each with all identifiers that the confirmation names.
fn confirmations(records: &[&Record]) -> Vec<(Timestamp, BTreeSet<Identifier>)> {
    if breakage::is_on("later-claims-join") {
        return vec![];
    }
    let addresses = addresses_of_links(records);
    let decided = decisions::decisions(records).into_iter().filter_map(|(at, _, verdict)| match verdict {
        Verdict::SamePerson(one, other) => Some((at, BTreeSet::from([one.clone(), other.clone()]))),
        _ => None,
    });
    let confirmed = records.iter().filter_map(|record| Some((record.at, confirmed_by(record, &addresses)?)));
    decided.chain(confirmed).collect()
}

/// Returns the e-mails that a record confirms.
fn confirmed_by(
    record: &Record,
    addresses: &BTreeMap<&Identifier, &BTreeSet<Identifier>>,
) -> Option<BTreeSet<Identifier>> {
    if !is_confirmation(record) {
        return None;
    }
    let through = record.identifiers.iter().filter_map(|one| addresses.get(one)).copied().flatten();
    let emails = record.identifiers.iter().chain(through).filter(|one| one.kind() == Kind::Email);
    Some(emails.cloned().collect())
}

/// Maps each link to the addresses that it was sent to.
fn addresses_of_links<'r>(records: &[&'r Record]) -> BTreeMap<&'r Identifier, &'r BTreeSet<Identifier>> {
    let links = records.iter().filter(|record| matches!(record.fact, Fact::Link(_)));
    let of = |record: &&'r Record| record.identifiers.iter().map(|one| (one, &record.identifiers)).collect::<Vec<_>>();
    links.flat_map(of).filter(|(one, _)| one.kind() == Kind::Link).collect()
}

/// Seals the leads that these identifiers name, so that they take no more forms.
fn seal(leads: &mut UnionFind<'_>, clusters: &UnionFind<'_>, named: &BTreeSet<Identifier>) {
    let mut roots: BTreeSet<usize> = named.iter().filter_map(|one| leads.of_identifier(one)).collect();
    for one in named {
        let root = clusters.of_identifier(one).and_then(|root| clusters.clusters.get(&root));
        let records = root.into_iter().flat_map(|grown| &grown.cluster.records);
        roots.extend(records.filter_map(|key| leads.of_record(key)));
    }
    for root in roots {
        leads.seal(root);
    }
}

/// Joins forms to the people who confirmed their e-mail through the link of a letter.
pub(crate) fn join_confirmed(clusters: &mut UnionFind<'_>, records: &[&Record]) {
    let addresses = addresses_of_links(records);
    let words = records.iter().filter_map(|record| Some((record, confirmed_by(record, &addresses)?)));
    for (word, emails) in words.collect::<Vec<_>>() {
        for form in records.iter().filter(|form| is_claimed(form) && form.at <= word.at) {
            if form.claims.is_disjoint(&emails) || breakage::is_on("confirmed-stays-claimed") {
                continue;
            }
            if let (Some(one), Some(other)) = (clusters.of_record(&word.key), clusters.of_record(&form.key)) {
                merge(clusters, one, other);
            }
        }
    }
}

/// Turns a claim that a manager confirmed into an identifier, if no other person proves it.
pub(crate) fn confirm(clusters: &mut UnionFind<'_>, one: &Identifier, other: &Identifier) {
    for (claim, known) in [(one, other), (other, one)] {
        if clusters.of_identifier(claim).is_some() {
            continue;
        }
        let claims = |root: &usize| clusters.clusters.get(root).is_some_and(|grown| grown.claims.contains(claim));
        let by_name = clusters.of_identifier(known).filter(claims);
        // If both values are claims, the lead that claims both holds them; else the only lead that claims this one.
        let claiming = || clusters.clusters.iter().filter(|(_, grown)| grown.claims.contains(claim));
        let both = || claiming().find(|(_, grown)| grown.claims.contains(known)).map(|(root, _)| *root);
        let only = || claiming().next().filter(|_| claiming().count() == 1).map(|(root, _)| *root);
        let root = by_name.or_else(both).or_else(only);
        if let Some(root) = root {
            clusters.hold(root, claim);
        }
    }
}

/// Returns the claims of values that another person proves, as blocked joins.
pub(crate) fn contested(
    clusters: &UnionFind<'_>,
    records: &[&Record],
    shared: &BTreeSet<Identifier>,
    guards: &Guards,
) -> Vec<BlockedJoin> {
    let of_record = |record: &&Record| {
        let own = clusters.of_record(&record.key);
        let is_another = |one: &&Identifier| {
            let owner = clusters.of_identifier(one).filter(|owner| Some(*owner) != own);
            owner.and_then(|owner| clusters.clusters.get(&owner)).is_some_and(|owner| owner.is_somebody)
        };
        let claims = record.claims.iter().filter(|one| guards.joins(record, one, shared)).filter(is_another);
        let blocked_join = |one: &Identifier| BlockedJoin {
            record: record.key.clone(),
            identifier: one.clone(),
            why: GuardReason::Claimed,
        };
        claims.map(blocked_join).collect::<Vec<_>>()
    };
    records.iter().flat_map(of_record).collect()
}

/// Returns what a manager has to check: claims of values that another person proves, unreadable phones and e-mails, and
/// companies from public forms.
pub(crate) fn troubles(person: &Person) -> impl Iterator<Item = Trouble> {
    let own = person.identifiers().into_iter().find(|one| one.kind().is_chat() || one.kind() == Kind::CrmContact);
    let own = own.map_or_else(|| "<theirs>".to_owned(), ToString::to_string);
    let unread = person.records.values().flat_map(|record| &record.identifiers).filter(|one| one.is_unread());
    let unread: BTreeSet<&Identifier> = unread.collect();
    let unread = unread.into_iter().map(|one| {
        let text = tasks::unread(one.scope(), one.value());
        Trouble { key: format!("unread/{one}"), text }
    });
    let contested = person.contested.iter().map(move |claim| {
        let text = tasks::contested(claim.value(), claim.kind().name(), &own, claim.to_string());
        Trouble { key: format!("claim/{claim}"), text }
    });
    contested.chain(unread).chain(companies(person))
}

/// Returns companies that were typed into public forms. A manager reads them, and no company is made or joined.
fn companies(person: &Person) -> impl Iterator<Item = Trouble> {
    let typed = person.records.values().filter_map(|record| match &record.fact {
        Fact::Submission(submission) if submission.is_anonymous => {
            let parts = ["company", "inn", "kpp"].into_iter().filter_map(|name| submission.labels.get(name));
            Some(parts.cloned().collect::<Vec<_>>().join(", ")).filter(|text| !text.is_empty())
        }
        _ => None,
    });
    typed
        .collect::<BTreeSet<_>>()
        .into_iter()
        .map(|company| Trouble { key: format!("company/{company}"), text: tasks::company(&company) })
}
