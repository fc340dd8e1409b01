//! People who wait for the CRM, their marks, and values that cannot be read.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, OptionalExtension, params};
use stagedoor_engine::{CrmState, Person, PersonId};
use stagedoor_model::{Timestamp, breakage};
use stagedoor_ports::{Dirty, Mark, Postponed, READ_AGAIN, SetAside, Taken};

use super::{Sql, follow, read};

/// Lets unreadable values be read again, because another version may have been started.
pub(super) fn read_again(connection: &Connection) -> Sql<()> {
    let again = "UPDATE marks SET not_before = NULL WHERE person IN (SELECT id FROM unreadable WHERE kind = 'person')";
    connection.execute(again, [])?;
    connection.execute("DELETE FROM unreadable", []).map(drop)
}

/// People who were read, and the reasons why others could not be.
#[derive(Default)]
pub(super) struct TakenDirty {
    pub dirty: Vec<Dirty>,
    pub unreadable: Vec<(String, String)>,
    /// Those of the people read who were set aside before.
    pub readable_again: Vec<String>,
}

struct Waiting {
    id: String,
    doc: String,
    version: i64,
    trace: Option<String>,
    n: i64,
    tries: u32,
    is_aside: bool,
}

pub(super) fn take(connection: &Connection, max: usize, now: Option<Timestamp>) -> Sql<TakenDirty> {
    let sql = "SELECT people.id, doc, version, trace, coalesce(n, 0), coalesce(tries, 0),
        EXISTS (SELECT 1 FROM unreadable WHERE kind = 'person' AND unreadable.id = people.id) FROM people
        LEFT JOIN traces ON traces.person = people.id LEFT JOIN marks ON marks.person = people.id
        WHERE waiting IS NOT NULL AND (?2 IS NULL OR not_before IS NULL OR not_before <= ?2)
        ORDER BY waiting LIMIT ?1";
    let mut select = connection.prepare_cached(sql)?;
    let rows = select.query_map(params![max as i64, now.map(|now| now.as_millisecond())], |row| {
        let [id, doc] = [row.get(0)?, row.get(1)?];
        let [version, n] = [row.get(2)?, row.get(4)?];
        Ok(Waiting { id, doc, version, trace: row.get(3)?, n, tries: row.get(5)?, is_aside: row.get(6)? })
    })?;
    let mut taken = TakenDirty::default();
    for waiting in rows {
        let waiting = waiting?;
        let (id, is_aside) = (waiting.id.clone(), waiting.is_aside);
        match dirty_of(connection, waiting)? {
            Ok(dirty) => {
                taken.dirty.push(dirty);
                taken.readable_again.extend(is_aside.then_some(id));
            }
            Err(reason) if breakage::is_on("unreadable-stops-all") => {
                return Err(rusqlite::Error::InvalidColumnName(reason));
            }
            Err(reason) => taken.unreadable.push((id, reason)),
        }
    }
    Ok(taken)
}

/// The largest number of waiting people that a short look passes.
const LOOK: usize = 256;

/// True if a short look finds a person whom [`take`] would return. `None`: more people are postponed than it passes.
pub(super) fn is_any(connection: &Connection, now: Timestamp) -> Sql<Option<bool>> {
    // A postponed person has the end of the delay as the place in the queue.
    let sql = "SELECT not_before FROM people LEFT JOIN marks ON marks.person = people.id
        WHERE waiting IS NOT NULL ORDER BY waiting LIMIT ?1";
    let most = if breakage::is_on("idle-looks-without-end") { i64::MAX } else { LOOK as i64 };
    let mut passed = 0;
    let mut select = connection.prepare_cached(sql)?;
    let mut rows = select.query([most])?;
    while let Some(row) = rows.next()? {
        if row.get::<_, Option<i64>>(0)?.is_none_or(|until| until <= now.as_millisecond()) {
            return Ok(Some(true));
        }
        passed += 1;
    }
    Ok((passed < LOOK).then_some(false))
}

/// Like [`is_any`], over all waiting people.
pub(super) fn is_any_of_all(connection: &Connection, now: Timestamp) -> Sql<bool> {
    let sql = "SELECT 1 FROM people LEFT JOIN marks ON marks.person = people.id
        WHERE waiting IS NOT NULL AND (not_before IS NULL OR not_before <= ?1) LIMIT 1";
    connection.prepare_cached(sql)?.exists([now.as_millisecond()])
}

fn dirty_of(connection: &Connection, waiting: Waiting) -> Sql<Result<Dirty, String>> {
    let person: Person = match read(&waiting.doc) {
        Ok(person) => person,
        Err(reason) => return Ok(Err(reason)),
    };
    let (mut link, mut revision) = (None::<CrmState>, 0);
    for id in std::iter::once(&person.id).chain(&person.merged_ids) {
        match link_of(connection, &id.to_string())? {
            Some(Ok(known)) => {
                revision = if *id == person.id { known.revision } else { revision };
                // The person's own state comes first, so it is not joined with an empty one and stays unchanged.
                link = Some(match link {
                    Some(own) => own.join(known),
                    None => known,
                });
            }
            Some(Err(reason)) => return Ok(Err(format!("what is known of the CRM: {reason}"))),
            None => {}
        }
    }
    let mut link = link.unwrap_or_default();
    link.revision = revision;
    let (version, mark) = (waiting.version as u64, Mark(waiting.n.to_string()));
    Ok(Ok(Dirty { person, version, mark, tries: waiting.tries, link, trace: waiting.trace }))
}

pub(super) fn link_of(connection: &Connection, id: &str) -> Sql<Option<Result<CrmState, String>>> {
    let mut select = connection.prepare_cached("SELECT doc FROM links WHERE person = ?1")?;
    let doc: Option<String> = select.query_row([id], |row| row.get(0)).optional()?;
    Ok(doc.map(|doc| read(&doc)))
}

/// Notes why these people cannot be read, and delays them.
pub(super) fn set_aside(connection: &Connection, taken: &TakenDirty, now: Timestamp) -> Sql<()> {
    let until = (now + READ_AGAIN).as_millisecond();
    for (id, reason) in &taken.unreadable {
        note_unreadable(connection, "person", id, reason, now)?;
        back(connection, id, until)?;
    }
    let mut forget = connection.prepare_cached("DELETE FROM unreadable WHERE kind = 'person' AND id = ?1")?;
    taken.readable_again.iter().try_for_each(|id| forget.execute([id]).map(drop))
}

pub(super) fn note_unreadable(connection: &Connection, kind: &str, id: &str, reason: &str, now: Timestamp) -> Sql<()> {
    let sql = "INSERT INTO unreadable VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE SET reason = excluded.reason";
    connection.prepare_cached(sql)?.execute(params![kind, id, reason, now.as_millisecond()]).map(drop)
}

/// Moves a person to the end of the queue, and not before `until` (milliseconds).
fn back(connection: &Connection, id: &str, until: i64) -> Sql<()> {
    connection.execute("UPDATE ticks SET n = n + 1", [])?;
    let sql = "INSERT INTO marks (person, not_before, since) SELECT id, ?2, waiting FROM people WHERE id = ?1
        ON CONFLICT (person) DO UPDATE SET not_before = excluded.not_before, since = coalesce(since, excluded.since)";
    connection.prepare_cached(sql)?.execute(params![id, until])?;
    let sql = "UPDATE people SET waiting = max((SELECT n FROM ticks), ?2) WHERE id = ?1";
    connection.prepare_cached(sql)?.execute(params![id, until]).map(drop)
}

/// SQL that is true if a person has neither changed nor been marked since they were taken.
const AS_TAKEN: &str = "id = ?1 AND version = ?2 AND waiting IS NOT NULL
    AND (?3 < 0 OR coalesce((SELECT n FROM marks WHERE person = ?1), 0) = ?3)";

fn mark_of(taken: &Taken) -> i64 {
    if breakage::is_on("mark-lost-in-run") { -1 } else { taken.mark.0.parse().unwrap_or(0) }
}

pub(super) fn settle(connection: &Connection, people: &[Taken]) -> Sql<()> {
    let mut clear = connection.prepare_cached(&format!("UPDATE people SET waiting = NULL WHERE {AS_TAKEN}"))?;
    let mut forget = connection.prepare_cached("DELETE FROM marks WHERE person = ?1")?;
    for taken in people {
        let id = taken.id.to_string();
        if clear.execute(params![id, taken.version as i64, mark_of(taken)])? == 1 {
            forget.execute([id])?;
        }
    }
    Ok(())
}

pub(super) fn postpone(connection: &Connection, people: &[Postponed]) -> Sql<()> {
    let mut as_taken = connection.prepare_cached(&format!("SELECT 1 FROM people WHERE {AS_TAKEN}"))?;
    let sql = "INSERT INTO marks (person, tries) SELECT id, ?2 FROM people WHERE id = ?1 AND waiting IS NOT NULL
        ON CONFLICT (person) DO UPDATE SET tries = excluded.tries";
    let mut count = connection.prepare_cached(sql)?;
    for Postponed { taken, tries, until } in people {
        let id = taken.id.to_string();
        count.execute(params![id, tries])?;
        if let Some(until) = until
            && as_taken.exists(params![id, taken.version as i64, mark_of(taken)])?
        {
            back(connection, &id, until.as_millisecond())?;
        }
    }
    Ok(())
}

pub(super) fn mark(connection: &Connection, people: &BTreeSet<PersonId>) -> Sql<()> {
    connection.execute("UPDATE ticks SET n = n + 1", [])?;
    let sql = "UPDATE people SET waiting = min(coalesce(waiting, (SELECT n FROM ticks)), (SELECT n FROM ticks))
        WHERE id = ?1";
    let mut mark = connection.prepare_cached(sql)?;
    let sql = "INSERT INTO marks (person, n) VALUES (?1, (SELECT n FROM ticks))
        ON CONFLICT (person) DO UPDATE SET n = excluded.n, not_before = NULL";
    let mut number = connection.prepare_cached(sql)?;
    for id in people {
        let id = follow(connection, &id.to_string())?;
        if mark.execute([&id])? == 1 {
            number.execute([&id])?;
        }
    }
    Ok(())
}

pub(super) fn since(connection: &Connection) -> Sql<Option<Timestamp>> {
    let first = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, Option<i64>>(0));
    let waiting = first("SELECT min(waiting) FROM people WHERE waiting IS NOT NULL")?;
    let postponed = first("SELECT min(since) FROM marks WHERE since IS NOT NULL")?;
    Ok(waiting.into_iter().chain(postponed).min().and_then(|at| Timestamp::from_millisecond(at).ok()))
}

/// Those of `ids` that lead to a person who cannot be read.
pub(super) fn unreadable(connection: &Connection, ids: &BTreeSet<PersonId>) -> Sql<BTreeSet<PersonId>> {
    let mut select = connection.prepare_cached("SELECT doc FROM people WHERE id = ?1")?;
    let mut found = BTreeSet::new();
    for asked in ids {
        let id = follow(connection, &asked.to_string())?;
        let doc: Option<String> = select.query_row([&id], |row| row.get(0)).optional()?;
        let broken = doc.is_some_and(|doc| read::<Person>(&doc).is_err());
        if broken || matches!(link_of(connection, &id)?, Some(Err(_))) {
            found.insert(*asked);
        }
    }
    Ok(found)
}

pub(super) fn all_set_aside(connection: &Connection, max: usize) -> Sql<Vec<SetAside>> {
    let sql = "SELECT kind, id, reason, since FROM unreadable ORDER BY since DESC LIMIT ?1";
    let mut select = connection.prepare_cached(sql)?;
    let rows = select.query_map([max as i64], |row| {
        let since = Timestamp::from_millisecond(row.get(3)?).unwrap_or_default();
        Ok(SetAside { kind: row.get(0)?, id: row.get(1)?, reason: row.get(2)?, since })
    })?;
    rows.collect()
}

/// CRM states that can be read; the others are left out.
pub(super) fn links(connection: &Connection, ids: &BTreeSet<PersonId>) -> Sql<BTreeMap<PersonId, CrmState>> {
    let mut links = BTreeMap::new();
    for id in ids {
        match link_of(connection, &id.to_string())? {
            Some(Ok(link)) => _ = links.insert(*id, link),
            Some(Err(reason)) => tracing::warn!(person = %id, reason, "what is known of the CRM cannot be read"),
            None => {}
        }
    }
    Ok(links)
}
