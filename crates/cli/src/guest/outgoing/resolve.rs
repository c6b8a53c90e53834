//! The first step of a request: the addresses of its host.

use std::io;
use std::net::{IpAddr, SocketAddr};

use wasmtime_wasi_http::Error;

use super::budget::Lookups;
use super::error;
use crate::guest::limits;

/// Returns the addresses of a host, which is a name or an IP address, in the order of the resolver.
///
/// A call of the system's resolver cannot be stopped. It has `held`, the slot of the connection,
/// until it ends, even if this future is dropped before, and one of its tenant's lookups, since it
/// occupies a thread.
///
/// # Errors
///
/// Fails with [`Error::DnsError`] if the resolver finds no address.
pub(super) async fn resolve<T: Send + 'static>(
    host: &str,
    port: u16,
    lookups: Lookups,
    held: T,
) -> Result<(Vec<SocketAddr>, T), Error> {
    if let Some(address) = literal(host) {
        return Ok((vec![SocketAddr::new(address, port)], held));
    }
    if host.len() > limits::HOST_BYTES {
        return Err(Error::DnsError { rcode: Some("the name is too long".to_owned()), info_code: None });
    }
    let permit = lookups.take().await;
    let name = host.to_owned();
    let lookup = tokio::spawn(async move {
        let found = tokio::net::lookup_host((&*name, port)).await;
        let addresses = found.map(|found| found.collect::<Vec<_>>()).map_err(|error| dns_error(&error));
        drop(permit);
        (addresses, held)
    });
    let (addresses, held) = lookup.await.map_err(|_| Error::DnsTimeout)?;
    let addresses = addresses?;
    if addresses.is_empty() {
        return Err(Error::DnsError { rcode: Some("the name has no address".to_owned()), info_code: None });
    }
    Ok((addresses, held))
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
    use std::sync::Arc;

    use wasmetry_host::Identity;

    use super::*;
    use crate::guest::outgoing::budget::{OutgoingLimits, ProcessConnections};
    use crate::guest::share::Owner;

    fn lookups(process: &ProcessConnections, tenant: &str) -> Lookups {
        process.tenant(Owner::of(&Identity::new("a").with_tenant(tenant))).store().take().unwrap().lookups()
    }

    /// A tenant whose lookups are all taken waits, and another one does not.
    #[tokio::test]
    async fn tenant_waits_for_own_lookups() {
        let name = "x".repeat(64);
        let process = ProcessConnections::new(1000, OutgoingLimits::default());
        let [evil, bank] = ["evil", "bank"].map(|tenant| lookups(&process, tenant));
        let mut taken = Vec::new();
        for _ in 0..limits::LOOKUPS_PER_TENANT {
            taken.push(evil.take().await);
        }
        tokio::select! {
            biased;
            _ = resolve(&name, 80, evil.clone(), ()) => panic!("there is no lookup left"),
            found = resolve(&name, 80, bank, ()) => assert!(matches!(found, Err(Error::DnsError { .. }))),
        }
        taken.pop();
        // It is given back each time.
        for _ in 0..2 {
            assert!(matches!(resolve(&name, 80, evil.clone(), ()).await, Err(Error::DnsError { .. })));
        }
    }

    /// A lookup that its request has left keeps the slot until the resolver's call ends.
    #[tokio::test]
    async fn lookup_keeps_its_slot() {
        let slot = Arc::new(());
        // A label has at most 63 bytes, so that the resolver sends no query.
        let name = "x".repeat(64);
        let lookup =
            resolve(&name, 80, lookups(&ProcessConnections::new(4, OutgoingLimits::default()), "a"), Arc::clone(&slot));
        tokio::select! {
            biased;
            _ = lookup => unreachable!("the lookup has a task of its own"),
            () = async {} => {}
        }
        assert_eq!(Arc::strong_count(&slot), 2);
        while Arc::strong_count(&slot) > 1 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn literals_are_not_looked_up() {
        let process = ProcessConnections::new(4, OutgoingLimits::default());
        let lookups = lookups(&process, "a");
        let mut taken = Vec::new();
        for _ in 0..limits::LOOKUPS_PER_TENANT {
            taken.push(lookups.take().await);
        }
        let first = resolve("127.0.0.1", 80, lookups.clone(), ()).await.unwrap().0;
        assert_eq!(first, [SocketAddr::from(([127, 0, 0, 1], 80))]);
        assert_eq!(resolve("[::1]", 443, lookups, ()).await.unwrap().0, ["[::1]:443".parse().unwrap()]);
        assert_eq!(literal("::1]"), None);
        assert_eq!(literal("[127.0.0.1]"), None);
    }

    #[tokio::test]
    async fn unknown_name_is_dns_error() {
        // A label has at most 63 bytes, so that the resolver sends no query.
        let error =
            resolve(&"x".repeat(64), 80, lookups(&ProcessConnections::new(4, OutgoingLimits::default()), "a"), ())
                .await
                .unwrap_err();
        assert!(matches!(error, Error::DnsError { .. }), "{error:?}");
    }
}
