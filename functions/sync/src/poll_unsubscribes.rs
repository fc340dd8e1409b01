//! Who left a list whose provider tells nobody: it is asked now and then, and their word is heard as any other.

use std::{collections::BTreeSet, time::Duration};

use jiff::SignedDuration;
use stagedoor_model::{Email, Identifier, Timestamp};
use stagedoor_ports::Result;

use crate::Sync;

/// How often a list is asked.
const EVERY: SignedDuration = SignedDuration::from_mins(15);
/// How long one list may take to say who left it.
const BUDGET: Duration = Duration::from_secs(30);
/// Addresses that are looked up at once.
const CHUNK: usize = 500;

impl Sync {
    /// Asks every list whose time has come. Answers how many people were found to have left.
    ///
    /// # Errors
    /// When the store fails; a list that cannot be asked is asked again next time.
    pub async fn ask_lists(&self) -> Result<usize> {
        let mut found = 0;
        for rule in &self.catalog.lists {
            let Some(mailer) = self.lists.get(&rule.mailer) else { continue };
            let key_value = format!("lists/{}/asked", rule.name);
            let known = self.store.key_value(&key_value).await?;
            let last = known.as_ref().and_then(|key_value| key_value.value.parse::<Timestamp>().ok());
            let now = self.clock.now();
            let is_due = last.is_none_or(|last| last + EVERY <= now);
            // Whoever puts the cell down asks.
            if !is_due
                || !self
                    .store
                    .compare_and_set(&key_value, &now.to_string(), known.map(|key_value| key_value.version))
                    .await?
            {
                continue;
            }
            // A list that does not answer in time is asked next time: the others are not held up.
            let Ok(Some(left)) = tokio::time::timeout(BUDGET, mailer.left(&rule.id)).await else { continue };
            for chunk in left.chunks(CHUNK) {
                found += self.hear_leavers(&rule.name, chunk, now).await?;
            }
        }
        Ok(found)
    }

    /// Of these, those whom we believe to be on the list: for the others it is no news.
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
