//! Gives one promo code for each person and campaign, once, even if an event is repeated.

use stagedoor_engine::{Campaign, Person};
use stagedoor_model::breakage;
use stagedoor_ports::{KeyValue, PortError, Result};

use crate::Sync;

/// The stored value of a pool: how many codes are given, and the name of the value that holds the last of them.
/// Before the next code is taken, that value is filled, so a crash between the two writes loses no code.
#[derive(Default)]
struct Given<'c> {
    count: usize,
    last: Option<&'c str>,
}

impl<'c> Given<'c> {
    /// # Errors
    /// `Retry` when the value cannot be read. Codes that others have would be given again.
    fn read(key_value: &'c KeyValue) -> Result<Self> {
        let (count, last) = match key_value.value.split_once(' ') {
            Some((count, last)) => (count, Some(last)),
            None => (key_value.value.as_str(), None),
        };
        match count.parse() {
            Ok(count) => Ok(Self { count, last }),
            Err(_) if breakage::is_on("unreadable-pool-begins-anew") => Ok(Self { count: 0, last }),
            Err(_) => Err(PortError::Retry("how many promo codes are given cannot be read".into())),
        }
    }
}

impl Sync {
    /// The code of this person: the code that they have, else the next of the pool. `None` if the campaign has no
    /// pool, or the pool is empty or has expired.
    pub(crate) async fn promo_of(&self, campaign: &Campaign, person: &Person) -> Result<Option<String>> {
        let known = person.promos().filter(|promo| promo.campaign == campaign.name);
        if let Some(known) = known.min_by_key(|promo| (promo.issued_at, &promo.code)) {
            return Ok(Some(known.code.clone()));
        }
        let Some(pool) = campaign.pool.as_ref().and_then(|name| self.catalog.pools.get(name)) else { return Ok(None) };
        if pool.expires_at.is_some_and(|end| end <= self.clock.now()) {
            return Ok(None);
        }
        if pool.shared {
            return Ok(pool.codes.first().cloned());
        }
        // A person who was joined into this one may have been given a code.
        let key_value = |id| format!("promo/{}/{id}", campaign.name);
        for id in std::iter::once(person.id).chain(person.merged_ids.iter().copied()) {
            if let Some(known) = self.store.key_value(&key_value(id)).await? {
                return Ok(Some(known.value));
            }
        }
        let own = key_value(person.id);
        let Some(code) = self.next_code(&pool.name, &pool.codes, &own).await? else { return Ok(None) };
        match self.store.compare_and_set(&own, &code, None).await? {
            true => Ok(Some(code)),
            false => Ok(self.store.key_value(&own).await?.map(|known| known.value)),
        }
    }

    /// The next code, for the stored value named `own`.
    async fn next_code(&self, pool: &str, codes: &[String], own: &str) -> Result<Option<String>> {
        let name = format!("promo-next/{pool}");
        loop {
            let key_value = self.store.key_value(&name).await?;
            let given = key_value.as_ref().map(Given::read).transpose()?.unwrap_or_default();
            let before = given.count.checked_sub(1).and_then(|index| codes.get(index));
            match (given.last, before) {
                (Some(last), Some(code)) if last == own => return Ok(Some(code.clone())),
                (Some(last), Some(code)) => _ = self.store.compare_and_set(last, code, None).await?,
                _ => {}
            }
            let Some(code) = codes.get(given.count) else {
                tracing::error!(pool, "the pool of promo codes is empty");
                return Ok(None);
            };
            let next = format!("{} {own}", given.count + 1);
            if self.store.compare_and_set(&name, &next, key_value.as_ref().map(|key_value| key_value.version)).await? {
                return Ok(Some(code.clone()));
            }
        }
    }
}
