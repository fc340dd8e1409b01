//! Companies that buy, and the closing documents of orders: what the CRM should hold of them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use stagedoor_model::{Company, Fact, Order, OrderState, Submission, Timestamp, breakage};

use crate::{Catalog, Payments, Person, PersonId, Settlement, Settlements, ShowKey, words};

/// A company as the CRM should hold it. Its own data are a manager's once it is there: the hub fills what is empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompanyDraft {
    pub key: String,
    pub name: String,
    pub inn: Option<String>,
    pub kpp: Option<String>,
    /// What was given as a tax id and is none.
    pub unchecked: Option<String>,
    /// Domains of its people's e-mails, for a manager's eyes.
    pub domains: BTreeSet<String>,
}

impl CompanyDraft {
    fn of(company: &Company, domains: &BTreeSet<String>) -> Self {
        let id = company.tax_id.as_ref();
        Self {
            key: company.key(),
            name: company.name.clone(),
            inn: id.map(|id| id.inn().to_owned()),
            kpp: id.and_then(|id| id.kpp()).map(str::to_owned),
            unchecked: company.unchecked.clone(),
            domains: domains.clone(),
        }
    }
}

/// How invoices are written, as the config has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invoicing {
    /// On whose name invoices of single visitors are: an invoice has to have an organisation.
    pub visitors: String,
    /// VAT that is within the prices, in hundredths of a per cent.
    pub vat: Option<u32>,
    /// Days to pay in, for a collective order that names none.
    pub days: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvoiceLine {
    pub title: String,
    pub quantity: u32,
    /// Of one, in minor units; what is taken off the whole order is a line of its own, below nought.
    pub price: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InvoiceStatus {
    Created,
    Paid,
    Cancelled,
}

/// What an invoice that is written anew belongs to, by ids of the CRM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvoiceParents {
    pub contact: u64,
    pub deal: u64,
}

/// The invoice of one order. Lines are written once; what came and went is written again whenever it changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvoiceDraft {
    pub person: PersonId,
    /// `<source>:<the shop's id>`, and `/n` for the n-th after its lines changed.
    pub key: String,
    /// `<source>:<the shop's id>`.
    pub order: String,
    /// How often it was made anew.
    pub turn: u32,
    /// The shop's number.
    pub number: String,
    /// The deal that it belongs to.
    pub show: ShowKey,
    /// `None`: a single visitor's.
    pub company: Option<String>,
    pub lines: Vec<InvoiceLine>,
    pub currency: String,
    /// In minor units.
    pub total: i64,
    pub received: i64,
    pub returned: i64,
    pub state: InvoiceStatus,
    pub on: Timestamp,
    pub due: Timestamp,
    /// VAT within the total, in words.
    pub tax: Option<String>,
    /// Single payments and refunds, a line each.
    pub payments: String,
    /// Where one that exists is to be, if that is known: its deal may be another one by now.
    #[serde(skip)]
    pub parents: Option<InvoiceParents>,
}

impl InvoiceDraft {
    /// What cannot be changed once it is made.
    pub(crate) fn fixed(&self) -> impl Serialize + '_ {
        (&self.lines, &self.currency, self.total, &self.company)
    }
}

/// The company that a form was sent for. A stranger speaks for none: earlier builds kept what they typed.
fn spoken_for(submission: &Submission) -> Option<&Company> {
    submission.company.as_ref().filter(|_| !submission.is_anonymous || breakage::is_on("strangers-speak-for-companies"))
}

/// The companies somebody bought or asked for, each as it was told last.
pub(crate) fn companies(person: &Person) -> Vec<CompanyDraft> {
    let mut last = BTreeMap::<String, (Timestamp, &Company)>::new();
    for record in person.records.values() {
        let told = match &record.fact {
            Fact::Order { order: Some(order), .. } => order.company.as_ref().map(|company| (order.revision, company)),
            Fact::Submission(submission) => spoken_for(submission).map(|company| (submission.last, company)),
            _ => None,
        };
        if let Some((at, company)) = told {
            let known = last.entry(company.key()).or_insert((at, company));
            *known = (at, company).max(*known);
        }
    }
    let domains: BTreeSet<String> =
        person.emails().iter().filter_map(|email| Some(email.as_str().rsplit_once('@')?.1.to_owned())).collect();
    last.into_values().map(|(_, company)| CompanyDraft::of(company, &domains)).collect()
}

/// The company that somebody is a contact of: the one that they spoke for last.
pub(crate) fn company_of(person: &Person) -> Option<String> {
    let told = |record: &stagedoor_model::Record| match &record.fact {
        Fact::Order { order: Some(order), .. } => {
            order.company.as_ref().map(|company| (order.placed_at, company.key()))
        }
        Fact::Submission(submission) => spoken_for(submission).map(|company| (submission.last, company.key())),
        _ => None,
    };
    person.records.values().filter_map(told).max().map(|(_, key)| key)
}

/// Invoices of orders that were paid, and of collective ones as soon as they are placed. Some shops ask for nothing any
/// more once all was given back: what was invoiced before is cancelled then.
pub(crate) fn invoices(person: &Person, money: &Settlements<'_>, catalog: &Catalog) -> Vec<InvoiceDraft> {
    let Some(invoicing) = &catalog.invoicing else { return vec![] };
    let wanted = money.orders.iter().filter(|(_, (order, settlement))| {
        let was_paid = settlement.received > 0;
        let is_back = was_paid && settlement.kept() == 0 && !breakage::is_on("invoice-of-nothing-stands");
        (order.total.minor > 0 && (was_paid || order.company.is_some())) || is_back
    });
    wanted
        .map(|((source, _), (order, settlement))| invoice(person, source, order, settlement, catalog, invoicing))
        .collect()
}

fn invoice(
    person: &Person,
    source: &str,
    order: &Order,
    settlement: &Settlement,
    catalog: &Catalog,
    invoicing: &Invoicing,
) -> InvoiceDraft {
    let shows: BTreeMap<ShowKey, i64> = order.tickets.iter().fold(BTreeMap::new(), |mut shows, ticket| {
        *shows.entry(catalog.show(source, Some(&ticket.show)).key).or_default() += ticket.price.minor;
        shows
    });
    // The deal that most of it is in.
    let main = shows.into_iter().max_by_key(|(_, worth)| *worth).map(|(show, _)| show);
    let without_lines = || catalog.show_without_lines(source, order).key;
    let goods = || if order.items.is_empty() { without_lines() } else { catalog.goods().key };
    let state = match settlement.state(order.revision) {
        _ if order.state == OrderState::Cancelled && settlement.received == 0 => InvoiceStatus::Cancelled,
        Payments::Refunded => InvoiceStatus::Cancelled,
        Payments::Paid | Payments::Over => InvoiceStatus::Paid,
        _ => InvoiceStatus::Created,
    };
    let days = jiff::SignedDuration::from_hours(24 * invoicing.days.max(0));
    let tax = invoicing.vat.map(|vat| {
        // The part of a price that contains it: p · r / (100 + r).
        let (whole, rate) = (i128::from(order.total.minor), i128::from(vat));
        let tax = i64::try_from((whole * rate + (10_000 + rate) / 2) / (10_000 + rate)).unwrap_or(0);
        let per_cent =
            if vat % 100 == 0 { format!("{}", vat / 100) } else { format!("{}.{:02}", vat / 100, vat % 100) };
        format!("VAT {per_cent} % within: {}", words(&order.total.with_minor(tax)))
    });
    InvoiceDraft {
        person: person.id,
        key: format!("{source}:{}", order.id),
        order: format!("{source}:{}", order.id),
        turn: 0,
        number: order.number.clone().unwrap_or_else(|| order.id.clone()),
        show: main.unwrap_or_else(goods),
        company: order.company.as_ref().map(Company::key),
        lines: lines(source, order, catalog),
        currency: order.total.currency.clone(),
        total: order.total.minor,
        received: settlement.received,
        returned: settlement.returned,
        state,
        on: order.placed_at,
        due: order.due_at.unwrap_or(order.placed_at + days),
        tax,
        payments: moved(order, settlement),
        parents: None,
    }
}

/// Seats of one show at one price are one line; what the whole is cheaper or dearer by is the last.
fn lines(source: &str, order: &Order, catalog: &Catalog) -> Vec<InvoiceLine> {
    let mut seats = BTreeMap::<(String, i64), u32>::new();
    for ticket in &order.tickets {
        let show = catalog.show(source, Some(&ticket.show));
        let title = show.city.as_ref().map_or(show.title.clone(), |city| format!("{} · {city}", show.title));
        *seats.entry((title, ticket.price.minor)).or_default() += 1;
    }
    let seats = seats.into_iter().map(|((title, price), quantity)| InvoiceLine { title, quantity, price });
    let items = order.items.iter().map(|item| InvoiceLine {
        title: item.title.clone(),
        quantity: item.quantity,
        price: item.price.minor,
    });
    let mut lines: Vec<InvoiceLine> = seats.chain(items).collect();
    let sum: i64 = lines.iter().map(|line| line.price.saturating_mul(line.quantity.into())).sum();
    match (order.total.minor - sum, lines.is_empty()) {
        (0, false) => {}
        (rest, true) => lines.push(InvoiceLine { title: "Order".into(), quantity: 1, price: rest }),
        (rest, false) => {
            let title = if rest < 0 { "Discount" } else { "Fees" };
            lines.push(InvoiceLine { title: title.into(), quantity: 1, price: rest });
        }
    }
    lines
}

fn moved(order: &Order, settlement: &Settlement) -> String {
    let line = |sign: &str, (at, minor): &(Timestamp, i64)| {
        (*at, format!("{} {sign} {}", at.strftime("%Y-%m-%d"), words(&order.total.with_minor(*minor))))
    };
    let mut all: Vec<(Timestamp, String)> = settlement.came.iter().map(|one| line("received", one)).collect();
    all.extend(settlement.went.iter().map(|one| line("returned", one)));
    if settlement.came.is_empty() && settlement.received > 0 {
        all.extend(order.paid_at.map(|at| line("received", &(at, settlement.received))));
    }
    if settlement.went.is_empty() {
        all.extend(order.refunds.values().map(|refund| line("returned", &(refund.at, refund.amount.minor))));
    }
    all.sort();
    all.into_iter().map(|(_, text)| text).collect::<Vec<_>>().join("\n")
}
