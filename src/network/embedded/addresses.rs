//! The addresses between a container and its gateway, and what each destination a container names means on the host. Pure.
//!
//! ```text
//! 10.0.2.1    fd72:6c::1     the gateway: DNS on port 53, nothing else
//! 10.0.2.2    fd72:6c::2     the host's loopback, where it was opened
//! 10.0.2.100  fd72:6c::64    the container
//! ```
//!
//! Nobody else is on that network, so every container has the same.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::packet::Mac;

/// The addresses of one family.
#[derive(Debug, Clone, Copy)]
pub struct Network {
    pub gateway: IpAddr,
    /// Stands for the host's loopback.
    pub host: IpAddr,
    pub container: IpAddr,
    pub prefix: u8,
    /// What the host calls itself.
    pub loopback: IpAddr,
}

pub const V4: Network = Network {
    gateway: IpAddr::V4(Ipv4Addr::new(10, 0, 2, 1)),
    host: IpAddr::V4(Ipv4Addr::new(10, 0, 2, 2)),
    container: IpAddr::V4(Ipv4Addr::new(10, 0, 2, 100)),
    prefix: 24,
    loopback: IpAddr::V4(Ipv4Addr::LOCALHOST),
};

pub const V6: Network = Network {
    gateway: IpAddr::V6(Ipv6Addr::new(0xfd72, 0x6c, 0, 0, 0, 0, 0, 1)),
    host: IpAddr::V6(Ipv6Addr::new(0xfd72, 0x6c, 0, 0, 0, 0, 0, 2)),
    container: IpAddr::V6(Ipv6Addr::new(0xfd72, 0x6c, 0, 0, 0, 0, 0, 0x64)),
    prefix: 64,
    loopback: IpAddr::V6(Ipv6Addr::LOCALHOST),
};

/// Nobody else is on that link.
pub const GATEWAY_MAC: Mac = [0x02, 0x72, 0x6c, 0, 0, 0x01];
pub const CONTAINER_MAC: Mac = [0x02, 0x72, 0x6c, 0, 0, 0x64];

pub const DNS_PORT: u16 = 53;

/// The network of this address's family.
pub fn of(address: IpAddr) -> &'static Network {
    if address.is_ipv4() { &V4 } else { &V6 }
}

/// What a container's packet to an address means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// This address, from the host.
    Outside(SocketAddr),
    /// A question for one of the host's name servers.
    Dns,
    /// Nobody is there, and the container hears it at once.
    Refused,
    /// Not to be answered at all: multicast, broadcast.
    Ignored,
}

/// Decides, by address alone. `host_loopback`: whether the container may reach what listens on the host's loopback. From the host an
/// address that stands for no network (0.0.0.0) or is another spelling of an IPv4 address would lead to that loopback, too.
pub fn destination(wanted: SocketAddr, host_loopback: bool) -> Destination {
    let network = of(wanted.ip());
    if wanted.ip() == network.gateway {
        return if wanted.port() == DNS_PORT { Destination::Dns } else { Destination::Refused };
    }
    if wanted.ip() == network.host {
        let open = Destination::Outside(SocketAddr::new(network.loopback, wanted.port()));
        return if host_loopback { open } else { Destination::Refused };
    }
    let refused = match wanted.ip() {
        IpAddr::V4(v4) if v4.is_multicast() || v4.is_broadcast() => return Destination::Ignored,
        IpAddr::V6(v6) if v6.is_multicast() => return Destination::Ignored,
        IpAddr::V4(v4) => v4.is_loopback() || v4.octets()[0] == 0,
        // ::/96 and ::ffff:0:0/96 hold IPv4 addresses, ::1 and :: this host; fe80::/10 means nothing without a link.
        IpAddr::V6(v6) => matches!(v6.segments(), [0, 0, 0, 0, 0, 0 | 0xffff, _, _]) || v6.is_unicast_link_local(),
    };
    if refused || wanted.port() == 0 { Destination::Refused } else { Destination::Outside(wanted) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decide(wanted: &str, open: bool) -> Destination {
        destination(wanted.parse().unwrap(), open)
    }

    #[test]
    fn the_hosts_loopback_is_closed_whatever_it_is_called() {
        for wanted in ["127.0.0.1:80", "127.8.8.8:80", "0.0.0.0:80", "0.1.2.3:80", "[::1]:80", "[::]:80"] {
            assert_eq!(decide(wanted, false), Destination::Refused, "{wanted}");
            assert_eq!(decide(wanted, true), Destination::Refused, "{wanted}");
        }
        for wanted in ["[::ffff:127.0.0.1]:80", "[::127.0.0.1]:80", "[::ffff:192.0.2.1]:80", "[fe80::1]:80", "192.0.2.1:0"] {
            assert_eq!(decide(wanted, true), Destination::Refused, "{wanted}");
        }
    }

    #[test]
    fn it_is_opened_at_one_address() {
        assert_eq!(decide("10.0.2.2:80", false), Destination::Refused);
        assert_eq!(decide("10.0.2.2:80", true), Destination::Outside("127.0.0.1:80".parse().unwrap()));
        assert_eq!(decide("[fd72:6c::2]:80", true), Destination::Outside("[::1]:80".parse().unwrap()));
    }

    #[test]
    fn the_gateway_answers_questions_and_nothing_else() {
        assert_eq!(decide("10.0.2.1:53", false), Destination::Dns);
        assert_eq!(decide("[fd72:6c::1]:53", false), Destination::Dns);
        assert_eq!(decide("10.0.2.1:80", true), Destination::Refused);
        assert_eq!(decide("192.0.2.1:53", false), Destination::Outside("192.0.2.1:53".parse().unwrap()));
        assert_eq!(decide("255.255.255.255:67", false), Destination::Ignored);
        assert_eq!(decide("[ff02::fb]:5353", false), Destination::Ignored);
    }
}
