//! Saves a commit safely and cheaply.
//!
//! One person with new names is nearly every commit. It is written without a transaction, the person first. If another
//! person has taken a name in the meantime, the commit is a conflict. A new person is then removed again, and the fold
//! starts over.
//!
//! A crash between the person and the names leaves a person whom no name finds. At the next attempt the fold finds them
//! by the record that they were made from (`PersonId::of`). Joins, released and shared identifiers need transactions,
//! which cost twice as much.
//!
//! A row about a person whom the commit does not write goes into that person's trail, after the rest of the commit. If
//! there is no such person, they were erased in the meantime, and the commit is a conflict.
//!
//! The journal comes last, after the pages of waiting people. Until then the event counts as not folded, and its next
//! delivery does everything again with the same result.

use aws_sdk_dynamodb::{
    error::SdkError,
    operation::{
        delete_item::DeleteItemError, put_item::PutItemError, transact_write_items::TransactWriteItemsError,
        update_item::UpdateItemError,
    },
    primitives::Blob,
    types::{AttributeValue, Delete, Put, ReturnValue, TransactWriteItem, Update},
};
use stagedoor_engine::{Person, PersonId};
use stagedoor_model::{Identifier, breakage};
use stagedoor_ports::{Commit, PortError, Removal, Result, Saved};

use crate::{
    dynamo::{Item, failed, held, item, number, text},
    store::{
        DynamoStore, journal_key,
        parts::{InParts, Kind},
        person_keys, unique,
    },
};

/// The largest number of actions in one transaction (DynamoDB, TransactWriteItems).
const ACTIONS: usize = 100;

fn built<T>(built: std::result::Result<T, aws_sdk_dynamodb::error::BuildError>) -> Result<T> {
    built.map_err(|error| PortError::Fail(error.to_string()))
}

fn put(put: Put) -> TransactWriteItem {
    TransactWriteItem::builder().put(put).build()
}

/// True if another process writes the item. This is an answer, not a failure.
pub(super) fn busy_update(error: &UpdateItemError) -> bool {
    matches!(
        error,
        UpdateItemError::ConditionalCheckFailedException(_) | UpdateItemError::TransactionConflictException(_)
    )
}

fn busy_put(error: &PutItemError) -> bool {
    matches!(error, PutItemError::ConditionalCheckFailedException(_) | PutItemError::TransactionConflictException(_))
}

fn busy_delete(error: &DeleteItemError) -> bool {
    matches!(
        error,
        DeleteItemError::ConditionalCheckFailedException(_) | DeleteItemError::TransactionConflictException(_)
    )
}

/// The write of one person. `by` names the write. The SDK repeats a call whose answer was lost, and with this name the
/// repetition is no conflict.
struct PersonWrite {
    expression: String,
    condition: &'static str,
    values: Item,
    document: InParts,
}

impl PersonWrite {
    fn of(person: &Person, version: Option<u64>, commit: &Commit) -> Result<Self> {
        let (next, by) = (version.unwrap_or(0) + 1, unique());
        let document = InParts::of(Kind::Person, person.id, (next, &by), person, commit.people.len())?;
        let mut values = item([(":doc", document.head()), (":next", number(next)), (":by", text(by))]);
        // Only rows of this person. A row of another person in the same commit would be shown and erased with this one.
        let all = breakage::is_on("trails-to-all");
        let own = commit.journal.iter().filter(|row| all || row.person == Some(person.id));
        let trail: Vec<Blob> = own.map(|row| Blob::new(journal_key(&row.event.id))).collect();
        let mut expression = "SET doc = :doc, version = :next, written_by = :by".to_owned();
        if document.further() > 0 {
            values.extend(item([(":parts", number(document.further())), (":yes", text("yes"))]));
            expression.push_str(", parts = :parts, in_parts = :yes REMOVE target");
        } else {
            // A person who was once stored in parts is swept at every write.
            expression.push_str(" REMOVE target, parts");
        }
        if !trail.is_empty() {
            values.insert(":trail".into(), AttributeValue::Bs(trail));
            expression.push_str(" ADD trail :trail");
        }
        let condition = match version {
            None => "attribute_not_exists(version) OR written_by = :by",
            Some(version) => {
                values.insert(":version".into(), number(version));
                "version = :version OR written_by = :by"
            }
        };
        Ok(Self { expression, condition, values, document })
    }
}

impl DynamoStore {
    pub(super) async fn save_one(&self, commit: &Commit) -> Result<Saved> {
        let saved = self.save_people(commit).await?;
        let is_whole = saved == Saved::Done && self.add_to_trails(commit).await?;
        Ok(if is_whole { Saved::Done } else { Saved::Conflict })
    }

    async fn save_people(&self, commit: &Commit) -> Result<Saved> {
        let names = [&commit.released, &commit.shared_identifiers, &commit.lifted];
        let joins = !commit.removed.is_empty() || names.iter().any(|one| !one.is_empty());
        if joins || commit.people.len() > 1 {
            self.save_together(commit).await
        } else {
            self.save_plainly(commit).await
        }
    }

    async fn save_plainly(&self, commit: &Commit) -> Result<Saved> {
        let (person, mut newcomer) = (commit.people.first(), None);
        if let Some((person, version)) = person {
            let write = PersonWrite::of(person, *version, commit)?;
            self.put_parts(&write.document).await?;
            let request = self
                .client
                .update_item()
                .table_name(self.table("people"))
                .key("id", text(person.id.to_string()))
                .update_expression(write.expression)
                .condition_expression(write.condition)
                .set_expression_attribute_values(Some(write.values))
                .return_values(ReturnValue::AllNew);
            let head = match request.send().await {
                Ok(answer) => answer.attributes.unwrap_or_default(),
                Err(error) if error.as_service_error().is_some_and(busy_update) => {
                    self.drop_parts(&write.document).await?;
                    return Ok(Saved::Conflict);
                }
                Err(error) => return Err(failed("UpdateItem", error)),
            };
            self.tidy(Kind::Person, &head).await;
            self.end_writing(&write.document).await;
            newcomer = version.is_none().then_some(write.document);
        }
        let mut mine = Vec::new();
        for claim in &commit.claims {
            if self.claim(claim).await? {
                mine.push(claim);
                continue;
            }
            if let (Some((person, None)), Some(document)) = (person, newcomer) {
                self.take_back(person.id, &mine, &document).await?;
            }
            return Ok(Saved::Conflict);
        }
        Ok(Saved::Done)
    }

    async fn claim(&self, (identifier, person, expected): &(Identifier, PersonId, Option<PersonId>)) -> Result<bool> {
        let claim = item([("identifier", text(identifier.to_string())), ("person", text(person.to_string()))]);
        let request = self
            .client
            .put_item()
            .table_name(self.table("names"))
            .set_item(Some(claim))
            .expression_attribute_values(":me", text(person.to_string()));
        let request = match expected {
            None => request.condition_expression("attribute_not_exists(identifier) OR person = :me"),
            Some(owner) => request
                .condition_expression("person = :owner OR person = :me")
                .expression_attribute_values(":owner", text(owner.to_string())),
        };
        held("PutItem", request.send().await, busy_put)
    }

    /// Removes a new person whose name now belongs to another person. If the person was joined in the meantime, they
    /// stay.
    async fn take_back(
        &self,
        person: PersonId,
        claims: &[&(Identifier, PersonId, Option<PersonId>)],
        document: &InParts,
    ) -> Result<()> {
        let request = self
            .client
            .delete_item()
            .table_name(self.table("people"))
            .key("id", text(person.to_string()))
            .condition_expression("version = :first")
            .expression_attribute_values(":first", number(1));
        if !held("DeleteItem", request.send().await, busy_delete)? {
            return Ok(());
        }
        self.drop_parts(document).await?;
        for (identifier, person, _) in claims {
            let request = self
                .client
                .delete_item()
                .table_name(self.table("names"))
                .key("identifier", text(identifier.to_string()))
                .condition_expression("person = :me")
                .expression_attribute_values(":me", text(person.to_string()));
            _ = held("DeleteItem", request.send().await, busy_delete)?;
        }
        Ok(())
    }

    /// Saves the commit as transactions. A commit of more than a hundred actions is split, names first and people last.
    /// After a crash between two parts, the next delivery of the same events completes it.
    async fn save_together(&self, commit: &Commit) -> Result<Saved> {
        let mut actions = self.names(commit)?;
        for removal in &commit.removed {
            actions.push(self.removal(removal)?);
        }
        let gone = self.parts_of_removed(&commit.removed).await?;
        let mut documents = Vec::new();
        for (person, version) in &commit.people {
            let write = PersonWrite::of(person, *version, commit)?;
            actions.push(self.person(person, &write)?);
            self.put_parts(&write.document).await?;
            documents.push(write.document);
        }
        while !actions.is_empty() {
            let rest = actions.split_off(actions.len().min(ACTIONS));
            let part = std::mem::replace(&mut actions, rest);
            match self.client.transact_write_items().set_transact_items(Some(part)).send().await {
                Ok(_) => {}
                Err(error) if is_conflict(&error) => {
                    for document in &documents {
                        self.drop_parts(document).await?;
                    }
                    return Ok(Saved::Conflict);
                }
                Err(error) => return Err(failed("TransactWriteItems", error)),
            }
        }
        self.tidy_after(commit, gone).await;
        for document in &documents {
            self.end_writing(document).await;
        }
        Ok(Saved::Done)
    }

    /// Removes old parts. The heads have to be read, because a transaction does not return what it wrote. If this
    /// fails, a later write does it.
    async fn tidy_after(&self, commit: &Commit, gone: Vec<(String, Vec<String>)>) {
        for (partition, keys) in gone.into_iter().filter(|_| !breakage::is_on("parts-of-joined-stay")) {
            if let Err(error) = self.remove_parts(&partition, keys.into_iter()).await {
                tracing::warn!(%error, "parts of somebody who was joined were not removed");
            }
        }
        let people = person_keys(commit.people.iter().map(|(person, _)| person.id), "id");
        match self.get("people", people).await {
            Ok(heads) => {
                for head in heads {
                    self.tidy(Kind::Person, &head).await;
                }
            }
            Err(error) => tracing::warn!(%error, "people who were written together were not tidied"),
        }
    }

    fn names(&self, commit: &Commit) -> Result<Vec<TransactWriteItem>> {
        let mut actions = Vec::new();
        let table = self.table("names");
        let claimed = |identifier| commit.claims.iter().any(|(one, _, _)| one == identifier);
        for identifier in
            commit.released.iter().filter(|one| !claimed(*one) && !commit.shared_identifiers.contains(one))
        {
            // A row without a person marks a shared identifier, and stays.
            let delete = Delete::builder()
                .table_name(&table)
                .key("identifier", text(identifier.to_string()))
                .condition_expression("attribute_exists(person) OR attribute_not_exists(identifier)");
            actions.push(TransactWriteItem::builder().delete(built(delete.build())?).build());
        }
        for identifier in commit.lifted.iter().filter(|one| !claimed(*one)) {
            let delete = Delete::builder()
                .table_name(&table)
                .key("identifier", text(identifier.to_string()))
                .condition_expression("attribute_not_exists(person)");
            actions.push(TransactWriteItem::builder().delete(built(delete.build())?).build());
        }
        for identifier in &commit.shared_identifiers {
            let crowd = item([("identifier", text(identifier.to_string()))]);
            actions.push(put(built(Put::builder().table_name(&table).set_item(Some(crowd)).build())?));
        }
        for (identifier, person, expected) in &commit.claims {
            let claim = item([("identifier", text(identifier.to_string())), ("person", text(person.to_string()))]);
            let builder = Put::builder().table_name(&table).set_item(Some(claim));
            let builder = match expected {
                None if commit.lifted.contains(identifier) => {
                    builder.condition_expression("attribute_not_exists(person)")
                }
                None => builder.condition_expression("attribute_not_exists(identifier)"),
                Some(owner) => builder
                    .condition_expression("person = :owner")
                    .expression_attribute_values(":owner", text(owner.to_string())),
            };
            actions.push(put(built(builder.build())?));
        }
        Ok(actions)
    }

    // Their trail stays, for the person they were joined into.
    fn removal(&self, removal: &Removal) -> Result<TransactWriteItem> {
        let builder = Update::builder()
            .table_name(self.table("people"))
            .key("id", text(removal.id.to_string()))
            .update_expression("SET target = :into REMOVE doc, version, written_by, parts")
            .condition_expression("version = :version")
            .expression_attribute_values(":into", text(removal.into.to_string()))
            .expression_attribute_values(":version", number(removal.version));
        Ok(TransactWriteItem::builder().update(built(builder.build())?).build())
    }

    fn person(&self, person: &Person, write: &PersonWrite) -> Result<TransactWriteItem> {
        let builder = Update::builder()
            .table_name(self.table("people"))
            .key("id", text(person.id.to_string()))
            .update_expression(&write.expression)
            .condition_expression(write.condition)
            .set_expression_attribute_values(Some(write.values.clone()));
        Ok(TransactWriteItem::builder().update(built(builder.build())?).build())
    }
}

fn is_conflict(error: &SdkError<TransactWriteItemsError>) -> bool {
    let Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) = error.as_service_error() else {
        return false;
    };
    let lost = ["ConditionalCheckFailed", "TransactionConflict"];
    cancelled.cancellation_reasons().iter().any(|reason| reason.code().is_some_and(|code| lost.contains(&code)))
}
