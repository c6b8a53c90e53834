//! Binding the addresses that flags or the configuration name.

use std::net::{SocketAddr, TcpListener};

use anyhow::Result;

/// Binds an address. `flag` is the flag to choose another one with, for errors.
pub(crate) fn bind(addr: SocketAddr, flag: &str) -> Result<TcpListener> {
    use std::io::ErrorKind;

    TcpListener::bind(addr).map_err(|error| {
        let (cause, remedy) = match error.kind() {
            ErrorKind::AddrInUse => (
                "the address is in use".to_owned(),
                format!("stop the process that uses it, or choose another with {flag} (port 0 takes a free one)"),
            ),
            ErrorKind::PermissionDenied => (
                "permission denied".to_owned(),
                format!("ports below 1024 need privileges; choose a higher one with {flag}"),
            ),
            ErrorKind::AddrNotAvailable => (
                "this machine does not have that address".to_owned(),
                format!("choose one that it has with {flag}, such as 127.0.0.1 or 0.0.0.0"),
            ),
            _ => (error.to_string(), format!("choose another address with {flag}")),
        };
        anyhow::anyhow!("cannot listen on {addr}: {cause}; {remedy}")
    })
}
