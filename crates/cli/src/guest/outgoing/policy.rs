//! The policy of addresses: the places that the guests of a component may connect to.
//!
//! | destination | default | `untrusted` |
//! |---|---|---|
//! | link-local, metadata of clouds, unspecified, this process's own listeners | refused | refused |
//! | loopback, private networks | allowed | refused, unless listed in `allow-outgoing` |
//! | the internet | allowed | allowed |
//!
//! An IPv6 address that contains an IPv4 address is judged by both. The rules are for addresses
//! that a name was resolved to, and the connection is made to the address that was judged.

use std::fmt;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::str::FromStr;
use std::sync::{Arc, PoisonError, RwLock};

use super::address::{Kind, embedded};

/// The reason why a guest may not connect to an address, or why it gets no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Denial {
    /// The address is link-local, of a cloud's metadata, or unspecified.
    Address,
    /// The address is one of this process's own listeners.
    OwnListener,
    /// The guest is untrusted, and the address is of this machine or of a private network.
    Private,
    /// The store has all connections that it may have.
    Store,
    /// The tenant has all connections that it may have.
    Tenant,
    /// The process has all connections that guests may have.
    Process,
}

impl Denial {
    /// Returns the value of the label `reason`.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Address => "prohibited_address",
            Self::OwnListener => "own_listener",
            Self::Private => "private_address",
            Self::Store => "store_limit",
            Self::Tenant => "tenant_limit",
            Self::Process => "process_limit",
        }
    }
}

/// A destination that an untrusted guest may connect to: a network, or a host with or without a
/// port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Allowed {
    /// The addresses of a network, on one port or on all.
    Network { address: IpAddr, prefix: u8, port: Option<u16> },
    /// A name, as the guest writes it, on one port or on all.
    Name { name: String, port: Option<u16> },
}

impl FromStr for Allowed {
    type Err = String;

    /// Parses `10.0.0.0/8`, `10.1.2.3`, `10.1.2.3:5432`, `[fd00::1]:80`, `fd00::/8`, `orders`,
    /// `orders:8080`.
    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || {
            "expected a network, an address or a host, the latter two with or without a port: `10.0.0.0/8`, \
             `10.1.2.3:5432`, `[fd00::1]:80`, `orders.internal:8080`"
                .to_owned()
        };
        if let Some((address, prefix)) = text.split_once('/') {
            let address: IpAddr = address.parse().map_err(|_| expected())?;
            let max = if address.is_ipv4() { 32 } else { 128 };
            let digits = prefix.bytes().all(|byte| byte.is_ascii_digit());
            let prefix = prefix.parse::<u8>().ok().filter(|prefix| digits && *prefix <= max).ok_or_else(expected)?;
            return Ok(Self::Network { address, prefix, port: None });
        }
        let single = |address: IpAddr, port| {
            let prefix = if address.is_ipv4() { 32 } else { 128 };
            Ok(Self::Network { address, prefix, port })
        };
        if let Ok(address) = text.parse::<IpAddr>() {
            return single(address, None);
        }
        if let Ok(address) = text.parse::<SocketAddr>() {
            return single(address.ip(), Some(address.port()));
        }
        let (name, port) = match text.rsplit_once(':') {
            Some((name, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => {
                (name, Some(port.parse::<u16>().map_err(|_| expected())?))
            }
            _ => (text, None),
        };
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        // A name of digits and dots only would be an address that was mistyped.
        let is_address = name.chars().all(|c| c.is_ascii_digit() || c == '.');
        if name.is_empty() || name.len() > 253 || is_address || !name.chars().all(is_name) {
            return Err(expected());
        }
        Ok(Self::Name { name: name.to_ascii_lowercase(), port })
    }
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network { address, prefix, port: None } => write!(f, "{address}/{prefix}"),
            Self::Network { address, port: Some(port), .. } => SocketAddr::new(*address, *port).fmt(f),
            Self::Name { name, port: None } => f.write_str(name),
            Self::Name { name, port: Some(port) } => write!(f, "{name}:{port}"),
        }
    }
}

impl Allowed {
    /// Returns `true` if this is a destination, which a guest names `host`.
    fn contains(&self, host: &str, destination: SocketAddr) -> bool {
        match self {
            Self::Network { address, prefix, port } => {
                let is_port = port.is_none_or(|port| port == destination.port());
                is_port && is_in(destination.ip().to_canonical(), *address, *prefix)
            }
            Self::Name { name, port } => {
                let is_port = port.is_none_or(|port| port == destination.port());
                is_port && name.eq_ignore_ascii_case(host.trim_end_matches('.'))
            }
        }
    }
}

/// Returns `true` if the first `prefix` bits of two addresses are the same.
fn is_in(address: IpAddr, network: IpAddr, prefix: u8) -> bool {
    let prefix = u32::from(prefix);
    match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
            (address.to_bits() ^ network.to_bits()) & mask == 0
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => {
            let mask = u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
            (address.to_bits() ^ network.to_bits()) & mask == 0
        }
        _ => false,
    }
}

/// The hosts that get the baggage and the `tracestate` of a guest's client, beside those of private
/// networks: a name, the names below one (`*.example.org`), or all (`*`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Propagated(String);

impl FromStr for Propagated {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let name = if text == "*" { "all" } else { text.strip_prefix("*.").unwrap_or(text) };
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if name.is_empty() || name.len() > 253 || name.starts_with('.') || !name.chars().all(is_name) {
            return Err("expected a host without a port, `*.` and a host, or `*`: `api.example.org`, `*.example.org`"
                .to_owned());
        }
        Ok(Self(text.to_ascii_lowercase()))
    }
}

impl Propagated {
    fn contains(&self, host: &str) -> bool {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        match self.0.strip_prefix('*') {
            Some(suffix) => host.ends_with(suffix),
            None => host == self.0,
        }
    }
}

/// The addresses on which this process listens. A clone is of the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct OwnListeners(Arc<RwLock<Vec<SocketAddr>>>);

impl OwnListeners {
    /// Adds a listener, with its actual port.
    pub(crate) fn add(&self, listener: SocketAddr) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).push(listener);
    }

    /// Returns `true` if a connection to `destination` reaches one of the listeners.
    fn contain(&self, destination: SocketAddr) -> bool {
        let listeners = self.0.read().unwrap_or_else(PoisonError::into_inner);
        listeners.iter().filter(|listener| listener.port() == destination.port()).any(|listener| {
            let (own, ip) = (listener.ip().to_canonical(), destination.ip().to_canonical());
            // A listener on all addresses is reached by each address of this machine.
            own == ip || own.is_unspecified() && is_own_address(ip)
        })
    }
}

/// Returns `true` if an address is one of this machine's: then it is also the one from which the
/// system sends to it.
fn is_own_address(address: IpAddr) -> bool {
    if address.is_loopback() || address.is_unspecified() {
        return true;
    }
    let any: SocketAddr = match address {
        IpAddr::V4(_) => ([0; 4], 0).into(),
        IpAddr::V6(_) => ([0_u16; 8], 0).into(),
    };
    // Without a socket it is unknown, and an address of this machine is refused.
    let Ok(socket) = UdpSocket::bind(any) else { return true };
    // Connecting a UDP socket sends nothing; it only selects the route.
    let source = socket.connect((address, 9)).and_then(|()| socket.local_addr());
    source.is_ok_and(|source| source.ip().to_canonical() == address)
}

/// The policy of one component.
#[derive(Clone, Debug, Default)]
pub(crate) struct Policy {
    pub(crate) is_untrusted: bool,
    /// The exceptions for untrusted guests.
    pub(crate) allowed: Vec<Allowed>,
    /// The third parties that get the baggage and the `tracestate` of a guest's client.
    pub(crate) propagated: Vec<Propagated>,
    pub(crate) own: OwnListeners,
}

impl Policy {
    /// Checks an address to which the host's name was resolved.
    ///
    /// # Errors
    ///
    /// The reason why a guest may not connect to it.
    pub(super) fn check(&self, host: &str, destination: SocketAddr) -> Result<(), Denial> {
        let inner = match destination.ip() {
            IpAddr::V6(address) => embedded(address).map(IpAddr::V4),
            IpAddr::V4(_) => None,
        };
        let addresses = [Some(destination.ip()), inner].into_iter().flatten();
        for address in addresses.map(|address| SocketAddr::new(address, destination.port())) {
            let kind = Kind::of(address.ip());
            if matches!(kind, Kind::Unspecified | Kind::LinkLocal | Kind::Metadata) {
                return Err(Denial::Address);
            }
            if self.own.contain(address) {
                return Err(Denial::OwnListener);
            }
            let is_private = matches!(kind, Kind::Loopback | Kind::Private);
            let is_listed = || self.allowed.iter().any(|allowed| allowed.contains(host, address));
            if self.is_untrusted && is_private && !is_listed() {
                return Err(Denial::Private);
            }
        }
        Ok(())
    }
}

impl Policy {
    /// Returns `true` if a host, which was resolved to `address`, gets the baggage and the
    /// `tracestate` of a guest's client: it is in a private network, or it is listed.
    pub(super) fn propagates_to(&self, host: &str, address: SocketAddr) -> bool {
        let is_private = matches!(Kind::of(address.ip().to_canonical()), Kind::Loopback | Kind::Private);
        is_private || self.propagated.iter().any(|propagated| propagated.contains(host))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn third_parties_get_no_baggage() {
        let listed = |texts: &[&str]| Policy {
            propagated: texts.iter().map(|text| text.parse().unwrap()).collect(),
            ..Policy::default()
        };
        let propagates =
            |policy: &Policy, host: &str, address: &str| policy.propagates_to(host, address.parse().unwrap());
        let (none, some) = (listed(&[]), listed(&["api.example.org", "*.partner.example"]));
        for private in ["127.0.0.1:80", "10.0.0.1:80", "[fd00::1]:80", "[::ffff:10.0.0.1]:80"] {
            assert!(propagates(&none, "x", private), "{private}");
        }
        for (host, is_listed) in [
            ("api.example.org", true),
            ("API.example.org.", true),
            ("a.b.partner.example", true),
            ("partner.example", false),
            ("evilpartner.example", false),
            ("evil.example", false),
        ] {
            assert_eq!(propagates(&some, host, "1.1.1.1:443"), is_listed, "{host}");
            assert!(!propagates(&none, host, "1.1.1.1:443"), "{host}");
        }
        assert!(propagates(&listed(&["*"]), "x", "1.1.1.1:443"));
        for wrong in ["", "*.", "a:80", "*a", "a.*", ".a", "http://a"] {
            assert!(wrong.parse::<Propagated>().is_err(), "{wrong}");
        }
    }

    fn check(policy: &Policy, host: &str, destination: &str) -> Result<(), Denial> {
        policy.check(host, destination.parse().unwrap())
    }

    #[test]
    fn metadata_is_always_refused() {
        let allowed = ["0.0.0.0/0", "::/0", "metadata"].map(|text| text.parse().unwrap()).to_vec();
        for policy in [Policy::default(), Policy { is_untrusted: true, allowed, ..Policy::default() }] {
            for destination in [
                "169.254.169.254:80",
                "169.254.170.2:80",
                "[fe80::1]:80",
                "[fd00:ec2::254]:80",
                "[::ffff:169.254.169.254]:80",
                "[::169.254.169.254]:80",
                "[2002:a9fe:a9fe::]:80",
                "[64:ff9b::a9fe:a9fe]:80",
                "[2002:6464:64c8::]:80",
                "0.0.0.0:80",
                "[::]:80",
                "[::ffff:0.0.0.0]:80",
            ] {
                assert_eq!(check(&policy, "metadata", destination), Err(Denial::Address), "{destination}");
            }
        }
    }

    #[test]
    fn own_listeners_are_refused() {
        let policy = Policy::default();
        policy.own.add(([127, 0, 0, 1], 9464).into());
        policy.own.add(([0, 0, 0, 0], 8080).into());
        for destination in [
            "127.0.0.1:9464",
            "[::ffff:127.0.0.1]:9464",
            "[64:ff9b::7f00:1]:9464",
            "127.0.0.1:8080",
            "127.9.9.9:8080",
            "[::1]:8080",
        ] {
            assert_eq!(check(&policy, "x", destination), Err(Denial::OwnListener), "{destination}");
        }
        for destination in ["127.0.0.1:9465", "127.0.0.2:9464", "192.0.2.1:8080"] {
            assert_eq!(check(&policy, "x", destination), Ok(()), "{destination}");
        }
    }

    // The address of an interface reaches a listener on all addresses.
    #[test]
    fn interface_address_is_own() {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        // Without a route to anywhere there is no such address to test.
        let Ok(()) = socket.connect("192.0.2.1:9") else { return };
        let address = socket.local_addr().unwrap().ip();
        let policy = Policy::default();
        policy.own.add(([0, 0, 0, 0], 8080).into());
        assert_eq!(policy.check("x", (address, 8080).into()), Err(Denial::OwnListener));
        assert_eq!(policy.check("x", (address, 8081).into()), Ok(()));
    }

    #[test]
    fn untrusted_guests_see_no_private_network() {
        let trusted = Policy::default();
        let untrusted = Policy { is_untrusted: true, ..Policy::default() };
        for destination in
            ["127.0.0.1:80", "[::1]:80", "10.0.0.1:80", "[fd00::1]:80", "[::ffff:10.0.0.1]:80", "[2002:a00:1::]:80"]
        {
            assert_eq!(check(&trusted, "x", destination), Ok(()), "{destination}");
            assert_eq!(check(&untrusted, "x", destination), Err(Denial::Private), "{destination}");
        }
        assert_eq!(check(&untrusted, "x", "1.1.1.1:443"), Ok(()));
    }

    #[test]
    fn listed_destinations_are_allowed() {
        let allowed = ["10.1.0.0/16", "192.168.0.1:5432", "Orders.internal:8080", "[fd00::1]:80", "cache"];
        let allowed = allowed.map(|text| text.parse().unwrap()).to_vec();
        let policy = Policy { is_untrusted: true, allowed, ..Policy::default() };
        for (host, destination, is_allowed) in [
            ("x", "10.1.2.3:1", true),
            ("x", "[::ffff:10.1.2.3]:1", true),
            ("x", "10.2.0.1:1", false),
            ("x", "192.168.0.1:5432", true),
            ("x", "192.168.0.1:80", false),
            ("orders.INTERNAL.", "10.9.9.9:8080", true),
            ("orders.internal", "10.9.9.9:80", false),
            ("evil.example", "10.9.9.9:8080", false),
            ("cache", "127.0.0.1:6379", true),
            ("x", "[fd00::1]:80", true),
        ] {
            let expected = if is_allowed { Ok(()) } else { Err(Denial::Private) };
            assert_eq!(check(&policy, host, destination), expected, "{host} {destination}");
        }
    }

    #[test]
    fn destinations_are_parsed() {
        for (text, shown) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("10.1.2.3", "10.1.2.3/32"),
            ("10.1.2.3:80", "10.1.2.3:80"),
            ("fd00::/8", "fd00::/8"),
            ("[fd00::1]:80", "[fd00::1]:80"),
            ("fd00::1", "fd00::1/128"),
            ("Orders", "orders"),
            ("orders.a_b:1", "orders.a_b:1"),
        ] {
            assert_eq!(text.parse::<Allowed>().map(|allowed| allowed.to_string()).as_deref(), Ok(shown));
        }
        for text in [
            "",
            "10.0.0.0/33",
            "10.0.0.0/+8",
            "a/8",
            "10.0.0",
            "10.0.0.300",
            ":80",
            "a:99999",
            "a b",
            "http://a",
            "*.a",
        ] {
            assert!(text.parse::<Allowed>().is_err(), "{text}");
        }
        assert!(is_in([1, 2, 3, 4].into(), [9, 9, 9, 9].into(), 0));
    }
}
