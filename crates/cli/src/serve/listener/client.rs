//! The connections of each client, or its requests in progress.
//!
//! A client is an address; of IPv6, the first 64 bits of one, of which a single machine has all.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The address that stands for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::serve) struct ClientAddress(IpAddr);

impl ClientAddress {
    pub(in crate::serve) fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
            address => address,
        })
    }
}

/// The number of things that each client has. A clone has the same numbers.
#[derive(Clone, Debug, Default)]
pub(in crate::serve) struct ClientCounts(Arc<Mutex<HashMap<ClientAddress, u64>>>);

impl ClientCounts {
    /// Counts one more thing of a client. Returns `None` if it has `limit` of them.
    pub(in crate::serve) fn take(&self, client: ClientAddress, limit: u64) -> Option<ClientSlot> {
        let mut counts = self.lock();
        let count = counts.entry(client).or_default();
        if *count >= limit {
            return None;
        }
        *count += 1;
        Some(ClientSlot { counts: self.clone(), client })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ClientAddress, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One thing that a client has. It is uncounted when it is dropped.
#[derive(Debug)]
pub(in crate::serve) struct ClientSlot {
    counts: ClientCounts,
    client: ClientAddress,
}

impl Drop for ClientSlot {
    fn drop(&mut self) {
        let mut counts = self.counts.lock();
        match counts.get_mut(&self.client) {
            Some(count) if *count > 1 => *count -= 1,
            _ => _ = counts.remove(&self.client),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_counted_apart() {
        let counts = ClientCounts::default();
        let [first, second, network, same_network, mapped] =
            ["10.0.0.1", "10.0.0.2", "2001:db8::1", "2001:db8::ffff", "::ffff:10.0.0.1"]
                .map(|address| ClientAddress::of(address.parse().unwrap()));
        let slots = [counts.take(first, 2).unwrap(), counts.take(mapped, 2).unwrap()];
        assert!(counts.take(first, 2).is_none());
        assert!(counts.take(second, 1).is_some());
        let slot = counts.take(network, 1).unwrap();
        assert!(counts.take(same_network, 1).is_none());
        drop((slots, slot));
        assert!(counts.lock().is_empty(), "clients that have nothing are forgotten");
    }
}
