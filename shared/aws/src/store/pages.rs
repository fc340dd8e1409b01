//! Pages hold what concerns many people: who waits for the CRM, who is interested in a show, which events came when. A
//! batch costs a few pages instead of a row for each person. A page is written as a whole and never extended, so two
//! writers cannot lose each other's entries. A page may name too many, never too few.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_dynamodb::{primitives::Blob, types::AttributeValue};
use stagedoor_engine::PersonId;
use stagedoor_model::{EventId, Timestamp};
use stagedoor_ports::{Commit, Result};

use crate::{
    dynamo::{Item, failed, in_parallel, item, number, number_of, text, text_of},
    store::{
        DynamoStore, expires, packed,
        page_keys::{now, page_key, partition_of, waiting_key},
    },
};

/// The largest number of people on one page: thirty-two bytes each, so that rewriting a page stays cheap.
const PEOPLE: usize = 1_000;
/// The largest number of events on one page.
const EVENTS: usize = 1_000;

/// A person on a page, with the trace id of the delivery that put them there, or zeros.
pub(super) type Entry = (PersonId, [u8; 16]);

/// One page of people who wait.
#[derive(Clone)]
pub(super) struct Page {
    pub key: String,
    pub people: Vec<Entry>,
    pub why: Postponement,
}

/// What a page says of people whose runs failed; the default for all others.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Postponement {
    pub tries: u32,
    /// Milliseconds.
    pub not_before: Option<i64>,
    pub since: Option<i64>,
    /// True if the people could not be read.
    pub is_aside: bool,
}

impl Page {
    pub(super) fn of(one: &Item) -> Self {
        let ms = |name| number_of(one, name).and_then(|ms| i64::try_from(ms).ok());
        let why = Postponement {
            tries: number_of(one, "tries").and_then(|tries| u32::try_from(tries).ok()).unwrap_or(0),
            not_before: ms("not_before"),
            since: ms("since"),
            is_aside: one.contains_key("aside"),
        };
        Self { key: text_of(one, "sk").unwrap_or("").to_owned(), people: entries_of(one), why }
    }

    /// The time since which its people wait, in milliseconds.
    pub(super) fn since(&self) -> i64 {
        let written = || self.key.split_once('#').and_then(|(at, _)| at.parse().ok());
        self.why.since.or_else(written).unwrap_or(0)
    }

    pub(super) fn is_ready(&self, now: Option<Timestamp>) -> bool {
        now.is_none_or(|now| self.why.not_before.is_none_or(|at| at <= now.as_millisecond()))
    }

    pub(super) fn item(&self, people: &[Entry]) -> Item {
        let pk = partition_of(&self.key);
        let mut one = item([("pk", text(pk)), ("sk", text(self.key.as_str())), ("people", blob(entry_bytes(people)))]);
        let Postponement { tries, not_before, since, is_aside } = self.why;
        one.extend((tries > 0).then(|| ("tries".to_owned(), number(tries))));
        one.extend(not_before.map(|at| ("not_before".to_owned(), number(at))));
        one.extend(since.map(|at| ("since".to_owned(), number(at))));
        one.extend(is_aside.then(|| ("aside".to_owned(), text("yes"))));
        one
    }
}

pub(super) fn trace_bytes(trace: Option<&str>) -> [u8; 16] {
    let mut bytes = [0; 16];
    // A text that is no trace id leaves zeros.
    _ = hex::decode_to_slice(trace.unwrap_or(""), &mut bytes);
    bytes
}

pub(super) fn trace_of(bytes: [u8; 16]) -> Option<String> {
    (bytes != [0; 16]).then(|| hex::encode(bytes))
}

fn entry_bytes(people: &[Entry]) -> Vec<u8> {
    people.iter().flat_map(|(id, trace)| id.as_bytes().iter().chain(trace)).copied().collect()
}

fn entries_of(page: &Item) -> Vec<Entry> {
    let bytes = page.get("people").and_then(|value| value.as_b().ok()).map(|blob| blob.as_ref()).unwrap_or_default();
    let entry = |bytes: &[u8]| {
        let (id, trace) = bytes.split_at_checked(16)?;
        Some((PersonId::from_bytes(id.try_into().ok()?), trace.try_into().ok()?))
    };
    bytes.chunks_exact(32).filter_map(entry).collect()
}

fn people_bytes(people: &[PersonId]) -> Vec<u8> {
    people.iter().flat_map(|id| id.as_bytes()).copied().collect()
}

/// The people interested in a show, from one page of an audience.
pub(super) fn people_of(page: &Item) -> Vec<PersonId> {
    let bytes = page.get("people").and_then(|value| value.as_b().ok()).map(|blob| blob.as_ref()).unwrap_or_default();
    bytes.chunks_exact(16).filter_map(|id| id.try_into().ok().map(PersonId::from_bytes)).collect()
}

fn blob(bytes: Vec<u8>) -> AttributeValue {
    AttributeValue::B(Blob::new(bytes))
}

impl DynamoStore {
    pub(super) async fn put_misc(&self, one: Item) -> Result<()> {
        let request = self.client.put_item().table_name(self.table("misc")).set_item(Some(one));
        request.send().await.map(drop).map_err(|error| failed("PutItem", error))
    }

    /// Marks these people as waiting, since `at`.
    pub(super) async fn wait(&self, people: &BTreeMap<PersonId, [u8; 16]>, at: Timestamp) -> Result<()> {
        self.wait_because(people, at, Postponement::default()).await
    }

    /// Like [`Self::wait`], for people whose runs failed. `at` is their place in the queue.
    pub(super) async fn wait_because(
        &self,
        people: &BTreeMap<PersonId, [u8; 16]>,
        at: Timestamp,
        why: Postponement,
    ) -> Result<()> {
        let people: Vec<Entry> = people.iter().map(|(id, trace)| (*id, *trace)).collect();
        let page = |chunk: &[Entry]| Page { key: waiting_key(at), people: chunk.to_vec(), why };
        let calls: Vec<_> = people.chunks(PEOPLE).map(|chunk| self.put_page(page(chunk))).collect();
        in_parallel(calls).await.map(drop)
    }

    /// Puts these people on pages of `pk`, in the order of `at`.
    pub(super) async fn put_people(&self, pk: &str, at: Timestamp, people: &[PersonId]) -> Result<()> {
        let page = |chunk| item([("pk", text(pk)), ("sk", text(page_key(at))), ("people", blob(people_bytes(chunk)))]);
        let calls: Vec<_> = people.chunks(PEOPLE).map(|chunk| self.put_misc(page(chunk))).collect();
        in_parallel(calls).await.map(drop)
    }

    /// Removes people from these pages. If two processes do this at once, a page may keep a person who no longer waits.
    /// Their next run finds nothing to do.
    pub(super) async fn strike(&self, pages: Vec<Page>, settled: &BTreeSet<PersonId>) -> Result<()> {
        let calls: Vec<_> = pages.into_iter().map(|page| self.strike_from(page, settled)).collect();
        in_parallel(calls).await.map(drop)
    }

    async fn strike_from(&self, page: Page, settled: &BTreeSet<PersonId>) -> Result<()> {
        let left: Vec<Entry> = page.people.iter().copied().filter(|(id, _)| !settled.contains(id)).collect();
        if left.len() == page.people.len() {
            return Ok(());
        }
        if !left.is_empty() {
            return self.put_page(Page { people: left, ..page }).await;
        }
        self.remove_page(&page).await
    }

    pub(super) async fn write_audiences<'c>(&self, commits: impl Iterator<Item = &'c Commit> + Clone) -> Result<()> {
        let at = commits.clone().flat_map(|commit| &commit.journal).map(|row| row.folded_at).max();
        let mut audiences = BTreeMap::<&str, BTreeSet<PersonId>>::new();
        for (show, person) in commits.flat_map(|commit| &commit.audience) {
            audiences.entry(show).or_default().insert(*person);
        }
        for (show, people) in audiences {
            let people: Vec<PersonId> = people.into_iter().collect();
            self.put_people(&format!("show#{show}"), at.unwrap_or_default(), &people).await?;
        }
        Ok(())
    }

    /// Writes the pages of a batch, for all commits that were saved.
    pub(super) async fn write_pages(&self, commits: &[&Commit]) -> Result<()> {
        let rows = commits.iter().flat_map(|commit| &commit.journal);
        let at = rows.clone().map(|row| row.folded_at).max();
        let mut people = BTreeMap::new();
        for commit in commits {
            let trace = trace_bytes(commit.trace());
            // People whom an event left unchanged are included. A crash may have come after their write and before
            // their page, and this is the second delivery of that event.
            let named = commit.journal.iter().filter_map(|row| row.person);
            people.extend(commit.people.iter().map(|(person, _)| person.id).chain(named).map(|id| (id, trace)));
        }
        self.wait(&people, at.unwrap_or_else(now)).await?;
        let Some(at) = at else { return Ok(()) };
        let ids: Vec<EventId> = rows.map(|row| row.event.id.clone()).collect();
        for chunk in ids.chunks(EVENTS) {
            let key = page_key(at);
            let page = [
                ("pk", text("journal")),
                ("sk", text(key)),
                ("events", packed(&chunk.to_vec())?),
                expires(at + self.retention.journal),
            ];
            self.put_misc(item(page)).await?;
        }
        Ok(())
    }
}
