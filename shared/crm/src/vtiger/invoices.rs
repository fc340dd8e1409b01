//! Closing documents. An invoice is created together with its lines. A revision of lines answers 500 and leaves totals
//! of zero (recorded: invoice_lines_revised). Both the received and the open amount are written, because neither
//! follows from the other (invoice_received_alone).
//!
//! The shipped version 8.4.0 cannot create invoices by its webservice. `create` asks for the id of the record that it
//! creates, and always answers INVALID_ID_ATTRIBUTE (recorded: invoice in 10; docs/crm.md names the line). On such a
//! server the closing document is a comment on the deal, with the same content and the same updates.

use std::sync::atomic::{AtomicBool, Ordering};

use jiff::tz::TimeZone;
use rust_decimal::Decimal;
use serde_json::{Value, json};
use stagedoor_engine::{InvoiceDraft, InvoiceLine, InvoiceStatus};
use stagedoor_ports::InvoiceOwners;
use stagedoor_texts::{Language, MARK, Text, invoices as texts};

use crate::vtiger::{
    normalise::{amount, normalise_fields, put},
    schema::{Invoices, Module, Schema},
    wire::Fields,
};

/// Remembers whether this server was found unable to create invoices.
#[derive(Debug, Default)]
pub(super) struct Ability(AtomicBool);

impl Ability {
    pub fn is_missing(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub fn miss(&self) {
        if !self.0.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "this Vtiger makes no invoices by its webservice (8.4.0 as it is shipped does not): closing documents are \
                 comments on their deals; docs/crm.md"
            );
        }
    }
}

/// The key of a document in the form in which the CRM can hold it.
pub(super) fn as_held(key: &str) -> String {
    normalise_fields("", key)
}

/// The invoice statuses of a fresh installation.
fn status(state: InvoiceStatus) -> &'static str {
    match state {
        InvoiceStatus::Created => "Created",
        InvoiceStatus::Paid => "Paid",
        InvoiceStatus::Cancelled => "Cancel",
    }
}

/// The amount that the buyer still has to pay, in minor units.
fn open(draft: &InvoiceDraft) -> i64 {
    if draft.state == InvoiceStatus::Created { draft.total - (draft.received - draft.returned) } else { 0 }
}

/// True if a new invoice must be revised at once. The server derives the open amount from the received one, and counts
/// a refund as owed (recorded: balance_is_the_total).
pub(super) fn is_counted_wrong(draft: &InvoiceDraft) -> bool {
    open(draft) != draft.total - (draft.received - draft.returned)
}

/// The fields that change: the received amount less refunds, the open amount, and the status.
pub(super) fn moving(draft: &InvoiceDraft, module: &Module) -> Fields {
    let mut row = Fields::new();
    row.insert("received".into(), amount(draft.received - draft.returned).into());
    row.insert("balance".into(), amount(open(draft)).into());
    row.insert("invoicestatus".into(), status(draft.state).into());
    if let Some(field) = module.own("payments") {
        row.insert(field.to_owned(), normalise_fields(field, &draft.payments.replace('\n', "; ")).into());
    }
    let tax = draft.tax.clone().unwrap_or_default();
    put(&mut row, "description", &[tax.as_str(), draft.payments.as_str()].join("\n"));
    row
}

/// All fields of a new invoice.
///
/// # Errors
/// If the CRM does not have the currency.
pub(super) fn whole(
    draft: &InvoiceDraft,
    hangs: InvoiceOwners,
    account: u64,
    schema: &Schema,
    invoices: &Invoices,
    (zone, language): (&TimeZone, Language),
) -> Result<Fields, String> {
    let currency = invoices
        .currencies
        .get(&draft.currency)
        .ok_or_else(|| format!("the CRM has no currency {}; add it under Settings, Currencies", draft.currency))?;
    let day = |at: stagedoor_model::Timestamp| at.to_zoned_datetime(zone.clone()).date().to_string();
    let mut row = moving(draft, &invoices.module);
    put(&mut row, "subject", &subject(draft, language));
    for (field, value) in [
        ("account_id", schema.accounts.of(account)),
        ("contact_id", schema.contacts.of(hangs.contact)),
        ("potential_id", schema.deals.of(hangs.deal)),
        ("assigned_user_id", schema.owner.clone()),
        ("currency_id", currency.clone()),
        ("conversion_rate", "1".to_owned()),
        // Prices include tax. A tax on top would be charged twice (total_with_tax).
        ("hdnTaxType", "group".to_owned()),
        ("invoicedate", day(draft.on)),
        ("duedate", day(draft.due)),
        // The address is mandatory, and the hub has none.
        ("bill_street", "-".to_owned()),
        ("ship_street", "-".to_owned()),
        ("productid", invoices.service.clone()),
    ] {
        row.insert(field.into(), value.into());
    }
    if let Some(field) = invoices.module.own("id") {
        row.insert(field.to_owned(), as_held(&draft.key).into());
    }
    let line = |line: &InvoiceLine| {
        json!({ "productid": invoices.service, "quantity": line.quantity.to_string(), "listprice": amount(line.price),
            "comment": normalise_fields("comment", line.words()), "tax1": "0", "tax2": "0", "tax3": "0" })
    };
    row.insert("LineItems".into(), draft.lines.iter().map(line).collect::<Value>());
    Ok(row)
}

/// The subject by which an invoice is found if the module has no field of the hub's. It holds at most 100 characters,
/// and the key must be among them.
fn subject(draft: &InvoiceDraft, language: Language) -> String {
    let key = as_held(&draft.key);
    let room = 90_usize.saturating_sub(key.chars().count());
    texts::subject(draft.number.chars().take(room).collect::<String>(), key).to(language)
}

/// Start of the comment that stands for a document, up to the bracket before the order's number.
pub(super) fn heading(key: &str, language: Language) -> String {
    let (before, _) = texts::document(as_held(key), MARK).around(language);
    let end = before.rfind('(').map_or(before.len(), |bracket| bracket + 1);
    before.get(..end).unwrap_or_default().to_owned()
}

/// The total in a document's comment, and the received amount less refunds, in hundredths. The comment may be in any
/// language.
pub(super) fn sums(words: Option<&str>) -> (i64, i64) {
    let amount = |line: &str, after: &str| -> i64 {
        let text = line.split_once(after).and_then(|(_, rest)| rest.split_whitespace().next()).unwrap_or_default();
        let amount = Decimal::from_str_exact(text).unwrap_or_default() * Decimal::ONE_HUNDRED;
        i64::try_from(amount).unwrap_or(0)
    };
    let lines = || words.unwrap_or_default().lines();
    let told = |text: &Text| {
        Language::ALL.into_iter().find_map(|language| {
            let (before, _) = text.around(language);
            Some((lines().find(|line| line.starts_with(&before))?, before, language))
        })
    };
    let total = told(&texts::total(MARK)).map_or(0, |(line, before, _)| amount(line, &before));
    let moved = told(&texts::moved(MARK, "", "")).map_or(0, |(line, before, language)| {
        let (between, _) = texts::moved("", MARK, "").around(language);
        let returned = between.strip_prefix(before.as_str()).unwrap_or(&between);
        amount(line, &before) - amount(line, returned)
    });
    (total, moved)
}

/// The document as the text of a comment.
pub(super) fn words(draft: &InvoiceDraft, language: Language) -> String {
    let money = |minor: i64| format!("{} {}", amount(minor), draft.currency);
    let mut lines = vec![texts::document(as_held(&draft.key), &draft.number).to(language)];
    lines.extend(draft.lines.iter().map(|line| {
        format!("{} × {} = {}", line.words(), line.quantity, money(line.price.saturating_mul(line.quantity.into())))
    }));
    lines.push(texts::total(money(draft.total)).to(language));
    lines.extend(draft.tax.clone());
    let state = match draft.state {
        InvoiceStatus::Created => texts::created(),
        InvoiceStatus::Paid => texts::paid(),
        InvoiceStatus::Cancelled => texts::cancelled(),
    };
    lines.push(texts::moved(money(draft.received), money(draft.returned), state).to(language));
    lines.extend(Some(draft.payments.clone()).filter(|text| !text.is_empty()));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sums_of_a_document_in_words_are_read_back() {
        let words =
            "Closing document theatre:1 (order 7)\nTotal 3601.50 RUB\nReceived 3601.50 RUB, returned 1800.75 RUB: Paid";
        assert_eq!(sums(Some(words)), (360_150, 180_075));
        let words = "Закрывающий документ theatre:1 (заказ 7)\nИтого 3601.50 RUB\n\
                     Получено 3601.50 RUB, возвращено 1800.75 RUB: оплачен";
        assert_eq!(sums(Some(words)), (360_150, 180_075));
        assert_eq!(sums(None), (0, 0));
    }
}
