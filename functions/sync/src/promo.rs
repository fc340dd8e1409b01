//! One code a person and campaign, given once whatever is repeated.

use stagedoor_engine::{Campaign, Person};
use stagedoor_ports::Result;

use crate::Sync;

impl Sync {
    /// The code of this person: the one that they have, else the next of the pool. `None` when the campaign has no pool,
    /// or it is empty or over. A crash between taking a code and writing whose it is leaves that code unused.
    pub(crate) async fn promo_of(&self, campaign: &Campaign, person: &Person) -> Result<Option<String>> {
        if let Some(known) = person.promos().find(|promo| promo.campaign == campaign.name) {
            return Ok(Some(known.code.clone()));
        }
        let Some(pool) = campaign.pool.as_ref().and_then(|name| self.catalog.pools.get(name)) else { return Ok(None) };
        if pool.expires_at.is_some_and(|end| end <= self.clock.now()) {
            return Ok(None);
        }
        if pool.shared {
            return Ok(pool.codes.first().cloned());
        }
        // Whoever was joined into this person may have been given one.
        let cell = |id| format!("promo/{}/{id}", campaign.name);
        for id in std::iter::once(person.id).chain(person.absorbed.iter().copied()) {
            if let Some(known) = self.store.cell(&cell(id)).await? {
                return Ok(Some(known.value));
            }
        }
        let Some(code) = self.next_code(&pool.name, &pool.codes).await? else { return Ok(None) };
        match self.store.put_cell(&cell(person.id), &code, None).await? {
            true => Ok(Some(code)),
            false => Ok(self.store.cell(&cell(person.id)).await?.map(|known| known.value)),
        }
    }

    async fn next_code(&self, pool: &str, codes: &[String]) -> Result<Option<String>> {
        let name = format!("promo-next/{pool}");
        loop {
            let cell = self.store.cell(&name).await?;
            let index: usize = cell.as_ref().and_then(|cell| cell.value.parse().ok()).unwrap_or(0);
            let Some(code) = codes.get(index) else {
                tracing::error!(pool, "the pool of promo codes is empty");
                return Ok(None);
            };
            let next = (index + 1).to_string();
            if self.store.put_cell(&name, &next, cell.map(|cell| cell.version)).await? {
                return Ok(Some(code.clone()));
            }
        }
    }
}
