//! Which addresses are public, and which the operator allows besides.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Not reachable by everybody, so not to be reached for anybody (IANA special-purpose registry).
const SPECIAL_V4: [Ipv4Net; 17] = [
    v4([0, 0, 0, 0], 8),          // this network
    v4([10, 0, 0, 0], 8),         // private use
    v4([100, 64, 0, 0], 10),      // carrier-grade NAT; metadata of Alibaba Cloud
    v4([127, 0, 0, 0], 8),        // loopback
    v4([168, 63, 129, 16], 32),   // Azure's host agent, though the range is public
    v4([169, 254, 0, 0], 16),     // link-local; metadata of most clouds
    v4([172, 16, 0, 0], 12),      // private use
    v4([192, 0, 0, 0], 24),       // protocol assignments; metadata of Oracle Cloud
    v4([192, 0, 2, 0], 24),       // documentation
    v4([192, 88, 99, 0], 24),     // 6to4 relay, deprecated
    v4([192, 168, 0, 0], 16),     // private use
    v4([198, 18, 0, 0], 15),      // benchmarking
    v4([198, 51, 100, 0], 24),    // documentation
    v4([203, 0, 113, 0], 24),     // documentation
    v4([224, 0, 0, 0], 4),        // multicast
    v4([240, 0, 0, 0], 4),        // reserved
    v4([255, 255, 255, 255], 32), // broadcast
];

/// Only global unicast can be public...
const GLOBAL_V6: Ipv6Net = v6([0x2000, 0], 3);
/// ...and of that, not these.
const SPECIAL_V6: [Ipv6Net; 4] = [
    v6([0x2001, 0], 23),     // protocol assignments, Teredo among them
    v6([0x2001, 0xdb8], 32), // documentation
    v6([0x2002, 0], 16),     // 6to4, deprecated: carries any IPv4 address, a private one too
    v6([0x3fff, 0], 20),     // documentation
];
/// NAT64 (RFC 6052): the last four bytes are the IPv4 address that is meant.
const NAT64: Ipv6Net = v6([0x64, 0xff9b], 96);

/// Names under which clouds serve their metadata; refused even where their address is allowed.
const METADATA_NAMES: [&str; 5] = [
    "instance-data",
    "instance-data.ec2.internal",
    "metadata",
    "metadata.goog",
    "metadata.google.internal",
];

/// Everybody can reach this address.
pub(super) fn is_public(ip: IpAddr) -> bool {
    match meant(ip) {
        IpAddr::V4(ip) => !SPECIAL_V4.iter().any(|net| net.contains(&ip)),
        IpAddr::V6(ip) => {
            GLOBAL_V6.contains(&ip) && !SPECIAL_V6.iter().any(|net| net.contains(&ip))
        }
    }
}

/// The operator allows this address, public or not.
pub(super) fn is_allowed(ip: IpAddr, allow: &[IpNet]) -> bool {
    let meant = meant(ip);
    allow.iter().any(|net| net.contains(&ip) || net.contains(&meant))
}

/// The host name is one of a cloud's metadata service.
pub(super) fn is_metadata_name(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    METADATA_NAMES.iter().any(|metadata| name.eq_ignore_ascii_case(metadata))
}

/// The host name means this machine (RFC 6761), whatever a name server says.
pub(super) fn is_loopback_name(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    name.rsplit('.').next().is_some_and(|last| last.eq_ignore_ascii_case("localhost"))
}

/// The IPv4 address inside, where packets to an IPv6 address end up at one.
fn meant(ip: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = ip else { return ip };
    if NAT64.contains(&v6) {
        let [.., a, b, c, d] = v6.octets();
        return Ipv4Addr::new(a, b, c, d).into();
    }
    v6.to_canonical()
}

const fn v4([a, b, c, d]: [u8; 4], prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6([first, second]: [u16; 2], prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(first, second, 0, 0, 0, 0, 0, 0), prefix)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_of_the_internet_are_public() {
        for text in ["1.1.1.1", "8.8.8.8", "100.63.255.255", "172.32.0.1", "2606:4700::1111"] {
            assert!(is_public(ip(text)), "{text}");
        }
        assert!(is_public(ip("64:ff9b::8.8.8.8")), "a public host on a NAT64 network");
        assert!(is_public(ip("::ffff:8.8.8.8")));
    }

    #[test]
    fn first_and_last_address_of_every_special_range_are_not() {
        for net in SPECIAL_V4 {
            for ip in [net.network(), net.broadcast()] {
                assert!(!is_public(ip.into()), "{ip}");
                assert!(!is_public(ip.to_ipv6_mapped().into()), "mapped {ip}");
                let [a, b, c, d] = ip.octets().map(u16::from);
                let nat64 = Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, a << 8 | b, c << 8 | d);
                assert!(!is_public(nat64.into()), "{nat64}");
            }
        }
        for net in SPECIAL_V6 {
            assert!(!is_public(net.network().into()), "{net}");
            assert!(!is_public(net.broadcast().into()), "{net}");
        }
        for text in ["::", "::1", "::7f00:1", "fc00::1", "fd00:ec2::254", "fe80::1", "ff02::1"] {
            assert!(!is_public(ip(text)), "{text}");
        }
        for text in ["64:ff9b:1::1", "100::1", "5f00::1", "::ffff:0:7f00:1"] {
            assert!(!is_public(ip(text)), "{text}");
        }
    }

    #[test]
    fn an_allowed_range_covers_its_addresses_in_every_spelling() {
        let allow = ["127.0.0.0/8".parse().unwrap(), "fd12::/16".parse().unwrap()];
        for text in ["127.0.0.1", "127.9.9.9", "::ffff:127.0.0.1", "fd12::9"] {
            assert!(is_allowed(ip(text), &allow), "{text}");
        }
        for text in ["::1", "10.0.0.1", "fd13::1"] {
            assert!(!is_allowed(ip(text), &allow), "{text}");
        }
    }

    #[test]
    fn metadata_services_are_known_by_name() {
        assert!(is_metadata_name("metadata.google.internal"));
        assert!(is_metadata_name("METADATA.google.internal."));
        assert!(!is_metadata_name("metadata.example"));
    }

    #[test]
    fn this_machine_is_known_by_name() {
        for name in ["localhost", "LocalHost.", "a.b.localhost"] {
            assert!(is_loopback_name(name), "{name}");
        }
        assert!(!is_loopback_name("localhost.example"));
    }
}
