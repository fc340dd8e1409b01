//! Two contacts of one person: the deals of one go to the other, and both say so.

use serde_json::json;
use stagedoor_model::breakage;
use stagedoor_ports::{Gone, WriteOutcome};

use crate::vtiger::{client::Vtiger, notes_and_tasks, query, schema::Schema, transport::Failure};

/// How the comment begins that says of which contact one is a duplicate.
pub(super) const DUPLICATE_OF: &str = "Duplicate of ";

impl Vtiger {
    /// Deals of the one go to the other; doing it twice changes nothing.
    async fn move_deals(&self, schema: &Schema, contact: u64, of: u64) -> Result<(), Failure> {
        let condition = format!("contact_id={}", query::literal(&schema.contacts.of(contact)));
        for row in query::all(&self.transport, "id", "Potentials", &condition).await? {
            let element = json!({ "id": row.get("id"), "contact_id": schema.contacts.of(of) }).to_string();
            match self.transport.post("revise", &[("element", &element)]).await {
                // One that was deleted meanwhile needs no other contact.
                Err(failure) if failure.is_gone() => {}
                answer => drop(answer?),
            }
        }
        Ok(())
    }

    pub(super) async fn mark(&self, schema: &Schema, contact: u64, of: u64) -> WriteOutcome {
        // A deal whose new contact is gone would lose the old one, and be answered with success.
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
        // It merges nothing by its webservice: both say it, and a manager merges them there.
        let rows = vec![
            told(contact, format!("{DUPLICATE_OF}{}: its deals were moved there", schema.contacts.of(of))),
            told(of, format!("{} is a duplicate of this contact: merge them", schema.contacts.of(contact))),
        ];
        let made = notes_and_tasks::make(&self.transport, "ModComments", rows).await;
        made.into_iter().next().map_or(WriteOutcome::NotSent, |row| {
            if let WriteOutcome::Done(_) = row { WriteOutcome::Done(contact) } else { row }
        })
    }
}
