//! Incomplete bodies: how many one client may have, and how slowly they may arrive.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use stagedoor_model::breakage;
use stagedoor_webhook::ClientAddress;

use super::Limits;

/// Incomplete bodies, by network and by site.
#[derive(Default)]
pub struct InFlight(Mutex<HashMap<IpAddr, usize>>);

impl InFlight {
    /// Counts one more body. `None` if this client has as many as it may.
    pub fn admit(self: &Arc<Self>, client: ClientAddress, limits: &Limits) -> Option<Place> {
        let (network, site) = (client.network(), client.site());
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = |key| counts.get(&key).copied().unwrap_or(0);
        let is_full = count(network) >= limits.bodies_of_client;
        // An IPv4 address is its own site.
        let site_is_full = network != site && count(site) >= limits.bodies_of_client.saturating_mul(2);
        if (is_full || site_is_full) && !breakage::is_on("bodies-of-one-client-unbounded") {
            return None;
        }
        let keys = if network == site { vec![network] } else { vec![network, site] };
        for key in &keys {
            *counts.entry(*key).or_default() += 1;
        }
        Some(Place { all: Arc::clone(self), keys })
    }
}

/// The place of one incomplete body.
pub struct Place {
    all: Arc<InFlight>,
    keys: Vec<IpAddr>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.all.0.lock().unwrap_or_else(PoisonError::into_inner);
        for key in &self.keys {
            if let Some(count) = counts.get_mut(key) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(key);
                }
            }
        }
    }
}

/// How long after its beginning a body may stay incomplete, given the number of bytes that arrived.
pub fn patience(seen: usize, limits: &Limits) -> Duration {
    if breakage::is_on("dripping-bodies-stay") {
        return limits.body_time;
    }
    let earned = Duration::from_secs_f64(seen as f64 / limits.body_rate.max(1) as f64);
    (limits.body_grace + earned).min(limits.body_time)
}
