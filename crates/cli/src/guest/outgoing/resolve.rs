//! The first step of a request: the addresses of its host.

use std::io;
use std::net::{IpAddr, SocketAddr};

use wasmtime_wasi_http::Error;

use super::error;

/// Returns the addresses of a host, which is a name or an IP address, in the order of the resolver.
///
/// # Errors
///
/// Fails with [`Error::DnsError`] if the resolver finds no address.
pub(super) async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, Error> {
    if let Some(address) = literal(host) {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let found = tokio::net::lookup_host((host, port)).await.map_err(|error| dns_error(&error))?;
    let addresses: Vec<SocketAddr> = found.collect();
    if addresses.is_empty() {
        return Err(Error::DnsError { rcode: Some("the name has no address".to_owned()), info_code: None });
    }
    Ok(addresses)
}

/// Parses an IPv4 address, or an IPv6 address in the brackets of a URL.
pub(super) fn literal(host: &str) -> Option<IpAddr> {
    match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?.parse().ok().map(IpAddr::V6),
        None => host.parse().ok(),
    }
}

fn dns_error(error: &io::Error) -> Error {
    if error::is_resource_exhausted(error) {
        return Error::ConnectionLimitReached;
    }
    let text = error.to_string();
    // The standard library puts its own words before those of the resolver.
    let reason = text.strip_prefix("failed to lookup address information: ").unwrap_or(&text);
    Error::DnsError { rcode: Some(reason.to_owned()), info_code: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn literals_are_not_looked_up() {
        assert_eq!(resolve("127.0.0.1", 80).await.unwrap(), [SocketAddr::from(([127, 0, 0, 1], 80))]);
        assert_eq!(resolve("[::1]", 443).await.unwrap(), ["[::1]:443".parse().unwrap()]);
        assert_eq!(literal("::1]"), None);
        assert_eq!(literal("[127.0.0.1]"), None);
    }

    #[tokio::test]
    async fn unknown_name_is_dns_error() {
        // A label has at most 63 bytes, so that the resolver sends no query.
        let error = resolve(&"x".repeat(64), 80).await.unwrap_err();
        assert!(matches!(error, Error::DnsError { .. }), "{error:?}");
    }
}
