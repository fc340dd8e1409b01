//! Checks invoices: each order that should have one has one live invoice, with its money, at the right contact and
//! deal.

use std::collections::BTreeSet;

use crate::{
    account::{Account, Invoice},
    check::{Invariant, Violation, broken},
    orders::{OrderFact, Shop, roubles},
    story::Story,
    world::{PersonTruth, SHOWS},
};

/// The order's name on invoices.
fn key(order: &OrderFact) -> String {
    match order.shop {
        Shop::Own => format!("shop:o{}", order.id),
        Shop::BoxOffice => format!("box:{}", order.id),
        Shop::Ticketscloud => format!("cloud:{}", crate::ticketscloud::id(order)),
        Shop::Pretix => format!("pretix:{}", crate::pretix::code(order)),
    }
}

/// Checks the invoices of one person. `contacts` are that person's.
pub fn check(
    account: &Account,
    person: &PersonTruth,
    contacts: &BTreeSet<u64>,
    story: &Story,
    found: &mut Vec<Violation>,
) {
    let Some(invoices) = &account.invoices else { return };
    for order in &person.orders {
        let name = key(order);
        let all: Vec<&Invoice> = invoices.iter().filter(|one| one.order == name).collect();
        let live: Vec<&Invoice> = all.iter().copied().filter(|one| !one.cancelled).collect();
        let wanted = match order.paid_at {
            Some(_) => order.kept() > 0,
            None => order.company.is_some() && !order.cancelled,
        };
        let mut wrong = |what: String| found.push(broken(Invariant::Invoices, format!("{name}: {what}")));
        let deleted = &story.deleted_deals;
        let is_deleted = deleted.iter().any(|(human, _)| story.world.are_one(*human, person.human));
        let [one] = live.as_slice() else {
            // A missing invoice would return with its deal.
            if is_deleted && live.is_empty() {
                continue;
            }
            if wanted || !live.is_empty() {
                wrong(format!("{} live invoices, expected {}", live.len(), u8::from(wanted)));
            }
            continue;
        };
        if !wanted {
            wrong(format!("invoice {} stands, and nothing is paid or owed", one.id));
            continue;
        }
        let kept = if order.paid_at.is_some() { order.kept() } else { 0 };
        let open = if order.paid_at.is_some() { 0 } else { order.asked() };
        for (what, is, expected) in [
            ("asks for", one.total, order.asked()),
            ("has received", one.received, kept),
            ("lets open", one.open, open),
        ] {
            if is != expected {
                wrong(format!("invoice {} {what} {}, expected {}", one.id, roubles(is), roubles(expected)));
            }
        }
        if !one.contact.is_some_and(|id| contacts.contains(&id)) {
            wrong(format!("invoice {} is of contact {:?}, expected one of {contacts:?}", one.id, one.contact));
        }
        let of_order =
            |show: &str| order.tickets.iter().any(|one| SHOWS.get(one.show).is_some_and(|is| is.key == show));
        let deals = account.deals.iter().filter(|deal| !deal.duplicate && of_order(&deal.show));
        let mut deals = deals.filter(|deal| deal.contact.is_some_and(|id| contacts.contains(&id)));
        if !is_deleted && !deals.any(|deal| Some(deal.id) == one.deal) {
            wrong(format!("invoice {} is of deal {:?}, which is none of its order's", one.id, one.deal));
        }
    }
}
