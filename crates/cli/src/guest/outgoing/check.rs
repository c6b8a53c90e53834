//! The second step of a request: the selection of the addresses that a guest may connect to.
//!
//! Every address of a guest's request passes [`check`] after its name has been resolved, so that no
//! name can lead around it.

use std::net::{IpAddr, SocketAddr};

use wasmtime_wasi_http::Error;

/// Returns the addresses to which a connection can be opened.
///
/// # Errors
///
/// Fails with [`Error::DestinationIpUnroutable`] if none is left.
pub(super) fn check(addresses: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, Error> {
    let routable: Vec<SocketAddr> = addresses.into_iter().filter(is_routable).collect();
    if routable.is_empty() { Err(Error::DestinationIpUnroutable) } else { Ok(routable) }
}

/// Returns `true` if the address is one of a single host.
fn is_routable(address: &SocketAddr) -> bool {
    let is_single = match address.ip().to_canonical() {
        IpAddr::V4(ip) => !ip.is_multicast() && !ip.is_broadcast(),
        IpAddr::V6(ip) => !ip.is_multicast(),
    };
    is_single && address.port() != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(addresses: &[&str]) -> Option<Vec<String>> {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        check(addresses).ok().map(|left| left.iter().map(SocketAddr::to_string).collect())
    }

    #[test]
    fn addresses_of_no_host_are_removed() {
        assert_eq!(checked(&["224.0.0.1:80", "192.0.2.1:80"]), Some(vec!["192.0.2.1:80".to_owned()]));
        for unroutable in ["255.255.255.255:80", "[ff02::1]:80", "[::ffff:224.0.0.1]:80", "192.0.2.1:0"] {
            assert_eq!(checked(&[unroutable]), None, "{unroutable}");
        }
    }
}
