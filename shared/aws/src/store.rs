//! The hub's memory on DynamoDB. A commit is one transaction; its conditions are the versions that were loaded.

mod commit;
mod ledger;

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use aws_sdk_dynamodb::{
    Client,
    operation::{delete_item::DeleteItemError, put_item::PutItemError, update_item::UpdateItemError},
    types::Select,
};
use jiff::SignedDuration;
use stagedoor_engine::{Link, Person, PersonId};
use stagedoor_model::{EventId, Identifier, Timestamp};
use stagedoor_ports::{Cell, Claims, Commit, Dirty, JournalRow, PortError, Result, Saved, Store, Totals, Versioned};

use crate::dynamo::{Item, failed, get_all, held, item, number, number_of, text, text_of};

#[derive(Clone)]
pub struct DynamoStore {
    pub(crate) client: Client,
    prefix: String,
}

fn parsed<T: serde::de::DeserializeOwned>(item: &Item, name: &str) -> Result<T> {
    let doc = text_of(item, name).unwrap_or("");
    serde_json::from_str(doc).map_err(|error| PortError::Fail(format!("a stored {name} cannot be read: {error}")))
}

pub(crate) fn json<T: serde::Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|error| PortError::Fail(error.to_string()))
}

fn person_id(text: &str) -> Result<PersonId> {
    PersonId::parse(text).map_err(|_| PortError::Fail("a stored person's id cannot be read".into()))
}

impl DynamoStore {
    pub fn new(config: &aws_config::SdkConfig, prefix: &str) -> Self {
        Self { client: Client::new(config), prefix: prefix.to_owned() }
    }

    pub(crate) fn table(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix)
    }

    async fn get(&self, table: &str, keys: Vec<Item>) -> Result<Vec<Item>> {
        if keys.is_empty() { Ok(vec![]) } else { get_all(&self.client, &self.table(table), keys).await }
    }

    /// Items of people by id, redirects followed.
    async fn people_items(&self, ids: &BTreeSet<PersonId>) -> Result<Vec<Item>> {
        let mut wanted: BTreeSet<String> = ids.iter().map(ToString::to_string).collect();
        let mut found = BTreeMap::new();
        for _ in 0..16 {
            let keys = wanted.iter().map(|id| item([("id", text(id.clone()))])).collect();
            let mut next = BTreeSet::new();
            for one in self.get("people", keys).await? {
                match (text_of(&one, "target"), text_of(&one, "id")) {
                    (Some(target), _) => _ = next.insert(target.to_owned()),
                    (None, Some(id)) => _ = found.insert(id.to_owned(), one),
                    (None, None) => {}
                }
            }
            wanted = next;
            if wanted.is_empty() {
                break;
            }
        }
        Ok(found.into_values().collect())
    }

    pub(crate) async fn query(
        &self,
        table: &str,
        index: Option<&str>,
        key: (&str, &str),
        max: usize,
        newest: bool,
    ) -> Result<Vec<Item>> {
        let (mut found, mut start) = (Vec::new(), None);
        loop {
            let request = self
                .client
                .query()
                .table_name(self.table(table))
                .set_index_name(index.map(str::to_owned))
                .key_condition_expression("#key = :key")
                .expression_attribute_names("#key", key.0)
                .expression_attribute_values(":key", text(key.1))
                .scan_index_forward(!newest)
                .limit(max.saturating_sub(found.len()).clamp(1, 1000) as i32)
                .set_exclusive_start_key(start);
            let answer = request.send().await.map_err(|error| failed("Query", error))?;
            found.extend(answer.items.unwrap_or_default());
            start = answer.last_evaluated_key;
            if start.is_none() || found.len() >= max {
                found.truncate(max);
                return Ok(found);
            }
        }
    }

    async fn count(&self, table: &str, filter: Option<&str>) -> Result<u64> {
        let (mut total, mut start) = (0, None);
        loop {
            let mut request = self.client.scan().table_name(self.table(table)).select(Select::Count);
            if let Some(filter) = filter {
                request = request.filter_expression(filter);
            }
            let answer = request.set_exclusive_start_key(start).send().await.map_err(|error| failed("Scan", error))?;
            total += answer.count as u64;
            start = answer.last_evaluated_key;
            if start.is_none() {
                return Ok(total);
            }
        }
    }
}

#[async_trait]
impl Store for DynamoStore {
    async fn journaled(&self, ids: &[EventId]) -> Result<BTreeSet<EventId>> {
        let unique: BTreeSet<&EventId> = ids.iter().collect();
        let keys = unique.into_iter().map(|id| item([("id", text(id.as_str()))])).collect();
        let found = self.get("journal", keys).await?;
        Ok(found.iter().filter_map(|one| text_of(one, "id").map(|id| EventId::from(id.to_owned()))).collect())
    }

    async fn resolve(&self, identifiers: &BTreeSet<Identifier>) -> Result<Claims> {
        let keys = identifiers.iter().map(|one| item([("identifier", text(one.to_string()))])).collect();
        let mut claims = Claims::default();
        for one in self.get("names", keys).await? {
            let Some(identifier) = text_of(&one, "identifier").and_then(|text| text.parse().ok()) else { continue };
            match text_of(&one, "person") {
                Some(id) => _ = claims.owners.insert(identifier, person_id(id)?),
                None => _ = claims.weak.insert(identifier),
            }
        }
        Ok(claims)
    }

    async fn load(&self, ids: &BTreeSet<PersonId>) -> Result<Vec<Versioned<Person>>> {
        let items = self.people_items(ids).await?;
        let read =
            |one: &Item| Ok(Versioned { value: parsed(one, "doc")?, version: number_of(one, "version").unwrap_or(0) });
        items.iter().map(read).collect()
    }

    async fn save(&self, commits: Vec<Commit>) -> Result<Vec<Saved>> {
        let mut saved = Vec::with_capacity(commits.len());
        for commit in commits {
            saved.push(self.save_one(&commit).await?);
        }
        Ok(saved)
    }

    async fn take_dirty(&self, max: usize) -> Result<Vec<Dirty>> {
        let waiting = self.query("people", Some("dirty"), ("dirty", "yes"), max, false).await?;
        // The index lags behind: what it names is read again, consistently.
        let ids: Vec<PersonId> =
            waiting.iter().filter_map(|one| text_of(one, "id")).map(person_id).collect::<Result<_>>()?;
        let keys = ids.iter().map(|id| item([("id", text(id.to_string()))])).collect();
        let items = self.get("people", keys).await?;
        let mut people = BTreeMap::new();
        for one in items.iter().filter(|one| one.contains_key("waiting") && one.contains_key("doc")) {
            let person: Person = parsed(one, "doc")?;
            people.insert(person.id, (person, number_of(one, "version").unwrap_or(0)));
        }
        let own =
            people.values().flat_map(|(person, _)| std::iter::once(person.id).chain(person.absorbed.iter().copied()));
        let links = self.links(&own.collect()).await?;
        let dirty = |id: &PersonId| {
            let (person, version) = people.remove(id)?;
            let own = std::iter::once(person.id).chain(person.absorbed.iter().copied());
            let link = own.filter_map(|id| links.get(&id).cloned()).reduce(Link::join).unwrap_or_default();
            Some(Dirty { person, version, link })
        };
        Ok(ids.iter().filter_map(dirty).collect())
    }

    async fn links(&self, ids: &BTreeSet<PersonId>) -> Result<BTreeMap<PersonId, Link>> {
        let keys = ids.iter().map(|id| item([("person", text(id.to_string()))])).collect();
        let found = self.get("links", keys).await?;
        found.iter().map(|one| Ok((person_id(text_of(one, "person").unwrap_or(""))?, parsed(one, "doc")?))).collect()
    }

    async fn save_links(&self, links: Vec<(PersonId, Link)>) -> Result<()> {
        for (id, link) in links {
            let deals = link.deals.values().filter(|deal| deal.id.is_some()).count();
            let mut one =
                item([("person", text(id.to_string())), ("doc", text(json(&link)?)), ("deals", number(deals))]);
            if link.parked().next().is_some() {
                one.insert("has_parked".into(), text("yes"));
            }
            let request = self.client.put_item().table_name(self.table("links")).set_item(Some(one));
            request.send().await.map_err(|error| failed("PutItem", error))?;
        }
        Ok(())
    }

    async fn settle(&self, people: Vec<(PersonId, u64)>) -> Result<()> {
        for (id, version) in people {
            let request = self
                .client
                .update_item()
                .table_name(self.table("people"))
                .key("id", text(id.to_string()))
                .update_expression("REMOVE dirty, waiting")
                .condition_expression("version = :version")
                .expression_attribute_values(":version", number(version));
            // Changed since: it stays dirty.
            _ = held("UpdateItem", request.send().await, UpdateItemError::is_conditional_check_failed_exception)?;
        }
        Ok(())
    }

    async fn mark_dirty(&self, people: BTreeSet<PersonId>) -> Result<()> {
        for id in people {
            let request = self
                .client
                .update_item()
                .table_name(self.table("people"))
                .key("id", text(id.to_string()))
                .update_expression("SET dirty = :yes, waiting = if_not_exists(waiting, :since)")
                .condition_expression("attribute_exists(doc)")
                .expression_attribute_values(":yes", text("yes"))
                .expression_attribute_values(":since", text("0"));
            _ = held("UpdateItem", request.send().await, UpdateItemError::is_conditional_check_failed_exception)?;
        }
        Ok(())
    }

    async fn parked(&self, max: usize) -> Result<Vec<(PersonId, Link)>> {
        let found = self.query("links", Some("parked"), ("has_parked", "yes"), max, false).await?;
        found.iter().map(|one| Ok((person_id(text_of(one, "person").unwrap_or(""))?, parsed(one, "doc")?))).collect()
    }

    async fn audience(&self, show: &str) -> Result<BTreeSet<PersonId>> {
        let found = self.query("misc", None, ("pk", &format!("show#{show}")), usize::MAX, false).await?;
        let ids: BTreeSet<PersonId> =
            found.iter().filter_map(|one| text_of(one, "sk")).map(person_id).collect::<Result<_>>()?;
        let living = self.people_items(&ids).await?;
        living.iter().filter_map(|one| text_of(one, "id")).map(person_id).collect()
    }

    async fn lease(&self, name: &str, owner: &str, now: Timestamp, until: Timestamp) -> Result<bool> {
        let stamp = |at: Timestamp| number(at.as_millisecond());
        let lease = item([("pk", text("lease")), ("sk", text(name)), ("holder", text(owner)), ("ends", stamp(until))]);
        let request = self
            .client
            .put_item()
            .table_name(self.table("misc"))
            .set_item(Some(lease))
            .condition_expression("attribute_not_exists(pk) OR holder = :owner OR ends <= :now")
            .expression_attribute_values(":owner", text(owner))
            .expression_attribute_values(":now", stamp(now));
        held("PutItem", request.send().await, PutItemError::is_conditional_check_failed_exception)
    }

    async fn release(&self, name: &str, owner: &str) -> Result<()> {
        let request = self
            .client
            .delete_item()
            .table_name(self.table("misc"))
            .key("pk", text("lease"))
            .key("sk", text(name))
            .condition_expression("holder = :owner")
            .expression_attribute_values(":owner", text(owner));
        held("DeleteItem", request.send().await, DeleteItemError::is_conditional_check_failed_exception).map(drop)
    }

    async fn cell(&self, name: &str) -> Result<Option<Cell>> {
        let key = item([("pk", text("cell")), ("sk", text(name))]);
        let request = self.client.get_item().table_name(self.table("misc")).set_key(Some(key)).consistent_read(true);
        let answer = request.send().await.map_err(|error| failed("GetItem", error))?;
        Ok(answer.item.map(|one| cell(&one)))
    }

    async fn put_cell(&self, name: &str, value: &str, expected: Option<u64>) -> Result<bool> {
        let version = number(expected.unwrap_or(0) + 1);
        let one = item([("pk", text("cell")), ("sk", text(name)), ("content", text(value)), ("version", version)]);
        let mut request = self.client.put_item().table_name(self.table("misc")).set_item(Some(one));
        request = match expected {
            None => request.condition_expression("attribute_not_exists(pk)"),
            Some(version) => request
                .condition_expression("version = :expected")
                .expression_attribute_values(":expected", number(version)),
        };
        held("PutItem", request.send().await, PutItemError::is_conditional_check_failed_exception)
    }

    async fn cells(&self, prefix: &str) -> Result<BTreeMap<String, Cell>> {
        let found = self.query("misc", None, ("pk", "cell"), usize::MAX, false).await?;
        let named = found.iter().filter_map(|one| Some((text_of(one, "sk")?.to_owned(), cell(one))));
        Ok(named.filter(|(name, _)| name.starts_with(prefix)).collect())
    }

    async fn journal(&self, max: usize) -> Result<Vec<JournalRow>> {
        self.latest(max).await
    }

    async fn journal_of(&self, person: PersonId) -> Result<Vec<JournalRow>> {
        let mut ids = BTreeSet::from([person]);
        for one in self.load(&BTreeSet::from([person])).await? {
            ids.extend(one.value.absorbed);
        }
        self.rows_of(&ids).await
    }

    async fn unrecognized(&self, max: usize) -> Result<Vec<JournalRow>> {
        let found = self.query("journal", Some("kept"), ("kept", "yes"), max, true).await?;
        found.iter().map(|one| parsed(one, "row")).collect()
    }

    async fn event(&self, id: &EventId) -> Result<Option<JournalRow>> {
        let found = self.get("journal", vec![item([("id", text(id.as_str()))])]).await?;
        found.first().map(|one| parsed(one, "row")).transpose()
    }

    async fn forget(&self, id: &EventId) -> Result<()> {
        let request = self.client.delete_item().table_name(self.table("journal")).key("id", text(id.as_str()));
        request.send().await.map(drop).map_err(|error| failed("DeleteItem", error))
    }

    // For people who look at the console; nothing on an event's way counts.
    async fn totals(&self) -> Result<Totals> {
        let links = self.query("links", Some("parked"), ("has_parked", "yes"), usize::MAX, false).await?;
        Ok(Totals {
            events: self.count("journal", None).await?,
            people: self.count("people", Some("attribute_exists(doc)")).await?,
            deals: self.deals().await?,
            waiting: self.count("people", Some("attribute_exists(waiting)")).await?,
            parked: links.len() as u64,
            unrecognized: self.count("journal", Some("attribute_exists(kept)")).await?,
        })
    }
}

fn cell(one: &Item) -> Cell {
    Cell { value: text_of(one, "content").unwrap_or("").to_owned(), version: number_of(one, "version").unwrap_or(0) }
}

/// How long a journal row is kept: longer than any provider repeats a delivery.
pub(crate) const KEEP: SignedDuration = SignedDuration::from_hours(24 * 400);
