//! The lease on the CRM. One process uses it at a time, because the rate limit belongs to one account.

use std::time::Duration;

use jiff::SignedDuration;
use stagedoor_model::{Timestamp, breakage};
use stagedoor_ports::PortError;
use tokio::time::Instant;

use crate::Sync;

const LEASE: &str = "reconciler";
pub(crate) const ELSEWHERE: &str = "another process reconciles";
const LEASE_TIME: SignedDuration = SignedDuration::from_secs(120);
/// Interval at which a lease is renewed while a command works.
const RENEW: Duration = Duration::from_secs(30);
/// Longest time that a command waits for the CRM.
const PATIENCE: Duration = Duration::from_secs(30);
/// Names the command that waits for the lease, and the time until which the holder leaves it: `<owner> <RFC 3339>`.
const WANTED: &str = "wanted/reconciler";
/// Time for which the holder skips its turns for a command. It waits no longer for a command that was killed.
const SKIPPED: SignedDuration = SignedDuration::from_secs(6);
/// One second, and a little more for clocks that differ.
const REST: SignedDuration = SignedDuration::from_millis(1_100);

/// Until when `owner` wants the lease. `None` if another process wants it.
fn wanted_until(value: &str, owner: &str) -> Option<Timestamp> {
    value.strip_prefix(owner)?.trim_start().parse().ok()
}

impl Sync {
    /// Does something in the CRM while no other process uses it, because the rate limit belongs to one account. Waits
    /// as long as runs of other processes may take.
    ///
    /// # Errors
    /// `Retry` when the CRM was not free within half a minute.
    pub async fn alone_in_crm<T>(&self, work: impl Future<Output = T>) -> Result<T, PortError> {
        let began = Instant::now();
        while !breakage::is_on("commands-take-no-lease") && !self.lease_in_turn().await? {
            if began.elapsed() >= PATIENCE {
                return Err(PortError::Retry("another process uses the CRM; try again".into()));
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        tokio::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => {
                    self.release().await?;
                    return Ok(done);
                }
                () = tokio::time::sleep(RENEW) => drop(self.lease().await?),
            }
        }
    }

    /// Lets the lease end after a short rest. The next holder must not use the same second of the CRM's rate.
    pub(crate) async fn release(&self) -> Result<(), PortError> {
        let now = self.clock.now();
        self.release_account().await?;
        self.store.lease(LEASE, &self.owner, now, now + REST).await.map(drop)
    }

    /// Releases the lease of the second CRM's account, if this is the second CRM.
    pub(crate) async fn release_account(&self) -> Result<(), PortError> {
        if self.scope.is_empty() {
            return Ok(());
        }
        let now = self.clock.now();
        self.store.lease(&format!("{LEASE}/{}", self.scope), &self.owner, now, now + REST).await.map(drop)
    }

    /// Takes the lease for a command. If another process holds it, asks that process to skip its turns for a moment.
    /// Without this, a serving hub would take the lease again right after it released it.
    pub(crate) async fn lease_in_turn(&self) -> Result<bool, PortError> {
        let mine = self.lease().await?;
        let now = self.clock.now();
        let key_value = self.store.key_value(WANTED).await?;
        let until = key_value.as_ref().and_then(|key_value| wanted_until(&key_value.value, &self.owner));
        let value = match (mine, until) {
            (true, Some(_)) => String::new(),
            (false, until) if until.is_none_or(|until| until < now + SKIPPED / 2) => {
                format!("{} {}", self.owner, now + SKIPPED)
            }
            _ => return Ok(mine),
        };
        // If another command wrote meanwhile, that command comes first.
        self.store.compare_and_set(WANTED, &value, key_value.map(|key_value| key_value.version)).await?;
        Ok(mine)
    }

    /// True while a command of another process waits for the lease.
    pub(crate) async fn is_wanted(&self) -> Result<bool, PortError> {
        let Some(key_value) = self.store.key_value(WANTED).await? else { return Ok(false) };
        let Some((owner, _)) = key_value.value.rsplit_once(' ') else { return Ok(false) };
        let until = wanted_until(&key_value.value, owner);
        let waits = owner != self.owner && until.is_some_and(|until| until > self.clock.now());
        Ok(waits && !breakage::is_on("lease-never-yielded"))
    }

    pub(crate) async fn lease(&self) -> Result<bool, PortError> {
        let now = self.clock.now();
        let mine = self.store.lease(LEASE, &self.owner, now, now + LEASE_TIME).await?;
        if !mine || self.scope.is_empty() {
            return Ok(mine);
        }
        // The second CRM has a lease of its own beside this one: its rate belongs to another account.
        self.store.lease(&format!("{LEASE}/{}", self.scope), &self.owner, now, now + LEASE_TIME).await
    }
}
