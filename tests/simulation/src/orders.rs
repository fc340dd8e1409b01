//! Orders as they truly stand, and their payments and refunds.

use std::collections::BTreeSet;

use stagedoor_model::Timestamp;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shop {
    /// A theatre's own shop.
    Own,
    /// Qtickets.
    BoxOffice,
    /// A pretix. Its webhook only points to the order.
    Pretix,
    /// A Ticketscloud. Its webhook only points to the order, and no answer has a time of change.
    Ticketscloud,
}

/// A payment provider of the own shop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    Stripe,
    /// YooKassa. Its webhook only points to the payment or the refund.
    Yookassa,
}

#[derive(Debug, Clone)]
pub struct TicketFact {
    pub id: u64,
    pub show: usize,
    /// The price in kopecks.
    pub price: i64,
    pub refunded_at: Option<Timestamp>,
}

#[derive(Debug, Clone)]
pub struct OrderFact {
    pub id: u64,
    pub shop: Shop,
    pub human: usize,
    pub identifiers: BTreeSet<String>,
    pub tickets: Vec<TicketFact>,
    pub placed_at: Timestamp,
    pub updated_at: Timestamp,
    pub paid_at: Option<Timestamp>,
    pub cancelled: bool,
    /// True if the shop reports the payment; otherwise only the payment provider does.
    pub shop_tells: bool,
    /// The provider of the order's payments. It reports every refund.
    pub provider: Option<Provider>,
    /// Refunds of the provider that belong to no single ticket, in kopecks. The shop does not report them.
    pub given_back: Vec<i64>,
    /// The sum of refunds that the provider reported so far, in kopecks.
    pub told_back: i64,
    /// The time of the provider's last refund, or of its failure.
    pub given_back_at: Option<Timestamp>,
    /// The company that the order is for.
    pub company: Option<usize>,
    /// The earlier owners, with the identifiers that they showed.
    pub former: Vec<(usize, BTreeSet<String>)>,
}

impl OrderFact {
    /// The text that the journal holds about the order.
    pub fn word(&self) -> String {
        match self.shop {
            Shop::Own => format!("\"o{}\"", self.id),
            Shop::BoxOffice | Shop::Pretix | Shop::Ticketscloud => format!("\"{}\"", self.id),
        }
    }

    /// The sum of all tickets in kopecks.
    pub fn total(&self) -> i64 {
        self.tickets.iter().map(|ticket| ticket.price).sum()
    }

    /// The amount that the shop asks for. pretix asks nothing for a refunded ticket.
    pub fn asked(&self) -> i64 {
        match self.shop {
            Shop::Pretix => self.live().map(|ticket| ticket.price).sum(),
            Shop::Own | Shop::BoxOffice | Shop::Ticketscloud => self.total(),
        }
    }

    fn live(&self) -> impl Iterator<Item = &TicketFact> {
        self.tickets.iter().filter(|ticket| ticket.refunded_at.is_none())
    }

    /// The price of the tickets that are not refunded, less refunds without a ticket. It is below zero if a ticket
    /// was refunded whose price had been refunded before; a provider never refunds more than came.
    pub fn left(&self) -> i64 {
        let live: i64 = self.live().map(|ticket| ticket.price).sum();
        live - self.given_back.iter().sum::<i64>()
    }

    /// The payments less refunds, for a paid order.
    pub fn kept(&self) -> i64 {
        self.left().max(0)
    }

    /// The part of that for one show. `None` if a refund covered tickets of several shows and it is unknown which.
    pub fn kept_for(&self, show: usize) -> Option<i64> {
        let own: i64 = self.live().filter(|ticket| ticket.show == show).map(|ticket| ticket.price).sum();
        match () {
            () if self.given_back.is_empty() => Some(own),
            () if self.kept() == 0 || own == 0 => Some(0),
            () if self.live().all(|ticket| ticket.show == show) => Some(self.kept()),
            () => None,
        }
    }

    /// All refunds of the provider, including those of single tickets.
    pub fn returned(&self) -> i64 {
        self.total() - self.kept()
    }

    pub fn is_over(&self) -> bool {
        self.cancelled || self.kept() == 0
    }

    /// The time of the last refund for a show. If a refund without a ticket may belong to the show, the earliest
    /// possible time.
    pub fn show_refunded_at(&self, show: usize) -> Option<Timestamp> {
        let own = || self.tickets.iter().filter(|ticket| ticket.show == show);
        let named = own().filter_map(|ticket| ticket.refunded_at).max();
        if own().any(|ticket| ticket.refunded_at.is_none()) { named.max(self.refunded_at()) } else { named }
    }

    /// The time of the last refund, in whole or in part.
    pub fn refunded_at(&self) -> Option<Timestamp> {
        let tickets = self.tickets.iter().filter_map(|ticket| ticket.refunded_at).max();
        tickets.max(self.given_back_at)
    }
}

/// An amount as shops write it, in roubles.
pub fn roubles(kopecks: i64) -> String {
    format!("{}.{:02}", kopecks / 100, kopecks % 100)
}
