//! What the hub knows of a person's rows in the CRM, one item a person.

use aws_sdk_dynamodb::{operation::put_item::PutItemError, types::ReturnValue};
use stagedoor_engine::{CrmState, PersonId};
use stagedoor_ports::Result;

use crate::{
    dynamo::{failed, item, number, number_of, text},
    store::{
        DynamoStore,
        parts::{InParts, Kind},
        shards::{SHARDS, shard_of},
        unique,
    },
};

impl DynamoStore {
    /// Saves a CRM state. Returns the increase of its number of deals in the CRM.
    pub(super) async fn save_link(&self, id: PersonId, mut link: CrmState) -> Result<i64> {
        let read = link.revision;
        link.revision += 1;
        let deals = link.deals.values().filter(|deal| deal.id.is_some()).count();
        let by = unique();
        let document = InParts::of(Kind::Link, id, (link.revision, &by), &link, 1)?;
        self.put_parts(&document).await?;
        let mut one = item([("person", text(id.to_string())), ("doc", document.head()), ("deals", number(deals))]);
        one.extend(item([("revision", number(link.revision)), ("written_by", text(by.as_str()))]));
        if document.further() > 0 {
            one.extend(item([("parts", number(document.further())), ("in_parts", text("yes"))]));
        }
        if !link.rejected().is_empty() {
            one.insert("has_parked".into(), text(shard_of(&id.to_string(), SHARDS)));
        }
        let head = one.clone();
        let request = self.client.put_item().table_name(self.table("links")).set_item(Some(one));
        // The SDK repeats a call whose answer was lost. The repetition is no conflict.
        let request = request
            .condition_expression(match read {
                0 => "attribute_not_exists(person) OR written_by = :by",
                _ => "revision = :read OR written_by = :by",
            })
            .set_expression_attribute_values(Some(match read {
                0 => item([(":by", text(by))]),
                _ => item([(":by", text(by)), (":read", number(read))]),
            }));
        let answer = request.return_values(ReturnValue::AllOld).send().await;
        let before = match answer {
            Ok(answer) => answer.attributes,
            Err(error) if error.as_service_error().is_some_and(PutItemError::is_conditional_check_failed_exception) => {
                self.drop_parts(&document).await?;
                return Err(stagedoor_ports::outdated());
            }
            Err(error) => return Err(failed("PutItem", error)),
        };
        let before = before.unwrap_or_default();
        // A document that fits into one item again leaves the parts of the earlier one behind.
        let marks = head.get("in_parts").or_else(|| before.get("in_parts")).cloned();
        let head = head.into_iter().chain(marks.map(|mark| ("in_parts".to_owned(), mark))).collect();
        self.tidy(Kind::Link, &head).await;
        self.end_writing(&document).await;
        let before = number_of(&before, "deals").unwrap_or(0);
        Ok(deals as i64 - before as i64)
    }
}
