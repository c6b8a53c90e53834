//! The traffic of a demo that keeps serving: a shop on an ordinary day, with its failures.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher as _, Hasher as _},
    thread,
    time::Duration,
};

use super::{http, server::Address};

/// The time between two requests.
const PACE: Duration = Duration::from_millis(150);

/// Paths with their shares of the traffic.
const SHARES: &[(u32, &str)] = &[
    (400, "/"),
    (250, "/cart"),
    (120, "/checkout?item=apple"),
    (80, "/checkout?item=pear"),
    (60, "/slow?ms=20"),
    (30, "/slow?ms=120"),
    (8, "/slow?ms=700"),
    // Out of stock.
    (30, "/checkout?item=unicorn"),
    // Unknown.
    (14, "/favicon.ico"),
    // Traps.
    (7, "/boom"),
    // Never ends; the deadline kills it.
    (1, "/spin"),
];

/// Sends requests until `is_over`. What they are answered is for the page to show.
pub(crate) fn send(address: Address, mut is_over: impl FnMut() -> bool) {
    let random = RandomState::new();
    for number in 0_u64.. {
        if is_over() {
            break;
        }
        let mut hasher = random.build_hasher();
        hasher.write_u64(number);
        let path = path(hasher.finish());
        // A request that never ends must not stop the others.
        thread::spawn(move || http::get(address.service, path).map(drop));
        thread::sleep(PACE);
    }
}

/// Returns the path that a random number selects.
fn path(random: u64) -> &'static str {
    let total: u32 = SHARES.iter().map(|(share, _)| share).sum();
    let mut position = (random % u64::from(total)) as u32;
    for (share, path) in SHARES {
        if position < *share {
            return path;
        }
        position -= share;
    }
    "/"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_has_its_share() {
        let total: u32 = SHARES.iter().map(|(share, _)| share).sum();
        for (share, expected) in SHARES {
            let found = (0..u64::from(total)).filter(|number| path(*number) == *expected).count();
            assert_eq!(found, *share as usize, "{expected}");
        }
        assert_eq!(path(u64::from(total)), SHARES[0].1);
    }
}
