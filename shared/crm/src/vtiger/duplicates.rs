//! Two contacts of one person. The deals of one move to the other, and a comment on both says so.

use serde_json::json;
use stagedoor_model::breakage;
use stagedoor_ports::{Gone, WriteOutcome};
use stagedoor_texts::notes;

use crate::vtiger::{client::Vtiger, notes_and_tasks, query, schema::Schema, transport::Failure};

impl Vtiger {
    /// Moves the deals of `contact` to `of`. A repeated call changes nothing.
    async fn move_deals(&self, schema: &Schema, contact: u64, of: u64) -> Result<(), Failure> {
        let condition = format!("contact_id={}", query::literal(&schema.contacts.of(contact)));
        for row in query::all(&self.transport, "id", "Potentials", &condition).await? {
            let element = json!({ "id": row.get("id"), "contact_id": schema.contacts.of(of) }).to_string();
            match self.transport.post("revise", &[("element", &element)]).await {
                // A deal that was deleted in the meantime needs no new contact.
                Err(failure) if failure.is_gone() => {}
                answer => drop(answer?),
            }
        }
        Ok(())
    }

    pub(super) async fn mark(&self, schema: &Schema, contact: u64, of: u64) -> WriteOutcome {
        // If the new contact is gone, the CRM empties the deal's reference and answers success.
        let moved = match self.missing_of(schema, &[Gone::Contact(of), Gone::Contact(contact)]).await {
            Ok(gone) => match gone.first() {
                Some(gone) => return WriteOutcome::Gone(*gone),
                None => self.move_deals(schema, contact, of).await,
            },
            Err(failure) => Err(failure),
        };
        match moved {
            Ok(()) => {}
            Err(Failure::Refused { code, message }) if !breakage::is_on("link-4xx-stops-all") => {
                return WriteOutcome::Refused(format!("its deals could not be moved: {message} ({code})"));
            }
            Err(failure) => {
                tracing::warn!(?failure, "deals of a duplicate were not moved; tried again later");
                return WriteOutcome::NotSent;
            }
        }
        let told = |at: u64, text: String| notes_and_tasks::comment(&schema.contacts.of(at), &text, &schema.owner);
        // The webservice cannot merge contacts. Comments on both ask a manager to merge them in the CRM.
        let rows = vec![
            told(contact, notes::duplicate_of(schema.contacts.of(of)).to(self.settings.language)),
            told(of, notes::has_duplicate(schema.contacts.of(contact)).to(self.settings.language)),
        ];
        let made = notes_and_tasks::make(&self.transport, "ModComments", rows).await;
        made.into_iter().next().map_or(WriteOutcome::NotSent, |row| {
            if let WriteOutcome::Done(_) = row { WriteOutcome::Done(contact) } else { row }
        })
    }
}
