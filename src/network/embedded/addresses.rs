//! The addresses between a container and its gateway, and what each destination a container names means on the host. Pure.
//!
//! ```text
//! 10.0.2.1    fd72:6c::1     the gateway: DNS on port 53, nothing else
//! 10.0.2.2    fd72:6c::2     the host's loopback, where it was opened
//! 10.0.2.100  fd72:6c::64    the container
//! ```
//!
//! Nobody else is on that network, so every container has the same. On a user-defined network the gateway's address is what that network's
//! definition says, and stands for the host's loopback as well.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use super::packet::Mac;
use crate::network::subnet::Subnet;

/// The addresses of one family.
#[derive(Debug, Clone, Copy)]
pub struct Network {
    pub gateway: IpAddr,
    /// Stands for the host's loopback.
    pub host: IpAddr,
    pub prefix: u8,
}

impl Network {
    fn subnet(&self) -> Subnet {
        Subnet::around(self.gateway, self.prefix)
    }
}

/// The addresses of both.
#[derive(Debug, Clone, Copy)]
pub struct Networks {
    pub v4: Network,
    /// None: the network has none, or the kernel.
    pub v6: Option<Network>,
}

impl Networks {
    /// Those of a network that is one container's.
    pub fn of_one() -> Networks {
        Networks { v4: V4, v6: Path::new("/proc/sys/net/ipv6").exists().then_some(V6) }
    }

    /// The network of this address's family.
    pub fn of(&self, address: IpAddr) -> &Network {
        self.v6.as_ref().filter(|_| address.is_ipv6()).unwrap_or(&self.v4)
    }

    /// IPv4's, then IPv6's.
    pub fn all(&self) -> impl Iterator<Item = &Network> {
        std::iter::once(&self.v4).chain(&self.v6)
    }
}

/// Where a container is, for those who come in by a published port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inner {
    pub v4: IpAddr,
    pub v6: Option<IpAddr>,
}

impl Inner {
    /// Where a client of this family finds it; without IPv6 there, by IPv4.
    pub fn like(&self, client: IpAddr) -> IpAddr {
        self.v6.filter(|_| client.is_ipv6()).unwrap_or(self.v4)
    }
}

/// The container of a network that is its own.
pub const CONTAINER: Inner = Inner {
    v4: IpAddr::V4(Ipv4Addr::new(10, 0, 2, 100)),
    v6: Some(IpAddr::V6(Ipv6Addr::new(0xfd72, 0x6c, 0, 0, 0, 0, 0, 0x64))),
};

pub const V4: Network =
    Network { gateway: IpAddr::V4(Ipv4Addr::new(10, 0, 2, 1)), host: IpAddr::V4(Ipv4Addr::new(10, 0, 2, 2)), prefix: 24 };

pub const V6: Network = Network {
    gateway: IpAddr::V6(Ipv6Addr::new(0xfd72, 0x6c, 0, 0, 0, 0, 0, 1)),
    host: IpAddr::V6(Ipv6Addr::new(0xfd72, 0x6c, 0, 0, 0, 0, 0, 2)),
    prefix: 64,
};

/// Of the gateway on every network, and of a container that is alone with it.
pub const GATEWAY_MAC: Mac = [0x02, 0x72, 0x6c, 0, 0, 0x01];
pub const CONTAINER_MAC: Mac = [0x02, 0x72, 0x6c, 0, 0, 0x64];

pub const DNS_PORT: u16 = 53;

/// What the host calls itself, in the family of `like`.
pub fn loopback(like: IpAddr) -> IpAddr {
    if like.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() }
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
pub fn destination(wanted: SocketAddr, networks: &Networks, host_loopback: bool) -> Destination {
    let network = networks.of(wanted.ip());
    if wanted.ip() == network.gateway && wanted.port() == DNS_PORT {
        return Destination::Dns;
    }
    if wanted.ip() == network.host {
        let open = Destination::Outside(SocketAddr::new(loopback(wanted.ip()), wanted.port()));
        return if host_loopback { open } else { Destination::Refused };
    }
    if network.subnet().contains(wanted.ip()) {
        // Whoever is there is reached without us.
        let one = wanted.ip().is_ipv6() || network.subnet().is_host(wanted.ip());
        return if one { Destination::Refused } else { Destination::Ignored };
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
        destination(wanted.parse().unwrap(), &Networks { v4: V4, v6: Some(V6) }, open)
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
        assert_eq!(decide("10.0.2.7:80", true), Destination::Refused);
        assert_eq!(decide("10.0.2.255:67", true), Destination::Ignored);
    }

    #[test]
    fn on_a_network_of_several_the_gateway_is_the_host() {
        let gateway: IpAddr = "10.89.0.1".parse().unwrap();
        let networks = Networks { v4: Network { gateway, host: gateway, prefix: 24 }, v6: None };
        let decide = |wanted: &str, open| destination(wanted.parse().unwrap(), &networks, open);
        assert_eq!(decide("10.89.0.1:53", false), Destination::Dns);
        assert_eq!(decide("10.89.0.1:80", false), Destination::Refused);
        assert_eq!(decide("10.89.0.1:80", true), Destination::Outside("127.0.0.1:80".parse().unwrap()));
        assert_eq!(decide("10.89.0.9:80", true), Destination::Refused);
        assert_eq!(decide("10.89.1.9:80", false), Destination::Outside("10.89.1.9:80".parse().unwrap()));
    }
}
