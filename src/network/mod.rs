//! What network a container has: the embedded gateway's by default, a driver's, the host's own, or none.

pub mod bridge;
mod carrier;
pub mod driver;
pub mod egress;
pub mod embedded;
pub mod ladder;
mod mode;
pub mod netlink;
pub mod ports;
pub mod resolv;
mod slirp_api;
pub mod subnet;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use anyhow::{Context, Result};
use nix::fcntl::OFlag;
use nix::unistd::pipe2;

use self::bridge::connector::{self, Abode, Party, Places};
use self::carrier::Carrier;
pub use self::carrier::Order;
pub use self::mode::{Gateway, Method, NetworkMode};
use self::ports::{PortMapping, Published};
use crate::sys::beside::{self, Beside};
use crate::sys::net;
use crate::sys::process::{self, ns};

/// What connects one container, in its Monitor's hands: begun before there is an Init. Dropped, it ends.
pub struct Network {
    carrier: Option<Carrier>,
    /// What it tells of what the container reaches.
    log: Option<OwnedFd>,
}

/// For whom a network is started.
pub struct Subject<'a, A> {
    pub mode: &'a NetworkMode,
    /// The container's name.
    pub name: &'a str,
    /// The ports that it publishes.
    pub ports: &'a [PortMapping],
    /// Bound already, where it is the gateway that serves them.
    pub published: &'a mut Vec<Published>,
    /// The runtime directory.
    pub runtime: &'a Path,
    /// The store's directory.
    pub store: BorrowedFd<'a>,
    /// Who it is on user-defined networks, and what it may reach.
    pub party: Party<'a>,
    /// Where the hubs of those are to live that it starts.
    pub abode: A,
}

/// Starts what runs beside a container to connect it. This process is a member of U with one thread.
pub fn start(subject: Subject<impl FnOnce() -> Abode>) -> Result<Network> {
    let Subject { mode, name, ports, published, runtime, store, party, abode } = subject;
    let egress = party.egress;
    let pipe = egress.map(|_| pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)).transpose().context("cannot create a pipe")?;
    let (log, its) = pipe.unzip();
    let carrier = match mode {
        NetworkMode::Gateway(gateway) => {
            Some(embedded::start(embedded::Given { name, gateway: *gateway, egress, log: its }, published)?)
        }
        NetworkMode::User(_) => Some(connector::start(Places { party, store, log: its, abode: abode() }, published)?),
        mode => driver::start(mode, name, ports, runtime)?,
    };
    Ok(Network { carrier, log })
}

impl Network {
    /// What Init needs of it; and readable when a namespace that [`Network::connect`] has named is connected, or will never be.
    pub fn link(&self) -> Option<BorrowedFd<'_>> {
        self.carrier.as_ref().map(Carrier::link)
    }

    /// Readable when the process that connects it has died.
    pub fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        self.carrier.as_ref().map(Carrier::pidfd)
    }

    /// Where it tells of what the container reaches, if that is to be known; once.
    pub fn take_log(&mut self) -> Option<OwnedFd> {
        self.log.take()
    }

    /// Serves a port from now on, or no longer; `socket` is bound to it already, where the gateway serves it.
    pub fn order(&self, order: &Order, socket: Option<BorrowedFd>) -> Result<()> {
        self.carrier.as_ref().map_or(Ok(()), |carrier| carrier.order(order, socket))
    }

    /// The container has ended. True: this goes on by itself until what the container had sent is delivered; see [`Network::has_ended`].
    pub fn finish(&mut self) -> bool {
        self.carrier.as_mut().is_some_and(Carrier::finish)
    }

    /// Whether the process that connects it is gone; then it is reaped.
    pub fn has_ended(&self) -> bool {
        self.carrier.as_ref().is_none_or(Carrier::has_ended)
    }

    /// In Init's place, where there was an Init already: begins to connect its namespace. Waits for nothing.
    pub fn connect(&self, namespace: BorrowedFd) {
        self.link().into_iter().for_each(|link| carrier::connect(link, namespace));
    }

    /// Whether that has worked; waits until it is known.
    pub fn connected(&self) -> Result<()> {
        self.link().map_or(Ok(()), carrier::connected)
    }
}

/// The container's network on its way, in Init's hands.
pub struct Pending<'a> {
    namespace: Option<Beside<'a>>,
    link: Option<BorrowedFd<'a>>,
}

/// Begins to make what `mode` promises, for a process in the container's user namespace; nothing here waits.
pub fn begin<'a>(mode: &NetworkMode, link: Option<BorrowedFd<'a>>) -> io::Result<Pending<'a>> {
    let namespace = match mode {
        // Another container's is entered already.
        NetworkMode::Host | NetworkMode::Container(_) => None,
        // It takes half of the time of a start, in the kernel: so it goes on beside the rest.
        _ => Some(beside::begin(new_namespace, link)?),
    };
    Ok(Pending { namespace, link })
}

/// Makes it, and has it connected from its first moment.
fn new_namespace(link: Option<BorrowedFd>) -> io::Result<OwnedFd> {
    let namespace = net::new_namespace()?;
    link.into_iter().for_each(|link| carrier::connect(link, namespace.as_fd()));
    Ok(namespace)
}

impl Pending<'_> {
    /// Waits for the namespace and enters it.
    pub fn enter(&mut self) -> Result<()> {
        let Some(namespace) = self.namespace.take() else { return Ok(()) };
        let namespace = namespace.finish()?;
        Ok(process::setns(namespace.as_fd(), ns::NET)?)
    }

    /// Waits until it is connected.
    pub fn connected(&self) -> Result<()> {
        self.link.map_or(Ok(()), carrier::connected)
    }
}
