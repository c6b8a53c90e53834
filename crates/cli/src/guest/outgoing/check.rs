//! The second step of a request: the selection of the addresses that a guest may connect to.
//!
//! Every address of a guest's request passes [`check`] after its name has been resolved, so that no
//! name can lead around it, and the connection is made to an address that has passed.

use std::net::SocketAddr;

use wasmtime_wasi_http::Error;

use super::address::Kind;
use super::connect::Failure;
use super::policy::Policy;

/// Returns the addresses of `host` to which a connection can be opened.
///
/// # Errors
///
/// If none is left: the reason why the last one is refused, or [`Error::DestinationIpUnroutable`].
pub(super) fn check(policy: &Policy, host: &str, addresses: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, Failure> {
    let mut failure = Failure::Error(Error::DestinationIpUnroutable);
    let mut allowed = Vec::new();
    for address in addresses.into_iter().filter(is_routable) {
        match policy.check(host, address) {
            Ok(()) => allowed.push(address),
            Err(denial) => failure = Failure::Denied(denial),
        }
    }
    if allowed.is_empty() { Err(failure) } else { Ok(allowed) }
}

/// Returns `true` if the address is one of a single host.
fn is_routable(address: &SocketAddr) -> bool {
    Kind::of(address.ip().to_canonical()) != Kind::Unroutable && address.port() != 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::outgoing::policy::Denial;

    fn checked(addresses: &[&str]) -> Result<Vec<String>, Failure> {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        Ok(check(&Policy::default(), "x", addresses)?.iter().map(SocketAddr::to_string).collect())
    }

    #[test]
    fn addresses_of_no_host_are_removed() {
        assert_eq!(checked(&["224.0.0.1:80", "192.0.2.1:80"]).unwrap(), ["192.0.2.1:80"]);
        for unroutable in ["255.255.255.255:80", "[ff02::1]:80", "[::ffff:224.0.0.1]:80", "192.0.2.1:0"] {
            let failure = checked(&[unroutable]).unwrap_err();
            assert!(matches!(failure, Failure::Error(Error::DestinationIpUnroutable)), "{unroutable}");
        }
    }

    // A name with a good and a bad address leads to the good one only.
    #[test]
    fn refused_addresses_are_removed() {
        assert_eq!(checked(&["169.254.169.254:80", "192.0.2.1:80"]).unwrap(), ["192.0.2.1:80"]);
        let failure = checked(&["169.254.169.254:80"]).unwrap_err();
        assert!(matches!(failure, Failure::Denied(Denial::Address)), "{failure:?}");
    }
}
