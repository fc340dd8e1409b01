//! Evaluates segments for people who changed and for people whose time has come. Entering and leaving are events of
//! their own in the journal.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use stagedoor_engine::{
    Catalog, CrmState, Person, PersonId, Traits,
    segments::{self, Facets, Looked, changes, reevaluate, rules_number},
};
use stagedoor_model::{Body, Event, EventId, SegmentChanged, SourceName, Timestamp, breakage};
use stagedoor_ports::{Commit, Dirty, JournalRow, Outcome, Result};
use tokio::time::Instant;

use crate::Sync;

/// Longest time of one call. Other rechecks wait for it; on AWS a tick comes once a minute.
pub(crate) const SPELL: Duration = Duration::from_secs(5);

/// Source name of the hub's own events.
const OWN: &str = "stagedoor";

/// Result of evaluating one person.
struct Found {
    link: CrmState,
    events: Vec<Event>,
    again_at: Option<Timestamp>,
}

impl Sync {
    /// Brings the segments of these people up to date. Returns the people whose CRM states must be saved. Events are
    /// journalled first. The CRM states are saved later, with the other changes of the run. After a crash between the
    /// two, the same events come again under the same ids.
    pub(crate) async fn segment(&self, dirty: &mut [Dirty], catalog: &Catalog) -> Result<BTreeSet<PersonId>> {
        if catalog.segments.is_empty() {
            return Ok(BTreeSet::new());
        }
        let (now, rules) = (self.clock.now(), rules_number(&catalog.segments, &catalog.mailings));
        let mut found = Vec::new();
        for (index, one) in dirty.iter().enumerate() {
            found.extend(look(one, catalog, now, rules)?.map(|changed| (index, one.person.id, changed)));
        }
        let events: Vec<(PersonId, &Event)> =
            found.iter().flat_map(|(_, id, found)| found.events.iter().map(|event| (*id, event))).collect();
        self.journal_found(&events, now).await?;
        let again: BTreeMap<PersonId, Timestamp> =
            found.iter().filter_map(|(_, id, found)| Some((*id, found.again_at?))).collect();
        if !again.is_empty() {
            self.store.schedule_rechecks(&again).await?;
        }
        let changed = found.iter().map(|(_, id, _)| *id).collect();
        for (index, _, found) in found {
            if let Some(one) = dirty.get_mut(index) {
                one.link = found.link;
            }
        }
        Ok(changed)
    }

    pub(crate) async fn journal_found(&self, events: &[(PersonId, &Event)], now: Timestamp) -> Result<()> {
        if events.is_empty() {
            return Ok(());
        }
        let ids: Vec<EventId> = events.iter().map(|(_, event)| event.id.clone()).collect();
        let known = self.store.journaled(&ids).await?;
        let fresh = events.iter().filter(|(_, event)| !known.contains(&event.id));
        let row = |(person, event): &(PersonId, &Event)| JournalRow {
            event: (*event).clone(),
            folded_at: now,
            outcome: Outcome::Folded,
            person: Some(*person),
            note: None,
        };
        let commits: Vec<Commit> = fresh.map(|one| Commit { journal: vec![row(one)], ..Commit::default() }).collect();
        if commits.is_empty() { Ok(()) } else { self.store.save(commits).await.map(drop) }
    }

    /// Marks people whose recheck is due, and people whom new rules change. New rules are evaluated for some seconds
    /// at a time, and the next call continues. Returns the number of people who were marked.
    ///
    /// # Errors
    /// When the store fails. The next call continues from the same place.
    pub async fn wake(&self) -> Result<usize> {
        let (began, mut woken) = (Instant::now(), 0);
        loop {
            let pages = self.store.due_rechecks(self.clock.now()).await?;
            if pages.is_empty() {
                break;
            }
            let ids: BTreeSet<PersonId> = pages.iter().flat_map(|page| page.people.iter().copied()).collect();
            // A person may have been joined into another meanwhile, or erased.
            let living: BTreeSet<PersonId> = self.store.load(&ids).await?.iter().map(|one| one.value.id).collect();
            woken += living.len();
            self.store.mark_dirty(living).await?;
            self.store.ack_rechecks(pages.into_iter().map(|page| page.key).collect()).await?;
            // The store returns a part of them at a time. On AWS a tick comes once a minute.
            if began.elapsed() >= SPELL || breakage::is_on("due-pages-a-few-a-tick") {
                break;
            }
        }
        Ok(woken + self.wake_for_new_rules().await? + self.feed_second().await?)
    }
}

/// # Errors
/// Never: the name is valid.
pub(crate) fn own_source() -> Result<SourceName> {
    SourceName::new(OWN).map_err(|error| stagedoor_ports::PortError::Fail(error.into()))
}

/// The person's segments now, as a difference to their CRM state.
pub(crate) struct Membership {
    pub entered: Vec<String>,
    pub left: Vec<String>,
    looked: Looked,
    /// Time at which time alone may change something.
    pub again_at: Option<Timestamp>,
}

pub(crate) fn membership(
    person: &Person,
    link: &CrmState,
    catalog: &Catalog,
    now: Timestamp,
    rules: u64,
) -> Membership {
    let traits = Traits::of(person, &link.leads(), catalog);
    let looked = Looked::at(&traits, rules);
    let changed = link.looked.as_ref().map_or(Facets::ALL, |known| known.changed(&looked));
    let known: BTreeSet<String> = link.segments.keys().cloned().collect();
    let membership = reevaluate(&catalog.segments, &traits, now, changed, &known);
    let (entered, left) = changes(&link.segments, &membership.of);
    Membership { entered, left, looked, again_at: membership.again_at }
}

/// `None` if nothing changed.
fn look(one: &Dirty, catalog: &Catalog, now: Timestamp, rules: u64) -> Result<Option<Found>> {
    let Membership { entered, left, looked, again_at: next } = membership(&one.person, &one.link, catalog, now, rules);
    let again_at = next.filter(|at| one.link.look_again_at != Some(*at));
    let is_known = one.link.looked == Some(looked) && next == one.link.look_again_at;
    if entered.is_empty() && left.is_empty() && is_known {
        return Ok(None);
    }
    let own = own_source()?;
    // The revision changes once this is saved, so coming back later makes another event.
    let (person, revision) = (one.person.id.to_string(), one.link.revision.to_string());
    let event = |what: &str, segment: &String, body: fn(SegmentChanged) -> Body| {
        let id = EventId::derive(&own, &[what, segment, &person, &revision]);
        Event::new(&own, id, now, body(SegmentChanged { segment: segment.clone() }))
    };
    let events = entered.iter().map(|name| event("entered", name, Body::SegmentEntered));
    let events = events.chain(left.iter().map(|name| event("left", name, Body::SegmentLeft))).collect();
    let mut link = one.link.clone();
    left.iter().for_each(|name| _ = link.segments.remove(name));
    link.segments.extend(entered.into_iter().map(|name| (name, now)));
    (link.looked, link.look_again_at) = (Some(looked), next);
    Ok(Some(Found { link, events, again_at }))
}

/// Explains for a command why a person is in a segment or not.
pub fn why(
    catalog: &Catalog,
    segment: &str,
    person: &stagedoor_engine::Person,
    link: &CrmState,
    now: Timestamp,
) -> Vec<String> {
    let Some(segment) = catalog.segments.iter().find(|one| one.name == segment) else { return vec![] };
    segments::why(segment, &Traits::of(person, &link.leads(), catalog), now)
}
