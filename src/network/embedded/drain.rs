//! The container has ended, but what it had sent is still on its way: in its kernel's send queues, in ours, in our pipes. As from an ordinary
//! process that has ended, all of it arrives; only then does the gateway go. Monitor does not wait for that, and no port is held.

use std::time::{Duration, Instant};

use super::engine::{Due, Engine};
use super::relay::Side;
use crate::sys::process;

/// How long nothing may move: who does not read for as long will not read at all.
const QUIET: Duration = Duration::from_secs(30);
/// How long a handshake may still take whose client has gone: it has come as far as G already, or never will.
const HANDSHAKE: Duration = Duration::from_secs(1);
/// How long it may take in all, however slow a reader is.
const LONGEST: Duration = Duration::from_secs(600);

/// How far it is.
pub struct Drain {
    begun: Instant,
    /// When something has moved.
    moved: Instant,
    /// Nothing more is waited for.
    over: bool,
}

impl Engine {
    /// Nothing new begins from here on, and nothing goes inwards.
    pub(super) fn drain(&mut self) {
        let now = Instant::now();
        self.draining = Some(Drain { begun: now, moved: now, over: false });
        // Monitor's end is no longer ours, and no more orders come.
        let _ = process::set_parent_death_signal(0);
        if let Some(monitor) = &self.monitor {
            let _ = self.epoll.delete(monitor);
        }
        let _ = self.epoll.delete(&self.inside.captured);
        for published in self.published.drain(..).flatten() {
            // Closing it is not enough: Monitor may hold the same socket.
            let _ = self.epoll.delete(published.socket);
        }
        self.listeners.keys().into_iter().for_each(|key| self.accept(key));
        (0..self.inside.datagrams.len()).for_each(|index| self.datagrams(index));
        self.flows.keys().into_iter().for_each(|key| self.flow(key, Side::Container));
        for key in self.attempts.keys().into_iter().filter(|key| !self.has_handshake(*key)).collect::<Vec<_>>() {
            self.give_up(key);
        }
        self.relays.keys().into_iter().for_each(|key| self.advance(key));
        self.later(HANDSHAKE, Due::Drain);
        self.later(QUIET, Due::Drain);
    }

    /// Something has moved.
    pub(super) fn delivering(&mut self) {
        self.draining.iter_mut().for_each(|drain| drain.moved = Instant::now());
    }

    /// Whether nothing is left to be delivered.
    pub(super) fn is_drained(&self) -> bool {
        self.draining.as_ref().is_some_and(|drain| drain.over || self.relays.len() + self.attempts.len() == 0)
    }

    pub(super) fn drain_due(&mut self, now: Instant) {
        let Some(Drain { begun, moved, .. }) = self.draining else { return };
        self.attempts.keys().into_iter().for_each(|key| self.give_up(key));
        if now >= begun + LONGEST || now >= moved + QUIET {
            self.draining = Some(Drain { begun, moved, over: true });
        } else if now >= begun + QUIET {
            self.later((moved + QUIET).min(begun + LONGEST) - now, Due::Drain);
        }
    }
}
