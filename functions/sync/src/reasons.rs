//! Reasons why people and events wait, with the person who must act. One stored value holds them for all processes,
//! the console and `stagedoor status`.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use stagedoor_engine::{Person, PersonId, Rejected};
use stagedoor_model::{SourceName, Timestamp};
use stagedoor_ports::{Dirty, Result, Store};
use stagedoor_texts::{Language, reasons::translated};

use crate::{
    Sync,
    cause::Cause,
    size::{has_room, is_easy},
};

const CELL: &str = "waiting-reasons";
/// Number of tries when other processes change the value meanwhile.
const TRIES: usize = 5;
/// Rejected rows that are read to find out since when there are any.
const PARKED: usize = 500;
/// People who are read to find out whose runs failed.
const FAILING: usize = 500;

/// A reason why people or events wait, with the person who must act.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingReason {
    pub reason: String,
    pub who_acts: String,
    /// The reason in Russian.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason_ru: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub who_acts_ru: String,
    /// Number of people who wait for it. Zero if only events wait.
    pub people: u64,
    pub since: Timestamp,
    /// Latest time at which the reason ends by itself, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// One of the people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<PersonId>,
}

const BY_ITSELF: &str = "nobody: it is tried again by itself";
const OWNER: &str = "the owner of the CRM account";
const ADMINISTRATOR: &str = "an administrator of the CRM, or the operator in stagedoor.toml";

/// The person who must act when the CRM cannot be used for this reason.
pub(crate) fn who_acts(reason: &str) -> &'static str {
    let names = |words: &[&str]| words.iter().any(|word| reason.contains(word));
    if names(&["stage", "pipeline", "field", "crm.owner", "right"]) {
        ADMINISTRATOR
    } else if names(&["refuses us", "not paid", "402", "blocked", "token", "authoris"]) {
        OWNER
    } else {
        BY_ITSELF
    }
}

impl Sync {
    /// Notes the CRM's reasons after a run.
    pub(crate) async fn note_crm(&self, causes: Vec<Cause>) -> Result<()> {
        self.note_reasons("crm", causes).await
    }

    /// Notes a source that has not answered since `since`, or that answers again. If the note fails, it is only not
    /// shown.
    pub(crate) async fn note_source(&self, source: &SourceName, since: Option<Timestamp>) {
        let reason = format!("order shop {source} does not answer; its orders wait in the queue");
        self.note_outage(format!("source/{source}"), reason, "the one who runs the shop", since).await;
    }

    pub(crate) async fn note_list(&self, list: &str, since: Option<Timestamp>) {
        let reason = format!("mailing list {list} does not answer; its members are changed later");
        self.note_outage(format!("list/{list}"), reason, "the provider of the mailing list", since).await;
    }

    /// Notes whether the CRM hides rows of the hub from the hub's user.
    pub(crate) async fn note_hidden(&self, is_hidden: bool) -> Result<()> {
        let reason = "the CRM hides rows of the hub from its user: give the user the right to see them";
        self.note_rights(is_hidden.then_some(reason)).await
    }

    /// Notes why the CRM does not say which rows exist.
    pub(crate) async fn note_denied(&self, reason: &str) -> Result<()> {
        tracing::error!(reason, "rows that may be gone from the CRM could not be looked for");
        self.note_rights(Some(reason)).await
    }

    async fn note_rights(&self, reason: Option<&str>) -> Result<()> {
        let cause = if self.scope.is_empty() { "rights" } else { "second-rights" };
        let own = |reason: &str| Cause {
            cause: cause.to_owned(),
            reason: reason.to_owned(),
            who_acts: ADMINISTRATOR,
            people: BTreeSet::new(),
        };
        self.note_reasons(cause, reason.map(own).into_iter().collect()).await
    }

    async fn note_outage(&self, cause: String, reason: String, who_acts: &'static str, since: Option<Timestamp>) {
        let own = Cause { cause: cause.clone(), reason, who_acts, people: BTreeSet::new() };
        let causes = since.map(|_| own).into_iter().collect();
        if let Err(error) = self.note_reasons(&cause, causes).await {
            tracing::warn!(%error, cause, "why events wait could not be noted");
        }
    }

    /// Replaces the reasons whose cause has this prefix.
    pub(crate) async fn note_reasons(&self, prefix: &str, causes: Vec<Cause>) -> Result<()> {
        for _ in 0..TRIES {
            let key_value = self.store.key_value(CELL).await?;
            let before = key_value.as_ref().map(|key_value| read(&key_value.value)).unwrap_or_default();
            let mut after = before.clone();
            after.retain(|cause, _| !cause.starts_with(prefix));
            for cause in &causes {
                let same = before.get(&cause.cause).filter(|known| known.reason == cause.reason);
                let reason = WaitingReason {
                    reason: cause.reason.clone(),
                    who_acts: cause.who_acts.to_owned(),
                    people: cause.people.len() as u64,
                    since: same.map_or_else(|| self.clock.now(), |known| known.since),
                    person: cause.people.first().copied(),
                    ..WaitingReason::default()
                };
                after.insert(cause.cause.clone(), reason);
            }
            if after == before {
                return Ok(());
            }
            let value = serde_json::to_string(&after).unwrap_or_default();
            if self.store.compare_and_set(CELL, &value, key_value.map(|key_value| key_value.version)).await? {
                return Ok(());
            }
        }
        Ok(())
    }
}

fn read(value: &str) -> BTreeMap<String, WaitingReason> {
    serde_json::from_str(value).unwrap_or_default()
}

/// One reason for all people who have an item in their list.
fn listed<'l>(
    all: impl Iterator<Item = (PersonId, Vec<&'l Rejected>)>,
    reason: &str,
    who_acts: &str,
) -> Option<WaitingReason> {
    let first = all.filter_map(|(id, listed)| Some((listed.iter().map(|one| one.at).min()?, id)));
    let people: Vec<(Timestamp, PersonId)> = first.collect();
    let (since, person) = people.iter().min().copied()?;
    let (reason, who_acts) = (reason.to_owned(), who_acts.to_owned());
    let (people, person) = (people.len() as u64, Some(person));
    Some(WaitingReason { reason, who_acts, people, since, person, ..WaitingReason::default() })
}

/// Reasons for waiting that one fault in the CRM gives to many people, such as a missing stage.
fn held(waiting: &[Dirty]) -> Vec<WaitingReason> {
    let mut by_reason = BTreeMap::<&str, WaitingReason>::new();
    for one in waiting {
        let mut known = BTreeSet::new();
        for held in one.link.held() {
            let reason = by_reason.entry(&held.reason).or_insert_with(|| WaitingReason {
                reason: held.reason.clone(),
                who_acts: who_acts(&held.reason).to_owned(),
                people: 0,
                since: held.at,
                person: Some(one.person.id),
                ..WaitingReason::default()
            });
            reason.people += u64::from(known.insert(&held.reason));
            reason.since = reason.since.min(held.at);
        }
    }
    by_reason.into_values().collect()
}

/// The reason of people with rows that a call without an answer may still make.
fn late(waiting: &[Dirty]) -> Option<WaitingReason> {
    let since_and_until = |one: &Dirty| {
        let links = [Some(&one.link), one.link.second.as_deref()].into_iter().flatten();
        let calls = links.filter_map(|link| Some((link.unanswered_since()?, link.late_until())));
        calls.reduce(|one, other| (one.0.min(other.0), one.1.max(other.1)))
    };
    let calls: Vec<_> = waiting.iter().filter_map(|one| Some((one.person.id, since_and_until(one)?))).collect();
    let (person, _) = calls.first()?;
    Some(WaitingReason {
        reason: "a call to the CRM got no answer and may still take effect; its rows are looked up until then".into(),
        who_acts: BY_ITSELF.into(),
        people: calls.len() as u64,
        since: calls.iter().map(|(_, (since, _))| *since).min()?,
        until: calls.iter().filter_map(|(_, (_, until))| *until).max(),
        person: Some(*person),
        ..WaitingReason::default()
    })
}

/// Reasons why people wait for the CRM now, in both languages, without rows that wait for a manager.
///
/// # Errors
/// When the store fails.
pub async fn reasons_of_people(store: &dyn Store) -> Result<Vec<WaitingReason>> {
    Ok(in_order(why(store).await?))
}

/// Reasons in both languages. The longest wait comes first.
fn in_order(mut reasons: Vec<WaitingReason>) -> Vec<WaitingReason> {
    for one in &mut reasons {
        (one.reason_ru, one.who_acts_ru) =
            (translated(&one.reason, Language::Russian), translated(&one.who_acts, Language::Russian));
    }
    reasons.sort_by_key(|one| one.since);
    reasons
}

async fn why(store: &dyn Store) -> Result<Vec<WaitingReason>> {
    let key_value = store.key_value(CELL).await?;
    let mut causes = key_value.map(|key_value| read(&key_value.value)).unwrap_or_default();
    let totals = store.totals().await?;
    if totals.waiting == 0 {
        // A run that finds no people writes nothing.
        causes.retain(|cause, _| !cause.starts_with("crm"));
    }
    // A person who was erased or joined since waits for nothing.
    let large = |cause: &String| PersonId::parse(cause.strip_prefix("large")?.split_once('/')?.1).ok();
    let ids: BTreeSet<PersonId> = causes.keys().filter_map(large).collect();
    if !ids.is_empty() {
        let living: BTreeMap<PersonId, Person> =
            store.load(&ids).await?.into_iter().map(|one| (one.value.id, one.value)).collect();
        let links = store.crm_states(&ids).await?;
        causes.retain(|cause, _| {
            let Some(id) = large(cause) else { return true };
            let Some(person) = living.get(&id) else { return false };
            // A person whose data became smaller since waits for nothing either.
            match cause.starts_with("large-link/") {
                true => links.get(&id).is_some_and(|link| !has_room(store, link)),
                false => !is_easy(person),
            }
        });
    }
    let is_out = causes.keys().any(|cause| cause.starts_with("crm"));
    let mut reasons: Vec<WaitingReason> = causes.into_values().collect();
    let waiting = if totals.waiting > 0 { store.claim_dirty(FAILING, None).await? } else { vec![] };
    reasons.extend(held(&waiting));
    reasons.extend(late(&waiting));
    if totals.waiting > 0 && !is_out {
        let failing = waiting.iter().filter(|one| one.tries > 0 && one.link.held().is_empty());
        let failing: Vec<PersonId> = failing.map(|one| one.person.id).collect();
        let reason = WaitingReason {
            reason: "the CRM gave no answer that stands about the rows of these people".into(),
            who_acts: BY_ITSELF.into(),
            people: failing.len() as u64,
            since: totals.waiting_since.unwrap_or_default(),
            person: failing.first().copied(),
            ..WaitingReason::default()
        };
        reasons.extend((!failing.is_empty()).then_some(reason));
    }
    Ok(reasons)
}

/// Reasons why people and events wait now. The longest wait comes first.
///
/// # Errors
/// When the store fails.
pub async fn waiting_reasons(store: &dyn Store) -> Result<Vec<WaitingReason>> {
    let mut reasons = why(store).await?;
    let rejected = store.rejected(PARKED).await?;
    reasons.extend(listed(
        rejected.iter().map(|(id, link)| (*id, link.refused())),
        "the CRM refused rows of these people; `stagedoor parked` says why",
        "a manager: correct the row, then `stagedoor retry-parked`",
    ));
    reasons.extend(listed(
        rejected.iter().map(|(id, link)| (*id, link.unplaced())),
        "money of these people matches no order, or came in another currency; `stagedoor parked` lists it",
        "a manager: find out what it was for, or give it back",
    ));
    let aside = store.set_aside(PARKED).await?;
    for (kind, what) in [("person", "people"), ("event", "events")] {
        let all: Vec<_> = aside.iter().filter(|one| one.kind == kind).collect();
        let Some(first) = all.iter().min_by_key(|one| one.since) else { continue };
        reasons.push(WaitingReason {
            reason: format!("{} stored {what} cannot be read by this version: {}", all.len(), first.reason),
            who_acts: "the operator: start the version that wrote them, or a newer one".into(),
            people: if kind == "person" { all.len() as u64 } else { 0 },
            since: first.since,
            person: PersonId::parse(&first.id).ok().filter(|_| kind == "person"),
            ..WaitingReason::default()
        });
    }
    Ok(in_order(reasons))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_names_who_can_end_it() {
        assert_eq!(who_acts("the CRM refuses us: amoCRM answers 402: the account is not paid"), OWNER);
        assert_eq!(who_acts("stage «Оплачено» of pipeline «Тур» was not found"), ADMINISTRATOR);
        assert_eq!(who_acts("the CRM cannot be used now: no answer"), BY_ITSELF);
    }
}
