//! Adds one order to the deals of its shows: its money, its tickets and the stage that they make.

use std::collections::{BTreeMap, BTreeSet};

use stagedoor_model::{Order, OrderState, Rung, Timestamp, breakage};

use super::DealBuilder;
use crate::{
    Attribution, Catalog, GOODS, Settlement, Show, ShowKey,
    money::{owed, refunds_in},
    shares::{split, take},
};

/// The part of an order that belongs to one show.
struct Part<'o> {
    show: Show,
    /// The price of the whole part, in minor units.
    price: i64,
    /// The price of cancelled tickets that no refund names, in minor units.
    cancelled: i64,
    tickets: BTreeSet<&'o str>,
}

/// Adds an order to the builders of the deals that its tickets and goods belong to.
pub(super) fn add(
    builders: &mut BTreeMap<ShowKey, DealBuilder>,
    catalog: &Catalog,
    source: &str,
    order: &Order,
    settlement: &Settlement,
    campaign: Option<Attribution>,
) {
    let parts = parts(order, source, catalog);
    let prices: Vec<i64> = parts.iter().map(|part| part.price).collect();
    let placed = Placed::of(order, &parts, settlement.received);
    let received = placed.received();
    let returned = returned(order, settlement, &parts, &placed);
    // Money that was given back beyond the received sum reduces what is still owed.
    let beyond = split((settlement.returned - returned.iter().sum::<i64>()).max(0), &prices);
    let elsewhere: Vec<(&String, Vec<i64>, Vec<i64>)> = settlement
        .elsewhere
        .iter()
        .map(|(currency, moved)| {
            let came = split(moved.received, &prices);
            let went = take(&mut came.clone(), moved.returned, &prices);
            (currency, came, went)
        })
        .collect();
    // A payment settles an order that the shop still calls placed.
    let state = match order.state {
        OrderState::Placed if settlement.paid_at.is_some() => OrderState::Paid,
        state => state,
    };
    let at = |all: &[i64], index: usize| all.get(index).copied().unwrap_or(0);
    for (index, part) in parts.into_iter().enumerate() {
        let (paid, total, refunded) = (at(&received, index), at(&placed.asked, index), at(&returned, index));
        let gone = paid > 0 && refunded >= paid;
        // A cancellation without money names the tickets of an order that nobody paid.
        let unpaid = || named_return(order, &part.tickets).filter(|_| state == OrderState::Placed);
        let given_up_at = part.given_up_at(order, settlement).or_else(unpaid);
        let given_up_at = given_up_at.filter(|_| paid == 0 && refunded == 0);
        let live = match part.show.key.0 == GOODS {
            _ if gone => 0,
            // Goods are not given back one by one.
            true => usize::from(paid > 0) * order.items.len(),
            false => order.live_tickets().filter(|ticket| part.tickets.contains(ticket.id.as_str())).count(),
        };
        let builder = builders.entry(part.show.key.clone()).or_insert_with(|| DealBuilder::new(part.show.clone()));
        builder.know(part.show, live > 0);
        builder.orders.insert(order.number.clone().unwrap_or_else(|| order.id.clone()));
        builder.made_of.insert((source.to_owned(), order.id.clone()));
        let company = order.company.clone().map(|company| (order.placed_at, company));
        builder.company = builder.company.take().max(company);
        builder.promo_codes.extend(order.promo_codes.iter().cloned());
        builder.labels.extend(order.utm.clone());
        let attribution = campaign.clone().map(|campaign| (order.placed_at, campaign));
        builder.attribution = builder.attribution.take().max(attribution);
        for (currency, came, went) in &elsewhere {
            let sum = builder.sum(currency);
            (sum.paid, sum.refunded) = (sum.paid + at(came, index), sum.refunded + at(went, index));
        }
        // All its tickets left an order that is paid, so its sum is known to be zero.
        let is_left = given_up_at.is_none() && !part.tickets.is_empty() && live == 0 && settlement.received != 0;
        if paid != 0 || refunded != 0 || is_left {
            let sum = builder.sum(&order.total.currency);
            (sum.paid, sum.refunded, sum.is_settled) = (sum.paid + paid, sum.refunded + refunded, true);
        }
        builder.advance(Rung::Cart, order.placed_at);
        // Only a check-in shows that a person came. The date of the show does not.
        let seated = order.live_tickets().filter(|ticket| part.tickets.contains(ticket.id.as_str()));
        if let Some(at) = seated.filter_map(|ticket| order.checked_at(&ticket.id)).min()
            && !breakage::is_on("checkin-ignored")
        {
            builder.advance(Rung::Attended, at);
        }
        // Nothing was paid for its tickets, so nothing was given back. The rest of the order does not matter here.
        if let Some(at) = given_up_at {
            builder.lost_at = builder.lost_at.max(Some(at.max(order.placed_at)));
            continue;
        }
        if state == OrderState::Placed {
            builder.ordered_at = builder.ordered_at.max(Some(order.placed_at));
        }
        // All its money went to another order of the shop: that is neither a sale nor a refund.
        let is_moved_on = settlement.moved > 0 && settlement.received == 0;
        match (state, order.paid_at.or(settlement.paid_at).filter(|_| !is_moved_on)) {
            // An order that is invoiced or paid in part is worth the sum asked for, in addition to all other purchases.
            (OrderState::Placed, _) if order.company.is_some() || paid > 0 => {
                builder.sum(&order.total.currency).owed += (total - paid - at(&beyond, index)).max(0);
                (builder.open, builder.owing) = (builder.open + 1, builder.owing + 1);
            }
            (OrderState::Placed, _) => {
                builder.open += 1;
                let asked = &mut builder.sum(&order.total.currency).asked;
                let before = asked.filter(|_| !breakage::is_on("one-order-asked"));
                *asked = Some(before.unwrap_or(0).saturating_add(total));
            }
            (OrderState::Cancelled, None) => builder.lost_at = builder.lost_at.max(Some(order.revision)),
            (_, paid_at) => {
                let paid_at = paid_at.unwrap_or(order.revision);
                builder.advance(Rung::Paid, paid_at);
                // An order without tickets has no live ticket and stands all the same.
                let returned = gone || state == OrderState::Cancelled || (!part.tickets.is_empty() && live == 0);
                let returned = returned || breakage::is_on("nothing-live-is-refunded") && live == 0;
                if returned {
                    let own = named_return(order, &part.tickets).filter(|_| !breakage::is_on("returned-with-others"));
                    let at = own.or(settlement.returned_at).unwrap_or(order.revision).max(paid_at);
                    builder.refunded_at = builder.refunded_at.max(Some(at));
                } else {
                    builder.standing += 1;
                    builder.bought_at = builder.bought_at.max(Some(paid_at));
                }
                if state != OrderState::Cancelled {
                    builder.live += live;
                }
            }
        }
    }
}

/// Returns when the last ticket of a part was given back, if refunds name all of them. A later refund of other parts
/// does not change this time.
fn named_return(order: &Order, tickets: &BTreeSet<&str>) -> Option<Timestamp> {
    let back_at = |ticket: &&str| {
        let own = order.refunds.values().filter(|refund| refund.tickets.contains(*ticket));
        own.map(|refund| refund.at).max()
    };
    let all: Option<Vec<Timestamp>> = tickets.iter().map(back_at).collect();
    all?.into_iter().max()
}

impl Part<'_> {
    fn of(show: Show, price: i64) -> Self {
        Self { show, price, cancelled: 0, tickets: BTreeSet::new() }
    }

    /// Returns when its last ticket was cancelled, if all were cancelled before they were paid for.
    fn given_up_at(&self, order: &Order, settlement: &Settlement) -> Option<Timestamp> {
        if breakage::is_on("unpaid-ticket-is-refunded") {
            return None;
        }
        let own = order.tickets.iter().filter(|ticket| self.tickets.contains(ticket.id.as_str()));
        let all: Option<Vec<Timestamp>> =
            own.map(|ticket| settlement.never_paid.get(&ticket.id).copied().filter(|_| !ticket.live)).collect();
        all?.into_iter().max()
    }
}

/// Assigns the received money to the parts of an order. Money is first for what the order costs. Only a surplus is for
/// cancelled tickets, so an exchanged ticket takes its money along.
struct Placed {
    /// Money for live tickets and for those that a refund names, by part, in minor units.
    kept: Vec<i64>,
    /// Money for cancelled tickets, by part, in minor units.
    cancelled: Vec<i64>,
    /// The sum asked for, by part, in minor units.
    asked: Vec<i64>,
}

impl Placed {
    fn of(order: &Order, parts: &[Part<'_>], received: i64) -> Self {
        let prices: Vec<i64> = parts.iter().map(|part| part.price).collect();
        let sum = |all: &[i64]| all.iter().copied().fold(0, i64::saturating_add);
        let cancelled: Vec<i64> = parts.iter().map(|part| part.cancelled).collect();
        let kept: Vec<i64> = parts.iter().map(|part| part.price - part.cancelled).collect();
        let (all, live, asked) = (sum(&prices), sum(&kept), owed(order.total.minor));
        if all == live || live == 0 || breakage::is_on("exchanged-ticket-keeps-money") {
            let cancelled = vec![0; parts.len()];
            return Self { kept: split(received, &prices), cancelled, asked: split(asked, &prices) };
        }
        // Some shops lower the total when a ticket is cancelled, others leave it. Fees and discounts blur the total, so
        // the nearer sum decides.
        let is_lowered = asked.abs_diff(live) < asked.abs_diff(all);
        let whole = if is_lowered { live } else { all };
        let cost = i128::from(live) * i128::from(asked) / i128::from(whole);
        let cost = i64::try_from(cost).unwrap_or(i64::MAX);
        let for_kept = received.min(cost);
        let asked = match breakage::is_on("cancelled-ticket-is-asked-for") {
            true => split(asked, if is_lowered { &kept } else { &prices }),
            false => split(cost, &kept),
        };
        Self { kept: split(for_kept, &kept), cancelled: split(received - for_kept, &cancelled), asked }
    }

    fn received(&self) -> Vec<i64> {
        self.kept.iter().zip(&self.cancelled).map(|(kept, cancelled)| kept + cancelled).collect()
    }
}

fn parts<'o>(order: &'o Order, source: &str, catalog: &Catalog) -> Vec<Part<'o>> {
    let mut parts = BTreeMap::<ShowKey, Part<'o>>::new();
    // A ticket that stands describes the show, not one that was given back with the date of then.
    let stands: BTreeSet<&str> = order.live_tickets().map(|ticket| ticket.id.as_str()).collect();
    let (live, dead): (Vec<_>, Vec<_>) = order.tickets.iter().partition(|ticket| stands.contains(ticket.id.as_str()));
    for ticket in live.into_iter().chain(dead) {
        let show = catalog.show_of_ticket(source, order, ticket);
        let part = parts.entry(show.key.clone()).or_insert_with(|| Part::of(show, 0));
        let price = owed(ticket.price.minor);
        part.price = part.price.saturating_add(price);
        if !ticket.live && !order.refunds.values().any(|refund| refund.tickets.contains(&ticket.id)) {
            part.cancelled = part.cancelled.saturating_add(price);
        }
        part.tickets.insert(&ticket.id);
    }
    if !order.items.is_empty() {
        let show = catalog.goods();
        let prices = order.items.iter().map(|item| owed(item.price.minor).saturating_mul(item.quantity.into()));
        let price = prices.fold(0, i64::saturating_add);
        parts.insert(show.key.clone(), Part::of(show, price));
    }
    if parts.is_empty() {
        let show = catalog.show_without_lines(source, order);
        parts.insert(show.key.clone(), Part::of(show, 0));
    }
    parts.into_values().collect()
}

/// Returns the money that went back for each part, in minor units. A refund that names tickets is split by their
/// prices, any other by what is left. Refunds that only the payment provider reported come on top. No part gives back
/// more than it received.
fn returned(order: &Order, settlement: &Settlement, parts: &[Part<'_>], placed: &Placed) -> Vec<i64> {
    let received = placed.received();
    let mut left: Vec<i64> = received.iter().map(|part| (*part).max(0)).collect();
    // A refund that names no ticket goes to cancelled tickets first.
    let unnamed = |left: &[i64]| -> Vec<i64> {
        let first: Vec<i64> = placed.cancelled.iter().zip(left).map(|(part, left)| *part.min(left)).collect();
        if first.iter().any(|part| *part > 0) { first } else { left.to_vec() }
    };
    let mut rest = settlement.returned.max(0);
    let mut refunds: Vec<_> = refunds_in(order, &order.total.currency).collect();
    refunds.sort();
    for refund in refunds {
        let named = |part: &Part<'_>| -> (i64, i64) {
            let own = order
                .tickets
                .iter()
                .filter(|ticket| part.tickets.contains(ticket.id.as_str()) && refund.tickets.contains(&ticket.id));
            own.fold((0, 0), |(price, count), ticket| (price + owed(ticket.price.minor), count + 1))
        };
        let named: Vec<(i64, i64)> = parts.iter().map(named).collect();
        let weights: Vec<i64> = match named.iter().map(|(price, _)| price).sum::<i64>() {
            0 if named.iter().all(|(_, count)| *count == 0) => unnamed(&left),
            0 => named.iter().map(|(_, count)| *count).collect(),
            _ => named.iter().map(|(price, _)| *price).collect(),
        };
        let amount = owed(refund.amount.minor).min(rest);
        rest -= take(&mut left, amount, &weights).iter().sum::<i64>();
    }
    let weights = unnamed(&left);
    take(&mut left, rest, &weights);
    received.iter().zip(left).map(|(came, left)| (*came).max(0) - left).collect()
}
