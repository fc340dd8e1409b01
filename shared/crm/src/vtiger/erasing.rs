//! Rows of erased people. `delete` puts a record into the recycle bin, which only an administrator can empty.

use std::collections::BTreeSet;

use stagedoor_ports::{Gone, OfErased, Struck, WriteOutcome};

use crate::vtiger::{client::Vtiger, query, schema::Schema, transport::Failure};

impl Vtiger {
    /// Deletes deals, and contacts with their comments and tasks. Invoices and other people's contacts stay.
    pub(super) async fn strike_rows(&self, rows: &[OfErased]) -> Vec<Struck> {
        let Some(schema) = self.ready().await else {
            return rows.iter().map(|row| Struck { id: row.number().to_string(), is_gone: false }).collect();
        };
        let contacts = rows.iter().filter_map(|row| if let OfErased::Contact(id) = row { Some(*id) } else { None });
        let mut kept = BTreeSet::new();
        for contact in contacts {
            // A contact whose comments or tasks could not be deleted is reported.
            if !self.strike_words(&schema, contact).await {
                kept.insert(OfErased::Contact(contact));
            }
        }
        let names: Vec<String> = rows.iter().map(|row| self.id_of(&schema, *row)).collect();
        let (kept, names, schema) = (&kept, &names, &schema);
        let one = |index: usize| async move {
            let (Some(row), Some(id)) = (rows.get(index), names.get(index)) else { return WriteOutcome::NotSent };
            let gone = match row {
                OfErased::Contact(id) => Gone::Contact(*id),
                OfErased::Deal(id) => Gone::Deal(*id),
                OfErased::Invoice(_) | OfErased::ClaimedIn(_) => return WriteOutcome::NotSent,
            };
            if self.is_struck(schema, id, gone).await && !kept.contains(row) {
                WriteOutcome::Done(row.number())
            } else {
                WriteOutcome::NotSent
            }
        };
        let done = self.each(rows, one).await;
        let told = names.iter().zip(done);
        told.map(|(id, row)| Struck { id: id.clone(), is_gone: matches!(row, WriteOutcome::Done(_)) }).collect()
    }

    /// True if a record is in the recycle bin now, or was there before.
    async fn is_struck(&self, schema: &Schema, id: &str, row: Gone) -> bool {
        match self.transport.post("delete", &[("id", id)]).await {
            Ok(_) => true,
            Err(failure) => {
                tracing::warn!(id, ?failure, "a row of an erased person was not deleted");
                self.missing_of(schema, &[row]).await.is_ok_and(|gone| gone.contains(&row))
            }
        }
    }

    /// True if the comments and tasks of a contact are deleted.
    async fn strike_words(&self, schema: &Schema, contact: u64) -> bool {
        match self.words_of(schema, contact).await {
            Ok(ids) => {
                let ids = &ids;
                let one = |index: usize| async move {
                    let id = ids.get(index).map(String::as_str).unwrap_or_default();
                    match self.transport.post("delete", &[("id", id)]).await {
                        Ok(_) => WriteOutcome::Done(0),
                        Err(failure) if failure.is_gone() => WriteOutcome::Done(0),
                        Err(_) => WriteOutcome::NotSent,
                    }
                };
                self.each(ids, one).await.iter().all(|row| matches!(row, WriteOutcome::Done(_)))
            }
            Err(failure) => {
                tracing::warn!(?failure, "comments and tasks of an erased person could not be looked up");
                false
            }
        }
    }

    async fn words_of(&self, schema: &Schema, contact: u64) -> Result<Vec<String>, Failure> {
        let id = query::literal(&schema.contacts.of(contact));
        let mut ids = Vec::new();
        for (module, about) in [("ModComments", "related_to"), ("Calendar", "contact_id")] {
            let rows = query::all(&self.transport, "id", module, &format!("{about}={id}")).await?;
            ids.extend(rows.iter().filter_map(query::id));
        }
        Ok(ids)
    }

    fn id_of(&self, schema: &Schema, row: OfErased) -> String {
        match (row, &schema.invoices) {
            (OfErased::Contact(number) | OfErased::ClaimedIn(number), _) => schema.contacts.of(number),
            (OfErased::Deal(number), _) => schema.deals.of(number),
            (OfErased::Invoice(number), Some(known)) if self.ability.is_missing() => known.comments.of(number),
            (OfErased::Invoice(number), Some(known)) => known.module.of(number),
            (OfErased::Invoice(number), None) => number.to_string(),
        }
    }
}
