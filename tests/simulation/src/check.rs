//! The invariants, checked whenever the world is quiet.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use stagedoor_model::{Identifier, Kind};
use stagedoor_ports::{Clock, Queue};

use crate::{
    account::{self, Account, Contact, Deal},
    hub::Shared,
    invoices,
    orders::roubles,
    sand::Row,
    story::Story,
    strangers,
    world::{PersonTruth, SHOWS},
    written,
};

/// Every invariant, in the order in which they are checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    /// No event, person or refused row waits for ever.
    NobodyWaits,
    /// After a join, no row of the merged person waits for a manager.
    JoinedAskNothing,
    /// The journal holds every acknowledged delivery.
    NothingIsLost,
    /// No account sees more requests in any second than it allows.
    RateIsKept,
    /// A human who should have a contact has exactly one.
    OneContact,
    /// A late effect or a crash leaves no unmarked second row of one person.
    MadeOnce,
    /// No contact holds identifiers of two humans.
    NoStrangers,
    /// A person has one live deal for a show.
    OneDeal,
    /// The price of a deal is the money paid less refunds.
    Money,
    /// The stage of a deal follows from its facts, or from a manager's move.
    DealStage,
    /// A closed deal reopens with a later order or payment. Only for CRMs without webhooks.
    OpenedAgain,
    /// An order that was paid, or that a company placed, has one live invoice with the right sums and parents.
    Invoices,
    /// A deal shows the last known state of its show.
    ShowState,
    /// What a manager added to a contact stays.
    ManagersValues,
    /// A manager's move stays until a new event.
    ManagersMoves,
    /// No advertising without a consent, or at night.
    Advertising,
    /// Nobody gets a message twice.
    WrittenOnce,
    /// Each holder of a live ticket was informed about the state of its show.
    ServiceNews,
}

/// How late the hub may learn of money.
const TOLD_LATE: SignedDuration = SignedDuration::from_mins(30);

/// A broken invariant, in a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    pub invariant: Invariant,
    pub what: String,
}

pub fn broken(invariant: Invariant, what: String) -> Violation {
    Violation { invariant, what }
}

/// All invariants that are broken now.
pub async fn check(shared: &Shared, story: &Story) -> Vec<Violation> {
    let mut found = Vec::new();
    waiting(shared, &mut found).await;
    lost(shared, story, &mut found).await;
    for crm in shared.crms().filter(|crm| crm.over_the_rate() > 0) {
        let what = format!("{} requests came over the rate of {}", crm.over_the_rate(), crm.name());
        found.push(broken(Invariant::RateIsKept, what));
    }
    let account = shared.crm.account();
    for person in story.world.people() {
        of_person(&account, &person, story, &mut found);
    }
    owners(&account, story, &mut found);
    strangers::check(&account, story, &mut found);
    written::check(shared, story, &mut found).await;
    let unheard = unheard(shared, story).await;
    made_once(&account, &unheard, &mut found);
    for (contact, phone) in &story.added_phones {
        let there = account.contacts.iter().find(|one| one.id == *contact);
        if there.is_some_and(|one| !one.phones.contains(phone)) {
            let what = format!("a manager added {phone} to contact {contact}, and it is gone");
            found.push(broken(Invariant::ManagersValues, what));
        }
    }
    for (contact, phone) in &story.removed_phones {
        let there = account.contacts.iter().find(|one| one.id == *contact);
        if there.is_some_and(|one| one.phones.contains(phone)) {
            let what = format!("a manager took {phone} from contact {contact}, and it is there again");
            found.push(broken(Invariant::ManagersValues, what));
        }
    }
    if let Some(second) = &shared.second_crm {
        let mut of_second = in_second(&second.account(), &story.in_the_second_crm());
        of_second.iter_mut().for_each(|one| one.what.insert_str(0, "second CRM: "));
        found.extend(of_second);
    }
    found
}

/// What is broken in the second CRM. Nobody but the hub works there.
fn in_second(account: &Account, story: &Story) -> Vec<Violation> {
    let mut found = Vec::new();
    for person in story.world.people() {
        of_person(account, &person, story, &mut found);
    }
    owners(account, story, &mut found);
    strangers::check(account, story, &mut found);
    made_once(account, &[], &mut found);
    found
}

async fn waiting(shared: &Shared, found: &mut Vec<Violation>) {
    let totals = shared.store.totals().await.unwrap_or_default();
    for (person, link) in shared.store.rejected(10).await.unwrap_or_default() {
        let reasons: Vec<&str> = link.rejected().iter().map(|one| one.reason.as_str()).collect();
        let living = shared.store.load(&[person].into()).await.unwrap_or_default();
        let joined = living.first().is_some_and(|one| one.value.id != person);
        let invariant = if joined { Invariant::JoinedAskNothing } else { Invariant::NobodyWaits };
        found.push(broken(invariant, format!("a manager has to look after {person}: {reasons:?}")));
    }
    for (count, what) in
        [(totals.waiting, "people wait for the CRM"), (totals.unrecognized, "deliveries were not recognised")]
    {
        if count > 0 {
            found.push(broken(Invariant::NobodyWaits, format!("{count} {what}")));
        }
    }
    for (name, queue) in [("events", &shared.events), ("chats", &shared.chats), ("outbox", &shared.outbox)] {
        let (waiting, dead) = (queue.waiting(shared.clock.now()), queue.dead_letters().await.unwrap_or_default());
        if waiting > 0 || dead > 0 {
            let what = format!("{waiting} wait in the queue {name}, {dead} are dead letters");
            found.push(broken(Invariant::NobodyWaits, what));
        }
    }
    for (person, link) in shared.store.rejected(10).await.unwrap_or_default() {
        for rejected in link.rejected() {
            found.push(broken(Invariant::NobodyWaits, format!("{person}: {}", rejected.reason)));
        }
    }
}

async fn lost(shared: &Shared, story: &Story, found: &mut Vec<Violation>) {
    let journal = shared.store.journal(10_000).await.unwrap_or_default();
    let text: String = journal.iter().map(|row| serde_json::to_string(&row.event).unwrap_or_default()).collect();
    let acknowledged = story.acknowledged();
    for word in acknowledged.iter().filter(|word| !text.contains(*word)) {
        found.push(broken(Invariant::NothingIsLost, format!("{word} was acknowledged and is not in the journal")));
    }
}

fn of_person(account: &Account, person: &PersonTruth, story: &Story, found: &mut Vec<Violation>) {
    let Some(human) = story.world.humans.get(person.human) else { return };
    if story.deleted_humans.iter().any(|human| story.world.are_one(*human, person.human)) {
        return;
    }
    // A contact of the hub stays the person's after a manager removed the value that it was made for. A contact with
    // another human's values belongs to that human: the values stood there while the two were taken for one.
    let strangers = || story.world.humans.iter().filter(|one| one.family != human.family);
    let is_anothers = |contact: &Contact| {
        let mut values = contact.phones.iter().chain(&contact.emails);
        values.any(|value| strangers().any(|one| one.owns(value)))
    };
    let is_own = |contact: &Contact| {
        let of_contact =
            |(id, _): &&(u64, String)| *id == contact.id && !contact.own.is_empty() && !is_anothers(contact);
        let mut taken = story.removed_phones.iter().filter(of_contact);
        !strangers::is_strangers(contact) && contact.holds_any(&person.identifiers)
            || taken.any(|(_, phone)| person.identifiers.contains(phone))
    };
    let own: Vec<&Contact> = account.contacts.iter().filter(|one| !one.duplicate && is_own(one)).collect();
    if own.len() != 1 {
        let ids: Vec<u64> = own.iter().map(|one| one.id).collect();
        let what = format!("{} ({:?}) has {} contacts: {ids:?}", human.name, person.identifiers, own.len());
        found.push(broken(Invariant::OneContact, what));
        return;
    }
    let ids: BTreeSet<u64> = account.contacts.iter().filter(|one| is_own(one)).map(|one| one.id).collect();
    if let Some(expected) = person.together {
        let counts = |deal: &&Deal| !deal.duplicate && person.deals.contains_key(deal.show.as_str());
        let own = account.deals.iter().filter(counts).filter(|deal| deal.contact.is_some_and(|id| ids.contains(&id)));
        let prices: Vec<i64> = own.map(|deal| deal.price).collect();
        let lost = if account.in_roubles { 100 * prices.len().try_into().unwrap_or(0) } else { 1 };
        let off = expected - prices.iter().sum::<i64>();
        // A deal that a manager deleted has no price.
        if prices.len() == person.deals.len() && !(0..lost).contains(&off) {
            let prices: Vec<String> = prices.into_iter().map(roubles).collect();
            let what = format!("{}: the deals hold {prices:?}, expected {} together", human.name, roubles(expected));
            found.push(broken(Invariant::Money, what));
        }
    }
    invoices::check(account, person, &ids, story, found);
    for (show, truth) in &person.deals {
        let about = |what: String| format!("{} and {show}: {what}", human.name);
        let deals: Vec<_> = account
            .deals
            .iter()
            .filter(|deal| deal.show == *show && !deal.duplicate && deal.contact.is_some_and(|id| ids.contains(&id)))
            .collect();
        let [deal] = deals.as_slice() else {
            if !story.deleted_deals.iter().any(|(human, of)| of == show && story.world.are_one(*human, person.human)) {
                let all: Vec<u64> = deals.iter().map(|deal| deal.id).collect();
                found.push(broken(Invariant::OneDeal, about(format!("{} live deals: {all:?}", all.len()))));
            }
            continue;
        };
        if let Some(price) = truth.price.filter(|price| account.told(*price) != deal.price) {
            let (is, expected) = (roubles(deal.price), roubles(price));
            let what = about(format!("deal {} has the price {is}, expected {expected}", deal.id));
            found.push(broken(Invariant::Money, what));
        }
        shows(deal, show, story, &about, found);
        let moved = story.moves.get(&deal.id);
        match moved {
            // Money that the hub learns of after the move counts, even if it moved before.
            Some((at, _)) if *at < truth.touched_at + TOLD_LATE && truth.stages.contains(deal.stage.as_str()) => {}
            Some((at, stage)) if *at > truth.touched_at && deal.stage != *stage => {
                let what = about(format!("a manager moved deal {} to {stage:?}, now {:?}", deal.id, deal.stage));
                found.push(broken(Invariant::ManagersMoves, what));
            }
            Some(_) => {}
            None if story.robots && deal.stage == "Переговоры" => {}
            None if !truth.stages.is_empty() && !truth.stages.contains(deal.stage.as_str()) => {
                let what = about(format!("deal {} stands at {:?}, expected {:?}", deal.id, deal.stage, truth.stages));
                let opened = !account.tells && deal.stage == "Закрыто и не реализовано";
                found.push(broken(if opened { Invariant::OpenedAgain } else { Invariant::DealStage }, what));
            }
            None => {}
        }
    }
}

/// Rows from the recycle bin that the hub does not know. They were deleted before the hub knew their numbers and
/// restored in a CRM without webhooks. Such rows count as older than the hub.
async fn unheard(shared: &Shared, story: &Story) -> Vec<(Row, u64)> {
    let mut unheard = Vec::new();
    for (row, id) in story.restored.iter().filter(|_| !shared.crm.account().tells) {
        let kind = if *row == Row::Contact { Kind::CrmContact } else { Kind::CrmLead };
        let Some(name) = Identifier::opaque(kind, "", &id.to_string()) else { continue };
        let known = shared.store.resolve(&[name].into()).await.unwrap_or_default();
        unheard.extend(known.owners.is_empty().then_some((*row, *id)));
    }
    unheard
}

/// Of rows with one id of the hub, one may be unmarked. The CRM has no key that stops a repeated call from making a
/// second row. Such a row is marked for a manager, as rows of joined people are.
fn made_once(account: &Account, unheard: &[(Row, u64)], found: &mut Vec<Violation>) {
    let mut known = BTreeSet::new();
    let is_heard = |row: Row, id: u64| !unheard.contains(&(row, id));
    let contacts = account.contacts.iter().filter(|one| !one.own.is_empty() && !one.duplicate);
    for contact in contacts.filter(|one| is_heard(Row::Contact, one.id)) {
        if !known.insert(&contact.own) {
            let what = format!("contact {} is a second one of {}, and not marked", contact.id, contact.own);
            found.push(broken(Invariant::MadeOnce, what));
        }
    }
    let mut known = BTreeSet::new();
    let deals = account.deals.iter().filter(|one| !one.own.is_empty() && !one.duplicate);
    for deal in deals.filter(|one| is_heard(Row::Deal, one.id)) {
        if !known.insert((&deal.own, &deal.show)) {
            let what = format!("deal {} is a second one of {}, and not closed", deal.id, deal.own);
            found.push(broken(Invariant::MadeOnce, what));
        }
    }
}

fn shows(
    deal: &account::Deal,
    show: &str,
    story: &Story,
    about: &impl Fn(String) -> String,
    found: &mut Vec<Violation>,
) {
    let all = SHOWS.iter().zip(story.world.shows);
    let Some((_, truth)) = all.into_iter().find(|(fact, _)| fact.key == show) else { return };
    if deal.cancelled != truth.cancelled {
        let what = about(format!("deal {} says cancelled: {}, expected {}", deal.id, deal.cancelled, truth.cancelled));
        found.push(broken(Invariant::ShowState, what));
    }
    let expected = truth.starts_at.map(|at| at.as_second());
    if expected.is_some() && deal.starts_at != expected {
        let what = about(format!("deal {} begins at {:?}, expected {expected:?}", deal.id, deal.starts_at));
        found.push(broken(Invariant::ShowState, what));
    }
}

fn owners(account: &Account, story: &Story, found: &mut Vec<Violation>) {
    for contact in account.contacts.iter().filter(|one| !one.duplicate && !strangers::is_strangers(one)) {
        let values = || contact.phones.iter().chain(&contact.emails);
        let owners: BTreeSet<usize> = story
            .world
            .humans
            .iter()
            .filter(|human| values().any(|value| human.owns(value)))
            .map(|human| human.family)
            .collect();
        if owners.len() > 1 {
            let of_owners = story.world.humans.iter().filter(|human| owners.contains(&human.family));
            let names: Vec<&str> = of_owners.map(|human| human.name.as_str()).collect();
            let what = format!("contact {} holds values of {names:?}", contact.id);
            found.push(broken(Invariant::NoStrangers, what));
        }
    }
}
