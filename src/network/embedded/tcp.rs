//! TCP: a container's SYN is held until the far end has said yes or no; a client of a published port is connected to the container
//! from the client's own address.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nix::sys::epoll::EpollFlags;

use super::addresses::{Destination, Inner, loopback};
use super::engine::{Due, Engine, Source};
use super::guard::Guard;
use super::packet::{self, Captured, Syn, Verdict};
use super::relay::{Progress, Relay, Side};
use super::slab::Key;
use crate::network::ports::Protocol;
use crate::sys::inet::{self, Transport};

/// How long a container may take to complete a handshake that the far end has completed.
const HANDSHAKE: Duration = Duration::from_secs(20);

/// How long what a container had sent may take that is gone, while others go on.
const LAST_WORDS: Duration = Duration::from_secs(30);

/// A connection that is being made.
pub struct Attempt {
    /// Connecting, or connected and waiting for the container.
    socket: OwnedFd,
    origin: Origin,
}

enum Origin {
    /// The container wants to get out.
    Container { syn: Box<Syn>, connected: bool },
    /// A client of a published port wants to get in.
    Client { accepted: OwnedFd, container: Inner, port: u16 },
}

/// Prepares a socket of the host's side, by which this peer is spoken to.
fn set_up(socket: &OwnedFd, peer: IpAddr) -> std::io::Result<()> {
    if peer.is_loopback() {
        let _ = inet::set_unpaced(socket);
    }
    inet::set_relayed(socket)
}

impl Engine {
    /// Frames of the container's that wait for us: SYNs and echo requests.
    pub(super) fn captured(&mut self) {
        let mut frame = [0; 2048];
        while let Ok(length) = inet::receive(&self.inside.captured, &mut frame, 0) {
            match packet::parse(&frame[..length]) {
                Some(Captured::Syn(syn)) => self.syn(syn),
                Some(Captured::Echo(echo)) => self.echo_request(&echo),
                None => {}
            }
        }
    }

    fn syn(&mut self, mut syn: Syn) {
        let key = (syn.client, syn.destination);
        if let Some(held) = self.held.get(&key) {
            // Sent again: because the far end takes its time, or because ours was lost on the way to the listener.
            if let Some(Attempt { origin: Origin::Container { syn, connected: true }, .. }) = self.attempts.get_mut(*held) {
                let _ = inet::send(self.inside.injected.as_fd(), syn.frame_from(Verdict::GoOn.mac(self.secret)));
            }
            return;
        }
        let wanted = match self.destination(syn.client.ip(), syn.destination) {
            Destination::Outside(_) if self.is_closed() => Err(Verdict::NoRoute),
            Destination::Outside(_)
                if !self.admits(syn.client.ip(), "tcp", syn.destination.ip(), Some(syn.destination.port())) =>
            {
                Err(Verdict::Reset)
            }
            Destination::Outside(wanted) => Ok(wanted),
            Destination::Dns if self.looks_at_questions() => {
                if self.has_room_for_session() && self.expect_always(syn.destination).is_ok() {
                    self.inject(syn.frame_from(Verdict::GoOn.mac(self.secret)));
                }
                return;
            }
            Destination::Dns => self.server(syn.client.ip(), 0).ok_or(Verdict::Reset),
            Destination::Refused => Err(Verdict::Reset),
            Destination::Ignored => return,
        };
        // Without room the SYN is lost, and comes again: backpressure.
        if !self.has_room(4) {
            return;
        }
        let connecting = wanted.map(|wanted| {
            let socket = inet::socket(Transport::Tcp, wanted.ip())?;
            set_up(&socket, wanted.ip())?;
            inet::connect(&socket, wanted).map(|()| socket)
        });
        let refused = match connecting {
            Ok(Ok(socket)) => {
                let held =
                    self.attempts.insert(Attempt { socket, origin: Origin::Container { syn: Box::new(syn), connected: false } });
                self.held.insert(key, held);
                return self.await_connect(held);
            }
            Ok(Err(error)) if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS)) => return,
            // No port of the host's is left for that server; for IPv6 it may mean that there is no address, either.
            Ok(Err(error)) if error.raw_os_error() == Some(libc::EADDRNOTAVAIL) && syn.destination.is_ipv4() => return,
            Ok(Err(error)) => Verdict::of(&error),
            Err(verdict) => Some(verdict),
        };
        if let Some(verdict) = refused {
            self.inject(syn.frame_from(verdict.mac(self.secret)));
        }
    }

    fn await_connect(&mut self, key: Key) {
        let events = EpollFlags::EPOLLOUT | EpollFlags::EPOLLONESHOT;
        let Some(attempt) = self.attempts.get(key) else { return };
        if self.register(attempt.socket.as_fd(), events, Source::Attempt(key)).is_err() {
            self.give_up(key);
        }
    }

    /// A connect has ended, one way or the other.
    pub(super) fn attempted(&mut self, key: Key) {
        let Some(attempt) = self.attempts.get_mut(key) else { return };
        let result = inet::take_error(&attempt.socket);
        match (&mut attempt.origin, result) {
            (Origin::Container { syn, .. }, Ok(())) => {
                let destination = syn.destination;
                self.go_on(key, destination);
            }
            (Origin::Container { syn, .. }, Err(error)) => {
                if let Some(verdict) = Verdict::of(&error) {
                    let _ = inet::send(self.inside.injected.as_fd(), syn.frame_from(verdict.mac(self.secret)));
                }
                self.give_up(key);
            }
            (Origin::Client { .. }, Ok(())) => {
                if let Some(Attempt { socket, origin: Origin::Client { accepted, .. } }) = self.attempts.remove(key) {
                    self.connect_sides(socket, accepted, true);
                }
            }
            (Origin::Client { .. }, Err(_)) => self.refuse_client(key),
        }
    }

    /// The far end of a held SYN has said yes: so does somebody here.
    fn go_on(&mut self, key: Key, destination: SocketAddr) {
        if self.expect(destination).is_err() {
            // The SYN comes again.
            return self.give_up(key);
        }
        let Some(Attempt { origin: Origin::Container { syn, connected }, .. }) = self.attempts.get_mut(key) else { return };
        *connected = true;
        let _ = inet::send(self.inside.injected.as_fd(), syn.frame_from(Verdict::GoOn.mac(self.secret)));
        self.later(HANDSHAKE, Due::Attempt(key));
    }

    /// Whether it waits only for the container to complete its handshake.
    pub(super) fn has_handshake(&self, key: Key) -> bool {
        let attempt = self.attempts.get(key);
        attempt.is_some_and(|attempt| matches!(attempt.origin, Origin::Container { connected: true, .. }))
    }

    /// Forgets a connection that did not come to be.
    pub(super) fn give_up(&mut self, key: Key) {
        let Some(attempt) = self.attempts.remove(key) else { return };
        match attempt.origin {
            Origin::Container { syn, connected } => {
                self.held.remove(&(syn.client, syn.destination));
                if connected {
                    self.expect_no_longer(syn.destination);
                }
            }
            Origin::Client { accepted, .. } => drop(inet::set_reset_on_close(&accepted)),
        }
        let _ = inet::set_reset_on_close(&attempt.socket);
    }

    /// Whether a question over TCP is read here, and not relayed.
    fn looks_at_questions(&self) -> bool {
        self.hub.is_some() || self.guard.as_ref().is_some_and(Guard::denies)
    }

    /// Connections of the container's whose handshake is complete.
    pub(super) fn accept(&mut self, listener: Key) {
        loop {
            let Some(listener) = self.listeners.get(listener) else { return };
            let (accepted, client) = match inet::accept(listener) {
                Ok(accepted) => accepted,
                Err(error) if matches!(error.raw_os_error(), Some(libc::EINTR | libc::ECONNABORTED)) => continue,
                Err(_) => return,
            };
            let wanted = inet::local_address(&accepted).ok();
            let is_question = |wanted| self.destination(client.ip(), wanted) == Destination::Dns;
            if wanted.is_some_and(is_question) && self.looks_at_questions() {
                if self.has_room_for_session() && self.draining.is_none() {
                    self.begin_session(accepted);
                }
                continue;
            }
            let held = wanted.and_then(|wanted| self.held.remove(&(client, wanted)));
            match held.and_then(|key| self.attempts.remove(key)) {
                Some(attempt) => {
                    if let Origin::Container { syn, connected: true } = attempt.origin {
                        self.expect_no_longer(syn.destination);
                    }
                    self.connect_sides(accepted, attempt.socket, false);
                }
                // Its far end has gone meanwhile.
                None => drop(inet::set_reset_on_close(&accepted)),
            }
        }
    }

    /// Clients of published ports wait in the kernel's queues, or no longer.
    pub(super) fn listen_to_clients(&mut self, listen: bool) {
        self.starved = !listen;
        let events = if listen { EpollFlags::EPOLLIN } else { EpollFlags::empty() };
        for (index, published) in self.published.iter().enumerate() {
            if let Some(published) = published.as_ref().filter(|published| published.mapping.protocol == Protocol::Tcp) {
                let _ = self.register_again(published.socket.as_fd(), events, Source::Published(index));
            }
        }
    }

    /// A connection, from now on relayed. One of the sockets was registered while it was connecting: the container's of an incoming one.
    fn connect_sides(&mut self, container: OwnedFd, host: OwnedFd, incoming: bool) {
        let key = self.relays.insert(Relay::new(container, host));
        let Some(relay) = self.relays.get(key) else { return };
        let registered = [Side::Container, Side::Host].into_iter().all(|side| {
            let (socket, source) = (relay.socket(side).as_fd(), Source::Relay(key, side));
            match (side == Side::Container) == incoming {
                true => self.register_again(socket, Relay::EVENTS, source).is_ok(),
                false => self.register(socket, Relay::EVENTS, source).is_ok(),
            }
        });
        if !registered {
            self.end_relay(key, true);
        }
    }

    /// Something happened on one side of a relay.
    pub(super) fn relay(&mut self, key: Key, side: Side, events: EpollFlags) {
        let Some(relay) = self.relays.get_mut(key) else { return };
        let broken = relay.notice(side, events);
        self.delivering();
        match broken {
            true => self.end_relay(key, true),
            false => self.advance(key),
        }
    }

    /// Gives a relay its turn.
    pub(super) fn advance(&mut self, key: Key) {
        let Some(relay) = self.relays.get_mut(key) else { return };
        match relay.advance(&mut self.pipes, &mut self.buffer, self.draining.is_some().then_some(Side::Container)) {
            Progress::Waits => {}
            Progress::HasMore if self.waiting.contains(&key) => {}
            Progress::HasMore => self.waiting.push_back(key),
            Progress::Ended => self.end_relay(key, false),
            Progress::Reset => self.end_relay(key, true),
        }
    }

    fn end_relay(&mut self, key: Key, reset: bool) {
        let Some(relay) = self.relays.remove(key) else { return };
        match reset {
            true => relay.reset(),
            false if self.draining.is_some() => relay.forget(Side::Host),
            false => {}
        }
        relay.dissolve(&mut self.pipes);
    }

    /// The container at these addresses is gone: what it has sent is still delivered, and whatever has not come to its end soon will not.
    pub(super) fn end_traffic(&mut self, addresses: &[IpAddr]) {
        let is_its = |socket: &OwnedFd| inet::peer_address(socket).is_ok_and(|peer| addresses.contains(&peer.ip()));
        let open = |relay: &Relay| !relay.has_ended(Side::Container) && is_its(relay.socket(Side::Container));
        let relays: Vec<Key> = self.relays.iter().filter(|(_, relay)| open(relay)).map(|(key, _)| key).collect();
        relays.into_iter().for_each(|key| self.later(LAST_WORDS, Due::Relay(key)));
        let flows: Vec<Key> = self.flows.iter().filter(|(_, flow)| flow.is_of(addresses)).map(|(key, _)| key).collect();
        flows.into_iter().for_each(|key| self.end_flow(key));
        let wants = |attempt: &Attempt| match &attempt.origin {
            Origin::Container { syn, .. } => addresses.contains(&syn.client.ip()),
            Origin::Client { container, .. } => addresses.contains(&container.v4),
        };
        let attempts: Vec<Key> = self.attempts.iter().filter(|(_, attempt)| wants(attempt)).map(|(key, _)| key).collect();
        attempts.into_iter().for_each(|key| self.give_up(key));
    }

    /// A container has been gone for a while that a relay was with.
    pub(super) fn relay_due(&mut self, key: Key) {
        if self.relays.get(key).is_some_and(|relay| !relay.has_ended(Side::Container)) {
            self.end_relay(key, true);
        }
    }

    /// Clients of a published TCP port.
    pub(super) fn accept_clients(&mut self, index: usize) {
        loop {
            if !self.has_room(4) {
                return self.listen_to_clients(false);
            }
            let Some(Some(published)) = self.published.get(index) else { return };
            let (accepted, client) = match inet::accept(&published.socket) {
                Ok(accepted) => accepted,
                Err(error) if matches!(error.raw_os_error(), Some(libc::EINTR | libc::ECONNABORTED)) => continue,
                Err(_) => return,
            };
            let (container, port) = (published.container, published.mapping.container_port);
            let _ = set_up(&accepted, client.ip());
            self.connect_client(accepted, client, container, port);
        }
    }

    fn connect_client(&mut self, accepted: OwnedFd, client: SocketAddr, container: Inner, port: u16) {
        let address = SocketAddr::new(container.like(client.ip()), port);
        match self.bound_as(client, address, Transport::Tcp) {
            Ok(socket) => {
                let key = self.attempts.insert(Attempt { socket, origin: Origin::Client { accepted, container, port } });
                self.await_connect(key);
            }
            Err(_) => drop(inet::set_reset_on_close(&accepted)),
        }
    }

    /// A socket in G that speaks to the container as `client`, or as the gateway where the client is on the host's loopback or its
    /// address is taken.
    pub(super) fn bound_as(&self, client: SocketAddr, container: SocketAddr, transport: Transport) -> std::io::Result<OwnedFd> {
        let network = self.networks.of(container.ip());
        let bind = |address: SocketAddr| {
            let socket = self.stock.take(transport, container.ip())?;
            inet::bind(&socket, address).and_then(|()| inet::connect(&socket, container)).map(|()| socket)
        };
        let gateway = SocketAddr::new(network.gateway, 0);
        if client.ip().is_loopback() || client.is_ipv4() != container.is_ipv4() {
            return bind(gateway);
        }
        bind(client).or_else(|_| bind(gateway))
    }

    /// What listens in the container may know IPv4 only; then a client on IPv6 comes from the gateway.
    fn refuse_client(&mut self, key: Key) {
        let is_ipv6 = self.attempts.get(key).is_some_and(|a| inet::local_address(&a.socket).is_ok_and(|a| a.is_ipv6()));
        if !is_ipv6 {
            return self.give_up(key);
        }
        let Some(Attempt { origin: Origin::Client { accepted, container, port }, .. }) = self.attempts.remove(key) else {
            return;
        };
        let address = SocketAddr::new(container.v4, port);
        match self.bound_as(SocketAddr::new(loopback(container.v4), 0), address, Transport::Tcp) {
            Ok(socket) => {
                let key = self.attempts.insert(Attempt { socket, origin: Origin::Client { accepted, container, port } });
                self.await_connect(key);
            }
            Err(_) => drop(inet::set_reset_on_close(&accepted)),
        }
    }
}
