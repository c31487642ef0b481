//! Sockets of the gateway's own network namespace, made ahead of need.
//!
//! A network namespace belongs to a thread, and the one that moves the bytes is in the host's. So another, which stays in the
//! gateway's, makes transparent sockets and puts them here; who takes one binds and connects it from any thread.

use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::sys::inet::{self, Transport};

/// How many of a kind there are to be, once the first was asked for.
const ENOUGH: usize = 16;
/// Below this more are made.
const FEW: usize = 8;

/// What can be asked for: a transport and a family, given by any address of it.
type Kind = (Transport, bool);

#[derive(Default)]
struct Shelf {
    sockets: Vec<OwnedFd>,
    wanted: bool,
    failed: Option<io::Error>,
}

#[derive(Default)]
struct Shelves {
    shelves: [Shelf; 4],
}

impl Shelves {
    fn of(&mut self, (transport, v6): Kind) -> &mut Shelf {
        &mut self.shelves[usize::from(transport == Transport::Udp) * 2 + usize::from(v6)]
    }

    fn wanted(&self) -> Option<Kind> {
        let at = self.shelves.iter().position(|shelf| shelf.wanted)?;
        Some((if at >= 2 { Transport::Udp } else { Transport::Tcp }, at % 2 == 1))
    }
}

/// See the module. Clones share what there is.
#[derive(Clone, Default)]
pub struct Stock {
    shared: Arc<(Mutex<Shelves>, Condvar)>,
}

impl Stock {
    /// Takes a socket, transparent and reusing addresses; waits only where the shelf is empty.
    pub fn take(&self, transport: Transport, like: IpAddr) -> io::Result<OwnedFd> {
        let (_, changed) = &*self.shared;
        let kind = (transport, like.is_ipv6());
        let mut shelves = self.lock();
        loop {
            let shelf = shelves.of(kind);
            let taken = shelf.sockets.pop();
            if shelf.sockets.len() < FEW && !shelf.wanted {
                shelf.wanted = true;
                changed.notify_all();
            }
            if let Some(socket) = taken {
                return Ok(socket);
            }
            if let Some(error) = shelf.failed.take() {
                return Err(error);
            }
            shelves = changed.wait(shelves).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Most sockets that lie here.
    pub const fn most() -> usize {
        4 * ENOUGH
    }

    fn lock(&self) -> MutexGuard<'_, Shelves> {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the shelves filled from this thread's network namespace, for as long as the process lives.
    pub fn keep(&self) -> ! {
        let (_, changed) = &*self.shared;
        let mut shelves = self.lock();
        loop {
            let Some(kind) = shelves.wanted() else {
                shelves = changed.wait(shelves).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let missing = ENOUGH - shelves.of(kind).sockets.len().min(ENOUGH);
            drop(shelves);
            let made: io::Result<Vec<OwnedFd>> = (0..missing).map(|_| make(kind)).collect();
            shelves = self.lock();
            let shelf = shelves.of(kind);
            shelf.wanted = false;
            match made {
                Ok(made) => shelf.sockets.extend(made),
                Err(error) => shelf.failed = Some(error),
            }
            changed.notify_all();
        }
    }
}

fn make((transport, v6): Kind) -> io::Result<OwnedFd> {
    let like: IpAddr = if v6 { std::net::Ipv6Addr::UNSPECIFIED.into() } else { std::net::Ipv4Addr::UNSPECIFIED.into() };
    let socket = inet::socket(transport, like)?;
    inet::set_transparent(&socket, like)?;
    inet::set_reuse_address(&socket)?;
    if transport == Transport::Tcp {
        inet::set_relayed(&socket)?;
    }
    Ok(socket)
}
