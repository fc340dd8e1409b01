//! People, and their CRM states, that became too large for one stored document. A write that must fail would stop its
//! whole batch or run for ever. So such people are left out in time, with a reason.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

use jiff::SignedDuration;
use serde::Serialize;
use stagedoor_engine::{Person, PersonId};
use stagedoor_model::breakage;
use stagedoor_ports::{Commit, Dirty, JournalRow, Outcome, People, Postponed, Result, Taken, Versioned};

use crate::{Sync, cause::Cause};

/// Bytes of JSON for which every store has room.
const EASY: usize = 256 * 1024;
/// Delay before a person whose CRM state has no room is looked at again.
const REST: SignedDuration = SignedDuration::from_hours(1);
const OPERATOR: &str = "the operator: name the phone or e-mail that many people share under `[identity] blocked`, restart, \
                        then `stagedoor replay --from <time>`";

struct Counter(usize);

impl io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Size of the value's JSON in bytes.
fn size(value: &impl Serialize) -> usize {
    let mut counter = Counter(0);
    // After an error, the counter holds the bytes up to the error.
    _ = serde_json::to_writer(&mut counter, value);
    counter.0
}

/// True if every store has room for the value, and for more.
pub(crate) fn is_easy(value: &impl Serialize) -> bool {
    size(value) <= EASY
}

pub(crate) fn has_room(store: &dyn People, value: &impl Serialize) -> bool {
    is_easy(value)
        || store.has_room(&serde_json::to_vec(value).unwrap_or_default())
        || breakage::is_on("too-large-is-written")
}

impl Sync {
    /// Leaves out commits whose people do not fit into the store; their events are only journalled. A person who gets
    /// smaller is always written. `known` holds the people as they are stored.
    pub(crate) async fn without_large(
        &self,
        commits: Vec<Commit>,
        known: &BTreeMap<PersonId, Versioned<Person>>,
    ) -> Result<Vec<Commit>> {
        let mut kept = Vec::new();
        for commit in commits {
            let sizes = commit.people.iter().map(|(person, _)| (person, size(person)));
            let sizes: Vec<(&Person, usize)> = sizes.filter(|(_, size)| *size > EASY).collect();
            let grows = |person: &Person, now: usize| known.get(&person.id).is_none_or(|one| size(&one.value) < now);
            let large = sizes.iter().filter(|(one, size)| !has_room(&*self.store, *one) && grows(one, *size));
            let large: BTreeSet<PersonId> = large.map(|(person, _)| person.id).collect();
            for (person, _) in &sizes {
                self.note_person(person.id, large.contains(&person.id)).await?;
            }
            if large.is_empty() {
                kept.push(commit);
                continue;
            }
            for row in &commit.journal {
                tracing::error!(trace = row.event.trace_id(), event = %row.event.id, "no room for its person; only journalled");
            }
            let note = Some("not folded: the person outgrew one stored document".to_owned());
            let row = |row: JournalRow| JournalRow {
                outcome: Outcome::Nobody,
                person: row.person.filter(|id| known.contains_key(id)),
                note: note.clone(),
                ..row
            };
            kept.push(Commit { journal: commit.journal.into_iter().map(row).collect(), ..Commit::default() });
        }
        Ok(kept)
    }

    async fn note_person(&self, id: PersonId, is_large: bool) -> Result<()> {
        let reason = "the facts of a person outgrew one stored document: new events about them are only journalled";
        let name = format!("large/{id}");
        let cause = || Cause {
            cause: name.clone(),
            reason: reason.to_owned(),
            who_acts: OPERATOR,
            people: BTreeSet::from([id]),
        };
        self.note_reasons(&name, is_large.then(cause).into_iter().collect()).await
    }

    /// Leaves people out of a run if their CRM state has no room for more. The hub could not remember the rows that
    /// the CRM makes, and would make them again.
    pub(crate) async fn leave_out_large_links(&self, dirty: &mut Vec<Dirty>) -> Result<()> {
        let mut large = Vec::new();
        dirty.retain(|one| {
            let has_room = has_room(&*self.store, &one.link);
            if !has_room {
                let taken = Taken { id: one.person.id, version: one.version, mark: one.mark.clone() };
                large.push(Postponed { taken, tries: one.tries, until: Some(self.clock.now() + REST) });
            }
            has_room
        });
        if large.is_empty() {
            return Ok(());
        }
        for one in &large {
            let name = format!("large-link/{}", one.taken.id);
            let cause = Cause {
                cause: name.clone(),
                reason: "what is known of a person in the CRM outgrew one stored document: nothing of theirs is sent"
                    .into(),
                who_acts: OPERATOR,
                people: BTreeSet::from([one.taken.id]),
            };
            self.note_reasons(&name, vec![cause]).await?;
        }
        self.store.postpone(large).await
    }
}
