//! Invoices. If the server cannot create them, comments with the same content take their place.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use stagedoor_engine::{InvoiceDraft, InvoiceParents};
use stagedoor_model::breakage;
use stagedoor_ports::{Gone, InvoiceOwners, WriteOutcome};

use crate::vtiger::{
    client::Vtiger,
    companies,
    create::{Maker, New, OTHERWISE},
    invoices::{self, as_held},
    normalise::{self, normalise_fields},
    notes_and_tasks, query,
    schema::{Invoices, Schema},
    transport::Failure,
};

/// Fields that must come back as they were sent. The answer to `create` gives the open balance before the server has
/// counted it (recorded: invoice and balance_is_the_total).
const EXACT: &[&str] = &["account_id", "contact_id", "potential_id", "received"];
/// Maximum number of attempts until an invoice has all its lines.
const ATTEMPTS: usize = 6;
const NONE: &str = "the config names no service for invoices";

/// Contact and deal to which an existing document should belong.
fn parents_of(draft: &InvoiceDraft) -> Option<InvoiceParents> {
    draft.parents.filter(|_| !breakage::is_on("invoice-left-behind"))
}

/// True if a reference of the invoice is empty. The CRM empties a reference to a deleted record and answers success.
fn hangs_on_nothing(invoice: &Value) -> bool {
    let reference = |field: &str| invoice.get(field).map(normalise::plain).unwrap_or_default();
    ["account_id", "contact_id", "potential_id"].iter().any(|field| reference(field).is_empty())
}

fn has_account(row: &Value) -> bool {
    row.get("account_id").is_some_and(|account| !normalise::plain(account).is_empty())
}

impl Vtiger {
    pub(super) async fn make_invoices(&self, rows: &[(InvoiceOwners, InvoiceDraft)]) -> Vec<WriteOutcome> {
        let Some(schema) = self.ready().await else { return vec![WriteOutcome::NotSent; rows.len()] };
        let Some(known) = &schema.invoices else { return vec![WriteOutcome::Refused(NONE.into()); rows.len()] };
        let keys: Vec<String> = rows.iter().map(|(_, draft)| draft.key.clone()).collect();
        let there = match self.invoices_by_key(&schema, &keys).await {
            Ok(there) => there,
            Err(failure) => {
                tracing::warn!(?failure, "invoices could not be looked up");
                return vec![WriteOutcome::NotSent; rows.len()];
            }
        };
        let visitors = match self.visitors(&schema, rows).await {
            Ok(visitors) => visitors,
            Err(row) => return vec![row; rows.len()],
        };
        let (schema, there) = (&schema, &there);
        let one = |index: usize| async move {
            let Some((hangs, draft)) = rows.get(index) else { return WriteOutcome::NotSent };
            match there.get(&draft.key) {
                // An invoice whose create call got no answer may lack a line.
                Some(number) => match self.is_whole(known, *number, draft).await {
                    // The invoice may have belonged to another buyer, and may still point at that buyer's deal.
                    Ok(true) => {
                        let parents =
                            Some(InvoiceParents { contact: hangs.contact, deal: hangs.deal, company: hangs.company });
                        self.change(schema, known, *number, &InvoiceDraft { parents, ..draft.clone() }).await
                    }
                    Ok(false) => match self.unmake(known, *number).await {
                        Ok(()) => self.make(schema, known, *hangs, visitors, draft).await,
                        Err(row) => row,
                    },
                    Err(_) => WriteOutcome::NotSent,
                },
                None => self.make(schema, known, *hangs, visitors, draft).await,
            }
        };
        let made = self.each(rows, one).await;
        if breakage::is_on("invoice-of-gone-row-refused") {
            return made;
        }
        let points_at = |index: usize| {
            let Some((hangs, _)) = rows.get(index) else { return vec![] };
            let company = Gone::Company(hangs.company.unwrap_or(visitors));
            vec![Gone::Contact(hangs.contact), Gone::Deal(hangs.deal), company]
        };
        let made = self.gone(schema, made, points_at).await;
        if made.contains(&WriteOutcome::Gone(Gone::Company(visitors))) {
            *self.visitors.lock().await = None;
        }
        made
    }

    pub(super) async fn change_invoices(&self, rows: &[(u64, InvoiceDraft)]) -> Vec<WriteOutcome> {
        let Some(schema) = self.ready().await else { return vec![WriteOutcome::NotSent; rows.len()] };
        let Some(known) = &schema.invoices else { return vec![WriteOutcome::Refused(NONE.into()); rows.len()] };
        let schema = &schema;
        let one = |index: usize| async move {
            let Some((number, draft)) = rows.get(index) else { return WriteOutcome::NotSent };
            self.change(schema, known, *number, draft).await
        };
        self.each(rows, one).await
    }

    async fn make(
        &self,
        schema: &Schema,
        known: &Invoices,
        hangs: InvoiceOwners,
        visitors: u64,
        draft: &InvoiceDraft,
    ) -> WriteOutcome {
        if self.ability.is_missing() {
            return self.comment(schema, known, hangs, draft).await;
        }
        let account = hangs.company.unwrap_or(visitors);
        let fields = match invoices::whole(
            draft,
            hangs,
            account,
            schema,
            known,
            (&self.settings.zone, self.settings.language),
        ) {
            Ok(fields) => fields,
            Err(reason) => return WriteOutcome::Refused(reason),
        };
        let maker = self.invoices_of(known);
        for attempt in 0..ATTEMPTS {
            // An invoice that lost a line to a parallel one is created again under a lock.
            let _alone = if attempt > 0 { Some(self.alone.lock().await) } else { None };
            let (row, answer) = maker.create_telling(New { key: as_held(&draft.key), fields: fields.clone() }).await;
            let number = match row {
                WriteOutcome::Done(number) => number,
                // The records that the invoice points at are gone, so it was created without them. Such an invoice
                // cannot be revised.
                WriteOutcome::Refused(reason) if reason.contains(OTHERWISE) => {
                    let bare = answer.as_ref().filter(|answer| hangs_on_nothing(answer));
                    let number = bare.and_then(query::id).and_then(|id| query::number(&id));
                    let left = match number {
                        Some(number) => self.unmake(known, number).await.err(),
                        None => None,
                    };
                    return left.unwrap_or(WriteOutcome::Refused(reason));
                }
                // All ids in the row came from the CRM a moment ago, so the server itself is at fault.
                WriteOutcome::Refused(reason) if reason.contains("INVALID_ID_ATTRIBUTE") => {
                    self.ability.miss();
                    return self.comment(schema, known, hangs, draft).await;
                }
                row => return row,
            };
            let whole = match answer {
                Some(answer) => Ok(normalise::minor(&answer, "hdnGrandTotal") == draft.total),
                None => self.is_whole(known, number, draft).await,
            };
            match whole {
                Ok(true) => return self.count_open(schema, known, number, draft).await,
                Ok(false) => {}
                // The invoice exists. The next search checks whether it is complete.
                Err(_) => return WriteOutcome::Unknown,
            }
            if let Err(row) = self.unmake(known, number).await {
                return row;
            }
        }
        WriteOutcome::Refused("it lost lines each time that it was made: others write invoices at the same time".into())
    }

    /// Corrects the open balance of an invoice that was just created.
    async fn count_open(&self, schema: &Schema, known: &Invoices, number: u64, draft: &InvoiceDraft) -> WriteOutcome {
        if !invoices::is_counted_wrong(draft) || breakage::is_on("refund-counts-as-owed") {
            return WriteOutcome::Done(number);
        }
        match self.change(schema, known, number, draft).await {
            // The invoice exists. It is revised when the hub finds it again.
            WriteOutcome::NotSent => WriteOutcome::Unknown,
            row => row,
        }
    }

    /// True if the invoice has all its lines. The server numbers lines by counting up the highest number. So one of two
    /// parallel invoices may lose a line, and still be answered with success (5 of 120 through four sessions;
    /// recorded/vtiger/README.md).
    async fn is_whole(&self, known: &Invoices, number: u64, draft: &InvoiceDraft) -> Result<bool, Failure> {
        let id = query::literal(&known.module.of(number));
        let query = format!("select id,hdnGrandTotal,account_id from Invoice where id={id};");
        let rows = query::page(&self.transport, &query).await?;
        Ok(rows.first().is_some_and(|row| normalise::minor(row, "hdnGrandTotal") == draft.total && has_account(row)))
    }

    async fn unmake(&self, known: &Invoices, number: u64) -> Result<(), WriteOutcome> {
        let id = known.module.of(number);
        tracing::warn!(id, "an invoice is not whole; it is made again");
        match self.transport.post("delete", &[("id", &id)]).await {
            Ok(_) => Ok(()),
            Err(failure) if failure.refused("ACCESS_DENIED") => {
                Err(WriteOutcome::Refused(format!("invoice {id} lacks a line, and the hub's user may not delete it")))
            }
            Err(_) => Err(WriteOutcome::Unknown),
        }
    }

    async fn comment(
        &self,
        schema: &Schema,
        known: &Invoices,
        hangs: InvoiceOwners,
        draft: &InvoiceDraft,
    ) -> WriteOutcome {
        let language = self.settings.language;
        let heading = normalise_fields("commentcontent", &invoices::heading(&draft.key, language));
        let is_it = |words: &str| words.starts_with(&heading);
        let Ok(found) = self.first("ModComments", "commentcontent", &format!("{heading}%"), is_it).await else {
            return WriteOutcome::NotSent;
        };
        match found {
            Some(number) => {
                let parents = Some(InvoiceParents { contact: hangs.contact, deal: hangs.deal, company: hangs.company });
                self.rewrite(schema, known, number, &InvoiceDraft { parents, ..draft.clone() }).await
            }
            None => {
                let row = notes_and_tasks::comment(
                    &schema.deals.of(hangs.deal),
                    &invoices::words(draft, language),
                    &schema.owner,
                );
                notes_and_tasks::make(&self.transport, "ModComments", vec![row])
                    .await
                    .pop()
                    .unwrap_or(WriteOutcome::NotSent)
            }
        }
    }

    async fn change(&self, schema: &Schema, known: &Invoices, number: u64, draft: &InvoiceDraft) -> WriteOutcome {
        let id = known.module.of(number);
        let maker = self.invoices_of(known);
        if !self.ability.is_missing() {
            match self.transport.get("retrieve", &[("id", &id)]).await {
                Ok(held) => {
                    let mut fields = invoices::moving(draft, &known.module);
                    match self.moved_to(schema, draft, &held).await {
                        Ok(parents) => fields.extend(parents),
                        Err(_) => return WriteOutcome::NotSent,
                    }
                    return maker.revise(number, fields, &held).await;
                }
                // The record belongs to another module or is gone. The document may be a comment.
                Err(Failure::Refused { .. }) => {}
                Err(_) => return WriteOutcome::NotSent,
            }
        }
        self.rewrite(schema, known, number, draft).await
    }

    /// References that the invoice should have and does not have. A reference to a deleted record would be emptied, so
    /// it stays as it is.
    async fn moved_to(
        &self,
        schema: &Schema,
        draft: &InvoiceDraft,
        held: &Value,
    ) -> Result<Map<String, Value>, Failure> {
        let parents = parents_of(draft);
        let wanted = parents.map(|parents| {
            [
                ("contact_id", schema.contacts.of(parents.contact), Gone::Contact(parents.contact)),
                ("potential_id", schema.deals.of(parents.deal), Gone::Deal(parents.deal)),
            ]
        });
        let mut stale: Vec<_> = wanted.into_iter().flatten().collect();
        // A manager deleted the company, and another took its place. Without one nothing can be changed, not even the
        // state of an invoice that is cancelled.
        let company = match parents.and_then(|parents| parents.company) {
            _ if has_account(held) => None,
            None => self.living_visitors(schema).await?,
            company => company,
        };
        stale.extend(company.map(|company| ("account_id", schema.accounts.of(company), Gone::Company(company))));
        stale.retain(|(field, id, _)| held.get(*field).map(normalise::plain).unwrap_or_default() != *id);
        if !stale.is_empty() && !breakage::is_on("invoice-of-gone-row-refused") {
            let asked: Vec<Gone> = stale.iter().map(|(_, _, row)| *row).collect();
            let gone = self.missing_of(schema, &asked).await?;
            stale.retain(|(_, _, row)| !gone.contains(row));
        }
        Ok(stale.into_iter().map(|(field, id, _)| (field.to_owned(), id.into())).collect())
    }

    async fn rewrite(&self, schema: &Schema, known: &Invoices, number: u64, draft: &InvoiceDraft) -> WriteOutcome {
        let comments = Maker::new(&self.transport, &known.comments, &[], self.settings.grace);
        let (mut fields, words) = (Map::new(), invoices::words(draft, self.settings.language));
        fields.insert("commentcontent".into(), normalise_fields("commentcontent", &words).into());
        if let Some(parents) = parents_of(draft) {
            fields.insert("related_to".into(), schema.deals.of(parents.deal).into());
        }
        comments.update(number, fields).await
    }

    fn invoices_of<'s>(&'s self, known: &'s Invoices) -> Maker<'s> {
        let mut maker = Maker::new(&self.transport, &known.module, EXACT, self.settings.grace);
        maker.late = &["balance"];
        maker
    }

    /// Finds invoices by the hub's own field, or else by their subject. Documents that are comments are searched for
    /// when one is about to be created.
    pub(super) async fn invoices_by_key(
        &self,
        schema: &Schema,
        keys: &[String],
    ) -> Result<BTreeMap<String, u64>, Failure> {
        let Some(known) = &schema.invoices else { return Ok(BTreeMap::new()) };
        let mut found = BTreeMap::new();
        if known.module.own("id").is_some() {
            let held: Vec<String> = keys.iter().map(|key| as_held(key)).collect();
            let there = self.invoices_of(known).find(&held).await?;
            found.extend(keys.iter().zip(&held).filter_map(|(key, held)| Some((key.clone(), *there.get(held)?))));
        } else {
            for key in keys {
                let end = format!(", {}", as_held(key));
                let number =
                    self.first("Invoice", "subject", &format!("%{end}"), |words| words.ends_with(&end)).await?;
                found.extend(number.map(|number| (key.clone(), number)));
            }
        }
        Ok(found)
    }

    /// The first record whose text matches the pattern. `_` and `%` in an order's id match too much, so `is_it` checks
    /// each result.
    async fn first(
        &self,
        module: &str,
        field: &str,
        pattern: &str,
        is_it: impl Fn(&str) -> bool,
    ) -> Result<Option<u64>, Failure> {
        let like = query::literal(pattern);
        let rows = query::all(&self.transport, &format!("id,{field}"), module, &format!("{field} like {like}")).await?;
        let is_it = |row: &&Value| row.get(field).and_then(Value::as_str).is_some_and(&is_it);
        Ok(rows.iter().filter(is_it).find_map(|row| query::number(&query::id(row)?)))
    }

    /// The organisation that holds the invoices of single visitors. Each invoice must have an organisation
    /// (invoice_without_account).
    async fn visitors(&self, schema: &Schema, rows: &[(InvoiceOwners, InvoiceDraft)]) -> Result<u64, WriteOutcome> {
        if self.ability.is_missing() || rows.iter().all(|(hangs, _)| hangs.company.is_some()) {
            return Ok(0);
        }
        self.account_of_visitors(schema).await
    }

    /// The organisation of single visitors, made again if a manager deleted it. `None` if the CRM refuses it.
    async fn living_visitors(&self, schema: &Schema) -> Result<Option<u64>, Failure> {
        let Ok(known) = self.account_of_visitors(schema).await else { return Ok(None) };
        if self.missing_of(schema, &[Gone::Company(known)]).await?.is_empty() {
            return Ok(Some(known));
        }
        *self.visitors.lock().await = None;
        Ok(self.account_of_visitors(schema).await.ok())
    }

    async fn account_of_visitors(&self, schema: &Schema) -> Result<u64, WriteOutcome> {
        let mut known = self.visitors.lock().await;
        if let Some(number) = *known {
            return Ok(number);
        }
        let name = &self.settings.visitors;
        match companies::visitors(&self.accounts_of(schema), name, &schema.owner).await {
            WriteOutcome::Done(number) => Ok(*known.insert(number)),
            WriteOutcome::Refused(reason) => {
                Err(WriteOutcome::Refused(format!("the organisation {name:?} of single visitors: {reason}")))
            }
            _ => Err(WriteOutcome::NotSent),
        }
    }
}
