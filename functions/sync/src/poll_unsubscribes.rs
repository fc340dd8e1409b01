//! Polls mailing lists without webhooks for people who unsubscribed. Such a word counts like any other withdrawal.

use std::{collections::BTreeSet, time::Duration};

use jiff::SignedDuration;
use stagedoor_model::{Email, Identifier, Timestamp};
use stagedoor_ports::Result;

use crate::Sync;

/// Interval between two polls of a list.
const EVERY: SignedDuration = SignedDuration::from_mins(15);
/// Longest time that one list may take to answer.
const BUDGET: Duration = Duration::from_secs(30);
/// Addresses that are looked up at once.
const CHUNK: usize = 500;

impl Sync {
    /// Polls every list whose time has come. Returns the number of people who were found to have left.
    ///
    /// # Errors
    /// When the store fails. A list that cannot be polled is polled again next time.
    pub async fn ask_lists(&self) -> Result<usize> {
        let mut found = 0;
        for rule in &self.catalog.lists {
            let Some(mailer) = self.lists.get(&rule.mailer) else { continue };
            let key_value = format!("lists/{}/asked", rule.name);
            let known = self.store.key_value(&key_value).await?;
            let last = known.as_ref().and_then(|key_value| key_value.value.parse::<Timestamp>().ok());
            let now = self.clock.now();
            let is_due = last.is_none_or(|last| last + EVERY <= now);
            // The process that wins the compare-and-set polls this list.
            if !is_due
                || !self
                    .store
                    .compare_and_set(&key_value, &now.to_string(), known.map(|key_value| key_value.version))
                    .await?
            {
                continue;
            }
            // A list that does not answer in time is polled next time, so that the other lists are not delayed.
            let Ok(Some(left)) = tokio::time::timeout(BUDGET, mailer.left(&rule.id)).await else { continue };
            for chunk in left.chunks(CHUNK) {
                found += self.hear_leavers(&rule.name, chunk, now).await?;
            }
        }
        Ok(found)
    }

    /// Records the people among these who are known to be on the list. For the others it is no news.
    async fn hear_leavers(&self, list: &str, left: &[Email], now: Timestamp) -> Result<usize> {
        let names: BTreeSet<Identifier> = left.iter().cloned().map(Identifier::email).collect();
        let owners = self.store.resolve(&names).await?.owners;
        let people = self.store.load(&owners.values().copied().collect()).await?;
        let ids = people.iter().map(|person| person.value.id).collect();
        let links = self.store.crm_states(&ids).await?;
        let on = |email: &&Email| {
            let places = links.values().filter_map(|link| link.lists.get(list)?.get(email.as_str()));
            places.into_iter().any(stagedoor_engine::Place::may_be_there)
        };
        let gone: Vec<Email> = left.iter().filter(on).cloned().collect();
        let count = gone.len();
        self.tell_left(list, now, gone).await?;
        Ok(count)
    }
}
