//! Slows down guesses of the console's token. After a few wrong tokens an address has to wait, longer each time. A
//! repeated wrong token is no guess, so that a monitor with an old token locks out no people behind its address.

use std::{
    collections::{BTreeMap, VecDeque},
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use stagedoor_model::breakage;
use tokio::time::Instant;

/// Wrong tokens without a pause, because people mistype.
const FREE: u32 = 4;
/// The pause after the next wrong token. Each further one doubles it.
const FIRST: Duration = Duration::from_secs(1);
const MAX_DELAY: Duration = Duration::from_secs(60);
/// Wrong tokens are forgotten after this time without another one.
const MEMORY: Duration = Duration::from_secs(900);
/// The limit of remembered addresses. It bounds the memory that a flood of addresses takes.
const MOST: usize = 10_000;

/// Different wrong tokens of one address that are recognised again.
const KNOWN: usize = 8;

struct Wrong {
    count: u32,
    last: Instant,
    until: Instant,
    /// Keyed hashes of the last wrong tokens, the latest at the end.
    shown: VecDeque<u64>,
}

/// Wrong tokens by client. A refusal is immediate: no connection is held.
#[derive(Default)]
pub struct Backoff {
    by_client: Mutex<BTreeMap<IpAddr, Wrong>>,
    hashes: RandomState,
}

impl Backoff {
    /// How long this address still has to wait. `None` if it may try now.
    pub fn pause(&self, address: IpAddr) -> Option<Duration> {
        let known = self.by_client.lock().unwrap_or_else(PoisonError::into_inner);
        let left = known.get(&address)?.until.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }

    /// Notes a wrong token of this address. A repeated token counts once.
    pub fn wrong(&self, address: IpAddr, shown: &[u8]) {
        let shown = self.hashes.hash_one(shown);
        let now = Instant::now();
        let mut known = self.by_client.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST && !known.contains_key(&address) {
            known.retain(|_, wrong| wrong.until > now);
            if known.len() >= MOST {
                known.pop_first();
            }
        }
        let wrong =
            known.entry(address).or_insert_with(|| Wrong { count: 0, last: now, until: now, shown: VecDeque::new() });
        let at = wrong.shown.iter().position(|known| *known == shown);
        let known = at.and_then(|at| wrong.shown.remove(at));
        wrong.shown.push_back(shown);
        if known.is_some() && !breakage::is_on("same-wrong-token-counts-again") {
            return;
        }
        if wrong.shown.len() > KNOWN {
            wrong.shown.pop_front();
        }
        wrong.count = if now.duration_since(wrong.last) > MEMORY { 1 } else { wrong.count.saturating_add(1) };
        wrong.last = now;
        if let Some(doublings) = wrong.count.checked_sub(FREE + 1) {
            wrong.until = now + (FIRST * 2_u32.saturating_pow(doublings.min(6))).min(MAX_DELAY);
        }
    }

    /// Forgets an address that showed the right token.
    pub fn right(&self, address: IpAddr) {
        self.by_client.lock().unwrap_or_else(PoisonError::into_inner).remove(&address);
    }
}
