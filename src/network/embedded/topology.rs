//! Makes the gateway's network namespace G and joins it to the container's C: a veth pair, addresses, routes, and the rules by which every
//! packet of the container's comes to our sockets.
//!
//! Runs in the thread that is to stay in G. What does not need C is done before C is there. Every socket made here goes on to work
//! in the namespace it was made in, whichever thread uses it.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use anyhow::{Context, Result};

use super::addresses::{CONTAINER, CONTAINER_MAC, DNS_PORT, GATEWAY_MAC, Network, Networks};
use super::packet::{self, Mac, Verdict};
use crate::error::Advise;
use crate::network::Method;
use crate::network::netlink::nft::{Expression, Header, Reject, Transaction};
use crate::network::netlink::route::{End, LOOPBACK};
use crate::network::netlink::{Batch, Netlink, Subsystem};
use crate::sys::inet::{self, Transport};
use crate::sys::packet as packet_socket;
use crate::sys::{net, process};

/// Where captured connections and datagrams arrive in G.
const PORT: u16 = 1;
const MARK: u32 = 1;
const TABLE: u8 = 100;
/// Nothing of this leaves the machine as such: the host's own sockets make segments of the size its networks take.
const MTU: u32 = 65520;
/// The interface's name in G and in C.
const GATEWAY_LINK: &str = "gw0";
const CONTAINER_LINK: &str = "eth0";
/// The bridge of a user-defined network in its G, and a link of ours into it.
pub const BRIDGE: &str = "br0";
const INJECTING_LINK: &str = "in0";
const INJECTING_MAC: Mac = [0x02, 0x72, 0x6c, 0, 0, 0x02];
const INJECTED_LINK: &str = "in1";
const INJECTED_MAC: Mac = [0x02, 0x72, 0x6c, 0, 0, 0x03];
/// Those of this thread's network namespace.
const SYSCTLS: &str = "/proc/sys/net";
/// Asked of the kernel for bursts of SYNs; it gives what net.core.rmem_max allows.
const SYN_BUFFER: i32 = 4 << 20;

/// What works in G and C from now on. Of each pair the first is for IPv4, and the second is missing where the kernel has no IPv6.
pub struct Inside {
    pub method: Method,
    /// What takes all connections; with AnyIP nothing does.
    pub listeners: Vec<OwnedFd>,
    /// Where datagrams come to: with AnyIP one socket, for the frames they are in.
    pub datagrams: Vec<OwnedFd>,
    /// Bound to the gateway's own address: answers to questions come from here.
    pub dns: Vec<OwnedFd>,
    /// SYNs and echo requests of the container's; sent to, a frame goes to the container.
    pub captured: OwnedFd,
    /// Sent to, a frame comes from the container.
    pub injected: OwnedFd,
    /// G, where others make links to it.
    pub namespace: Option<OwnedFd>,
}

/// G, before there is a container beside it.
pub struct Begun {
    namespace: OwnedFd,
    route: Netlink,
    networks: Networks,
    secret: [u8; 4],
    method: Method,
    listeners: Vec<OwnedFd>,
    datagrams: Vec<OwnedFd>,
}

/// Makes G: this thread is in it from now on. `method` None: the first that works.
pub fn begin(secret: [u8; 4], networks: Networks, method: Option<Method>) -> Result<Begun> {
    process::unshare(process::ns::NET).context("cannot create the gateway's network namespace")?;
    let namespace = fs::File::open("/proc/thread-self/ns/net").context("cannot open the gateway's network namespace")?;
    sysctl("ipv4/ip_unprivileged_port_start", "0").context("cannot open G's ports")?;
    do_not_pace();
    let route = Netlink::open(Subsystem::Route)?;
    let mut batch = Batch::default();
    batch.up(LOOPBACK);
    for network in networks.all() {
        batch.everything_is_local(network.gateway, TABLE).rule(network.gateway, MARK, TABLE);
    }
    route.commit(batch).context("cannot set up the gateway's routes")?;
    let method = capture(secret, method)?;
    let sockets = |transport| match method {
        Method::Tproxy => networks.all().map(|network| capturing(transport, network)).collect::<Result<Vec<_>>>(),
        Method::AnyIp => Ok(Vec::new()),
    };
    let (listeners, datagrams) = (sockets(Transport::Tcp)?, sockets(Transport::Udp)?);
    Ok(Begun { namespace: namespace.into(), route, networks, secret, method, listeners, datagrams })
}

/// Sets up the rules of this method, or of the first that the kernel has.
fn capture(secret: [u8; 4], method: Option<Method>) -> Result<Method> {
    let nftables = Netlink::open(Subsystem::Netfilter)?;
    let set_up = |method| nftables.commit(rules(secret, method)).map(|()| method);
    let done = match method {
        Some(method) => set_up(method),
        None => set_up(Method::Tproxy).or_else(|_| set_up(Method::AnyIp)),
    };
    done.context("cannot set up the gateway's nftables rules")
}

/// The value of a sysctl of this thread's network namespace.
pub fn sysctl(name: &str, value: &str) -> std::io::Result<()> {
    fs::write(Path::new(SYSCTLS).join(name), value)
}

/// A SYN waits in the helper and comes back under a verdict's address; everything else that belongs to a connection or a flow goes to
/// its socket, and what is new to the listening one. G forwards nothing. With AnyIP no datagram goes to any socket: nobody can be bound to
/// the address of one that is still to come, so all of them are read as frames, which is before they are dropped here.
fn rules(secret: [u8; 4], method: Method) -> Batch {
    const TCP: u8 = 6;
    const UDP: u8 = 17;
    const CHAIN: &str = "capture";
    let from = |verdict: Verdict| Expression::Bytes { header: Header::Link, offset: 6, value: verdict.mac(secret).to_vec() };
    let flags = |mask, value| Expression::Masked { header: Header::Transport, offset: 13, mask, value };
    let syn = flags(0x17, 0x02);
    let capture = |first: &[Expression]| {
        let to_socket = (method == Method::Tproxy).then_some(Expression::Tproxy(PORT));
        let rest: Vec<Expression> =
            [Expression::SetMark(MARK)].into_iter().chain(to_socket).chain([Expression::Accept]).collect();
        [first, &rest].concat()
    };
    let mut nft = Transaction::new("rl");
    nft.prerouting(CHAIN);
    // Nearly all there is has no SYN, and is through with one rule.
    nft.rule("capture the bytes of TCP", CHAIN, &capture(&[Expression::Protocol(TCP), flags(0x02, 0)]));
    nft.rule("let a SYN go on", CHAIN, &capture(&[Expression::Protocol(TCP), syn.clone(), from(Verdict::GoOn)]));
    for (verdict, reject) in [
        (Verdict::Reset, Reject::TcpReset),
        (Verdict::NoRoute, Reject::NoRoute),
        (Verdict::HostUnreachable, Reject::HostUnreachable),
        (Verdict::Prohibited, Reject::AdminProhibited),
    ] {
        nft.rule("refuse a SYN", CHAIN, &[Expression::Protocol(TCP), syn.clone(), from(verdict), Expression::Reject(reject)]);
    }
    nft.rule("hold a SYN", CHAIN, &[Expression::Protocol(TCP), syn, Expression::Drop]);
    nft.rule("capture TCP", CHAIN, &capture(&[Expression::Protocol(TCP)]));
    let refuse = [Expression::Protocol(UDP), from(Verdict::PortUnreachable), Expression::Reject(Reject::PortUnreachable)];
    nft.rule("refuse a datagram", CHAIN, &refuse);
    match method {
        Method::Tproxy => nft.rule("capture UDP", CHAIN, &capture(&[Expression::Protocol(UDP)])),
        Method::AnyIp => nft.rule("keep UDP from the sockets", CHAIN, &[Expression::Protocol(UDP), Expression::Drop]),
    }
    nft.finish()
}

/// The socket that what is captured comes to.
fn capturing(transport: Transport, network: &Network) -> Result<OwnedFd> {
    let wildcard: IpAddr = if network.gateway.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let make = || {
        let socket = inet::socket(transport, wildcard)?;
        inet::set_transparent(&socket, wildcard)?;
        match transport {
            Transport::Udp => inet::set_original_destination(&socket, wildcard)?,
            _ => inet::set_relayed(&socket)?,
        }
        inet::set_reuse_address(&socket)?;
        inet::bind(&socket, SocketAddr::new(wildcard, PORT))?;
        if transport == Transport::Tcp {
            inet::listen(&socket)?;
        }
        Ok(socket)
    };
    make().map_err(|error: std::io::Error| anyhow::Error::new(error).context("cannot listen in the gateway"))
}

/// Of connections in this thread's network namespace. Where a container's bytes go, there is no way that could be congested: the gateway's
/// own sockets on the host's side have those. A host that is set up for BBR would have them paced all the same, by timers, which took as
/// much of the gateway's CPU as all the rest.
fn do_not_pace() {
    const CONTROL: &str = "ipv4/tcp_congestion_control";
    if fs::read_to_string(Path::new(SYSCTLS).join(CONTROL)).is_ok_and(|control| control.starts_with("bbr")) {
        let _ = sysctl(CONTROL, "reno");
    }
}

/// In a container's network namespace: it may open any of its ports, as under Docker, ping where it has the groups for it, and sends unpaced.
pub fn open_ports() -> Result<()> {
    do_not_pace();
    sysctl("ipv4/ip_unprivileged_port_start", "0").context("cannot open the container's ports")?;
    let _ = sysctl("ipv4/ping_group_range", "0 65535").or_else(|_| sysctl("ipv4/ping_group_range", "0 0"));
    Ok(())
}

impl Begun {
    /// Joins G to the container's namespace, which has `lo` at most. This thread is in G again afterwards.
    pub fn connect(mut self, container: OwnedFd) -> Result<Inside> {
        let mut batch = Batch::default();
        let here = End { name: GATEWAY_LINK, mac: GATEWAY_MAC };
        let there = End { name: CONTAINER_LINK, mac: CONTAINER_MAC };
        batch.veth(here, there, container.as_fd(), MTU);
        self.route.commit(batch)?;
        let link = net::interface_index(GATEWAY_LINK)?;
        let mut batch = Batch::default();
        batch.up(link);
        for network in self.networks.all() {
            batch.address(link, network.gateway, network.prefix).address(link, network.host, network.prefix);
        }
        self.route.commit(batch).context("cannot set up the gateway's addresses")?;
        let (captured, dns) = (self.captured(GATEWAY_LINK)?, self.answering()?);
        let datagrams = self.datagrams(GATEWAY_LINK)?;
        process::setns(container.as_fd(), process::ns::NET).context("cannot enter the container's network namespace")?;
        let injected = self.set_up_container();
        process::setns(self.namespace.as_fd(), process::ns::NET).context("cannot return to the gateway's network namespace")?;
        let (method, listeners) = (self.method, self.listeners);
        Ok(Inside { method, listeners, datagrams, dns, captured, injected: injected?, namespace: None })
    }

    /// Makes a bridge for links that others will make, and a link of its own to inject frames by. This thread stays in G.
    pub fn bridge(mut self, mtu: u32) -> Result<Inside> {
        for table in ["ip", "ip6", "arp"] {
            // Else what goes from one container to another would come by our rules; there only where the kernel has the module.
            let _ = sysctl(&format!("bridge/bridge-nf-call-{table}tables"), "0");
        }
        let _ = sysctl("ipv6/conf/default/accept_dad", "0");
        let mut batch = Batch::default();
        batch.bridge(&End { name: BRIDGE, mac: GATEWAY_MAC }, mtu);
        let here = End { name: INJECTING_LINK, mac: INJECTING_MAC };
        batch.veth(here, End { name: INJECTED_LINK, mac: INJECTED_MAC }, self.namespace.as_fd(), mtu);
        let made = self.route.commit(batch);
        made.hint(|| "sudo modprobe bridge, where the kernel has it as a module")?;
        let bridge = net::interface_index(BRIDGE)?;
        let (injecting, injected) = (net::interface_index(INJECTING_LINK)?, net::interface_index(INJECTED_LINK)?);
        // No addresses there, and so no packets of its own.
        let _ = sysctl(&format!("ipv6/conf/{INJECTING_LINK}/disable_ipv6"), "1");
        let mut batch = Batch::default();
        batch.up(bridge).enslave(injected, bridge).up(injected).up(injecting);
        for network in self.networks.all() {
            batch.address(bridge, network.gateway, network.prefix);
        }
        self.route.commit(batch).context("cannot set up the network's addresses")?;
        let (captured, dns) = (self.captured(BRIDGE)?, self.answering()?);
        let datagrams = self.datagrams(BRIDGE)?;
        let injected = packet_socket::open(INJECTING_LINK, &[]).context("cannot send on the network")?;
        let (method, listeners, namespace) = (self.method, self.listeners, Some(self.namespace));
        Ok(Inside { method, listeners, datagrams, dns, captured, injected, namespace })
    }

    fn captured(&self, link: &str) -> Result<OwnedFd> {
        let captured = packet_socket::open(link, &packet::filter(self.secret)).context("cannot watch the link")?;
        let _ = inet::set_receive_buffer(&captured, SYN_BUFFER);
        Ok(captured)
    }

    /// The sockets that datagrams come to.
    fn datagrams(&mut self, link: &str) -> Result<Vec<OwnedFd>> {
        if self.method == Method::Tproxy {
            return Ok(std::mem::take(&mut self.datagrams));
        }
        let frames =
            packet_socket::open(link, &packet::datagram_filter(self.secret, GATEWAY_MAC)).context("cannot watch the link")?;
        packet_socket::set_whole(&frames).context("cannot have whole datagrams")?;
        let _ = inet::set_receive_buffer(&frames, SYN_BUFFER);
        Ok(vec![frames])
    }

    fn answering(&self) -> Result<Vec<OwnedFd>> {
        let socket = |network: &Network| {
            let socket = inet::socket(Transport::Udp, network.gateway)?;
            // Also for the address of a gateway that a container has left.
            inet::set_transparent(&socket, network.gateway)?;
            inet::bind(&socket, SocketAddr::new(network.gateway, DNS_PORT)).map(|()| socket)
        };
        self.networks.all().map(socket).collect::<std::io::Result<_>>().context("cannot answer DNS")
    }

    /// In C: addresses, routes, and what an ordinary container expects to be allowed.
    fn set_up_container(&self) -> Result<OwnedFd> {
        let link = net::interface_index(CONTAINER_LINK)?;
        let mut batch = Batch::default();
        batch.up(link);
        for network in self.networks.all() {
            batch.address(link, CONTAINER.like(network.gateway), network.prefix).default_route(network.gateway);
        }
        Netlink::open(Subsystem::Route)?.commit(batch).context("cannot set up the container's addresses")?;
        open_ports()?;
        packet_socket::open(CONTAINER_LINK, &[]).context("cannot send on the container's link")
    }
}
