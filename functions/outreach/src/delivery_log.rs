//! What the hub knows of a decision, in one stored value.

use std::cmp::Ordering;

use stagedoor_engine::{Advertised, Person, PersonId};
use stagedoor_model::{EventId, Notice, SendOutcome, SourceName, Timestamp, breakage};
use stagedoor_ports::{PortError, Result};

use crate::{Outreach, entry::Entry};

fn name(decision: &str) -> String {
    format!("sent/{decision}")
}

/// Name of the value that counts advertising. It contains a hash, because a name must not contain a person's id.
fn advertised_name(person: PersonId) -> Result<String> {
    let own = SourceName::new("outreach").map_err(|error| PortError::Fail(error.into()))?;
    Ok(format!("advertised/{}", EventId::derive(&own, &["advertised", &person.to_string()])))
}

impl Outreach {
    /// The entry of a decision, with the version of its stored value.
    pub(crate) async fn entry(&self, decision: &str) -> Result<(Entry, Option<u64>)> {
        let key_value = self.store.key_value(&name(decision)).await?;
        Ok(key_value.map_or((Entry::Fresh, None), |key_value| (Entry::read(&key_value.value), Some(key_value.version))))
    }

    /// Stores the entry of a decision.
    ///
    /// # Errors
    /// `Retry` when another process works on the same decision.
    pub(crate) async fn put(&self, decision: &str, entry: &Entry, version: Option<u64>) -> Result<()> {
        match self.store.compare_and_set(&name(decision), &entry.write(), version).await? {
            true => Ok(()),
            false => Err(PortError::Retry("somebody else sends it".into())),
        }
    }

    /// Notes that nothing was sent. The next attempt starts from the beginning.
    pub(crate) async fn forget(&self, decision: &str) -> Result<()> {
        let (_, version) = self.entry(decision).await?;
        self.put(decision, &Entry::Fresh, version).await
    }

    /// Notes that a notice of a change goes out. Returns false if a later notice went out before.
    pub(crate) async fn is_latest(&self, notice: &Notice) -> Result<bool> {
        let mut older = Vec::new();
        for about in notice.joined.iter().chain([&notice.about]) {
            let name = format!("told/{about}");
            let key_value = self.store.key_value(&name).await?;
            let told = key_value.as_ref().and_then(|key_value| key_value.value.parse::<Timestamp>().ok());
            match told.cmp(&Some(notice.changed_at)) {
                Ordering::Greater => return Ok(false),
                Ordering::Equal => {}
                Ordering::Less => older.push((name, key_value.map(|key_value| key_value.version))),
            }
        }
        for (name, version) in older {
            if !self.store.compare_and_set(&name, &notice.changed_at.to_string(), version).await? {
                return Err(PortError::Retry("somebody else sends a notice of it".into()));
            }
        }
        Ok(true)
    }

    /// Advertising that was sent to a person, under their own id and the ids of people joined into them. The version
    /// is that of the value under their own id.
    ///
    /// # Errors
    /// `Retry` when a value cannot be read. Uncounted messages could exceed the cap.
    pub(crate) async fn advertised(&self, person: &Person) -> Result<(Advertised, Option<u64>)> {
        let key_value = self.store.key_value(&advertised_name(person.id)?).await?;
        let unreadable = |_| PortError::Retry("what advertising somebody was sent cannot be read".into());
        let read = |value: &str| match breakage::is_on("unreadable-count-is-nothing") {
            true => Ok(serde_json::from_str::<Advertised>(value).unwrap_or_default()),
            false => serde_json::from_str::<Advertised>(value).map_err(unreadable),
        };
        let version = key_value.as_ref().map(|key_value| key_value.version);
        let mut known = key_value.map(|key_value| read(&key_value.value)).transpose()?.unwrap_or_default();
        for id in &person.merged_ids {
            if let Some(key_value) = self.store.key_value(&advertised_name(*id)?).await? {
                known.0.extend(read(&key_value.value)?.0);
            }
        }
        Ok((known, version))
    }

    pub(crate) async fn put_advertised(
        &self,
        person: &Person,
        known: &Advertised,
        version: Option<u64>,
    ) -> Result<bool> {
        let value = serde_json::to_string(known).map_err(|error| PortError::Fail(error.to_string()))?;
        self.store.compare_and_set(&advertised_name(person.id)?, &value, version).await
    }

    pub(crate) async fn close(&self, decision: &str, outcome: &SendOutcome) -> Result<()> {
        let (entry, version) = self.entry(decision).await?;
        match entry {
            Entry::Ended(_) => Ok(()),
            _ => self.put(decision, &Entry::Ended(outcome.clone()), version).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_no_message_that_was_never_sent() {
        let at = "2027-01-10T10:00:00Z".parse().unwrap();
        let sent = Entry::Ended(SendOutcome::Sent("7".into()));
        for entry in [Entry::Fresh, Entry::Begun { asked: 2, at: Some(at) }, Entry::Begun { asked: 2, at: None }, sent]
        {
            assert_eq!(Entry::read(&entry.write()), entry);
        }
        let later = "ended {\"read_by_a_later_version\":\"7\"}";
        assert_eq!(Entry::read(later), Entry::Ended(SendOutcome::Unknown), "it ended, however it did");
        for value in ["handed 3", "", "broken"] {
            assert_eq!(Entry::read(value), Entry::Begun { asked: 0, at: None }, "{value:?}: its channel is asked");
        }
    }
}
