//! One TCP connection through the gateway: two kernel sockets, and bytes spliced between them.
//!
//! A half-close is passed on as a half-close once all before it is delivered, a reset as a reset at once. Where there is no pipe to be had,
//! bytes are looked at in the receive queue, sent, and only then taken out of it, so that nothing is ever held in this process's memory.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::sys::epoll::EpollFlags;

use super::pipes::{Pipe, Pipes};
use crate::sys::inet;

/// Bytes in one turn of one connection, before the others have theirs.
const TURN: usize = 2 << 20;

/// Which of a relay's sockets: the container's or the host's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Container,
    Host,
}

/// One direction.
#[derive(Default)]
struct Half {
    pipe: Option<Pipe>,
    /// Bytes in the pipe.
    held: usize,
    /// Nothing more comes from the source.
    ended: bool,
    /// And the other side has been told.
    told: bool,
}

/// What epoll last said of a socket; edge-triggered, so it stays true until the kernel says EAGAIN.
#[derive(Default, Clone, Copy)]
struct Readiness {
    readable: bool,
    writable: bool,
    /// The peer has closed its side: there is an end to be read.
    ending: bool,
}

/// See the module. Index 0 is the container's side, 1 the host's; a half has the index of its source.
pub struct Relay {
    sockets: [OwnedFd; 2],
    halves: [Half; 2],
    ready: [Readiness; 2],
}

/// How far [`Relay::advance`] came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Nothing to do before the next event.
    Waits,
    /// Its turn is over, though there is more.
    HasMore,
    /// Both directions have ended.
    Ended,
    /// One side was reset, and the other will be when the relay is dropped.
    Reset,
}

enum Step {
    Moved(usize),
    Blocked,
    Broken,
}

impl Relay {
    /// What each of the sockets has to be registered for.
    pub const EVENTS: EpollFlags =
        EpollFlags::EPOLLIN.union(EpollFlags::EPOLLOUT).union(EpollFlags::EPOLLRDHUP).union(EpollFlags::EPOLLET);

    pub fn new(container: OwnedFd, host: OwnedFd) -> Relay {
        Relay { sockets: [container, host], halves: Default::default(), ready: Default::default() }
    }

    pub fn socket(&self, side: Side) -> &OwnedFd {
        &self.sockets[side as usize]
    }

    /// Takes note of an event; true when the connection is broken.
    pub fn notice(&mut self, side: Side, events: EpollFlags) -> bool {
        let ready = &mut self.ready[side as usize];
        let ending = events.intersects(EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLHUP);
        ready.readable |= ending || events.contains(EpollFlags::EPOLLIN);
        ready.ending |= ending;
        ready.writable |= events.intersects(EpollFlags::EPOLLOUT | EpollFlags::EPOLLHUP);
        events.contains(EpollFlags::EPOLLERR) && inet::take_error(&self.sockets[side as usize]).is_err()
    }

    /// Moves what can be moved. `only`: from this side alone, whose end is the end.
    pub fn advance(&mut self, pipes: &mut Pipes, buffer: &mut [u8], only: Option<Side>) -> Progress {
        let mut more = false;
        let sources = only.map_or(0..2, |side| side as usize..side as usize + 1);
        for source in sources.clone() {
            let mut moved = 0;
            loop {
                match self.step(source, pipes, buffer) {
                    Step::Moved(bytes) => moved += bytes,
                    Step::Blocked => break,
                    Step::Broken => return Progress::Reset,
                }
                if moved >= TURN {
                    more = true;
                    break;
                }
            }
            let half = &mut self.halves[source];
            if half.held == 0
                && let Some(pipe) = half.pipe.take()
            {
                pipes.release(pipe);
            }
        }
        match self.halves[sources].iter().all(|half| half.told) {
            true => Progress::Ended,
            false if more => Progress::HasMore,
            false => Progress::Waits,
        }
    }

    /// Fills the pipe where it is empty, empties it where it is full; or says that the source has ended.
    fn step(&mut self, source: usize, pipes: &mut Pipes, buffer: &mut [u8]) -> Step {
        let (from, to) = (&self.sockets[source], &self.sockets[1 - source]);
        let half = &mut self.halves[source];
        if half.held == 0 && !half.ended {
            if !self.ready[source].readable {
                return Step::Blocked;
            }
            if half.pipe.is_none() {
                half.pipe = pipes.acquire();
            }
            let Some(pipe) = &half.pipe else { return self.copy(source, buffer) };
            match inet::splice(from, &pipe.write, pipe.size) {
                // The end, or an urgent byte, before which splice stops for ever.
                Ok(0) => return self.copy(source, buffer),
                Ok(bytes) => {
                    half.held = bytes;
                    // Fewer bytes than the pipe has slots: it was not the pipe that ended the reading, but the lack of more.
                    if bytes < pipe.size / 4096 && !self.ready[source].ending {
                        self.ready[source].readable = false;
                    }
                }
                Err(error) => return blocked(&error, &mut self.ready[source].readable),
            }
        }
        if half.held > 0 {
            let Some(pipe) = half.pipe.as_ref().filter(|_| self.ready[1 - source].writable) else { return Step::Blocked };
            return match inet::splice(&pipe.read, to, half.held) {
                Ok(bytes) => {
                    half.held -= bytes;
                    Step::Moved(bytes)
                }
                Err(error) => blocked(&error, &mut self.ready[1 - source].writable),
            };
        }
        if half.ended && !half.told {
            half.told = true;
            // A peer that has gone meanwhile shows as an event of its own.
            let _ = inet::shutdown_write(to);
        }
        Step::Blocked
    }

    /// Sends from the receive queue without holding anything.
    fn copy(&mut self, source: usize, buffer: &mut [u8]) -> Step {
        let (from, to) = (&self.sockets[source], &self.sockets[1 - source]);
        let waiting = match inet::peek(from, buffer) {
            Ok(0) => {
                self.halves[source].ended = true;
                return Step::Moved(0);
            }
            Ok(bytes) => bytes,
            Err(error) => return blocked(&error, &mut self.ready[source].readable),
        };
        if !self.ready[1 - source].writable {
            return Step::Blocked;
        }
        match inet::send(to.as_fd(), &buffer[..waiting]) {
            Ok(sent) => match inet::discard(from, sent) {
                Ok(_) => Step::Moved(sent),
                Err(_) => Step::Broken,
            },
            Err(error) => blocked(&error, &mut self.ready[1 - source].writable),
        }
    }

    /// Whether nothing more comes from this side.
    pub fn has_ended(&self, side: Side) -> bool {
        self.halves[side as usize].ended || self.ready[side as usize].ending
    }

    /// Makes the end of both sockets a reset.
    pub fn reset(&self) {
        for socket in &self.sockets {
            let _ = inet::set_reset_on_close(socket);
        }
    }

    /// Takes away what the other end has sent and nobody will read: unread, it would make the end of the socket a reset, which overtakes
    /// what is still on its way there (tcp(7), RFC 2525, 2.17).
    pub fn forget(&self, side: Side) {
        while inet::discard(self.socket(side), usize::MAX >> 1).is_ok_and(|length| length > 0) {}
    }

    /// Gives back what it holds.
    pub fn dissolve(mut self, pipes: &mut Pipes) {
        for half in &mut self.halves {
            if let Some(pipe) = half.pipe.take() {
                if half.held == 0 { pipes.release(pipe) } else { pipes.discard(&pipe) }
            }
        }
    }
}

fn blocked(error: &io::Error, readiness: &mut bool) -> Step {
    match error.kind() {
        io::ErrorKind::WouldBlock => {
            *readiness = false;
            Step::Blocked
        }
        io::ErrorKind::Interrupted => Step::Moved(0),
        _ => Step::Broken,
    }
}
