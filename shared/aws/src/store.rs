//! The hub's memory on DynamoDB (docs/decisions/0006). One row for each event, person, identifier and CRM state; pages
//! for what concerns many people. No scan on the way of an event.

mod commit;
mod crm_states;
mod crowds;
mod documents;
mod erase;
mod journal;
mod key_values;
mod page_keys;
mod pages;
mod parts;
mod rechecks;
mod shards;
mod trail;
mod waiting;
mod waiting_pages;
mod writings;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicU64, Ordering},
};

use async_trait::async_trait;
use aws_sdk_dynamodb::{
    Client,
    operation::{delete_item::DeleteItemError, put_item::PutItemError},
    types::{AttributeValue, ReturnValue},
};
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::SignedDuration;
use sha2::{Digest, Sha256};
use stagedoor_engine::{CrmState, Person, PersonId};
use stagedoor_model::{EventId, Identifier, Timestamp, breakage};
use stagedoor_ports::{
    Admin, Claims, Commit, CrmStates, Dirty, DirtyPeople, Journal, JournalRow, KeyValue, KeyValues, Leases, People,
    PortError, Postponed, RecheckPage, Rechecks, Result, Saved, SetAside, Taken, Totals, Versioned,
};

pub(crate) use self::documents::{packed, unpacked};
use self::parts::Kind;
use crate::dynamo::{CONCURRENCY, Item, failed, get_all, held, item, number, number_of, text, text_of};

/// How long a journal row is kept by default: longer than any provider repeats a delivery.
pub(crate) const KEEP: SignedDuration = SignedDuration::from_hours(24 * 400);
/// A [`stagedoor_ports::Store`] on DynamoDB.
#[derive(Clone)]
pub struct DynamoStore {
    pub(crate) client: Client,
    prefix: String,
    retention: Retention,
}

/// How long rows are kept. DynamoDB removes them itself.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    pub journal: SignedDuration,
    /// Deliveries that were not understood. `None`: until they are.
    pub kept: Option<SignedDuration>,
}

impl Default for Retention {
    fn default() -> Self {
        Self { journal: KEEP, kept: None }
    }
}

/// A key of twelve bytes for an event, short enough for a person's trail.
pub(crate) fn journal_key(id: &EventId) -> [u8; 12] {
    let digest = Sha256::digest(id.as_str());
    std::array::from_fn(|n| digest.get(n).copied().unwrap_or(0))
}

/// The attribute by which DynamoDB deletes an item itself, in seconds.
pub(crate) fn expires(at: Timestamp) -> (&'static str, AttributeValue) {
    ("expires", number(at.as_second()))
}

/// A text that no other call of any process gets.
pub(crate) fn unique() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{:x}-{:x}-{n:x}", page_keys::now().as_nanosecond(), std::process::id())
}

fn person_id(text: &str) -> Result<PersonId> {
    PersonId::parse(text).map_err(|_| PortError::Fail("a stored person's id cannot be read".into()))
}

fn person_keys(ids: impl Iterator<Item = PersonId>, name: &str) -> Vec<Item> {
    ids.map(|id| item([(name, text(id.to_string()))])).collect()
}

impl DynamoStore {
    /// The store whose tables start with `prefix`.
    pub fn new(config: &aws_config::SdkConfig, prefix: &str) -> Self {
        Self { client: Client::new(config), prefix: prefix.to_owned(), retention: Retention::default() }
    }

    /// The same store with another retention.
    #[must_use]
    pub fn keeping(self, retention: Retention) -> Self {
        Self { retention, ..self }
    }

    pub(crate) fn table(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix)
    }

    async fn get(&self, table: &str, keys: Vec<Item>) -> Result<Vec<Item>> {
        if keys.is_empty() { Ok(vec![]) } else { get_all(&self.client, &self.table(table), keys, None).await }
    }

    /// Reads only these attributes.
    async fn get_only(&self, table: &str, keys: Vec<Item>, only: &str) -> Result<Vec<Item>> {
        if keys.is_empty() { Ok(vec![]) } else { get_all(&self.client, &self.table(table), keys, Some(only)).await }
    }

    /// Items of people by id, with their documents. Follows redirects.
    async fn people_items(&self, ids: &BTreeSet<PersonId>) -> Result<Vec<Item>> {
        self.followed(ids, true).await
    }

    /// Ids of people. Follows redirects.
    async fn living(&self, ids: &BTreeSet<PersonId>) -> Result<BTreeSet<PersonId>> {
        let found = self.followed(ids, false).await?;
        found.iter().filter_map(|one| text_of(one, "id")).map(person_id).collect()
    }

    async fn followed(&self, ids: &BTreeSet<PersonId>, whole: bool) -> Result<Vec<Item>> {
        let (mut wanted, mut found) = (ids.clone(), BTreeMap::new());
        for _ in 0..16 {
            let asked = wanted.iter().copied();
            let items = match whole {
                true => self.documents(Kind::Person, asked).await?,
                false => self.get_only("people", person_keys(asked, "id"), "id, target").await?,
            };
            wanted = BTreeSet::new();
            for one in items {
                match (text_of(&one, "target"), text_of(&one, "id")) {
                    (Some(target), _) => _ = wanted.insert(person_id(target)?),
                    (None, Some(id)) => _ = found.insert(id.to_owned(), one),
                    (None, None) => {}
                }
            }
            if wanted.is_empty() {
                break;
            }
        }
        Ok(found.into_values().collect())
    }

    /// All items of one key.
    pub(crate) async fn query(
        &self,
        table: &str,
        index: Option<&str>,
        key: (&str, &str),
        max: usize,
        newest: bool,
    ) -> Result<Vec<Item>> {
        self.query_beginning(table, index, key, None, max, newest).await
    }

    /// Items of one key whose sort key starts with `prefix`. No others are read.
    async fn query_beginning(
        &self,
        table: &str,
        index: Option<&str>,
        key: (&str, &str),
        prefix: Option<&str>,
        max: usize,
        newest: bool,
    ) -> Result<Vec<Item>> {
        let (mut found, mut start) = (Vec::new(), None);
        // Every key starts with the empty text, and DynamoDB accepts none.
        let prefix = prefix.filter(|prefix| !prefix.is_empty());
        loop {
            let request = self
                .client
                .query()
                .table_name(self.table(table))
                .set_index_name(index.map(str::to_owned))
                .key_condition_expression(match prefix {
                    Some(_) => "#key = :key AND begins_with(sk, :prefix)",
                    None => "#key = :key",
                })
                .expression_attribute_names("#key", key.0)
                .expression_attribute_values(":key", text(key.1))
                .scan_index_forward(!newest)
                .limit(max.saturating_sub(found.len()).clamp(1, 1000) as i32)
                .set_exclusive_start_key(start);
            let request = match prefix {
                Some(prefix) => request.expression_attribute_values(":prefix", text(prefix)),
                None => request,
            };
            let answer = request.send().await.map_err(|error| failed("Query", error))?;
            found.extend(answer.items.unwrap_or_default());
            start = answer.last_evaluated_key;
            if start.is_none() || found.len() >= max {
                found.truncate(max);
                return Ok(found);
            }
        }
    }

    /// Saves the commits, and writes the pages of the whole batch at once.
    ///
    /// Audiences come first: after a person is saved, the fold takes their shows as listed. A person who is not saved
    /// in the end leaves one superfluous name.
    async fn save_all(&self, commits: &[Commit]) -> Result<Vec<Saved>> {
        let late = breakage::is_on("audience-once");
        if !late {
            self.write_audiences(commits.iter()).await?;
        }
        let saving: Vec<_> = commits.iter().map(|commit| self.save_one(commit)).collect();
        let saved: Vec<Saved> = stream::iter(saving).buffered(CONCURRENCY).try_collect().await?;
        let made: Vec<&Commit> =
            commits.iter().zip(&saved).filter(|(_, saved)| **saved == Saved::Done).map(|(commit, _)| commit).collect();
        if late {
            self.write_audiences(made.iter().copied()).await?;
        }
        self.write_pages(&made).await?;
        let rows: Vec<&JournalRow> = made.iter().flat_map(|commit| &commit.journal).collect();
        let events = rows.len() as i64;
        self.write_journal(rows).await?;
        let born = made.iter().flat_map(|commit| &commit.people).filter(|(_, version)| version.is_none()).count();
        let gone = made.iter().map(|commit| commit.removed.len()).sum::<usize>();
        self.count_up(events, born as i64 - gone as i64, 0).await?;
        Ok(saved)
    }
}

#[async_trait]
impl Journal for DynamoStore {
    async fn journaled(&self, ids: &[EventId]) -> Result<BTreeSet<EventId>> {
        let keys: BTreeMap<String, &EventId> = ids.iter().map(|id| (hex::encode(journal_key(id)), id)).collect();
        let found = self.get("journal", keys.keys().map(|key| item([("id", text(key.as_str()))])).collect()).await?;
        let known = found.iter().filter_map(|one| keys.get(text_of(one, "id")?).copied());
        Ok(known.cloned().collect())
    }

    async fn journal(&self, max: usize) -> Result<Vec<JournalRow>> {
        self.latest(max).await
    }

    async fn journal_between(
        &self,
        from: Timestamp,
        until: Timestamp,
        max: usize,
    ) -> Result<(Vec<JournalRow>, Option<Timestamp>)> {
        self.rows_between(from, until, max).await
    }

    async fn journal_of(&self, person: PersonId) -> Result<Vec<JournalRow>> {
        let mut ids = BTreeSet::from([person]);
        for one in self.load(&BTreeSet::from([person])).await? {
            ids.extend(one.value.merged_ids);
        }
        self.rows_of(&ids).await
    }

    async fn unrecognized(&self, max: usize) -> Result<Vec<JournalRow>> {
        let found = self.indexed(("journal", "kept", "kept", "seq"), max, true).await?;
        self.rows(found.iter().filter_map(|one| text_of(one, "id").map(str::to_owned))).await
    }

    async fn event(&self, id: &EventId) -> Result<Option<JournalRow>> {
        Ok(self.rows(std::iter::once(hex::encode(journal_key(id)))).await?.pop())
    }

    async fn forget(&self, id: &EventId) -> Result<()> {
        let request = self.client.delete_item().table_name(self.table("journal"));
        let request = request.key("id", text(hex::encode(journal_key(id)))).return_values(ReturnValue::AllOld);
        let answer = request.send().await.map_err(|error| failed("DeleteItem", error))?;
        if answer.attributes.is_some_and(|one| !one.is_empty()) { self.count_up(-1, 0, 0).await } else { Ok(()) }
    }
}

#[async_trait]
impl People for DynamoStore {
    fn has_room(&self, json: &[u8]) -> bool {
        documents::has_room(json)
    }

    async fn resolve(&self, identifiers: &BTreeSet<Identifier>) -> Result<Claims> {
        let keys = identifiers.iter().map(|one| item([("identifier", text(one.to_string()))])).collect();
        let mut claims = Claims::default();
        for one in self.get("names", keys).await? {
            let Some(identifier) = text_of(&one, "identifier").and_then(|text| text.parse().ok()) else { continue };
            match text_of(&one, "person") {
                Some(id) => _ = claims.owners.insert(identifier, person_id(id)?),
                None => _ = claims.shared.insert(identifier),
            }
        }
        Ok(claims)
    }

    async fn load(&self, ids: &BTreeSet<PersonId>) -> Result<Vec<Versioned<Person>>> {
        let items = self.people_items(ids).await?;
        let read = |one: &Item| match unpacked(one, "doc") {
            Ok(value) => Some(Versioned { value, version: number_of(one, "version").unwrap_or(0) }),
            Err(error) => {
                tracing::warn!(%error, "a stored person cannot be read");
                None
            }
        };
        Ok(items.iter().filter_map(read).collect())
    }

    async fn save(&self, commits: Vec<Commit>) -> Result<Vec<Saved>> {
        self.save_all(&commits).await
    }

    async fn unreadable(&self, ids: &BTreeSet<PersonId>) -> Result<BTreeSet<PersonId>> {
        self.unreadable_of(ids).await
    }

    async fn audience(&self, show: &str) -> Result<BTreeSet<PersonId>> {
        let found = self.query("misc", None, ("pk", &format!("show#{show}")), usize::MAX, false).await?;
        let ids: BTreeSet<PersonId> = found.iter().flat_map(pages::people_of).collect();
        self.living(&ids).await
    }

    async fn scan_people(&self, after: Option<String>, max: usize) -> Result<(BTreeSet<PersonId>, Option<String>)> {
        self.page_of_everybody(after, max).await
    }

    async fn erase(
        &self,
        people: &BTreeSet<PersonId>,
        names: &BTreeSet<Identifier>,
        tombstones: &BTreeSet<String>,
    ) -> Result<()> {
        self.erase_all(people, names, tombstones).await
    }

    async fn erased(&self, tombstones: &BTreeSet<String>) -> Result<BTreeSet<String>> {
        let keys = tombstones.iter().map(|hash| item([("pk", text("erased")), ("sk", text(hash.as_str()))])).collect();
        let found = self.get("misc", keys).await?;
        Ok(found.iter().filter_map(|one| text_of(one, "sk").map(str::to_owned)).collect())
    }
}

#[async_trait]
impl DirtyPeople for DynamoStore {
    async fn claim_dirty(&self, max: usize, now: Option<Timestamp>) -> Result<Vec<Dirty>> {
        self.take(max, now).await
    }

    async fn mark_clean(&self, people: Vec<Taken>) -> Result<()> {
        self.settle_taken(people).await
    }

    async fn postpone(&self, people: Vec<Postponed>) -> Result<()> {
        self.postpone_taken(people).await
    }

    async fn mark_dirty(&self, people: BTreeSet<PersonId>) -> Result<()> {
        self.wait(&people.into_iter().map(|id| (id, [0; 16])).collect(), page_keys::now()).await
    }
}

#[async_trait]
impl CrmStates for DynamoStore {
    async fn crm_states(&self, ids: &BTreeSet<PersonId>) -> Result<BTreeMap<PersonId, CrmState>> {
        let (links, unreadable) = self.links_of(ids).await?;
        for (person, reason) in unreadable {
            tracing::warn!(%person, reason, "what is known of the CRM cannot be read");
        }
        Ok(links)
    }

    async fn save_crm_states(&self, links: Vec<(PersonId, CrmState)>) -> Result<()> {
        let saving: Vec<_> = links.into_iter().map(|(id, link)| self.save_link(id, link)).collect();
        let grown: Vec<i64> = stream::iter(saving).buffer_unordered(CONCURRENCY).try_collect().await?;
        self.count_up(0, 0, grown.into_iter().sum()).await
    }

    async fn rejected(&self, max: usize) -> Result<Vec<(PersonId, CrmState)>> {
        let found = self.indexed(("links", "parked", "has_parked", "person"), max, false).await?;
        let ids: BTreeSet<PersonId> =
            found.iter().filter_map(|one| text_of(one, "person")).map(person_id).collect::<Result<_>>()?;
        Ok(self.crm_states(&ids).await?.into_iter().collect())
    }
}

#[async_trait]
impl Rechecks for DynamoStore {
    async fn schedule_rechecks(&self, people: &BTreeMap<PersonId, Timestamp>) -> Result<()> {
        self.put_due(people).await
    }

    async fn due_rechecks(&self, until: Timestamp) -> Result<Vec<RecheckPage>> {
        self.due_until(until).await
    }

    async fn ack_rechecks(&self, pages: Vec<String>) -> Result<()> {
        self.strike_due(pages).await
    }
}

#[async_trait]
impl KeyValues for DynamoStore {
    async fn key_value(&self, name: &str) -> Result<Option<KeyValue>> {
        self.one_cell(name).await
    }

    async fn key_values_of(&self, names: &BTreeSet<String>) -> Result<BTreeMap<String, KeyValue>> {
        self.named_cells(names).await
    }

    async fn compare_and_set(&self, name: &str, value: &str, expected: Option<u64>) -> Result<bool> {
        self.set_cell(name, value, expected).await
    }

    async fn key_values(&self, prefix: &str) -> Result<BTreeMap<String, KeyValue>> {
        self.cells_beginning(prefix).await
    }
}

#[async_trait]
impl Leases for DynamoStore {
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
}

#[async_trait]
impl Admin for DynamoStore {
    async fn crowds(&self, max: usize) -> Result<BTreeSet<Identifier>> {
        self.all_crowds(max).await
    }

    async fn set_aside(&self, max: usize) -> Result<Vec<SetAside>> {
        self.all_set_aside(max).await
    }

    async fn read_again(&self) -> Result<()> {
        // A function starts many times an hour. Unreadable values are read again only when their waiting time ends.
        Ok(())
    }

    async fn sweep(&self, _: Timestamp, _: Option<Timestamp>) -> Result<u64> {
        // Rows of pages that a crash left behind go, too.
        self.longest_wait().await?;
        self.sweep_writings(page_keys::now()).await.map(|()| 0)
    }

    async fn totals(&self) -> Result<Totals> {
        let counted = self.counted().await?;
        let (pages, since) = self.waiting_to_count().await?;
        let waiting: BTreeSet<PersonId> = pages.into_iter().flat_map(|page| page.people).map(|(id, _)| id).collect();
        Ok(Totals {
            events: counted.events,
            people: counted.people,
            deals: counted.deals,
            waiting: waiting.len() as u64,
            waiting_since: since.and_then(|ms| Timestamp::from_millisecond(ms).ok()),
            rejected: self.count("links", "parked", "has_parked").await?,
            unrecognized: self.count("journal", "kept", "kept").await?,
            unreadable: self.all_set_aside(1_000).await?.len() as u64,
        })
    }
}
