//! The rate at which clients may send wrong tokens.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::network;
use crate::limits;

/// The wrong tokens of each client's address.
///
/// A wrong token costs [`limits::GUESS_INTERVAL`]. A client that owes more than [`limits::GUESSES`]
/// of these with its next token is refused, with a right token too, so that it learns nothing from
/// further guesses. Others are affected only while [`limits::MAX_GUESSERS`] addresses owe.
#[derive(Debug, Default)]
pub(super) struct Guesses {
    /// The time at which an address owes nothing any more.
    paid: HashMap<IpAddr, Instant>,
    /// The same for all addresses that found no room in the map.
    others: Option<Instant>,
}

impl Guesses {
    /// Returns `true` if a token of this address is looked at.
    pub(super) fn is_allowed(&self, address: IpAddr, now: Instant) -> bool {
        let address = network(address);
        let paid = match self.paid.get(&address) {
            Some(paid) => Some(*paid),
            // Those that owe nothing any more have no place.
            None if self.paid.len() >= limits::MAX_GUESSERS && self.paid.values().all(|paid| *paid > now) => {
                self.others
            }
            None => None,
        };
        let owed = paid.map_or(Duration::ZERO, |paid| paid.saturating_duration_since(now));
        owed + limits::GUESS_INTERVAL <= limits::GUESS_INTERVAL * limits::GUESSES
    }

    /// Records a wrong token.
    pub(super) fn record(&mut self, address: IpAddr, now: Instant) {
        let address = network(address);
        if self.paid.len() >= limits::MAX_GUESSERS && !self.paid.contains_key(&address) {
            self.paid.retain(|_, paid| *paid > now);
        }
        let paid = if self.paid.len() < limits::MAX_GUESSERS || self.paid.contains_key(&address) {
            self.paid.entry(address).or_insert(now)
        } else {
            self.others.get_or_insert(now)
        };
        *paid = (*paid).max(now) + limits::GUESS_INTERVAL;
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    #[test]
    fn guesses_of_an_address_are_bounded() {
        let (mut guesses, now) = (Guesses::default(), Instant::now());
        let guesser: IpAddr = [192, 0, 2, 1].into();
        for _ in 0..limits::GUESSES {
            assert!(guesses.is_allowed(guesser, now));
            guesses.record(guesser, now);
        }
        assert!(!guesses.is_allowed(guesser, now));
        assert!(guesses.is_allowed([192, 0, 2, 2].into(), now), "a neighbour");
        let later = now + limits::GUESS_INTERVAL;
        assert!(guesses.is_allowed(guesser, later));
        guesses.record(guesser, later);
        assert!(!guesses.is_allowed(guesser, later));
    }

    #[test]
    fn addresses_of_one_client_count_together() {
        let (mut guesses, now) = (Guesses::default(), Instant::now());
        for host in 0..limits::GUESSES {
            guesses.record(Ipv6Addr::from_bits((0x2001_0db8 << 96) + u128::from(host)).into(), now);
        }
        assert!(!guesses.is_allowed(Ipv6Addr::from_bits((0x2001_0db8 << 96) + (1 << 63)).into(), now));
        assert!(guesses.is_allowed(Ipv6Addr::from_bits((0x2001_0db8 << 96) + (1 << 64)).into(), now));
        for _ in 0..limits::GUESSES {
            guesses.record("::ffff:192.0.2.1".parse().unwrap(), now);
        }
        assert!(!guesses.is_allowed([192, 0, 2, 1].into(), now));
    }

    // Addresses beyond the map's bound share one debt, and paid debts make room.
    #[test]
    fn memory_of_guesses_is_bounded() {
        let (mut guesses, now) = (Guesses::default(), Instant::now());
        for client in 0..limits::MAX_GUESSERS as u32 + limits::GUESSES {
            guesses.record(IpAddr::V4(client.into()), now);
        }
        assert_eq!(guesses.paid.len(), limits::MAX_GUESSERS);
        assert!(!guesses.is_allowed([192, 0, 2, 1].into(), now));
        assert!(guesses.is_allowed(IpAddr::V4(0.into()), now));
        let later = now + 2 * limits::GUESS_INTERVAL;
        assert!(guesses.is_allowed([192, 0, 2, 1].into(), later), "paid debts keep no place");
        guesses.record([192, 0, 2, 1].into(), later);
        assert_eq!(guesses.paid.len(), 1);
    }
}
