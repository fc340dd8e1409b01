//! Evaluates new rules of segments and mailings for all people, and marks only the people whom they change. The
//! others make no work for the CRM.

use std::collections::{BTreeMap, BTreeSet};

use stagedoor_engine::{Catalog, CrmState, Person, PersonId, Traits, due_messages, segments::rules_number};
use stagedoor_model::{Timestamp, breakage};
use stagedoor_ports::{KeyValue, KeyValues, Result};
use tokio::time::Instant;

use crate::{
    Sync,
    segment::{SPELL, membership},
};

/// Stored value with the current rules and the progress of their evaluation. The version before reads it, too.
const RULES: &str = "segments/rules";
/// Stored value with the number of people evaluated.
const COUNT: &str = "segments/rules/people";
/// People of one page.
const PAGE: usize = 1_000;
/// People that are evaluated before other tasks get their turn on this thread.
const TURN: usize = 50;
const DONE: &str = "done";

/// Progress of the evaluation of new rules.
struct Progress {
    rules: String,
    /// The person after whom it continues. It is `done` after the last person.
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

/// Effect of rules on one person.
enum Concern {
    Nothing,
    /// Time alone will change something at this time.
    At(Timestamp),
    Now,
}

/// Number of people evaluated for new rules, while the evaluation is not complete. `None` if there is no evaluation.
///
/// # Errors
/// When the store cannot be read.
pub async fn rules_progress(store: &dyn KeyValues) -> Result<Option<u64>> {
    let key_value = store.key_value(RULES).await?;
    if key_value.is_none() || Progress::read(key_value.as_ref()).after == DONE {
        return Ok(None);
    }
    let count = store.key_value(COUNT).await?;
    Ok(Some(count.and_then(|key_value| key_value.value.parse().ok()).unwrap_or(0)))
}

impl Sync {
    /// Evaluates new rules page by page, for `SPELL` or until all people are done. Any process continues where it
    /// stopped. Returns the number of people who were marked.
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
            // Another process that does the same does no harm.
            self.store.compare_and_set(RULES, &progress.text(), key_value.map(|key_value| key_value.version)).await?;
            if is_over {
                return Ok(woken);
            }
        }
    }

    /// Counts people, for `status` alone. A crash in between may count a page twice.
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
        // A person who cannot be read stays marked. Runs set them aside, and return to them once they can be read.
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

/// The effect of rules on a person: they enter or leave a segment or get a message, now or at a time not scheduled
/// yet.
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
