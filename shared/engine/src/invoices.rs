//! Companies that buy, and the closing documents of orders, as the CRM should hold them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use stagedoor_model::{Company, Fact, Order, OrderState, Submission, Timestamp, breakage};
use stagedoor_texts::{Language, Text, invoices as texts};

use crate::{Catalog, Invoicing, Payments, Person, PersonId, Settlement, Settlements, ShowKey, words};

/// A company as the CRM should hold it. Managers own the fields of an existing company, so the hub fills only empty
/// ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompanyDraft {
    /// The key of the company.
    pub key: String,
    pub name: String,
    /// The Russian tax id, if it is valid.
    pub inn: Option<String>,
    /// The Russian code of the branch, if it was given.
    pub kpp: Option<String>,
    /// A text that was given as a tax id and is not valid.
    pub unchecked: Option<String>,
    /// The domains of the e-mails of its people, as a hint for managers.
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

/// One line of an invoice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvoiceLine {
    pub title: String,
    pub quantity: u32,
    /// The price of one piece, in minor units. A discount on the whole order is a line of its own with a negative
    /// price.
    pub price: i64,
    /// The title in the hub's language, of a line that the shop's order does not have. [`InvoiceLine::title`] stays as it
    /// is in any language: another one would cancel the document and make it anew.
    #[serde(skip)]
    pub shown: Option<String>,
}

impl InvoiceLine {
    fn of_the_hub(title: &Text, price: i64, language: Language) -> Self {
        let fixed = if breakage::is_on("language-remakes-documents") { language } else { Language::default() };
        Self { title: title.to(fixed), quantity: 1, price, shown: Some(title.to(language)) }
    }

    /// Returns the title in the hub's language.
    pub fn words(&self) -> &str {
        self.shown.as_ref().unwrap_or(&self.title)
    }
}

/// The status of an invoice in the CRM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InvoiceStatus {
    Created,
    Paid,
    Cancelled,
}

/// The rows that a new invoice belongs to, by their CRM ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvoiceParents {
    pub contact: u64,
    pub deal: u64,
    /// The company that buys. An invoice that lost its company gets it.
    pub company: Option<u64>,
}

/// The invoice of one order. Its lines are written once. The sums received and returned are updated whenever they
/// change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvoiceDraft {
    pub person: PersonId,
    /// The key of the invoice: `<source>:<the shop's id>`, then `/n` for the n-th invoice after the lines changed.
    pub key: String,
    /// The order: `<source>:<the shop's id>`.
    pub order: String,
    /// How often the invoice was created anew.
    pub turn: u32,
    /// The shop's number of the order.
    pub number: String,
    /// The show whose deal it belongs to.
    pub show: ShowKey,
    /// The key of the company that buys. `None` means a single visitor.
    pub company: Option<String>,
    pub lines: Vec<InvoiceLine>,
    /// The currency of all its sums (ISO 4217).
    pub currency: String,
    /// The total of the order, in minor units.
    pub total: i64,
    /// The sum received, in minor units.
    pub received: i64,
    /// The sum returned, in minor units.
    pub returned: i64,
    pub state: InvoiceStatus,
    /// The time when the order was placed.
    pub on: Timestamp,
    /// The time by which the order has to be paid.
    pub due: Timestamp,
    /// The VAT within the total, in words.
    pub tax: Option<String>,
    /// The single payments and refunds, one per line.
    pub payments: String,
    /// The rows that an existing invoice must belong to, if they are known. Its deal may have changed.
    #[serde(skip)]
    pub parents: Option<InvoiceParents>,
}

impl InvoiceDraft {
    /// Returns the parts that cannot change after the invoice is created.
    pub(crate) fn fixed(&self) -> impl Serialize + '_ {
        (&self.lines, &self.currency, self.total, &self.company)
    }
}

/// Returns the company that a form was sent for. A stranger speaks for no company, but earlier builds stored what
/// strangers typed.
fn spoken_for(submission: &Submission) -> Option<&Company> {
    submission.company.as_ref().filter(|_| !submission.is_anonymous || breakage::is_on("strangers-speak-for-companies"))
}

/// Returns the companies that a person bought or asked for, each with its latest data.
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

/// Returns the key of the company that a person is a contact of: the one that they spoke for last.
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

/// Returns invoices of paid orders, and of collective orders as soon as they are placed. Some shops set the total to
/// zero once everything is given back. An earlier invoice is cancelled then.
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
    // The deal with the largest part of the order.
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
        // The VAT that a price includes: p · r / (100 + r).
        let (whole, rate) = (i128::from(order.total.minor), i128::from(vat));
        let tax = i64::try_from((whole * rate + (10_000 + rate) / 2) / (10_000 + rate)).unwrap_or(0);
        let per_cent =
            if vat % 100 == 0 { format!("{}", vat / 100) } else { format!("{}.{:02}", vat / 100, vat % 100) };
        texts::vat(per_cent, words(&order.total.with_minor(tax))).to(catalog.language)
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
        payments: moved(order, settlement, catalog.language),
        parents: None,
    }
}

/// Returns the lines of an invoice. Seats of one show at one price share a line. The last line is the remaining
/// discount or fee.
fn lines(source: &str, order: &Order, catalog: &Catalog) -> Vec<InvoiceLine> {
    let mut seats = BTreeMap::<(String, i64), u32>::new();
    for ticket in &order.tickets {
        let show = catalog.show(source, Some(&ticket.show));
        let title = show.city.as_ref().map_or(show.title.clone(), |city| format!("{} · {city}", show.title));
        *seats.entry((title, ticket.price.minor)).or_default() += 1;
    }
    let seats = seats.into_iter().map(|((title, price), quantity)| InvoiceLine { title, quantity, price, shown: None });
    let items = order.items.iter().map(|item| InvoiceLine {
        title: item.title.clone(),
        quantity: item.quantity,
        price: item.price.minor,
        shown: None,
    });
    let mut lines: Vec<InvoiceLine> = seats.chain(items).collect();
    let sum: i64 = lines.iter().map(|line| line.price.saturating_mul(line.quantity.into())).sum();
    match (order.total.minor - sum, lines.is_empty()) {
        (0, false) => {}
        (rest, true) => lines.push(InvoiceLine::of_the_hub(&texts::order(), rest, catalog.language)),
        (rest, false) => {
            let title = if rest < 0 { texts::discount() } else { texts::fees() };
            lines.push(InvoiceLine::of_the_hub(&title, rest, catalog.language));
        }
    }
    lines
}

fn moved(order: &Order, settlement: &Settlement, language: Language) -> String {
    let line = |is_return: bool, (at, minor): &(Timestamp, i64)| {
        let (day, money) = (at.strftime("%Y-%m-%d").to_string(), words(&order.total.with_minor(*minor)));
        let text = if is_return { texts::went_back(day, money) } else { texts::came(day, money) };
        (*at, text.to(language))
    };
    let mut all: Vec<(Timestamp, String)> = settlement.came.iter().map(|one| line(false, one)).collect();
    all.extend(settlement.went.iter().map(|one| line(true, one)));
    if settlement.came.is_empty() && settlement.received > 0 {
        all.extend(order.paid_at.map(|at| line(false, &(at, settlement.received))));
    }
    if settlement.went.is_empty() {
        all.extend(order.returned().map(|refund| line(true, &(refund.at, refund.amount.minor))));
    }
    all.sort();
    all.into_iter().map(|(_, text)| text).collect::<Vec<_>>().join("\n")
}
