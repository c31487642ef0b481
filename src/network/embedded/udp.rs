//! UDP: one flow per client and destination, two sockets each. The first datagram of a flow comes to the capturing socket; those after it
//! land on the flow's own, which is bound to the foreign address and connected to the client. With AnyIP all of them come to the capturing
//! socket, in frames, and the flow's own is for the answers alone.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::sys::epoll::EpollFlags;

use super::addresses::{Destination, GATEWAY_MAC};
use super::engine::{Due, Engine, Service, Source};
use super::packet::{self, Verdict};
use super::relay::Side;
use super::slab::Key;
use crate::network::Method;
use crate::network::ports::Protocol;
use crate::sys::inet::{self, Datagram, Transport};
use crate::sys::packet::{self as packet_socket, Frame};

/// How long a flow is kept that has only been spoken into, and one that was answered (nf_conntrack-sysctl.rst has 30 and 120).
const UNANSWERED: Duration = Duration::from_secs(30);
const ANSWERED: Duration = Duration::from_secs(120);
/// Datagrams of one flow in a row, before the others have their turn.
const TURN: usize = 64;
/// Flows at once, below what descriptors allow.
const MOST: usize = 8192;

/// See the module.
pub struct Flow {
    /// In G.
    container: OwnedFd,
    host: Host,
    client: SocketAddr,
    /// What the client named.
    destination: SocketAddr,
    active: Instant,
    answered: bool,
}

impl Flow {
    /// Of a published port's: the container, and the client as the container knows it.
    fn inner(&self) -> Option<(SocketAddr, SocketAddr)> {
        match self.host {
            Host::Own(_) => None,
            Host::Published { .. } => {
                Some((inet::peer_address(&self.container).ok()?, inet::local_address(&self.container).ok()?))
            }
        }
    }

    /// Whether a container at one of these addresses is on its inner side.
    pub fn is_of(&self, addresses: &[IpAddr]) -> bool {
        match self.host {
            Host::Own(_) => addresses.contains(&self.client.ip()),
            Host::Published { .. } => inet::peer_address(&self.container).is_ok_and(|peer| addresses.contains(&peer.ip())),
        }
    }
}

/// The side of a flow that faces the host.
enum Host {
    /// A socket of its own, connected.
    Own(OwnedFd),
    /// A published port's: the client is told apart by its address.
    Published { index: usize, local: IpAddr },
}

impl Engine {
    /// Datagrams that belong to no flow yet, or questions; with AnyIP all.
    pub(super) fn datagrams(&mut self, index: usize) {
        for _ in 0..TURN {
            let Some(socket) = self.inside.datagrams.get(index) else { return };
            match self.inside.method {
                Method::Tproxy => match inet::receive_from(socket, &mut self.buffer) {
                    Ok(Datagram { length, from, to: Some(to) }) => self.datagram(from, to, 0..length),
                    _ => return,
                },
                Method::AnyIp => match packet_socket::receive(socket, &mut self.buffer) {
                    Ok(frame) => self.frame(&frame),
                    // One that the kernel cannot describe is lost.
                    Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
                    Err(_) => return,
                },
            }
        }
    }

    /// A frame with a datagram, or with several that were left to the interface to part.
    fn frame(&mut self, frame: &Frame) {
        let Some((from, to, payload)) = packet::datagram_in(&self.buffer[frame.bytes.clone()]) else { return };
        let (mut begin, end) = (frame.bytes.start + payload.start, frame.bytes.start + payload.end);
        loop {
            let next = frame.segment.map_or(end, |length| end.min(begin + usize::from(length)));
            match self.published_flow_of.get(&(from, to)).copied() {
                Some(key) => self.outwards(key, begin..next),
                None => self.datagram(from, to, begin..next),
            }
            begin = next;
            if begin == end {
                return;
            }
        }
    }

    /// These bytes of the buffer came from a client for that address.
    fn datagram(&mut self, from: SocketAddr, to: SocketAddr, bytes: Range<usize>) {
        match self.destination(from.ip(), to) {
            Destination::Outside(_) if self.is_closed() => self.refuse(from, to),
            Destination::Dns => self.question(from, to.ip(), bytes),
            Destination::Outside(wanted) => self.outside(from, to, wanted, bytes),
            Destination::Refused => self.refuse(from, to),
            Destination::Ignored => {}
        }
    }

    /// The client hears that nobody listens there, as from the kernel of the far end.
    fn refuse(&self, client: SocketAddr, destination: SocketAddr) {
        let mac = Verdict::PortUnreachable.mac(self.secret);
        self.inject(&packet::datagram((mac, GATEWAY_MAC), client, destination));
    }

    fn outside(&mut self, client: SocketAddr, destination: SocketAddr, wanted: SocketAddr, bytes: Range<usize>) {
        let known = self.flow_of.get(&(client, destination)).copied();
        if let Some(key) = known.or_else(|| self.begin_flow(client, destination, wanted)) {
            self.outwards(key, bytes);
        }
    }

    /// Sends what a flow's container has sent. What a full queue loses is lost, as on any network.
    fn outwards(&mut self, key: Key, bytes: Range<usize>) {
        let Some(flow) = self.flows.get_mut(key) else { return };
        flow.active = Instant::now();
        let bytes = &self.buffer[bytes];
        match &flow.host {
            Host::Own(host) => drop(inet::send(host.as_fd(), bytes)),
            Host::Published { index, local } => {
                flow.answered = true;
                // The place of one that is withdrawn may be another's by now.
                let same = |there: &&Service| there.mapping.host_port == flow.destination.port();
                match self.published.get(*index).and_then(Option::as_ref).filter(same) {
                    Some(published) => drop(inet::send_from(published.socket.as_fd(), bytes, flow.client, *local)),
                    None => self.end_flow(key),
                }
            }
        }
    }

    fn begin_flow(&mut self, client: SocketAddr, destination: SocketAddr, wanted: SocketAddr) -> Option<Key> {
        if !self.admits(client.ip(), "udp", destination.ip(), Some(destination.port())) {
            self.refuse(client, destination);
            return None;
        }
        self.make_room();
        let sockets = || -> std::io::Result<(OwnedFd, OwnedFd)> {
            let host = inet::socket(Transport::Udp, wanted.ip())?;
            inet::connect(&host, wanted)?;
            let container = self.stock.take(Transport::Udp, client.ip())?;
            inet::bind(&container, destination)?;
            inet::connect(&container, client)?;
            Ok((container, host))
        };
        match sockets() {
            Ok((container, host)) => self.add_flow(Flow {
                container,
                host: Host::Own(host),
                client,
                destination,
                active: Instant::now(),
                answered: false,
            }),
            Err(error) => {
                if matches!(error.raw_os_error(), Some(libc::ENETUNREACH | libc::EHOSTUNREACH | libc::ECONNREFUSED)) {
                    self.refuse(client, destination);
                }
                None
            }
        }
    }

    fn make_room(&mut self) {
        if self.flows.len() >= MOST || !self.has_room(8) {
            self.evict_flow();
        }
    }

    fn add_flow(&mut self, flow: Flow) -> Option<Key> {
        let id = (flow.client, flow.destination);
        let key = self.flows.insert(flow);
        let flow = self.flows.get(key)?;
        let mut registered = self.register(flow.container.as_fd(), EpollFlags::EPOLLIN, Source::Flow(key, Side::Container));
        if let Host::Own(host) = &flow.host {
            registered = registered.and(self.register(host.as_fd(), EpollFlags::EPOLLIN, Source::Flow(key, Side::Host)));
        }
        if registered.is_err() {
            self.flows.remove(key);
            return None;
        }
        // By frames alone a flow has to be found for what comes from the container.
        if self.inside.method == Method::AnyIp
            && let Some(inner) = flow.inner()
        {
            self.published_flow_of.insert(inner, key);
        }
        self.flow_of.insert(id, key);
        self.later(UNANSWERED, Due::Flow(key));
        Some(key)
    }

    /// Datagrams of a flow, from one of its sides to the other.
    pub(super) fn flow(&mut self, key: Key, side: Side) {
        for _ in 0..TURN {
            let Some(flow) = self.flows.get_mut(key) else { return };
            flow.active = Instant::now();
            let from = match (side, &flow.host) {
                (Side::Container, _) => &flow.container,
                (Side::Host, Host::Own(host)) => host,
                (Side::Host, Host::Published { .. }) => return,
            };
            let length = match inet::receive(from, &mut self.buffer, 0) {
                Ok(length) => length,
                // The far end's port is closed: so is, for the container, the one it named.
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused && side == Side::Host => {
                    let (client, destination) = (flow.client, flow.destination);
                    return self.refuse(client, destination);
                }
                Err(_) => return,
            };
            match side {
                Side::Container => self.outwards(key, 0..length),
                Side::Host => {
                    flow.answered = true;
                    let _ = inet::send(flow.container.as_fd(), &self.buffer[..length]);
                }
            }
        }
    }

    /// A flow's deadline: its end, unless it was used meanwhile.
    pub(super) fn flow_due(&mut self, key: Key, now: Instant) {
        let Some(flow) = self.flows.get(key) else { return };
        let end = flow.active + if flow.answered { ANSWERED } else { UNANSWERED };
        match end.checked_duration_since(now).filter(|left| !left.is_zero()) {
            Some(left) => self.later(left, Due::Flow(key)),
            None => self.end_flow(key),
        }
    }

    pub(super) fn end_flow(&mut self, key: Key) {
        if let Some(flow) = self.flows.remove(key) {
            self.flow_of.remove(&(flow.client, flow.destination));
            if self.inside.method == Method::AnyIp {
                flow.inner().and_then(|inner| self.published_flow_of.remove(&inner));
            }
        }
    }

    /// Something came to a published port.
    pub(super) fn published(&mut self, index: usize) {
        match self.published.get(index).and_then(Option::as_ref).map(|published| published.mapping.protocol) {
            Some(Protocol::Tcp) => self.accept_clients(index),
            Some(Protocol::Udp) => self.clients_datagrams(index),
            None => {}
        }
    }

    fn clients_datagrams(&mut self, index: usize) {
        for _ in 0..TURN {
            let Some(Some(published)) = self.published.get(index) else { return };
            let mapping = &published.mapping;
            let Ok(Datagram { length, from, to }) = inet::receive_from(&published.socket, &mut self.buffer) else { return };
            let Some(local) = to.map(|to| to.ip()).or(mapping.host_ip) else { continue };
            let id = (from, SocketAddr::new(local, mapping.host_port));
            let container = SocketAddr::new(published.container.like(from.ip()), mapping.container_port);
            let key = self.flow_of.get(&id).copied().or_else(|| {
                self.make_room();
                let socket = self.bound_as(from, container, Transport::Udp).ok()?;
                let host = Host::Published { index, local };
                let (client, destination) = id;
                self.add_flow(Flow { container: socket, host, client, destination, active: Instant::now(), answered: false })
            });
            let Some(flow) = key.and_then(|key| self.flows.get_mut(key)) else { continue };
            flow.active = Instant::now();
            let _ = inet::send(flow.container.as_fd(), &self.buffer[..length]);
        }
    }
}
