//! The pipes that data is spliced through, and how many there may be.
//!
//! The kernel counts the pages of all pipes of a user against one quota (pipe(7), pipe-user-pages-soft: 64 MiB), and beyond it gives every
//! new pipe of that user, wherever on the desktop, two pages. So the budget of one gateway is a small part of the quota; who finds it
//! spent copies instead ([`super::relay`]). A pipe is held only while bytes are in it: a thousand idle connections hold none.

use std::os::fd::OwnedFd;

use nix::fcntl::OFlag;

use crate::sys::inet;

/// Pipes of [`LARGE`] bytes at most.
const LARGE_PIPES: usize = 8;
const LARGE: usize = 256 << 10;
/// Pipes of the usual 64 KiB at most.
const SMALL_PIPES: usize = 40;
const SMALL: usize = 64 << 10;

/// An empty pipe, both ends not blocking.
pub struct Pipe {
    pub read: OwnedFd,
    pub write: OwnedFd,
    /// Bytes.
    pub size: usize,
}

/// What is made so far, and of that what nobody holds.
#[derive(Default)]
pub struct Pipes {
    free: Vec<Pipe>,
    large: usize,
    small: usize,
}

impl Pipes {
    /// A pipe, or None where the budget or the user's quota is spent.
    pub fn acquire(&mut self) -> Option<Pipe> {
        self.free.pop().or_else(|| self.make())
    }

    fn make(&mut self) -> Option<Pipe> {
        if self.large == LARGE_PIPES && self.small == SMALL_PIPES {
            return None;
        }
        let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).ok()?;
        if self.large < LARGE_PIPES && inet::resize_pipe(&write, LARGE).is_ok() {
            self.large += 1;
            return Some(Pipe { read, write, size: LARGE });
        }
        // Below the usual size the user's quota is spent: every page we leave is one for somebody else.
        let size = inet::pipe_size(&write).unwrap_or(0);
        if self.small == SMALL_PIPES || size < SMALL {
            return None;
        }
        self.small += 1;
        Some(Pipe { read, write, size })
    }

    /// Takes an empty pipe back.
    pub fn release(&mut self, pipe: Pipe) {
        self.free.push(pipe);
    }

    /// Closes a pipe that is not empty.
    pub fn discard(&mut self, pipe: &Pipe) {
        *(if pipe.size >= LARGE { &mut self.large } else { &mut self.small }) -= 1;
    }

    /// Closes all that nobody holds.
    pub fn shrink(&mut self) {
        for pipe in std::mem::take(&mut self.free) {
            self.discard(&pipe);
        }
    }

    /// Descriptors in use.
    pub fn descriptors(&self) -> usize {
        (self.large + self.small) * 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_is_kept_and_what_is_given_back_is_used_again() {
        let mut pipes = Pipes::default();
        let held: Vec<Pipe> = std::iter::from_fn(|| pipes.acquire()).collect();
        assert!(held.len() <= LARGE_PIPES + SMALL_PIPES);
        assert!(held.iter().all(|pipe| pipe.size >= SMALL));
        let count = held.len();
        held.into_iter().for_each(|pipe| pipes.release(pipe));
        assert_eq!(std::iter::from_fn(|| pipes.acquire()).count(), count);
        assert!(pipes.acquire().is_none());
    }
}
