//! Limits on the sessions of each address.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::rate::TokenBucket;
use crate::shrink::Shrink;

/// The addresses that have sessions or have opened sessions recently.
#[derive(Debug, Default)]
pub(super) struct Addresses(Mutex<HashMap<IpAddr, AddressState>>);

#[derive(Debug, Default)]
struct AddressState {
    sessions: u32,
    rate: TokenBucket,
}

/// A permit for one session of an address. Dropping the permit allows another session of the address.
#[derive(Debug)]
pub(crate) struct AddressPermit {
    addresses: Arc<Addresses>,
    address: IpAddr,
}

impl Addresses {
    /// Admits another session of an address. Returns `None` if the address has `max` sessions, or has opened
    /// `max` sessions within the last second.
    pub(super) fn try_acquire(
        self: &Arc<Self>,
        address: IpAddr,
        max: u32,
        now: Instant,
    ) -> Option<Box<AddressPermit>> {
        let address = network(address);
        let mut states = self.0.lock();
        if states.len() == states.capacity() {
            forget(&mut states, now);
        }
        let state = states.entry(address).or_default();
        if state.sessions >= max || !state.rate.allows(now, max) {
            return None;
        }
        state.sessions += 1;
        Some(Box::new(AddressPermit { addresses: self.clone(), address }))
    }
}

/// Removes addresses without sessions whose token bucket is full, before the table grows. Then reserves room
/// for as many new entries as remain, so the amortized cost of an insertion is constant.
fn forget(states: &mut HashMap<IpAddr, AddressState>, now: Instant) {
    states.retain(|_, state| state.sessions > 0 || !state.rate.is_full(now));
    states.shrink();
    states.reserve(states.len().max(1));
}

impl Drop for AddressPermit {
    fn drop(&mut self) {
        if let Some(state) = self.addresses.0.lock().get_mut(&self.address) {
            state.sessions -= 1;
        }
    }
}

/// Returns the key of an address. IPv4-mapped addresses are converted to IPv4. An IPv6 address is reduced to
/// its /64 network, which is the smallest network that a customer is assigned.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn sessions_and_their_rate_are_limited_exactly() {
        let addresses = Arc::<Addresses>::default();
        let enter = |text| addresses.try_acquire(address(text), 2, Instant::now());
        let permits = [enter("10.0.0.1"), enter("10.0.0.1")];
        assert!(permits.iter().all(Option::is_some));
        assert!(enter("10.0.0.1").is_none(), "too many");
        assert!(enter("10.0.0.2").is_some(), "another address");
        drop(permits);
        assert!(enter("10.0.0.1").is_none(), "too often");
        tokio::time::advance(Duration::from_millis(500)).await;
        let address_permit = enter("10.0.0.1");
        assert!(address_permit.is_some());
        assert!(enter("10.0.0.1").is_none(), "too often");
        tokio::time::advance(Duration::from_secs(1)).await;
        let another = enter("10.0.0.1");
        assert!(another.is_some());
        assert!(enter("10.0.0.1").is_none(), "too many");
    }

    #[test]
    fn a_client_is_one_however_its_address_is_written() {
        for (one, other, same) in [
            ("10.0.0.1", "::ffff:10.0.0.1", true),
            ("10.0.0.1", "10.0.0.2", false),
            ("2001:db8:0:1::1", "2001:db8:0:1:ffff::", true),
            ("2001:db8:0:1::1", "2001:db8:0:2::1", false),
        ] {
            assert_eq!(network(address(one)) == network(address(other)), same, "{one} {other}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn addresses_that_have_gone_are_forgotten() {
        let addresses = Arc::<Addresses>::default();
        let enter = |n: u32| addresses.try_acquire(IpAddr::from(n.to_be_bytes()), 10, Instant::now());
        let permits: Vec<_> = (0..10_000).map(enter).collect();
        assert!(permits.iter().all(Option::is_some));
        drop(permits);
        tokio::time::advance(Duration::from_secs(1)).await;
        for n in 0..100_000 {
            enter(n);
            tokio::time::advance(Duration::from_millis(100)).await;
        }
        let states = addresses.0.lock();
        assert!(states.capacity() <= 64, "{} places", states.capacity());
    }
}
