//! Who sends: for limits by address, never for trust.

use std::{
    net::IpAddr,
    num::NonZeroU32,
    sync::atomic::{AtomicU64, Ordering},
};

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

/// The address of the client, as the listener knows it. Where a request bears none (a function behind a gateway), nothing is
/// limited by address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

impl ClientAddress {
    /// What is counted as one client: an IPv4 address, or the /64 that one household of IPv6 has.
    pub fn network(self) -> IpAddr {
        match self.0.to_canonical() {
            IpAddr::V6(ip) => IpAddr::V6((ip.to_bits() & !u128::from(u64::MAX)).into()),
            ip @ IpAddr::V4(_) => ip,
        }
    }
}

/// Refusals that one client gets to read in a burst. Afterwards it has to wait.
const BURST: NonZeroU32 = NonZeroU32::new(60).expect("not zero");
/// Refusals a minute that come on top.
const A_MINUTE: NonZeroU32 = NonZeroU32::new(60).expect("not zero");
/// After so many requests, clients are forgotten that sent theirs a while ago. It looks at each that is known, so it is not done
/// at every request: a flood comes from many addresses.
const FORGETTING: u64 = 10_000;

/// A bucket for each client.
pub struct ClientLimit {
    limit: DefaultKeyedRateLimiter<IpAddr>,
    all: AtomicU64,
}

impl ClientLimit {
    /// For what is refused: it takes nothing of the rate of what is believed.
    pub fn refusals() -> Self {
        Self::of(Quota::per_minute(A_MINUTE).allow_burst(BURST))
    }

    /// For what each client may do so often a second, and ten times as often at once.
    pub fn per_second(rate: NonZeroU32) -> Self {
        Self::of(Quota::per_second(rate).allow_burst(rate.saturating_mul(NonZeroU32::new(10).unwrap_or(rate))))
    }

    fn of(quota: Quota) -> Self {
        Self { limit: RateLimiter::keyed(quota), all: AtomicU64::new(0) }
    }

    /// Counts one more. False if this client did it too often lately.
    pub fn admits(&self, client: ClientAddress) -> bool {
        if self.all.fetch_add(1, Ordering::Relaxed) % FORGETTING == FORGETTING - 1 {
            self.limit.retain_recent();
        }
        self.limit.check_key(&client.network()).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_from_many_addresses_leaves_nothing_behind_and_slows_only_who_repeats() {
        let refusals = ClientLimit::refusals();
        let one = ClientAddress("192.0.2.1".parse().expect("an address"));
        assert_eq!((0..100).filter(|_| refusals.admits(one)).count(), 60, "a burst");
        for n in 0..50_000_u32 {
            let other = ClientAddress(IpAddr::V4((0x0a00_0000 + n).into()));
            assert!(refusals.admits(other));
        }
        assert!(refusals.limit.len() < 60_000);
    }

    #[test]
    fn a_household_of_ipv6_is_one_client_and_a_mapped_address_is_its_own() {
        let network = |text: &str| ClientAddress(text.parse().expect("an address")).network();
        assert_eq!(network("2001:db8:1:2:3::4"), network("2001:db8:1:2::9"));
        assert_ne!(network("2001:db8:1:2::9"), network("2001:db8:1:3::9"));
        assert_eq!(network("::ffff:192.0.2.1"), network("192.0.2.1"));
    }
}
