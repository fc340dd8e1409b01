//! Closing documents. An invoice has lines, which are made with it: revised, they answer 500 and leave totals of nought
//! (recorded: invoice_lines_revised). What came and what is open are both written: the one does not follow from the other
//! (invoice_received_alone).
//!
//! 8.4.0 as it is shipped makes no invoice by its webservice: `create` asks for the id of what is being made and answers
//! INVALID_ID_ATTRIBUTE, whatever is sent (recorded: invoice in 10; docs/crm.md says which line it is). There the closing
//! document is a comment on the deal, with the same words, kept up to date in the same way.

use std::sync::atomic::{AtomicBool, Ordering};

use jiff::tz::TimeZone;
use rust_decimal::Decimal;
use serde_json::{Value, json};
use stagedoor_engine::{InvoiceDraft, InvoiceLine, InvoiceStatus};
use stagedoor_ports::InvoiceOwners;

use crate::vtiger::{
    invoice_wire::as_held,
    normalise::{amount, normalise_fields, put},
    schema::{Invoices, Module, Schema},
    wire::Fields,
};

/// Whether this server was seen to make no invoices.
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

/// Stages of an invoice as they are there from the start.
fn status(state: InvoiceStatus) -> &'static str {
    match state {
        InvoiceStatus::Created => "Created",
        InvoiceStatus::Paid => "Paid",
        InvoiceStatus::Cancelled => "Cancel",
    }
}

/// What the buyer still has to pay, in minor units.
fn open(draft: &InvoiceDraft) -> i64 {
    if draft.state == InvoiceStatus::Created { draft.total - (draft.received - draft.returned) } else { 0 }
}

/// Whether a new invoice has to be revised at once: the server counts what is open by what came, and takes what went back for
/// owed (recorded: balance_is_the_total).
pub(super) fn is_counted_wrong(draft: &InvoiceDraft) -> bool {
    open(draft) != draft.total - (draft.received - draft.returned)
}

/// What changes: what came and is still there, what is open, and how it stands.
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

/// # Errors
/// A currency that the CRM has not.
pub(super) fn whole(
    draft: &InvoiceDraft,
    hangs: InvoiceOwners,
    account: u64,
    schema: &Schema,
    invoices: &Invoices,
    zone: &TimeZone,
) -> Result<Fields, String> {
    let currency = invoices
        .currencies
        .get(&draft.currency)
        .ok_or_else(|| format!("the CRM has no currency {}; add it under Settings, Currencies", draft.currency))?;
    let day = |at: stagedoor_model::Timestamp| at.to_zoned_datetime(zone.clone()).date().to_string();
    let mut row = moving(draft, &invoices.module);
    put(&mut row, "subject", &subject(draft));
    for (field, value) in [
        ("account_id", schema.accounts.of(account)),
        ("contact_id", schema.contacts.of(hangs.contact)),
        ("potential_id", schema.deals.of(hangs.deal)),
        ("assigned_user_id", schema.owner.clone()),
        ("currency_id", currency.clone()),
        ("conversion_rate", "1".to_owned()),
        // Prices hold their tax: what is added on top would be asked for twice (total_with_tax).
        ("hdnTaxType", "group".to_owned()),
        ("invoicedate", day(draft.on)),
        ("duedate", day(draft.due)),
        // Mandatory, and nobody told an address.
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
            "comment": normalise_fields("comment", &line.title), "tax1": "0", "tax2": "0", "tax3": "0" })
    };
    row.insert("LineItems".into(), draft.lines.iter().map(line).collect::<Value>());
    Ok(row)
}

/// By which one is found where the module has no field of the hub's: of a hundred letters the key has to be among them.
fn subject(draft: &InvoiceDraft) -> String {
    let key = as_held(&draft.key);
    let room = 90_usize.saturating_sub(key.chars().count());
    format!("Order {}, {key}", draft.number.chars().take(room).collect::<String>())
}

/// With what the comment of a document begins.
pub(super) fn heading(key: &str) -> String {
    format!("Closing document {} ", as_held(key))
}

/// What the comment of a document says that it is about, and what came and did not go back, in hundredths.
pub(super) fn sums(words: Option<&str>) -> (i64, i64) {
    let amount = |line: &str, after: &str| -> i64 {
        let text = line.split_once(after).and_then(|(_, rest)| rest.split_whitespace().next()).unwrap_or_default();
        let amount = Decimal::from_str_exact(text).unwrap_or_default() * Decimal::ONE_HUNDRED;
        i64::try_from(amount).unwrap_or(0)
    };
    let lines = || words.unwrap_or_default().lines();
    let total = lines().find(|line| line.starts_with("Total ")).map_or(0, |line| amount(line, "Total "));
    let moved = lines().find(|line| line.starts_with("Received ")).unwrap_or_default();
    (total, amount(moved, "Received ") - amount(moved, "returned "))
}

/// The same document in words.
pub(super) fn words(draft: &InvoiceDraft) -> String {
    let money = |minor: i64| format!("{} {}", amount(minor), draft.currency);
    let mut lines = vec![format!("{}(order {})", heading(&draft.key), draft.number)];
    lines.extend(draft.lines.iter().map(|line| {
        format!("{} × {} = {}", line.title, line.quantity, money(line.price.saturating_mul(line.quantity.into())))
    }));
    lines.push(format!("Total {}", money(draft.total)));
    lines.extend(draft.tax.clone());
    lines.push(format!(
        "Received {}, returned {}: {}",
        money(draft.received),
        money(draft.returned),
        status(draft.state)
    ));
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
        assert_eq!(sums(None), (0, 0));
    }
}
