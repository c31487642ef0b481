//! The sockets that a container's connections come to, once their SYNs may go on.
//!
//! With TPROXY one of each family takes them all. Where all addresses are just local (AnyIP), the kernel brings a connection to a socket
//! that is bound to what the client named: so each destination has one from when its far end has said yes until nobody's handshake with
//! it is under way. Both kinds are transparent, and what they accept tells the destination as its own address.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use anyhow::Result;

use super::engine::{Engine, Source};
use super::slab::{Key, Slab};
use crate::network::Method;
use crate::sys::inet::{self, Transport};

/// One of them.
struct Listener {
    socket: OwnedFd,
    /// Handshakes that are under way.
    awaited: usize,
    /// It stays without any, too.
    stays: bool,
}

/// See the module.
pub struct Listeners {
    all: Slab<Listener>,
    /// Those of one destination.
    at: HashMap<SocketAddr, Key>,
}

impl Listeners {
    /// Those that take all.
    pub fn of_all(sockets: Vec<OwnedFd>) -> Listeners {
        let mut all = Slab::new();
        for socket in sockets {
            all.insert(Listener { socket, awaited: 0, stays: true });
        }
        Listeners { all, at: HashMap::new() }
    }

    pub fn len(&self) -> usize {
        self.all.len()
    }

    pub fn keys(&self) -> Vec<Key> {
        self.all.keys()
    }

    pub fn get(&self, key: Key) -> Option<&OwnedFd> {
        self.all.get(key).map(|listener| &listener.socket)
    }
}

impl Engine {
    /// Has epoll tell of those that are there from the start.
    pub(super) fn watch_listeners(&self) -> Result<()> {
        self.listeners.all.iter().try_for_each(|(key, listener)| self.watch(listener.socket.as_fd(), Source::Listener(key)))
    }

    /// A handshake for this destination is to come: somebody listens there from now on.
    pub(super) fn expect(&mut self, destination: SocketAddr) -> Result<()> {
        self.listen_at(destination, |listener| listener.awaited += 1)
    }

    /// Somebody listens there for good: for questions, of which nothing is known beforehand.
    pub(super) fn expect_always(&mut self, destination: SocketAddr) -> Result<()> {
        self.listen_at(destination, |listener| listener.stays = true)
    }

    fn listen_at(&mut self, destination: SocketAddr, change: impl FnOnce(&mut Listener)) -> Result<()> {
        if self.inside.method == Method::Tproxy {
            return Ok(());
        }
        let key = match self.listeners.at.get(&destination) {
            Some(key) => *key,
            None => self.begin_to_listen(destination)?,
        };
        if let Some(listener) = self.listeners.all.get_mut(key) {
            change(listener);
        }
        Ok(())
    }

    fn begin_to_listen(&mut self, destination: SocketAddr) -> Result<Key> {
        let make = || -> io::Result<OwnedFd> {
            let socket = self.stock.take(Transport::Tcp, destination.ip())?;
            inet::bind(&socket, destination)?;
            inet::listen(&socket).map(|()| socket)
        };
        let key = self.listeners.all.insert(Listener { socket: make()?, awaited: 0, stays: false });
        let watched = self.listeners.get(key).map_or(Ok(()), |socket| self.watch(socket.as_fd(), Source::Listener(key)));
        match watched {
            Ok(()) => drop(self.listeners.at.insert(destination, key)),
            Err(_) => drop(self.listeners.all.remove(key)),
        }
        watched.map(|()| key)
    }

    /// One of the handshakes that were expected is over, whichever way.
    pub(super) fn expect_no_longer(&mut self, destination: SocketAddr) {
        let Some(key) = self.listeners.at.get(&destination).copied() else { return };
        let Some(listener) = self.listeners.all.get_mut(key) else { return };
        listener.awaited = listener.awaited.saturating_sub(1);
        if listener.awaited == 0 && !listener.stays {
            self.listeners.at.remove(&destination);
            self.listeners.all.remove(key);
        }
    }
}
