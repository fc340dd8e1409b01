//! Orders as they truly stand, and the money that moved for them.

use std::collections::BTreeSet;

use stagedoor_model::Timestamp;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shop {
    /// A theatre's own shop.
    Own,
    /// Qtickets.
    BoxOffice,
    /// A pretix, whose webhook only points to the order.
    Pretix,
    /// A Ticketscloud, whose webhook only points to the order, and which tells no time of a change.
    Ticketscloud,
}

/// A payment provider of the own shop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    Stripe,
    /// Its webhook only points to the payment or the refund.
    Yookassa,
}

#[derive(Debug, Clone)]
pub struct TicketFact {
    pub id: u64,
    pub show: usize,
    /// In kopecks.
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
    /// The shop tells of its payment itself; else the payment provider alone does.
    pub shop_tells: bool,
    /// Its money comes and goes through this provider, which tells of every refund.
    pub provider: Option<Provider>,
    /// What the provider gave back for no single ticket, each time, in kopecks. The shop does not tell.
    pub given_back: Vec<i64>,
    /// What the provider told so far that went back, in kopecks.
    pub told_back: i64,
    /// When the provider last gave something back, or a refund of it failed.
    pub given_back_at: Option<Timestamp>,
    /// The company that it is for.
    pub company: Option<usize>,
    /// Who had it before, with what they showed then.
    pub former: Vec<(usize, BTreeSet<String>)>,
}

impl OrderFact {
    /// What the journal holds of it.
    pub fn word(&self) -> String {
        match self.shop {
            Shop::Own => format!("\"o{}\"", self.id),
            Shop::BoxOffice | Shop::Pretix | Shop::Ticketscloud => format!("\"{}\"", self.id),
        }
    }

    /// In kopecks.
    pub fn total(&self) -> i64 {
        self.tickets.iter().map(|ticket| ticket.price).sum()
    }

    /// What its shop asks for: pretix asks no more for a ticket that was given back.
    pub fn asked(&self) -> i64 {
        match self.shop {
            Shop::Pretix => self.live().map(|ticket| ticket.price).sum(),
            Shop::Own | Shop::BoxOffice | Shop::Ticketscloud => self.total(),
        }
    }

    fn live(&self) -> impl Iterator<Item = &TicketFact> {
        self.tickets.iter().filter(|ticket| ticket.refunded_at.is_none())
    }

    /// What tickets cost that are not given back, less what was given back beside them. Below zero where a ticket was given
    /// back whose price had gone back before: no provider gives back more than came.
    pub fn left(&self) -> i64 {
        let live: i64 = self.live().map(|ticket| ticket.price).sum();
        live - self.given_back.iter().sum::<i64>()
    }

    /// What was paid and not given back, of an order that was paid.
    pub fn kept(&self) -> i64 {
        self.left().max(0)
    }

    /// What of that is for one show; `None` where money went back for tickets of several shows, and nobody said for which.
    pub fn kept_for(&self, show: usize) -> Option<i64> {
        let own: i64 = self.live().filter(|ticket| ticket.show == show).map(|ticket| ticket.price).sum();
        match () {
            () if self.given_back.is_empty() => Some(own),
            () if self.kept() == 0 || own == 0 => Some(0),
            () if self.live().all(|ticket| ticket.show == show) => Some(self.kept()),
            () => None,
        }
    }

    /// What the provider gave back in all, single tickets included.
    pub fn returned(&self) -> i64 {
        self.total() - self.kept()
    }

    pub fn is_over(&self) -> bool {
        self.cancelled || self.kept() == 0
    }

    /// When the last of what was for a show went back. Where what went back for no single ticket may have been for it, too,
    /// the earliest instant that can be meant.
    pub fn show_refunded_at(&self, show: usize) -> Option<Timestamp> {
        let own = || self.tickets.iter().filter(|ticket| ticket.show == show);
        let named = own().filter_map(|ticket| ticket.refunded_at).max();
        if own().any(|ticket| ticket.refunded_at.is_none()) { named.max(self.refunded_at()) } else { named }
    }

    /// When it was last given back in whole or in part.
    pub fn refunded_at(&self) -> Option<Timestamp> {
        let tickets = self.tickets.iter().filter_map(|ticket| ticket.refunded_at).max();
        tickets.max(self.given_back_at)
    }
}

/// An amount as shops write it.
pub fn roubles(kopecks: i64) -> String {
    format!("{}.{:02}", kopecks / 100, kopecks % 100)
}
