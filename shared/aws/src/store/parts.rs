//! Documents that are too large for one item (docs/decisions/0018). The head, in a table of its own, holds the first
//! part. Further parts are in `misc` under the version and the name of their write, and are written before the head.
//! The condition on the head decides which write counts, so parts of another write are never read.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_dynamodb::{primitives::Blob, types::AttributeValue};
use stagedoor_engine::PersonId;
use stagedoor_model::{Timestamp, breakage};
use stagedoor_ports::{Document, PortError, Removal, Result};

use super::{DynamoStore, documents::packed_bytes, page_keys};
use crate::dynamo::{Item, failed, in_parallel, item, number_of, text, text_of};

/// The largest size of one part in bytes.
const PART: usize = 90 * 1024;
/// The largest size in bytes of all first parts in one transaction. DynamoDB takes 4 MB, and names are in it, too.
const TOGETHER: usize = 3 << 20;
/// How often a head is read whose parts were replaced in the meantime.
const READS: usize = 8;

/// The kinds of documents.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Person,
    /// What the hub knows of a person's rows in the CRM.
    Link,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::Link => "link",
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        [Self::Person, Self::Link].into_iter().find(|kind| kind.name() == name)
    }

    /// The table of the heads, and its key.
    pub(super) fn place(self) -> (&'static str, &'static str) {
        match self {
            Self::Person => ("people", "id"),
            Self::Link => ("links", "person"),
        }
    }

    /// The partition of the further parts.
    pub(super) fn partition(self, id: &str) -> String {
        format!("{}#{id}", self.name())
    }
}

fn part_key(version: u64, by: &str, n: usize) -> String {
    format!("{version:020}#{by}#{n:04}")
}

/// The version and the write of a part.
pub(super) fn writing_of(key: &str) -> Option<(u64, &str)> {
    let (version, rest) = key.split_once('#')?;
    Some((version.parse().ok()?, rest.split_once('#')?.0))
}

fn misc_key(partition: &str, key: &str) -> Item {
    item([("pk", text(partition)), ("sk", text(key))])
}

fn bytes_of(one: &Item) -> &[u8] {
    one.get("doc").and_then(|value| value.as_b().ok()).map(|blob| blob.as_ref()).unwrap_or_default()
}

fn blob(bytes: &[u8]) -> AttributeValue {
    AttributeValue::B(Blob::new(bytes))
}

/// A document of one write.
pub(super) struct InParts {
    pub(super) kind: Kind,
    pub(super) id: PersonId,
    version: u64,
    /// The name of the write. No other write of any process has it.
    pub(super) by: String,
    pub(super) begun_at: Timestamp,
    head: Vec<u8>,
    rest: Vec<Vec<u8>>,
}

impl InParts {
    /// Splits a document, one of `together` documents in a transaction.
    pub(super) fn of<T: Document>(
        kind: Kind,
        id: PersonId,
        (version, by): (u64, &str),
        value: &T,
        together: usize,
    ) -> Result<Self> {
        let mut head = packed_bytes(value)?;
        let first = PART.min(TOGETHER / together.max(1));
        let rest = if breakage::is_on("document-in-one-item") { vec![] } else { head.split_off(first.min(head.len())) };
        let rest = rest.chunks(PART).map(<[u8]>::to_vec).collect();
        Ok(Self { kind, id, version, by: by.to_owned(), begun_at: page_keys::now(), head, rest })
    }

    pub(super) fn head(&self) -> AttributeValue {
        blob(&self.head)
    }

    /// The number of parts besides the head.
    pub(super) fn further(&self) -> usize {
        self.rest.len()
    }

    fn partition(&self) -> String {
        self.kind.partition(&self.id.to_string())
    }
}

impl DynamoStore {
    /// Heads of these people or CRM states, with whole documents.
    pub(super) async fn documents(&self, kind: Kind, ids: impl Iterator<Item = PersonId>) -> Result<Vec<Item>> {
        let (table, key) = kind.place();
        let heads = self.get(table, ids.map(|id| item([(key, text(id.to_string()))])).collect()).await?;
        let whole: Vec<_> = heads.into_iter().map(|head| self.whole(kind, head)).collect();
        Ok(in_parallel(whole).await?.into_iter().flatten().collect())
    }

    /// The head with its whole document. `None`: it is gone by now.
    async fn whole(&self, kind: Kind, mut head: Item) -> Result<Option<Item>> {
        let (table, key) = kind.place();
        for _ in 0..READS {
            let further = number_of(&head, "parts").and_then(|parts| usize::try_from(parts).ok()).unwrap_or(0);
            if further == 0 || head.contains_key("target") {
                return Ok(Some(head));
            }
            let id = text_of(&head, key).unwrap_or("").to_owned();
            let (partition, version) = (kind.partition(&id), version_of(&head));
            let by = text_of(&head, "written_by").unwrap_or("").to_owned();
            let keys: Vec<Item> = (0..further).map(|n| misc_key(&partition, &part_key(version, &by, n))).collect();
            let found = self.get("misc", keys).await?;
            if found.len() == further {
                let parts: BTreeMap<&str, &[u8]> =
                    found.iter().filter_map(|one| Some((text_of(one, "sk")?, bytes_of(one)))).collect();
                let all: Vec<u8> =
                    std::iter::once(bytes_of(&head)).chain(parts.into_values()).flatten().copied().collect();
                head.insert("doc".to_owned(), blob(&all));
                return Ok(Some(head));
            }
            // Another process wrote it again between the two reads, and removed these parts.
            let again = self.get(table, vec![item([(key, text(id))])]).await?.pop();
            let Some(again) = again else { return Ok(None) };
            if text_of(&again, "written_by") == Some(by.as_str()) || breakage::is_on("parts-read-once") {
                return Ok(Some(head));
            }
            head = again;
        }
        Err(PortError::Retry("a large document is written anew all the time".into()))
    }

    /// Writes the further parts. The head is written after them.
    pub(super) async fn put_parts(&self, document: &InParts) -> Result<()> {
        self.begin_writing(document).await?;
        let partition = document.partition();
        let put = async |(n, part): (usize, &Vec<u8>)| {
            let mut one = misc_key(&partition, &part_key(document.version, &document.by, n));
            one.insert("doc".to_owned(), blob(part));
            self.put_misc(one).await
        };
        let calls: Vec<_> = document.rest.iter().enumerate().map(put).collect();
        in_parallel(calls).await?;
        document.still_in_time()
    }

    /// Removes the parts of a write that does not count. The sweep removes what stays after a crash (`writings`).
    pub(super) async fn drop_parts(&self, document: &InParts) -> Result<()> {
        if document.rest.is_empty() || breakage::is_on("parts-of-loser-stay") {
            return Ok(());
        }
        let (table, key) = document.kind.place();
        let head = self.get(table, vec![item([(key, text(document.id.to_string()))])]).await?.pop();
        // One of several transactions of a commit may have succeeded.
        if head.is_some_and(|head| text_of(&head, "written_by") == Some(document.by.as_str())) {
            self.end_writing(document).await;
            return Ok(());
        }
        let keys = (0..document.rest.len()).map(|n| part_key(document.version, &document.by, n));
        self.remove_parts(&document.partition(), keys).await?;
        self.end_writing(document).await;
        Ok(())
    }

    /// Removes the parts of earlier writes and of writes that lost. Parts of a later write stay, because its head may
    /// not be there yet.
    async fn sweep_parts(&self, kind: Kind, head: &Item) -> Result<()> {
        let (table, key) = kind.place();
        let id = text_of(head, key).unwrap_or("");
        if !head.contains_key("in_parts") || breakage::is_on("parts-never-swept") {
            return Ok(());
        }
        let (version, by) = (version_of(head), text_of(head, "written_by"));
        let keys = self.part_keys(&kind.partition(id)).await?;
        let over = |key: &String| {
            writing_of(key).is_some_and(|(of, writer)| {
                (of <= version || breakage::is_on("sweep-of-later-parts")) && Some(writer) != by
            })
        };
        let over: Vec<String> = keys.into_iter().filter(over).collect();
        if over.is_empty() {
            return Ok(());
        }
        // If this head is no longer the latest, versions may have started again, and the next writer sweeps.
        let now = self.get(table, vec![item([(key, text(id))])]).await?.pop();
        if now.is_some_and(|now| text_of(&now, "written_by") == by) {
            self.remove_parts(&kind.partition(id), over.into_iter()).await?;
        }
        Ok(())
    }

    /// Removes old parts after a head was written. A failure changes nothing: the next write does what is left.
    pub(super) async fn tidy(&self, kind: Kind, head: &Item) {
        if let Err(error) = self.sweep_parts(kind, head).await {
            tracing::warn!(%error, "parts of an earlier document were not removed; the next writing does it");
        }
        if let Err(error) = self.page_trail(head).await {
            tracing::warn!(%error, "a long trail was not moved to pages; the next writing does it");
        }
    }

    /// Parts of people before they are joined into others. Afterwards no process writes parts for them until they are
    /// split again.
    pub(super) async fn parts_of_removed(&self, removed: &[Removal]) -> Result<Vec<(String, Vec<String>)>> {
        let list = async |removal: &Removal| {
            let partition = Kind::Person.partition(&removal.id.to_string());
            let keys = self.part_keys(&partition).await?;
            Ok((partition, keys))
        };
        let calls: Vec<_> = removed.iter().map(list).collect();
        in_parallel(calls).await
    }

    /// Removes every part of these people and of their CRM states.
    pub(super) async fn erase_parts(&self, people: &BTreeSet<PersonId>) -> Result<()> {
        if breakage::is_on("erase-leaves-parts") {
            return Ok(());
        }
        for id in people.iter().map(ToString::to_string) {
            for partition in [Kind::Person, Kind::Link].map(|kind| kind.partition(&id)) {
                let keys = self.part_keys(&partition).await?;
                self.remove_parts(&partition, keys.into_iter()).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn remove_parts(&self, partition: &str, keys: impl Iterator<Item = String>) -> Result<()> {
        let calls: Vec<_> = keys.map(|key| self.remove("misc", misc_key(partition, &key))).collect();
        in_parallel(calls).await.map(drop)
    }

    pub(super) async fn part_keys(&self, partition: &str) -> Result<Vec<String>> {
        let found = self.partition(partition, "sk").await?;
        Ok(found.iter().filter_map(|one| text_of(one, "sk").map(str::to_owned)).collect())
    }

    /// The present items of a partition of `misc`, with the attributes `only`.
    pub(super) async fn partition(&self, partition: &str, only: &str) -> Result<Vec<Item>> {
        let (mut found, mut start) = (Vec::new(), None);
        loop {
            let request = self
                .client
                .query()
                .table_name(self.table("misc"))
                .consistent_read(true)
                .key_condition_expression("pk = :pk")
                .expression_attribute_values(":pk", text(partition))
                .projection_expression(only)
                .set_exclusive_start_key(start);
            let answer = request.send().await.map_err(|error| failed("Query", error))?;
            found.extend(answer.items.unwrap_or_default());
            start = answer.last_evaluated_key;
            if start.is_none() {
                return Ok(found);
            }
        }
    }
}

/// The version of a person, or the revision of a CRM state.
fn version_of(head: &Item) -> u64 {
    number_of(head, "version").or_else(|| number_of(head, "revision")).unwrap_or(0)
}
