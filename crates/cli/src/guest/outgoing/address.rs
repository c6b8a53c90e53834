//! Kinds of addresses: which machine or network one belongs to, and the IPv4 address inside of it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The kind of an address, by the networks that the IANA registries reserve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// No single machine: multicast, broadcast, reserved.
    Unroutable,
    /// This machine, by an address that is none: `0.0.0.0/8` and `::`.
    Unspecified,
    /// The link: `169.254.0.0/16` and `fe80::/10`, where clouds have their metadata.
    LinkLocal,
    /// A service of a cloud that hands out credentials, outside of the link's addresses.
    Metadata,
    /// This machine.
    Loopback,
    /// A network that is not part of the internet.
    Private,
    /// The internet.
    Global,
}

/// Addresses of services of clouds for their machines, outside of the link-local range: Amazon (and
/// others), Google, Oracle, Alibaba, and Azure's agent.
const METADATA: [IpAddr; 5] = [
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
];

impl Kind {
    /// Returns the kind of an address, not of the one inside of it.
    pub(super) fn of(address: IpAddr) -> Self {
        if METADATA.contains(&address) {
            return Self::Metadata;
        }
        match address {
            IpAddr::V4(address) => Self::of_v4(address),
            IpAddr::V6(address) => Self::of_v6(address),
        }
    }

    fn of_v4(address: Ipv4Addr) -> Self {
        match address.octets() {
            [0, ..] => Self::Unspecified,
            [127, ..] => Self::Loopback,
            [169, 254, ..] => Self::LinkLocal,
            // RFC 1918; shared by carriers (RFC 6598); protocols (RFC 6890); benchmarks (RFC 2544).
            [10, ..]
            | [172, 16..=31, ..]
            | [192, 168, ..]
            | [100, 64..=127, ..]
            | [192, 0, 0, _]
            | [198, 18..=19, ..] => Self::Private,
            // Multicast, reserved, broadcast.
            [224..=255, ..] => Self::Unroutable,
            _ => Self::Global,
        }
    }

    fn of_v6(address: Ipv6Addr) -> Self {
        match address.segments() {
            [0, 0, 0, 0, 0, 0, 0, 0] => Self::Unspecified,
            [0, 0, 0, 0, 0, 0, 0, 1] => Self::Loopback,
            [0xfe80..=0xfebf, ..] => Self::LinkLocal,
            // Unique local, and the deprecated site-local.
            [0xfc00..=0xfdff, ..] | [0xfec0..=0xfeff, ..] => Self::Private,
            [0xff00..=0xffff, ..] => Self::Unroutable,
            _ => Self::Global,
        }
    }
}

/// Returns the IPv4 address to which a packet for an IPv6 address may be delivered.
///
/// Source: RFC 4291 (mapped, compatible), RFC 3056 (6to4), RFC 6052 and RFC 8215 (NAT64), RFC 4380
/// (Teredo), RFC 5214 (ISATAP).
pub(super) fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let of = |high: u16, low: u16| Some(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)));
    match address.segments() {
        // These two are no embedded 0.0.0.0 and 0.0.0.1.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] => of(high, low),
        // "IPv4-translated", RFC 2765.
        [0, 0, 0, 0, 0xffff, 0, high, low] => of(high, low),
        [0x2002, high, low, ..] => of(high, low),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => of(high, low),
        // A prefix of 48 bits has the address around an octet of zeros.
        [0x64, 0xff9b, 1, high, low, rest, 0, 0] if low >> 8 == 0 => of(high, low << 8 | rest >> 8),
        [0x64, 0xff9b, 1, _, _, _, high, low] => of(high, low),
        [0x2001, 0, _, _, _, _, high, low] => of(!high, !low),
        [_, _, _, _, 0 | 0x200, 0x5efe, high, low] => of(high, low),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_addresses() {
        for (kind, addresses) in [
            (Kind::Unroutable, &["224.0.0.1", "240.0.0.1", "255.255.255.255", "ff02::1"][..]),
            (Kind::Unspecified, &["0.0.0.0", "0.1.2.3", "::"]),
            (Kind::LinkLocal, &["169.254.169.254", "169.254.170.2", "fe80::1", "febf::1"]),
            (Kind::Metadata, &["fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "192.0.0.192", "168.63.129.16"]),
            (Kind::Loopback, &["127.0.0.1", "127.255.255.255", "::1"]),
            (
                Kind::Private,
                &[
                    "10.0.0.1",
                    "172.16.0.1",
                    "172.31.255.255",
                    "192.168.0.1",
                    "100.64.0.1",
                    "198.18.0.1",
                    "fc00::1",
                    "fdff::1",
                    "fec0::1",
                ],
            ),
            (
                Kind::Global,
                &["1.1.1.1", "172.15.0.1", "172.32.0.1", "100.128.0.1", "192.0.2.1", "2606:4700::1111", "2001:db8::1"],
            ),
        ] {
            for address in addresses {
                assert_eq!(Kind::of(address.parse().unwrap()), kind, "{address}");
            }
        }
    }

    #[test]
    fn embedded_addresses_are_found() {
        for address in [
            "::ffff:169.254.169.254",
            "::169.254.169.254",
            "::ffff:0:169.254.169.254",
            "2002:a9fe:a9fe::1",
            "64:ff9b::169.254.169.254",
            "64:ff9b:1:a9fe:a9:fe00::",
            "64:ff9b:1:1:2:3:a9fe:a9fe",
            "2001:0:1:2:3:4:5601:5601",
            "2001:db8::5efe:169.254.169.254",
            "2001:db8::200:5efe:169.254.169.254",
        ] {
            assert_eq!(embedded(address.parse().unwrap()), Some([169, 254, 169, 254].into()), "{address}");
        }
        for address in ["::", "::1", "2606:4700::1111", "fe80::1"] {
            assert_eq!(embedded(address.parse().unwrap()), None, "{address}");
        }
    }
}
