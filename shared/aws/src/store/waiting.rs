//! People who wait for the CRM, the pages that name them, and values that cannot be read.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use stagedoor_engine::{CrmState, Person, PersonId};
use stagedoor_model::{Timestamp, breakage};
use stagedoor_ports::{Dirty, Mark, Postponed, READ_AGAIN, Result, SetAside, Taken};

use super::{
    DynamoStore, expires, page_keys,
    pages::{self, Page, Postponement},
    parts::Kind,
    person_id, person_keys, unpacked,
};
use crate::dynamo::{Item, item, number, number_of, text, text_of};

/// How long an unreadable value is reported after it was last found.
const TOLD: SignedDuration = SignedDuration::from_hours(24);

/// The separator of the page keys in a mark.
const BETWEEN: char = ' ';

fn keys_of(taken: &Taken) -> impl Iterator<Item = &str> {
    taken.mark.0.split(BETWEEN).filter(|key| !key.is_empty())
}

fn version_of(one: &Item) -> u64 {
    number_of(one, "version").unwrap_or(0)
}

/// What the pages say of one person.
#[derive(Default)]
struct Marks {
    keys: Vec<String>,
    tries: u32,
    trace: [u8; 16],
    is_aside: bool,
}

impl DynamoStore {
    pub(super) async fn take(&self, max: usize, now: Option<Timestamp>) -> Result<Vec<Dirty>> {
        let pages = self.waiting_for(max, now).await?;
        let (mut wanted, mut marks) = (Vec::new(), BTreeMap::<PersonId, Marks>::new());
        let mut seen = BTreeSet::new();
        for page in pages.iter().filter(|page| page.is_ready(now)) {
            let new = page.people.iter().map(|(id, _)| *id).filter(|id| seen.len() < max && seen.insert(*id));
            wanted.extend(new);
        }
        // Pages of postponed people are included, because a run covers all that is known of a person.
        for page in &pages {
            for (id, trace) in page.people.iter().filter(|(id, _)| seen.contains(id)) {
                let mark = marks.entry(*id).or_default();
                mark.keys.push(page.key.clone());
                mark.tries = mark.tries.max(page.why.tries);
                mark.is_aside |= page.why.is_aside;
                // A mark without a delivery must not hide the trace of one.
                if *trace != [0; 16] {
                    mark.trace = *trace;
                }
            }
        }
        let (mut people, mut unreadable) = (BTreeMap::new(), BTreeMap::new());
        let (mut gone, mut joined) = (seen, BTreeSet::new());
        for one in self.documents(Kind::Person, wanted.iter().copied()).await? {
            let id = person_id(text_of(&one, "id").unwrap_or(""))?;
            if let Some(target) = text_of(&one, "target") {
                joined.insert(person_id(target)?);
            } else if one.contains_key("doc") {
                gone.remove(&id);
                match unpacked::<Person>(&one, "doc") {
                    Ok(person) => _ = people.insert(id, (person, version_of(&one))),
                    Err(error) => _ = unreadable.insert(id, error.to_string()),
                }
            }
        }
        if now.is_some() {
            // A joined person no longer waits; the person they were joined into does.
            let living = self.living(&joined).await?;
            self.wait(&living.into_iter().map(|id| (id, [0; 16])).collect(), page_keys::now()).await?;
            self.strike(pages, &gone).await?;
        }
        let own = people.values().flat_map(|(person, _)| own_ids(person));
        let (links, broken) = self.links_of(&own.collect()).await?;
        let mut dirty = Vec::new();
        for id in wanted {
            let Some((person, version)) = people.remove(&id) else { continue };
            if let Some(reason) = own_ids(&person).find_map(|one| broken.get(&one)) {
                unreadable.insert(id, reason.clone());
                continue;
            }
            let mut link =
                own_ids(&person).filter_map(|one| links.get(&one).cloned()).reduce(CrmState::join).unwrap_or_default();
            link.revision = links.get(&id).map_or(0, |own| own.revision);
            let marks = marks.remove(&id).unwrap_or_default();
            if marks.is_aside && now.is_some() {
                self.forget_unreadable(id).await?;
            }
            let mark = Mark(marks.keys.join(&BETWEEN.to_string()));
            dirty.push(Dirty { person, version, mark, tries: marks.tries, link, trace: pages::trace_of(marks.trace) });
        }
        if let Some(now) = now {
            self.put_aside(&unreadable, &marks, now).await?;
        }
        Ok(dirty)
    }

    pub(super) async fn links_of(
        &self,
        ids: &BTreeSet<PersonId>,
    ) -> Result<(BTreeMap<PersonId, CrmState>, BTreeMap<PersonId, String>)> {
        let (mut links, mut unreadable) = (BTreeMap::new(), BTreeMap::new());
        for one in self.documents(Kind::Link, ids.iter().copied()).await? {
            let id = person_id(text_of(&one, "person").unwrap_or(""))?;
            match unpacked(&one, "doc") {
                Ok(link) => _ = links.insert(id, link),
                Err(error) => _ = unreadable.insert(id, error.to_string()),
            }
        }
        Ok((links, unreadable))
    }

    /// The people whose version is still the one that was taken.
    async fn unchanged<'t>(&self, taken: impl Iterator<Item = &'t Taken> + Clone) -> Result<BTreeSet<PersonId>> {
        let found = self.get_only("people", person_keys(taken.clone().map(|one| one.id), "id"), "id, version").await?;
        let versions: BTreeMap<&str, u64> =
            found.iter().filter_map(|one| Some((text_of(one, "id")?, number_of(one, "version")?))).collect();
        let same = |one: &&Taken| versions.get(one.id.to_string().as_str()).is_none_or(|now| *now == one.version);
        Ok(taken.filter(same).map(|one| one.id).collect())
    }

    /// Removes people from the pages of their mark. A person who changed or was marked later is also on a page outside
    /// the mark.
    pub(super) async fn settle_taken(&self, people: Vec<Taken>) -> Result<()> {
        let settled = self.unchanged(people.iter()).await?;
        if breakage::is_on("mark-lost-in-run") {
            return self.strike(self.waiting().await?, &settled).await;
        }
        let keys = people.iter().filter(|one| settled.contains(&one.id)).flat_map(keys_of).collect();
        self.strike(self.pages_named(keys).await?, &settled).await
    }

    pub(super) async fn postpone_taken(&self, people: Vec<Postponed>) -> Result<()> {
        let pages = self.pages_named(people.iter().flat_map(|one| keys_of(&one.taken)).collect()).await?;
        let same = self.unchanged(people.iter().map(|one| &one.taken)).await?;
        let mut known = BTreeMap::<PersonId, ([u8; 16], i64)>::new();
        for page in &pages {
            for (id, trace) in &page.people {
                let entry = known.entry(*id).or_insert((*trace, page.since()));
                let latest = if *trace == [0; 16] { entry.0 } else { *trace };
                *entry = (latest, entry.1.min(page.since()));
            }
        }
        let mut groups = BTreeMap::<Postponement, BTreeMap<PersonId, [u8; 16]>>::new();
        for one in people.iter().filter(|one| same.contains(&one.taken.id)) {
            let Some((trace, since)) = known.get(&one.taken.id) else { continue };
            let not_before = one.until.map(|until| until.as_millisecond());
            let why = Postponement { tries: one.tries, not_before, since: Some(*since), is_aside: false };
            groups.entry(why).or_default().insert(one.taken.id, *trace);
        }
        self.move_back(groups, pages).await
    }

    /// Writes the new pages first: a crash in between leaves a person on two pages, never on none.
    async fn move_back(
        &self,
        groups: BTreeMap<Postponement, BTreeMap<PersonId, [u8; 16]>>,
        pages: Vec<Page>,
    ) -> Result<()> {
        let moved: BTreeSet<PersonId> = groups.values().flat_map(BTreeMap::keys).copied().collect();
        for (why, people) in groups {
            let place = why.not_before.or(why.since).and_then(|ms| Timestamp::from_millisecond(ms).ok());
            self.wait_because(&people, place.unwrap_or_else(page_keys::now), why).await?;
        }
        self.strike(pages, &moved).await
    }

    async fn put_aside(
        &self,
        unreadable: &BTreeMap<PersonId, String>,
        marks: &BTreeMap<PersonId, Marks>,
        now: Timestamp,
    ) -> Result<()> {
        if unreadable.is_empty() {
            return Ok(());
        }
        for (id, reason) in unreadable {
            self.note_unreadable("person", &id.to_string(), reason, now).await?;
        }
        let keys = unreadable.keys().filter_map(|id| marks.get(id)).flat_map(|marks| &marks.keys);
        let pages = self.pages_named(keys.map(String::as_str).collect()).await?;
        let since = pages.iter().map(Page::since).min();
        let not_before = Some((now + READ_AGAIN).as_millisecond());
        let why = Postponement { tries: 0, not_before, since, is_aside: true };
        let people = unreadable.keys().map(|id| (*id, [0; 16])).collect();
        self.move_back(BTreeMap::from([(why, people)]), pages).await
    }

    pub(super) async fn note_unreadable(&self, kind: &str, id: &str, reason: &str, now: Timestamp) -> Result<()> {
        let key = format!("{kind}#{id}");
        let mut one = item([("pk", text("unreadable")), ("sk", text(key)), ("reason", text(reason))]);
        one.extend(item([("since", number(now.as_millisecond())), expires(now + TOLD)]));
        self.put_misc(one).await
    }

    async fn forget_unreadable(&self, id: PersonId) -> Result<()> {
        self.remove("misc", item([("pk", text("unreadable")), ("sk", text(format!("person#{id}")))])).await
    }

    pub(super) async fn all_set_aside(&self, max: usize) -> Result<Vec<SetAside>> {
        let found = self.query("misc", None, ("pk", "unreadable"), max, false).await?;
        let read = |one: &Item| {
            let (kind, id) = text_of(one, "sk")?.split_once('#')?;
            let since =
                number_of(one, "since").and_then(|ms| Timestamp::from_millisecond(i64::try_from(ms).ok()?).ok())?;
            let reason = text_of(one, "reason").unwrap_or("").to_owned();
            Some(SetAside { kind: kind.to_owned(), id: id.to_owned(), reason, since })
        };
        Ok(found.iter().filter_map(read).collect())
    }

    pub(super) async fn unreadable_of(&self, ids: &BTreeSet<PersonId>) -> Result<BTreeSet<PersonId>> {
        if ids.is_empty() || !self.is_any_unreadable(ids).await? {
            return Ok(BTreeSet::new());
        }
        let mut broken = BTreeSet::new();
        for id in ids {
            if self.is_any_unreadable(&BTreeSet::from([*id])).await? {
                broken.insert(*id);
            }
        }
        Ok(broken)
    }

    async fn is_any_unreadable(&self, ids: &BTreeSet<PersonId>) -> Result<bool> {
        let found = self.people_items(ids).await?;
        if found.iter().any(|one| one.contains_key("doc") && unpacked::<Person>(one, "doc").is_err()) {
            return Ok(true);
        }
        let living: Result<_> = found.iter().map(|one| person_id(text_of(one, "id").unwrap_or(""))).collect();
        Ok(!self.links_of(&living?).await?.1.is_empty())
    }
}

fn own_ids(person: &Person) -> impl Iterator<Item = PersonId> {
    std::iter::once(person.id).chain(person.merged_ids.iter().copied())
}
