//! Addresses of clients. They serve limits only, never trust.

use std::{
    hash::Hash,
    net::IpAddr,
    num::NonZeroU32,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

/// The address of the client, as the listener knows it. Requests without one, as for a function behind a gateway, are
/// not limited by address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

impl ClientAddress {
    /// The network that counts as one client: an IPv4 address, or the IPv6 /64 of one household.
    pub fn network(self) -> IpAddr {
        self.first_bits(64)
    }

    /// The largest network of one customer: an IPv6 /48, or an IPv4 address.
    pub fn site(self) -> IpAddr {
        self.first_bits(48)
    }

    /// The address shortened for a log: the first 24 bits of IPv4, 48 of IPv6.
    pub fn cut(self) -> IpAddr {
        match self.site() {
            IpAddr::V4(ip) => IpAddr::V4((ip.to_bits() & (u32::MAX << 8)).into()),
            site => site,
        }
    }

    fn first_bits(self, bits: u32) -> IpAddr {
        match self.0.to_canonical() {
            // RFC 6052: this one network contains all of IPv4.
            IpAddr::V6(ip) if ip.to_bits() >> 32 == NAT64 => IpAddr::V4((ip.to_bits() as u32).into()),
            IpAddr::V6(ip) => IpAddr::V6((ip.to_bits() & (u128::MAX << (128 - bits))).into()),
            ip @ IpAddr::V4(_) => ip,
        }
    }
}

/// The address of one client, if the listener knows that it stands for no others: neither a proxy nor this machine. It
/// limits what unknown senders may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OneClient(pub IpAddr);

/// The first 96 bits of the IPv6 address that a NAT64 gateway makes of an IPv4 address: 64:ff9b::/96.
const NAT64: u128 = 0x0064_ff9b_u128 << 64;

/// Refusals with their reason that one client gets at once. After that it has to wait.
const BURST: NonZeroU32 = NonZeroU32::new(60).expect("not zero");
/// Further refusals with their reason a minute.
const A_MINUTE: NonZeroU32 = NonZeroU32::new(60).expect("not zero");
/// Idle clients are forgotten once in so many requests. The pass looks at every known client, and a flood comes from
/// many addresses. So it does not run at every request.
const FORGETTING: u64 = 10_000;

/// Link visits of one client that are stored at once, for links that are not personal.
const LOOKS_WRITTEN: NonZeroU32 = NonZeroU32::new(100).expect("not zero");

/// Consent actions of one link that are accepted at once.
const WORDS: NonZeroU32 = NonZeroU32::new(60).expect("not zero");
/// After that, one in this time.
const A_WORD: Duration = Duration::from_secs(60);

/// A rate limit with one bucket for each key.
pub struct Limit<K: Hash + Eq + Clone> {
    limit: DefaultKeyedRateLimiter<K>,
    all: AtomicU64,
}

/// A rate limit with one bucket for each client network.
pub type ClientLimit = Limit<IpAddr>;

impl<K: Hash + Eq + Clone> Limit<K> {
    fn of(quota: Quota) -> Self {
        Self { limit: RateLimiter::keyed(quota), all: AtomicU64::new(0) }
    }

    fn takes(&self, key: &K) -> bool {
        if self.all.fetch_add(1, Ordering::Relaxed) % FORGETTING == FORGETTING - 1 {
            self.limit.retain_recent();
        }
        self.limit.check_key(key).is_ok()
    }
}

impl Limit<IpAddr> {
    /// For refused deliveries. It uses none of the rate of verified deliveries.
    pub fn refusals() -> Self {
        Self::of(Quota::per_minute(A_MINUTE).allow_burst(BURST))
    }

    /// For actions of each client: `rate` a second, and ten times as many at once.
    pub fn per_second(rate: NonZeroU32) -> Self {
        Self::of(Quota::per_second(rate).allow_burst(rate.saturating_mul(NonZeroU32::new(10).unwrap_or(rate))))
    }

    /// For stored visits of links that are not personal: a hundred at once, and one a second.
    pub fn looks() -> Self {
        Self::of(Quota::per_second(NonZeroU32::MIN).allow_burst(LOOKS_WRITTEN))
    }

    /// For sources to which anybody can send: this many at once and per hour, for each IPv4 address or IPv6 /48.
    pub fn strangers(an_hour: NonZeroU32) -> Self {
        Self::of(Quota::per_hour(an_hour))
    }

    /// Counts one more delivery to such a source. False if this client sent too many lately.
    pub fn admits_stranger(&self, client: OneClient) -> bool {
        self.takes(&ClientAddress(client.0).site())
    }

    /// Counts one more. False if this client did it too often lately.
    pub fn admits(&self, client: ClientAddress) -> bool {
        self.takes(&client.network())
    }
}

impl Limit<String> {
    /// For consent actions of one link: sixty at once, and one a minute. A press that ends a new consent must count.
    /// Its effect is known only after the store is read, so the limit is far above normal use.
    pub fn words() -> Self {
        Self::of(Quota::with_period(A_WORD).unwrap_or(Quota::per_minute(A_MINUTE)).allow_burst(WORDS))
    }

    /// Counts one more. False if this link was used too often lately.
    pub fn admits_word(&self, link: &str) -> bool {
        self.takes(&link.to_owned())
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
        assert_eq!(network("64:ff9b::192.0.2.1"), network("192.0.2.1"));
        assert_ne!(network("64:ff9b::192.0.2.1"), network("64:ff9b::192.0.2.2"));
        let site = |text: &str| ClientAddress(text.parse().expect("an address")).site();
        assert_eq!(site("2001:db8:1:2::9"), site("2001:db8:1:3::9"));
        assert_ne!(site("2001:db8:1:2::9"), site("2001:db8:2:2::9"));
        let cut = |text: &str| ClientAddress(text.parse().expect("an address")).cut().to_string();
        assert_eq!((cut("192.0.2.77"), cut("::ffff:192.0.2.77")), ("192.0.2.0".to_owned(), "192.0.2.0".to_owned()));
        assert_eq!(cut("2001:db8:1:2::9"), "2001:db8:1::");
    }
}
