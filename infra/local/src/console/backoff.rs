//! Slows down who guesses the console's token: after a few wrong ones an address has to wait, each time longer.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Wrong tokens that cost nothing: a person mistypes.
const FREE: u32 = 4;
/// The pause after the next one. Each further wrong token doubles it.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);
/// Wrong tokens are forgotten after this time without another one.
const MEMORY: Duration = Duration::from_secs(900);
/// Addresses that are remembered; a flood of addresses takes no more memory than that.
const MOST: usize = 10_000;

#[derive(Clone, Copy)]
struct Wrong {
    count: u32,
    last: Instant,
    until: Instant,
}

/// Wrong tokens by client. It answers at once: no connection is held.
#[derive(Default)]
pub struct Backoff(Mutex<BTreeMap<IpAddr, Wrong>>);

impl Backoff {
    /// How long this address still has to wait. `None` if it may try now.
    pub fn pause(&self, address: IpAddr) -> Option<Duration> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let left = known.get(&address)?.until.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }

    /// Notes a wrong token of this address.
    pub fn wrong(&self, address: IpAddr) {
        let now = Instant::now();
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST && !known.contains_key(&address) {
            known.retain(|_, wrong| wrong.until > now);
            if known.len() >= MOST {
                known.pop_first();
            }
        }
        let wrong = known.entry(address).or_insert(Wrong { count: 0, last: now, until: now });
        wrong.count = if now.duration_since(wrong.last) > MEMORY { 1 } else { wrong.count.saturating_add(1) };
        wrong.last = now;
        if let Some(doublings) = wrong.count.checked_sub(FREE + 1) {
            wrong.until = now + (FIRST * 2_u32.saturating_pow(doublings.min(6))).min(LONGEST);
        }
    }

    /// Forgets an address that showed the right token.
    pub fn right(&self, address: IpAddr) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&address);
    }
}
