//! A commit as transactions. One takes at most a hundred actions (DynamoDB, TransactWriteItems): a larger commit goes in
//! parts, what only names people first, people next, the journal last. A crash between parts is healed by the next
//! delivery of the same events, for the journal does not know them yet.

use aws_sdk_dynamodb::{
    error::SdkError,
    operation::transact_write_items::TransactWriteItemsError,
    types::{Delete, Put, TransactWriteItem, Update},
};
use stagedoor_engine::Person;
use stagedoor_ports::{Commit, JournalRow, Outcome, PortError, Removal, Result, Saved};

use crate::{
    dynamo::{failed, item, number, text},
    store::{DynamoStore, KEEP, json},
};

/// Actions of one transaction at most.
const ACTIONS: usize = 100;

fn built<T>(built: std::result::Result<T, aws_sdk_dynamodb::error::BuildError>) -> Result<T> {
    built.map_err(|error| PortError::Fail(error.to_string()))
}

fn put(put: Put) -> TransactWriteItem {
    TransactWriteItem::builder().put(put).build()
}

impl DynamoStore {
    pub(super) async fn save_one(&self, commit: &Commit) -> Result<Saved> {
        let mut actions = self.names(commit)?;
        for removal in &commit.removed {
            actions.push(self.removal(removal)?);
        }
        for (person, version) in &commit.people {
            actions.push(self.person(person, *version, commit)?);
        }
        for row in &commit.journal {
            actions.push(self.journal_put(row)?);
        }
        while !actions.is_empty() {
            let rest = actions.split_off(actions.len().min(ACTIONS));
            let part = std::mem::replace(&mut actions, rest);
            match self.client.transact_write_items().set_transact_items(Some(part)).send().await {
                Ok(_) => {}
                Err(error) if is_conflict(&error) => return Ok(Saved::Conflict),
                Err(error) => return Err(failed("TransactWriteItems", error)),
            }
        }
        Ok(Saved::Done)
    }

    /// Claims, releases, crowds, audience.
    fn names(&self, commit: &Commit) -> Result<Vec<TransactWriteItem>> {
        let mut actions = Vec::new();
        let table = self.table("names");
        let claimed = |identifier| commit.claims.iter().any(|(one, _, _)| one == identifier);
        for identifier in commit.released.iter().filter(|one| !claimed(*one) && !commit.crowded.contains(one)) {
            let delete = Delete::builder().table_name(&table).key("identifier", text(identifier.to_string()));
            actions.push(TransactWriteItem::builder().delete(built(delete.build())?).build());
        }
        for identifier in &commit.crowded {
            let crowd = item([("identifier", text(identifier.to_string()))]);
            actions.push(put(built(Put::builder().table_name(&table).set_item(Some(crowd)).build())?));
        }
        for (identifier, person, expected) in &commit.claims {
            let claim = item([("identifier", text(identifier.to_string())), ("person", text(person.to_string()))]);
            let builder = Put::builder().table_name(&table).set_item(Some(claim));
            let builder = match expected {
                None => builder.condition_expression("attribute_not_exists(identifier)"),
                Some(owner) => builder
                    .condition_expression("person = :owner")
                    .expression_attribute_values(":owner", text(owner.to_string())),
            };
            actions.push(put(built(builder.build())?));
        }
        for (show, person) in &commit.audience {
            let one = item([("pk", text(format!("show#{show}"))), ("sk", text(person.to_string()))]);
            actions.push(put(built(Put::builder().table_name(self.table("misc")).set_item(Some(one)).build())?));
        }
        Ok(actions)
    }

    fn removal(&self, removal: &Removal) -> Result<TransactWriteItem> {
        let redirect = item([("id", text(removal.id.to_string())), ("target", text(removal.into.to_string()))]);
        let builder = Put::builder()
            .table_name(self.table("people"))
            .set_item(Some(redirect))
            .condition_expression("version = :version")
            .expression_attribute_values(":version", number(removal.version));
        Ok(put(built(builder.build())?))
    }

    fn person(&self, person: &Person, version: Option<u64>, commit: &Commit) -> Result<TransactWriteItem> {
        let since = commit.journal.iter().map(|row| row.folded_at).max().unwrap_or_default();
        let builder = Update::builder()
            .table_name(self.table("people"))
            .key("id", text(person.id.to_string()))
            .update_expression(
                "SET doc = :doc, version = :next, dirty = :yes, waiting = if_not_exists(waiting, :since) REMOVE target",
            )
            .expression_attribute_values(":doc", text(json(person)?))
            .expression_attribute_values(":next", number(version.unwrap_or(0) + 1))
            .expression_attribute_values(":yes", text("yes"))
            .expression_attribute_values(":since", text(since.to_string()));
        let builder = match version {
            None => builder.condition_expression("attribute_not_exists(version)"),
            Some(version) => builder
                .condition_expression("version = :version")
                .expression_attribute_values(":version", number(version)),
        };
        Ok(TransactWriteItem::builder().update(built(builder.build())?).build())
    }

    fn journal_put(&self, row: &JournalRow) -> Result<TransactWriteItem> {
        let seq = format!("{} {} {}", row.folded_at, row.event.time, row.event.id);
        let mut one = item([
            ("id", text(row.event.id.as_str())),
            ("day", text(row.folded_at.strftime("%F").to_string())),
            ("seq", text(seq)),
            ("row", text(json(row)?)),
            ("expires", number((row.folded_at + KEEP).as_second())),
        ]);
        if let Some(person) = row.person {
            one.insert("person".into(), text(person.to_string()));
        }
        if row.outcome == Outcome::Unrecognized {
            one.insert("kept".into(), text("yes"));
            // What waits for its parser does not expire.
            one.remove("expires");
        }
        Ok(put(built(Put::builder().table_name(self.table("journal")).set_item(Some(one)).build())?))
    }
}

fn is_conflict(error: &SdkError<TransactWriteItemsError>) -> bool {
    let Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) = error.as_service_error() else {
        return false;
    };
    let lost = ["ConditionalCheckFailed", "TransactionConflict"];
    cancelled.cancellation_reasons().iter().any(|reason| reason.code().is_some_and(|code| lost.contains(&code)))
}
