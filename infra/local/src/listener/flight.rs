//! Bodies that have not come whole: how many of one client, and how slowly they may come.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use stagedoor_model::breakage;
use stagedoor_webhook::ClientAddress;

use super::Limits;

/// Bodies under way, by network and by site.
#[derive(Default)]
pub struct InFlight(Mutex<HashMap<IpAddr, usize>>);

impl InFlight {
    /// `None` if this client has as many as it may.
    pub fn admit(self: &Arc<Self>, client: ClientAddress, limits: &Limits) -> Option<Place> {
        let (network, site) = (client.network(), client.site());
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = |key| counts.get(&key).copied().unwrap_or(0);
        let is_full = count(network) >= limits.bodies_of_client;
        // An IPv4 address is a site of its own.
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

/// One body under way.
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

/// How long after its beginning a body may still be incomplete, of which so many bytes came.
pub fn patience(seen: usize, limits: &Limits) -> Duration {
    if breakage::is_on("dripping-bodies-stay") {
        return limits.body_time;
    }
    let earned = Duration::from_secs_f64(seen as f64 / limits.body_rate.max(1) as f64);
    (limits.body_grace + earned).min(limits.body_time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_earns_its_time_and_no_body_has_more_than_all_may_have() {
        let limits = Limits::default();
        assert_eq!(patience(0, &limits), limits.body_grace);
        assert_eq!(patience(2_048, &limits), limits.body_grace + Duration::from_secs(2));
        assert_eq!(patience(700 * 1024, &limits), limits.body_time);
    }

    #[test]
    fn one_site_of_ipv6_has_the_bodies_of_two_clients() {
        let (all, limits) = (Arc::new(InFlight::default()), Limits { bodies_of_client: 3, ..Limits::default() });
        let client = |text: &str| ClientAddress(text.parse().expect("an address"));
        let of_one: Vec<_> = (0..5).filter_map(|_| all.admit(client("2001:db8:1:1::1"), &limits)).collect();
        let of_site: Vec<_> =
            (0..9).filter_map(|n| all.admit(client(&format!("2001:db8:1:{n:x}0::1")), &limits)).collect();
        assert_eq!((of_one.len(), of_site.len()), (3, 3));
        assert!(all.admit(client("192.0.2.1"), &limits).is_some());
        drop((of_one, of_site));
        assert!(all.0.lock().expect("a map").is_empty());
    }
}
