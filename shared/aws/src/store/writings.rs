//! Writes of documents in parts that are under way. Each is noted before its first part and removed after its head. So
//! parts whose head was never written are found, also those of a person who was never stored.

use jiff::SignedDuration;
use stagedoor_model::{Timestamp, breakage};
use stagedoor_ports::{PortError, Result};

use super::{
    DynamoStore, page_keys,
    parts::{InParts, Kind, writing_of},
    shards::{SHARDS, shard_of, shards},
};
use crate::dynamo::{Item, failed, in_parallel, item, text, text_of};

/// After this time, a writer gives up its write.
const LONGEST: SignedDuration = SignedDuration::from_mins(20);
/// After this time, no process writes its head any more.
const ABANDONED: SignedDuration = SignedDuration::from_hours(1);

fn partition(shard: &str) -> String {
    format!("writing#{shard}")
}

fn note_key(document: &InParts) -> Item {
    let (id, at) = (document.id.to_string(), document.begun_at.as_millisecond());
    item([("pk", text(partition(&shard_of(&id, SHARDS)))), ("sk", text(format!("{at:015}#{}", document.by)))])
}

impl DynamoStore {
    pub(super) async fn begin_writing(&self, document: &InParts) -> Result<()> {
        if document.further() == 0 || breakage::is_on("writings-unnoted") {
            return Ok(());
        }
        let mut note = note_key(document);
        note.extend(item([
            ("kind", text(document.kind.name())),
            ("id", text(document.id.to_string())),
            ("by", text(document.by.as_str())),
        ]));
        self.put_misc(note).await
    }

    /// Removes the note after the head was written or the parts were removed. A failure changes nothing: the sweep
    /// removes the note.
    pub(super) async fn end_writing(&self, document: &InParts) {
        if document.further() == 0 {
            return;
        }
        if let Err(error) = self.remove("misc", note_key(document)).await {
            tracing::warn!(%error, "a writing was not struck off; the nightly sweep does it");
        }
    }

    /// Removes the parts of writes that started long ago and have no head.
    pub(super) async fn sweep_writings(&self, now: Timestamp) -> Result<()> {
        let end = format!("{:015}", (now - ABANDONED).as_millisecond().max(0));
        let calls: Vec<_> = shards(SHARDS).map(|shard| self.sweep_shard(partition(&shard), end.clone())).collect();
        in_parallel(calls).await.map(drop)
    }

    async fn sweep_shard(&self, pk: String, end: String) -> Result<()> {
        let mut start = None;
        loop {
            let request = self
                .client
                .query()
                .table_name(self.table("misc"))
                .key_condition_expression("pk = :pk AND sk < :end")
                .expression_attribute_values(":pk", text(pk.as_str()))
                .expression_attribute_values(":end", text(end.as_str()))
                .set_exclusive_start_key(start);
            let answer = request.send().await.map_err(|error| failed("Query", error))?;
            for note in answer.items.unwrap_or_default() {
                self.sweep_writing(&note).await?;
                let key = item([("pk", text(pk.as_str())), ("sk", text(text_of(&note, "sk").unwrap_or("")))]);
                self.remove("misc", key).await?;
            }
            start = answer.last_evaluated_key;
            if start.is_none() {
                return Ok(());
            }
        }
    }

    async fn sweep_writing(&self, note: &Item) -> Result<()> {
        let of = |name| text_of(note, name).unwrap_or("");
        let (Some(kind), id, by) = (Kind::named(of("kind")), of("id"), of("by")) else { return Ok(()) };
        let (table, key) = kind.place();
        let head = self.get(table, vec![item([(key, text(id))])]).await?.pop();
        if head.is_some_and(|head| text_of(&head, "written_by") == Some(by)) {
            return Ok(());
        }
        let keys = self.part_keys(&kind.partition(id)).await?.into_iter();
        let its = keys.filter(|key| writing_of(key).is_some_and(|(_, writer)| writer == by));
        self.remove_parts(&kind.partition(id), its).await
    }
}

impl InParts {
    /// Checks that the write may still end with its head.
    ///
    /// # Errors
    /// `Retry` when the write took so long that its parts may be swept before the head is there.
    pub(super) fn still_in_time(&self) -> Result<()> {
        match page_keys::now().duration_since(self.begun_at) > LONGEST {
            true => Err(PortError::Retry("a large document took too long to write".into())),
            false => Ok(()),
        }
    }
}
