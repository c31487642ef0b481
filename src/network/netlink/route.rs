//! Links, addresses, routes and rules (rtnetlink(7), linux/if_link.h, linux/rtnetlink.h, linux/fib_rules.h).

use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::{Batch, CREATE};

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_NEWADDR: u16 = 20;
const RTM_NEWROUTE: u16 = 24;
const RTM_NEWRULE: u16 = 32;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_GSO_IPV4_MAX_SIZE: u16 = 63;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;
const IFLA_BR_MCAST_SNOOPING: u16 = 23;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
/// No duplicate address detection: the address works at once.
const IFA_F_NODAD: u8 = 2;

const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const FRA_FWMARK: u16 = 10;
const FR_ACT_TO_TBL: u8 = 1;

const RT_TABLE_MAIN: u8 = 254;
const RTPROT_STATIC: u8 = 4;
const RT_SCOPE_UNIVERSE: u8 = 0;
const RT_SCOPE_HOST: u8 = 254;
const RTN_UNICAST: u8 = 1;
const RTN_LOCAL: u8 = 2;

/// The loopback interface's index, in every namespace.
pub const LOOPBACK: u32 = 1;

/// Bytes of TCP over IPv4 that a container sends as one packet, where the kernel can ("BIG TCP", Linux 6.3; others overlook the attribute):
/// with the usual 64 KiB the gateway took up to half as much again of the CPU. What it sends itself gained nothing by more.
const BIG_TCP: u32 = 192 << 10;

/// One end of a veth pair.
pub struct End<'a> {
    pub name: &'a str,
    pub mac: [u8; 6],
}

fn family(address: IpAddr) -> u8 {
    (if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 }) as u8
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// `struct ifinfomsg`: an index (0: by name or new) and whether the link is to be up.
fn ifinfo(index: u32, up: bool) -> [u8; 16] {
    let mut fixed = [0; 16];
    fixed[4..8].copy_from_slice(&index.to_ne_bytes());
    if up {
        fixed[8] = libc::IFF_UP as u8;
        fixed[12] = libc::IFF_UP as u8;
    }
    fixed
}

impl Batch {
    /// A veth pair, both ends down (neither can be up before there is the other): one here, its peer in the network namespace behind `there` (veth(4)).
    pub fn veth(&mut self, here: End, peer: End, there: BorrowedFd, mtu: u32) -> &mut Batch {
        self.request("create a veth pair", RTM_NEWLINK, CREATE, &ifinfo(0, false), |a| {
            a.string(IFLA_IFNAME, here.name);
            a.bytes(IFLA_ADDRESS, &here.mac);
            a.number(IFLA_MTU, mtu);
            a.nest(IFLA_LINKINFO, &[], |a| {
                a.string(IFLA_INFO_KIND, "veth");
                a.nest(IFLA_INFO_DATA, &[], |a| {
                    a.nest(VETH_INFO_PEER, &ifinfo(0, false), |a| {
                        a.string(IFLA_IFNAME, peer.name);
                        a.bytes(IFLA_ADDRESS, &peer.mac);
                        a.number(IFLA_MTU, mtu);
                        a.number(IFLA_GSO_IPV4_MAX_SIZE, BIG_TCP);
                        a.number(IFLA_NET_NS_FD, there.as_raw_fd() as u32);
                    });
                });
            });
        })
    }

    /// A bridge, which sends what is for a group to everybody: nobody there tells it who is in one.
    pub fn bridge(&mut self, bridge: &End, mtu: u32) -> &mut Batch {
        self.request("create a bridge", RTM_NEWLINK, CREATE, &ifinfo(0, false), |a| {
            a.string(IFLA_IFNAME, bridge.name);
            a.bytes(IFLA_ADDRESS, &bridge.mac);
            a.number(IFLA_MTU, mtu);
            a.nest(IFLA_LINKINFO, &[], |a| {
                a.string(IFLA_INFO_KIND, "bridge");
                a.nest(IFLA_INFO_DATA, &[], |a| a.bytes(IFLA_BR_MCAST_SNOOPING, &[0]));
            });
        })
    }

    /// Makes a link a port of a bridge.
    pub fn enslave(&mut self, index: u32, bridge: u32) -> &mut Batch {
        let fixed = ifinfo(index, false);
        self.request("join a bridge", RTM_NEWLINK, 0, &fixed, |a| a.number(IFLA_MASTER, bridge))
    }

    /// Deletes a link, and its peer.
    pub fn delete(&mut self, index: u32) -> &mut Batch {
        self.request("delete a link", RTM_DELLINK, 0, &ifinfo(index, false), |_| ())
    }

    /// Brings a link up.
    pub fn up(&mut self, index: u32) -> &mut Batch {
        self.request("bring a link up", RTM_NEWLINK, 0, &ifinfo(index, true), |_| ())
    }

    /// Gives a link an address.
    pub fn address(&mut self, index: u32, address: IpAddr, prefix: u8) -> &mut Batch {
        let flags = if address.is_ipv6() { IFA_F_NODAD } else { 0 };
        let mut fixed = [family(address), prefix, flags, RT_SCOPE_UNIVERSE, 0, 0, 0, 0];
        fixed[4..].copy_from_slice(&index.to_ne_bytes());
        self.request("add an address", RTM_NEWADDR, CREATE, &fixed, |a| {
            a.bytes(IFA_LOCAL, &octets(address));
            a.bytes(IFA_ADDRESS, &octets(address));
        })
    }

    /// Everything by way of `gateway`.
    pub fn default_route(&mut self, gateway: IpAddr) -> &mut Batch {
        let fixed = [family(gateway), 0, 0, 0, RT_TABLE_MAIN, RTPROT_STATIC, RT_SCOPE_UNIVERSE, RTN_UNICAST, 0, 0, 0, 0];
        self.request("add the default route", RTM_NEWROUTE, CREATE, &fixed, |a| a.bytes(RTA_GATEWAY, &octets(gateway)))
    }

    /// One address by way of `gateway`.
    pub fn route(&mut self, to: IpAddr, gateway: IpAddr) -> &mut Batch {
        let (address, gateway_address) = (octets(to), octets(gateway));
        let length = 8 * address.len() as u8;
        let fixed = [family(to), length, 0, 0, RT_TABLE_MAIN, RTPROT_STATIC, RT_SCOPE_UNIVERSE, RTN_UNICAST, 0, 0, 0, 0];
        self.request("add a route", RTM_NEWROUTE, CREATE, &fixed, |a| {
            a.bytes(RTA_DST, &address);
            a.bytes(RTA_GATEWAY, &gateway_address);
        })
    }

    /// In `table`, every address of the family of `like` is one of this host's own: what TPROXY needs.
    pub fn everything_is_local(&mut self, like: IpAddr, table: u8) -> &mut Batch {
        let fixed = [family(like), 0, 0, 0, table, RTPROT_STATIC, RT_SCOPE_HOST, RTN_LOCAL, 0, 0, 0, 0];
        self.request("add a local route", RTM_NEWROUTE, CREATE, &fixed, |a| {
            // Explicitly ::/0 and 0.0.0.0/0: the length is 0, so the address is not looked at.
            a.bytes(RTA_DST, &vec![0; octets(like).len()]);
            a.number(RTA_OIF, LOOPBACK);
        })
    }

    /// Packets with `mark` are routed by `table`.
    pub fn rule(&mut self, like: IpAddr, mark: u32, table: u8) -> &mut Batch {
        let fixed = [family(like), 0, 0, 0, table, 0, 0, FR_ACT_TO_TBL, 0, 0, 0, 0];
        self.request("add a routing rule", RTM_NEWRULE, CREATE, &fixed, |a| a.number(FRA_FWMARK, mark))
    }
}
