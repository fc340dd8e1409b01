//! The invariants about news of shows for ticket holders, and that no message comes twice.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, tz::TimeZone};
use stagedoor_model::Timestamp;

use crate::{
    account::Account,
    check::{Invariant, Violation},
    story::Story,
    way_out::Call,
    world::{OrderFact, PersonTruth, SHOWS, ShowFact, ShowTruth},
    written::{SERVICE, show_of},
};

/// All broken invariants in these calls. `unanswered` are decisions whose arrival the hub cannot know.
pub fn check(
    calls: &[Call],
    unanswered: &BTreeSet<String>,
    account: &Account,
    story: &Story,
    found: &mut Vec<Violation>,
) {
    let people = story.world.people().into_iter().map(|person| with_added_phones(person, account, story));
    for person in people {
        for (number, show) in SHOWS.iter().enumerate() {
            if let Some(what) = untold(calls, story, &person, number, show) {
                found.push(Violation { invariant: Invariant::ServiceNews, what });
            }
        }
    }
    let mut told = BTreeMap::<(&str, &str, &str), usize>::new();
    for call in calls.iter().filter(|call| call.arrived) {
        let (Some(mailing), Some(show)) = (call.mailing.as_deref(), show_of(&call.text)) else { continue };
        let is_service = SERVICE.contains(&mailing);
        let subject = if is_service { call.text.as_str() } else { show.key };
        let count = told.entry((&call.to, mailing, subject)).or_default();
        *count += 1;
        let states = story.world.show_history.iter().filter(|(number, truth)| {
            SHOWS.get(*number).is_some_and(|one| one.key == show.key && says(&call.text, one, truth))
        });
        // A person who typed this address as their own got messages there, too.
        let others = story.world.mistyped.iter().filter(|one| **one == call.to).count();
        // A message about a show may come twice if its answer was lost and there is no other route.
        let same = |one: &&Call| one.to == call.to && one.mailing == call.mailing && one.text == call.text;
        let lost = calls.iter().filter(same).filter(|one| one.arrived && unanswered.contains(&one.decision)).count();
        if *count > others + if is_service { states.count() + lost } else { 1 } {
            let what = format!("{} got {mailing:?} of {} {count} times, the last at {}", call.to, show.key, call.at);
            found.push(Violation { invariant: Invariant::WrittenOnce, what });
        }
    }
}

/// The person, with the phones that managers added to their contacts. They are reached there, too.
fn with_added_phones(mut person: PersonTruth, account: &Account, story: &Story) -> PersonTruth {
    let is_own = |id: u64| account.contacts.iter().any(|one| one.id == id && one.holds_any(&person.identifiers));
    let added = story.added_phones.iter().filter(|(contact, _)| is_own(*contact)).map(|(_, phone)| phone.clone());
    let added: BTreeSet<String> = added.collect();
    person.identifiers.extend(added);
    person
}

/// News about a show that a holder of a live ticket should have got and did not.
fn untold(calls: &[Call], story: &Story, person: &PersonTruth, number: usize, show: &ShowFact) -> Option<String> {
    let own = |call: &&Call| person.identifiers.contains(&call.to);
    // A person whose address refuses messages cannot be informed.
    if calls.iter().filter(own).any(|call| call.rejected) {
        return None;
    }
    let of_show = |order: &&OrderFact| order.tickets.iter().any(|ticket| ticket.show == number);
    let orders = story.world.orders_of(person.human, &person.identifiers);
    let orders: Vec<&OrderFact> = orders.into_iter().filter(of_show).collect();
    if !orders.iter().any(|order| is_live(order, number)) {
        return None;
    }
    let truth = story.world.shows.get(number)?;
    let service = |call: &&Call| call.mailing.as_deref().is_some_and(|mailing| SERVICE.contains(&mailing));
    let about = |call: &&Call| show_of(&call.text).is_some_and(|one| one.key == show.key);
    let last = calls.iter().filter(own).filter(service).filter(about).max_by_key(|call| call.at);
    let known = match last {
        Some(last) => says(&last.text, show, truth),
        None => orders.iter().any(|order| {
            let second = SignedDuration::from_secs(1);
            let states = [order.placed_at, order.placed_at - second, order.placed_at + second];
            // A person who bought while the show was off did not know that it was off.
            let stood = |at: &Timestamp| ShowTruth { cancelled: false, ..story.world.stood_at(number, *at) };
            states.iter().any(|at| says(&text_of(show, truth), show, &stood(at)))
        }),
    };
    let told = last.map_or("nothing".to_owned(), |call| format!("{:?} at {}", call.text, call.at));
    let who: BTreeSet<&String> = person.identifiers.iter().collect();
    (!known).then(|| format!("{who:?} hold a ticket, were told {told}; now it is {:?}", text_of(show, truth)))
}

/// True if the order certainly has a live ticket for the show: nothing was refunded beside single tickets.
fn is_live(order: &OrderFact, show: usize) -> bool {
    order.paid_at.is_some()
        && !order.cancelled
        && order.given_back.is_empty()
        && order.tickets.iter().any(|ticket| ticket.show == show && ticket.refunded_at.is_none())
}

/// True if a service message states how a show stands.
fn says(text: &str, show: &ShowFact, truth: &ShowTruth) -> bool {
    match truth.cancelled {
        true => text.starts_with("Отмена"),
        false => !text.starts_with("Отмена") && text.contains(&when(show, truth)),
    }
}

fn text_of(show: &ShowFact, truth: &ShowTruth) -> String {
    if truth.cancelled { "Отмена".to_owned() } else { when(show, truth) }
}

/// The beginning of the show, in the local time of its place.
fn when(show: &ShowFact, truth: &ShowTruth) -> String {
    let at = truth.starts_at.or_else(|| show.begins.parse::<Timestamp>().ok()).unwrap_or_default();
    let zone = TimeZone::get(show.zone).unwrap_or(TimeZone::UTC);
    at.to_zoned_datetime(zone).strftime("%d.%m.%Y %H:%M").to_string()
}
