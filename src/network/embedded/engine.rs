//! The gateway's one loop: epoll, and for each event the part that it belongs to (tcp.rs, udp.rs, dns.rs, echo.rs).
//!
//! Nothing is polled and nothing blocks; the loop sleeps until a socket, the Monitor or the next deadline wakes it.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::addresses::{CONTAINER, Inner, Networks};
use super::dns::Query;
use super::drain::Drain;
use super::echo::Echoes;
use super::guard::Guard;
use super::hub::Hub;
use super::listeners::Listeners;
use super::pipes::Pipes;
use super::relay::{Relay, Side};
use super::resolver::Resolver;
use super::sessions::Session;
use super::slab::{Key, Slab};
use super::stock::Stock;
use super::tcp::Attempt;
use super::topology::Inside;
use super::udp::Flow;
use crate::network::carrier::{self, Order};
use crate::network::ports::{PortMapping, Published};
use crate::sys::inet;

/// Events taken at once.
const EVENTS: usize = 256;
/// An event that comes within this time of the last was worth looking out for.
const SOON: Duration = Duration::from_micros(60);
/// Descriptors that must be free before clients are accepted again.
const ENOUGH: usize = 16;
/// The longest datagram in its frame, and the piece that is copied where there is no pipe.
const BUFFER: usize = (64 << 10) + 128;

/// Whom an event is for; the number goes to the kernel and comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    Monitor,
    Captured,
    Listener(Key),
    Datagrams(usize),
    Published(usize),
    Attempt(Key),
    Relay(Key, Side),
    Flow(Key, Side),
    Query(Key),
    Echo(usize),
    Session(Key, Side),
    /// Somebody wants to be a member of the network.
    Newcomer,
    Member(Key),
}

impl Source {
    fn number(self) -> u64 {
        let (kind, rest) = match self {
            Source::Monitor => (0, 0),
            Source::Captured => (1, 0),
            Source::Listener(key) => (2, key.number()),
            Source::Datagrams(index) => (3, index as u64),
            Source::Published(index) => (4, index as u64),
            Source::Attempt(key) => (5, key.number()),
            Source::Relay(key, Side::Container) => (6, key.number()),
            Source::Relay(key, Side::Host) => (7, key.number()),
            Source::Flow(key, Side::Container) => (8, key.number()),
            Source::Flow(key, Side::Host) => (9, key.number()),
            Source::Query(key) => (10, key.number()),
            Source::Echo(index) => (11, index as u64),
            Source::Session(key, Side::Container) => (12, key.number()),
            Source::Session(key, Side::Host) => (13, key.number()),
            Source::Newcomer => (14, 0),
            Source::Member(key) => (15, key.number()),
        };
        (kind << 56) | rest
    }

    fn from_number(number: u64) -> Source {
        let key = Key::from_number(number);
        let index = key.number() as usize;
        match number >> 56 {
            0 => Source::Monitor,
            1 => Source::Captured,
            2 => Source::Listener(key),
            3 => Source::Datagrams(index),
            4 => Source::Published(index),
            5 => Source::Attempt(key),
            6 => Source::Relay(key, Side::Container),
            7 => Source::Relay(key, Side::Host),
            8 => Source::Flow(key, Side::Container),
            9 => Source::Flow(key, Side::Host),
            10 => Source::Query(key),
            11 => Source::Echo(index),
            12 => Source::Session(key, Side::Container),
            13 => Source::Session(key, Side::Host),
            14 => Source::Newcomer,
            _ => Source::Member(key),
        }
    }
}

/// What is to be looked at again at some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Due {
    Attempt(Key),
    Flow(Key),
    Query(Key),
    Session(Key),
    Relay(Key),
    Drain,
}

/// A published port, and where what comes in by it goes.
pub struct Service {
    pub socket: OwnedFd,
    pub mapping: PortMapping,
    pub container: Inner,
    /// Whose it is, where there are several.
    pub member: Option<Key>,
}

impl Service {
    /// Of the only container that there is.
    fn of_one(published: Published) -> Service {
        let Published { socket, mapping } = published;
        Service { socket, mapping, container: CONTAINER, member: None }
    }
}

/// Everything the gateway holds.
pub struct Engine {
    pub(super) epoll: Epoll,
    /// None where it is a hub, which is nobody's in particular.
    pub(super) monitor: Option<OwnedFd>,
    pub(super) hub: Option<Hub>,
    pub(super) networks: Networks,
    pub(super) inside: Inside,
    pub(super) listeners: Listeners,
    pub(super) stock: Stock,
    pub(super) resolver: Resolver,
    /// Each keeps its place; one that is no longer served leaves it empty.
    pub(super) published: Vec<Option<Service>>,
    host_loopback: bool,
    /// Of the only container that there is. None: everything may be reached.
    pub(super) guard: Option<Guard>,
    pub(super) secret: [u8; 4],
    pub(super) buffer: Vec<u8>,
    pub(super) attempts: Slab<Attempt>,
    /// The SYNs that wait, by client and destination.
    pub(super) held: HashMap<(SocketAddr, SocketAddr), Key>,
    pub(super) relays: Slab<Relay>,
    /// Relays whose turn was over before their work was.
    pub(super) waiting: VecDeque<Key>,
    pub(super) pipes: Pipes,
    pub(super) flows: Slab<Flow>,
    /// Flows by client and the destination it named, or for a published port the client and the port's own address.
    pub(super) flow_of: HashMap<(SocketAddr, SocketAddr), Key>,
    /// With AnyIP, the latter by how the container calls itself and the client.
    pub(super) published_flow_of: HashMap<(SocketAddr, SocketAddr), Key>,
    pub(super) queries: Slab<Query>,
    pub(super) sessions: Slab<Session>,
    pub(super) echoes: Echoes,
    deadlines: BinaryHeap<Reverse<(Instant, Due)>>,
    /// Descriptors that may be open at once.
    limit: usize,
    /// The last event came soon after the one before.
    brisk: bool,
    /// Others can run meanwhile.
    may_spin: bool,
    /// A published port had connections that there was no descriptor for: until there is, nobody listens.
    pub(super) starved: bool,
    /// The container has ended.
    pub(super) draining: Option<Drain>,
}

/// What it takes to begin.
pub struct Beginning {
    pub inside: Inside,
    pub stock: Stock,
    pub resolver: Resolver,
    pub published: Vec<Published>,
    pub networks: Networks,
    pub host_loopback: bool,
    pub guard: Option<Guard>,
    pub secret: [u8; 4],
    /// Its end is ours.
    pub monitor: Option<OwnedFd>,
    pub hub: Option<Hub>,
}

impl Engine {
    /// Registers what is there from the start.
    pub fn new(beginning: Beginning) -> Result<Engine> {
        let Beginning { mut inside, stock, resolver, published, networks, host_loopback, guard, secret, monitor, hub } =
            beginning;
        let engine = Engine {
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).context("cannot create an epoll set")?,
            echoes: Echoes::open(),
            monitor,
            hub,
            networks,
            listeners: Listeners::of_all(std::mem::take(&mut inside.listeners)),
            inside,
            stock,
            resolver,
            published: published.into_iter().map(Service::of_one).map(Some).collect(),
            host_loopback,
            guard,
            secret,
            buffer: vec![0; BUFFER],
            attempts: Slab::new(),
            held: HashMap::new(),
            relays: Slab::new(),
            waiting: VecDeque::new(),
            pipes: Pipes::default(),
            flows: Slab::new(),
            flow_of: HashMap::new(),
            published_flow_of: HashMap::new(),
            queries: Slab::new(),
            sessions: Slab::new(),
            deadlines: BinaryHeap::new(),
            limit: raise_descriptor_limit(),
            brisk: false,
            may_spin: std::thread::available_parallelism().is_ok_and(|cores| cores.get() > 1),
            starved: false,
            draining: None,
        };
        engine.monitor.iter().try_for_each(|monitor| engine.watch(monitor.as_fd(), Source::Monitor))?;
        engine.hub.iter().try_for_each(|hub| hub.conversations().try_for_each(|(fd, source)| engine.watch(fd, source)))?;
        engine.watch(engine.inside.captured.as_fd(), Source::Captured)?;
        engine.watch_listeners()?;
        for (index, socket) in engine.inside.datagrams.iter().enumerate() {
            engine.watch(socket.as_fd(), Source::Datagrams(index))?;
        }
        for (index, published) in engine.published.iter().flatten().enumerate() {
            engine.watch(published.socket.as_fd(), Source::Published(index))?;
        }
        for (index, socket) in engine.echoes.sockets() {
            engine.watch(socket, Source::Echo(index))?;
        }
        Ok(engine)
    }

    pub(super) fn watch(&self, socket: BorrowedFd, source: Source) -> Result<()> {
        self.register(socket, EpollFlags::EPOLLIN, source).context("cannot watch a socket")
    }

    /// Adds a socket to the epoll set.
    pub(super) fn register(&self, socket: BorrowedFd, events: EpollFlags, source: Source) -> std::io::Result<()> {
        Ok(self.epoll.add(socket, EpollEvent::new(events, source.number()))?)
    }

    /// Changes what a registered socket is for.
    pub(super) fn register_again(&self, socket: BorrowedFd, events: EpollFlags, source: Source) -> std::io::Result<()> {
        Ok(self.epoll.modify(socket, &mut EpollEvent::new(events, source.number()))?)
    }

    /// Whether this container may reach what listens on the host's loopback.
    pub(super) fn opens_host(&self, client: IpAddr) -> bool {
        self.hub.as_ref().map_or(self.host_loopback, |hub| hub.opens_host(client))
    }

    /// Serves one more port.
    pub(super) fn publish(&mut self, service: Service) -> Result<()> {
        let index = self.published.iter().position(Option::is_none).unwrap_or(self.published.len());
        self.watch(service.socket.as_fd(), Source::Published(index))?;
        if index == self.published.len() {
            self.published.push(None);
        }
        self.published[index] = Some(service);
        Ok(())
    }

    /// And no longer those that are meant.
    pub(super) fn withdraw(&mut self, meant: impl Fn(&Service) -> bool) {
        for place in &mut self.published {
            if let Some(service) = place.take_if(|service| meant(service)) {
                // Not by closing it alone: Monitor may still hold the same socket.
                let _ = self.epoll.delete(service.socket);
            }
        }
    }

    /// Runs until Monitor goes or the last member, or until what the containers have left is delivered.
    pub fn run(&mut self) -> Result<()> {
        let mut events = [EpollEvent::empty(); EVENTS];
        loop {
            let count = self.wait(&mut events)?;
            for event in &events[..count] {
                let source = Source::from_number(event.data());
                if source == Source::Monitor && !self.obey()? {
                    return Ok(());
                }
                self.handle(source, event.events());
                if self.hub.take_if(|hub| hub.is_deserted()).is_some() {
                    // A container may still be there whose connector is not.
                    self.guard = Some(Guard::closed());
                    self.drain();
                }
            }
            for _ in 0..self.waiting.len() {
                let Some(key) = self.waiting.pop_front() else { break };
                self.advance(key);
            }
            self.meet_deadlines(Instant::now());
            if self.starved && self.has_room(ENOUGH) {
                self.listen_to_clients(true);
            }
            if self.is_drained() {
                return Ok(());
            }
        }
    }

    /// Waits for events. Where the last came soon, the next are looked out for a little before sleeping: to be woken takes longer than
    /// that, and who speaks in turns would pay for it twice each time.
    fn wait(&mut self, events: &mut [EpollEvent]) -> Result<usize> {
        let begun = Instant::now();
        while self.brisk && self.waiting.is_empty() {
            match self.epoll.wait(events, EpollTimeout::ZERO) {
                Ok(0) | Err(nix::errno::Errno::EINTR) => self.brisk = begun.elapsed() < SOON,
                other => return other.context("cannot wait for events"),
            }
        }
        let patience = self.patience();
        let woken = match self.epoll.wait(events, patience) {
            Err(nix::errno::Errno::EINTR) => Ok(0),
            other => other.context("cannot wait for events"),
        };
        self.brisk = self.may_spin && begun.elapsed() < SOON;
        woken
    }

    fn handle(&mut self, source: Source, events: EpollFlags) {
        match source {
            Source::Monitor => {}
            Source::Captured => self.captured(),
            Source::Listener(key) => self.accept(key),
            Source::Datagrams(index) => self.datagrams(index),
            Source::Published(index) => self.published(index),
            Source::Attempt(key) => self.attempted(key),
            Source::Relay(key, side) => self.relay(key, side, events),
            Source::Flow(key, side) => self.flow(key, side),
            Source::Query(key) => self.answered(key),
            Source::Echo(index) => self.echoed(index),
            Source::Session(key, side) => self.session(key, side),
            Source::Newcomer => self.welcome(),
            Source::Member(key) => self.member(key),
        }
    }

    /// Carries out an order of Monitor's; false when it is gone.
    fn obey(&mut self) -> Result<bool> {
        let Some(monitor) = &self.monitor else { return Ok(false) };
        let Some((order, socket)) = carrier::next_order(monitor.as_fd())? else { return Ok(false) };
        let done = match order {
            Order::Finish => {
                self.drain();
                if self.is_drained() {
                    return Ok(false);
                }
                Ok(())
            }
            Order::Publish(mapping) => socket
                .context("no socket came along")
                .and_then(|socket| self.publish(Service::of_one(Published { socket, mapping }))),
            Order::Join(_) | Order::Leave(_) | Order::Rename(_) => {
                Err(anyhow!("only who is on user-defined networks can join or leave one"))
            }
            Order::Withdraw(mapping) => {
                self.withdraw(|service| service.mapping == mapping);
                Ok(())
            }
        };
        self.monitor.iter().for_each(|monitor| carrier::report(monitor.as_fd(), &done));
        Ok(true)
    }

    /// How long nothing has to be done by itself.
    fn patience(&self) -> EpollTimeout {
        if !self.waiting.is_empty() {
            return EpollTimeout::ZERO;
        }
        let Some(Reverse((first, _))) = self.deadlines.peek() else { return EpollTimeout::NONE };
        // Rounded up: a wait that ends before its time would only be followed by another.
        let milliseconds = first.saturating_duration_since(Instant::now()).as_millis() + 1;
        EpollTimeout::try_from(milliseconds.min(60_000) as i32).unwrap_or(EpollTimeout::ZERO)
    }

    /// Looks at it again after that time, whatever becomes of it meanwhile.
    pub(super) fn later(&mut self, after: Duration, due: Due) {
        self.deadlines.push(Reverse((Instant::now() + after, due)));
    }

    fn meet_deadlines(&mut self, now: Instant) {
        while let Some(&Reverse((time, due))) = self.deadlines.peek()
            && time <= now
        {
            self.deadlines.pop();
            match due {
                Due::Attempt(key) => self.give_up(key),
                Due::Flow(key) => self.flow_due(key, now),
                Due::Query(key) => self.query_due(key),
                Due::Session(key) => self.end_session(key),
                Due::Relay(key) => self.relay_due(key),
                Due::Drain => self.drain_due(now),
            }
        }
        // Idle: the quota that pipes take is the whole desktop's.
        if self.relays.len() == 0 {
            self.pipes.shrink();
        }
    }

    /// Ends the flow that is looked at next, to make room.
    pub(super) fn evict_flow(&mut self) {
        let mut others = Vec::new();
        while let Some(Reverse((time, due))) = self.deadlines.pop() {
            match due {
                Due::Flow(key) if self.flows.get(key).is_some() => {
                    self.end_flow(key);
                    break;
                }
                Due::Flow(_) => {}
                _ => others.push(Reverse((time, due))),
            }
        }
        self.deadlines.extend(others);
    }

    /// Whether there are so many descriptors left.
    pub(super) fn has_room(&self, wanted: usize) -> bool {
        const OTHERS: usize = 64;
        let used = self.attempts.len() * 2
            + self.relays.len() * 2
            + self.flows.len() * 2
            + self.queries.len()
            + self.sessions.len() * 2
            + self.pipes.descriptors()
            + Stock::most()
            + self.listeners.len()
            + self.published.len()
            + self.hub.as_ref().map_or(0, Hub::descriptors);
        used + wanted + OTHERS <= self.limit
    }

    /// Sends a frame as if from the container; a full queue loses it, as a network may.
    pub(super) fn inject(&self, frame: &[u8]) {
        let _ = inet::send(self.inside.injected.as_fd(), frame);
    }
}

/// As many descriptors as the caller may have; returns how many.
fn raise_descriptor_limit() -> usize {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return 1024 };
    match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => hard as usize,
        Err(_) => soft as usize,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_survives_the_way_through_the_kernel() {
        let mut slab = Slab::new();
        let first = slab.insert(());
        slab.remove(first);
        let key = slab.insert(());
        for source in [
            Source::Monitor,
            Source::Listener(key),
            Source::Published(70_000),
            Source::Attempt(key),
            Source::Relay(key, Side::Container),
            Source::Relay(key, Side::Host),
            Source::Flow(key, Side::Host),
            Source::Query(key),
            Source::Echo(1),
            Source::Session(key, Side::Container),
            Source::Session(key, Side::Host),
            Source::Newcomer,
            Source::Member(key),
        ] {
            assert_eq!(Source::from_number(source.number()), source);
        }
    }
}
