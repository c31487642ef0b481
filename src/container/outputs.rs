//! The payload's output as Monitor keeps it: read, logged, and passed on to whoever is attached.
//!
//! The log never waits for a reader. Who is attached does hold the payload up, as with Docker: what it has not taken yet is kept (one
//! chunk for each), and meanwhile nothing more is read.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant, SystemTime};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::log::{LogWriter, Stream};

/// One of the payload's outputs: our end of the pipe or the console's master. Not blocking.
struct Source {
    stream: Stream,
    fd: OwnedFd,
}

/// Where an attached Client reads.
struct Follower {
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
    /// Read and not yet taken.
    pending: Vec<u8>,
    of: Stream,
}

/// All of it.
#[derive(Default)]
pub struct Outputs {
    log: Option<LogWriter>,
    sources: Vec<Source>,
    followers: Vec<Follower>,
}

const CHUNK: usize = 64 << 10;
/// How long, after the payload's end, an attached Client that takes nothing is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

impl Outputs {
    /// Reads from `fd` until it ends.
    pub fn add(&mut self, stream: Stream, fd: OwnedFd) {
        use nix::fcntl::{FcntlArg, OFlag, fcntl};
        let flags = fcntl(&fd, FcntlArg::F_GETFL).map_or(OFlag::empty(), OFlag::from_bits_truncate);
        let _ = fcntl(&fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK));
        self.sources.push(Source { stream, fd });
    }

    /// Passes everything on to these pipes too, from now on. They must not block.
    pub fn follow(&mut self, stdout: Option<OwnedFd>, stderr: Option<OwnedFd>) {
        self.followers.push(Follower { stdout, stderr, pending: Vec::new(), of: Stream::Stdout });
    }

    /// Keeps everything in this log too, from now on.
    pub fn log(&mut self, log: LogWriter) {
        self.log = Some(log);
    }

    /// What to wait for: room where somebody has not taken all, else something to read.
    pub fn interests(&self) -> Vec<PollFd<'_>> {
        let blocked: Vec<PollFd> =
            self.followers.iter().filter_map(Follower::blocked).map(|fd| PollFd::new(fd, PollFlags::POLLOUT)).collect();
        if !blocked.is_empty() {
            return blocked;
        }
        self.sources.iter().map(|source| PollFd::new(source.fd.as_fd(), PollFlags::POLLIN)).collect()
    }

    /// Moves what is ready; `ready` are the raw descriptors that poll(2) named.
    pub fn advance(&mut self, ready: &[i32]) {
        for follower in &mut self.followers {
            if follower.blocked().is_some_and(|fd| ready.contains(&fd.as_raw_fd())) {
                follower.push();
            }
        }
        self.followers.retain(Follower::listens);
        if self.followers.iter().any(|follower| follower.blocked().is_some()) {
            return;
        }
        let mut sources = std::mem::take(&mut self.sources);
        sources.retain(|source| !ready.contains(&source.fd.as_raw_fd()) || self.read(source));
        self.sources = sources;
    }

    /// Reads once; false at the end.
    fn read(&mut self, source: &Source) -> bool {
        let mut buffer = [0; CHUNK];
        match nix::unistd::read(&source.fd, &mut buffer) {
            // A terminal whose last slave is closed answers EIO: the end.
            Ok(0) | Err(Errno::EIO) => false,
            Ok(length) => {
                self.take(source.stream, &buffer[..length]);
                true
            }
            Err(Errno::EAGAIN | Errno::EINTR) => true,
            Err(_) => false,
        }
    }

    fn take(&mut self, stream: Stream, bytes: &[u8]) {
        if let Some(log) = &mut self.log {
            log.write(stream, bytes, SystemTime::now());
        }
        for follower in &mut self.followers {
            follower.pending.extend_from_slice(bytes);
            follower.of = stream;
            follower.push();
        }
        self.followers.retain(Follower::listens);
    }

    /// After the payload's end: all that it still wrote, to those who still take it.
    pub fn drain(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while !self.sources.is_empty() || !self.followers.is_empty() {
            let blocked = self.followers.iter().any(|follower| follower.blocked().is_some());
            let left = deadline.saturating_duration_since(Instant::now());
            let patience = if blocked { PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX) } else { PollTimeout::ZERO };
            let mut set = self.interests();
            // With its PID namespace the last writer is gone: what is not there now will never come.
            match poll(&mut set, patience) {
                Err(Errno::EINTR) => continue,
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
            let ready: Vec<i32> = set.iter().filter(|fd| fd.any().unwrap_or(true)).map(|fd| fd.as_fd().as_raw_fd()).collect();
            drop(set);
            self.advance(&ready);
        }
        self.sources.clear();
        if let Some(log) = &mut self.log {
            log.finish(SystemTime::now());
        }
    }
}

impl Follower {
    fn sink(&self) -> Option<&OwnedFd> {
        match self.of {
            Stream::Stdout => self.stdout.as_ref(),
            Stream::Stderr => self.stderr.as_ref(),
        }
    }

    /// Where room is awaited.
    fn blocked(&self) -> Option<BorrowedFd<'_>> {
        if self.pending.is_empty() { None } else { self.sink().map(|fd| fd.as_fd()) }
    }

    fn listens(&self) -> bool {
        self.stdout.is_some() || self.stderr.is_some()
    }

    fn push(&mut self) {
        while !self.pending.is_empty() {
            let Some(sink) = self.sink() else {
                self.pending.clear();
                return;
            };
            match nix::unistd::write(sink, &self.pending) {
                Ok(length) => drop(self.pending.drain(..length)),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return,
                Err(_) => {
                    self.pending.clear();
                    match self.of {
                        Stream::Stdout => self.stdout = None,
                        Stream::Stderr => self.stderr = None,
                    }
                }
            }
        }
    }
}
