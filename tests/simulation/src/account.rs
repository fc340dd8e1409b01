//! The content of a CRM, as a manager sees it.

use std::collections::BTreeSet;

use crate::orders::roubles;

#[derive(Debug, Clone, Default)]
pub struct Contact {
    pub id: u64,
    pub phones: BTreeSet<String>,
    pub emails: BTreeSet<String>,
    /// The hub's id of the person. Empty if the hub did not make the contact.
    pub own: String,
    /// True if the contact is marked as a duplicate of another one.
    pub duplicate: bool,
    /// The contact that the last such mark names.
    pub duplicate_of: Option<u64>,
    pub name: String,
}

impl Contact {
    pub fn holds(&self, identifier: &str) -> bool {
        self.phones.contains(identifier) || self.emails.contains(identifier)
    }

    pub fn holds_any(&self, identifiers: &BTreeSet<String>) -> bool {
        identifiers.iter().any(|one| self.holds(one))
    }
}

#[derive(Debug, Clone, Default)]
pub struct Deal {
    pub id: u64,
    pub contact: Option<u64>,
    /// The hub's id of the person.
    pub own: String,
    /// The organiser's key of the show, from the hub's id in the deal.
    pub show: String,
    /// The price in kopecks.
    pub price: i64,
    pub stage: String,
    pub duplicate: bool,
    /// True if the deal says that the show is cancelled.
    pub cancelled: bool,
    /// When the show begins, in seconds of Unix time.
    pub starts_at: Option<i64>,
}

/// The closing document of an order.
#[derive(Debug, Clone, Default)]
pub struct Invoice {
    pub id: u64,
    /// The order's name: `<source>:<the shop's id>`.
    pub order: String,
    pub contact: Option<u64>,
    pub deal: Option<u64>,
    /// In kopecks: the sum of all lines, the money received less refunds, and the open balance.
    pub total: i64,
    pub received: i64,
    pub open: i64,
    pub cancelled: bool,
}

#[derive(Debug, Clone, Default)]
pub struct Account {
    /// `None` in a CRM without invoices.
    pub invoices: Option<Vec<Invoice>>,
    pub contacts: Vec<Contact>,
    pub deals: Vec<Deal>,
    /// True if the CRM sends webhooks; otherwise the hub polls.
    pub tells: bool,
    /// True if prices are whole roubles, rounded down.
    pub in_roubles: bool,
}

impl Account {
    /// A price in kopecks as this CRM shows it.
    pub fn told(&self, kopecks: i64) -> i64 {
        if self.in_roubles { kopecks / 100 * 100 } else { kopecks }
    }

    /// The content, one line a row.
    pub fn lines(&self) -> Vec<String> {
        let contacts = self.contacts.iter().map(|one| {
            let Contact { id, phones, emails, own, duplicate, name, .. } = one;
            let double = if *duplicate { ", a duplicate" } else { "" };
            format!("contact {id} of {own:?}, {name}: {phones:?} {emails:?}{double}")
        });
        let deals = self.deals.iter().map(|one| {
            let Deal { id, contact, show, price, stage, duplicate, .. } = one;
            let double = if *duplicate { ", a double" } else { "" };
            let contact = contact.map_or("nobody".to_owned(), |id| id.to_string());
            format!("deal {id} of {contact}, {show}: {}, {stage:?}{double}", roubles(*price))
        });
        let invoices = self.invoices.iter().flatten().map(|one| {
            let Invoice { id, order, contact, deal, total, received, open, cancelled } = one;
            let [total, received, open] = [*total, *received, *open].map(roubles);
            let state = if *cancelled { ", cancelled" } else { "" };
            format!("invoice {id} of {order}, {contact:?} {deal:?}: {total}, came {received}, open {open}{state}")
        });
        contacts.chain(deals).chain(invoices).collect()
    }
}
