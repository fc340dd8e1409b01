//! New rules of segments and mailings: everybody is held against them, and only whom they change is marked. The CRM has
//! nothing to do with the others.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use stagedoor_engine::{Catalog, CrmState, Person, PersonId, Traits, due_messages, segments::rules_number};
use stagedoor_model::{Timestamp, breakage};
use stagedoor_ports::{KeyValue, Result, Store};
use tokio::time::Instant;

use crate::{Sync, segment::membership};

/// The cell that holds which rules everybody is held against, and how far that has come. The version before reads it, too.
const RULES: &str = "segments/rules";
/// How many people that were.
const COUNT: &str = "segments/rules/people";
/// People of one page.
const PAGE: usize = 1_000;
/// People whose rules are evaluated before others get their turn on this thread.
const TURN: usize = 50;
/// How long one call is at it. Others who are due wait for it; on AWS a tick comes once a minute.
pub(crate) const SPELL: Duration = Duration::from_secs(5);
const DONE: &str = "done";

/// How far everybody has come with rules that were written anew.
struct Progress {
    rules: String,
    /// The person after whom it goes on; `done` behind the last.
    after: String,
}

impl Progress {
    fn read(key_value: Option<&KeyValue>) -> Self {
        let told = key_value.map_or("", |key_value| key_value.value.as_str());
        let (rules, after) = told.split_once('|').unwrap_or((told, ""));
        Self { rules: rules.to_owned(), after: after.to_owned() }
    }

    fn text(&self) -> String {
        format!("{}|{}", self.rules, self.after)
    }
}

/// What rules make of one person.
enum Concern {
    Nothing,
    /// Time alone will change something then.
    At(Timestamp),
    Now,
}

/// How many people were held against rules that were written anew, while not all were. `None`: nobody is to be.
///
/// # Errors
/// When the store cannot be read.
pub async fn rules_progress(store: &dyn Store) -> Result<Option<u64>> {
    let key_value = store.key_value(RULES).await?;
    if key_value.is_none() || Progress::read(key_value.as_ref()).after == DONE {
        return Ok(None);
    }
    let count = store.key_value(COUNT).await?;
    Ok(Some(count.and_then(|key_value| key_value.value.parse().ok()).unwrap_or(0)))
}

impl Sync {
    /// Holds people against rules that are new, page by page, for `SPELL` or until all were. Where it stopped it goes on, in
    /// whatever process. Answers how many were marked.
    pub(crate) async fn wake_for_new_rules(&self) -> Result<usize> {
        let (segments, mailings) = (&self.catalog.segments, &self.catalog.mailings);
        let (began, number) = (Instant::now(), rules_number(segments, mailings));
        let mut woken = 0;
        let mut catalog = None;
        loop {
            let key_value = self.store.key_value(RULES).await?;
            let mut progress = Progress::read(key_value.as_ref());
            if progress.rules != number.to_string() {
                progress = Progress { rules: number.to_string(), after: String::new() };
                if segments.is_empty() && mailings.is_empty() && key_value.is_none() {
                    return Ok(woken);
                }
            } else if progress.after == DONE {
                return Ok(woken);
            }
            let catalog = match &mut catalog {
                Some(catalog) => catalog,
                none => none.insert(self.catalog().await?),
            };
            let after = Some(progress.after.clone()).filter(|after| !after.is_empty());
            let is_first = after.is_none();
            let (people, next) = self.store.scan_people(after, PAGE).await?;
            self.count_asked(people.len() as u64, is_first).await?;
            woken += self.hold_against_rules(people, catalog, number).await?;
            progress.after = next.unwrap_or_else(|| DONE.to_owned());
            let is_over = progress.after == DONE || began.elapsed() >= SPELL;
            // Another process that is at it as well does no harm.
            self.store.compare_and_set(RULES, &progress.text(), key_value.map(|key_value| key_value.version)).await?;
            if is_over {
                return Ok(woken);
            }
        }
    }

    /// For `status` alone: a crash in between may count a page twice.
    async fn count_asked(&self, people: u64, is_first: bool) -> Result<()> {
        let key_value = self.store.key_value(COUNT).await?;
        let known = key_value
            .as_ref()
            .and_then(|key_value| key_value.value.parse::<u64>().ok())
            .filter(|_| !is_first)
            .unwrap_or(0);
        let count = known.saturating_add(people).to_string();
        self.store.compare_and_set(COUNT, &count, key_value.map(|key_value| key_value.version)).await.map(drop)
    }

    async fn hold_against_rules(&self, ids: BTreeSet<PersonId>, catalog: &Catalog, rules: u64) -> Result<usize> {
        if breakage::is_on("rules-wake-everybody") {
            let woken = ids.len();
            return self.store.mark_dirty(ids).await.map(|()| woken);
        }
        let (now, writes) = (self.clock.now(), self.conversation.is_some());
        let people = self.store.load(&ids).await?;
        let links = self.store.crm_states(&ids).await?;
        let (mut marked, mut again) = (ids, BTreeMap::new());
        // Who cannot be read stays marked: the rounds set them aside, and come back to them once they can be read.
        people.iter().for_each(|one| _ = marked.remove(&one.value.id));
        if breakage::is_on("rules-pass-unreadable") {
            marked.clear();
        }
        for (n, person) in people.iter().map(|one| &one.value).enumerate() {
            let nothing = CrmState::default();
            let link = links.get(&person.id).unwrap_or(&nothing);
            match concern(person, link, catalog, (now, rules, writes)) {
                Concern::Nothing => {}
                Concern::At(at) => _ = again.insert(person.id, at),
                Concern::Now => _ = marked.insert(person.id),
            }
            if n % TURN == 0 {
                tokio::task::yield_now().await;
            }
        }
        if !again.is_empty() {
            self.store.schedule_rechecks(&again).await?;
        }
        let woken = marked.len();
        if woken > 0 {
            self.store.mark_dirty(marked).await?;
        }
        Ok(woken)
    }
}

/// Whether somebody enters or leaves a segment, or is to be written something, now or at a time that nobody has put down yet.
fn concern(
    person: &Person,
    link: &CrmState,
    catalog: &Catalog,
    (now, rules, writes): (Timestamp, u64, bool),
) -> Concern {
    let found = membership(person, link, catalog, now, rules);
    if !found.entered.is_empty() || !found.left.is_empty() {
        return Concern::Now;
    }
    let mut times: Vec<Timestamp> = found.again_at.filter(|at| link.look_again_at != Some(*at)).into_iter().collect();
    if writes && !catalog.mailings.is_empty() {
        let due_messages =
            due_messages(person, link, &Traits::of(person, &link.leads(), catalog), catalog, &BTreeSet::new(), now);
        if !due_messages.now.is_empty() {
            return Concern::Now;
        }
        times.extend(due_messages.again_at);
    }
    times.into_iter().min().map_or(Concern::Nothing, Concern::At)
}
