//! Client's side of the payload's streams: raw mode, and relays between the caller's descriptors and the payload's.
//!
//! The caller's descriptors are shared with other programs, so their flags are never changed: they are written and read blocking, after
//! poll(2) says so. The payload's ends are ours and do not block, or a payload that reads nothing and writes much would
//! hang us with it.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use nix::unistd::{read, write};

use super::stdio::Ends;
use crate::sys::tty;

/// The caller's terminal in raw mode; as it was again when dropped.
pub struct RawMode {
    terminal: OwnedFd,
    before: Termios,
}

impl RawMode {
    /// Takes the terminal on stdin; None where stdin is none.
    pub fn enter() -> Result<Option<RawMode>> {
        let stdin = std::io::stdin();
        let Ok(before) = tcgetattr(&stdin) else { return Ok(None) };
        let terminal = stdin.as_fd().try_clone_to_owned().context("cannot duplicate stdin")?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        tcsetattr(&terminal, SetArg::TCSANOW, &raw).context("cannot set the terminal to raw mode")?;
        Ok(Some(RawMode { terminal, before }))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        let _ = tcsetattr(&self.terminal, SetArg::TCSADRAIN, &self.before);
    }
}

/// Rows and columns of the caller's terminal, from whichever stream has one.
pub fn size() -> Option<(u16, u16)> {
    let (input, output, error) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    [input.as_fd(), output.as_fd(), error.as_fd()].into_iter().find_map(|fd| tty::size(fd).ok())
}

/// Gives the payload's terminal the size of the caller's.
pub fn copy_size(master: BorrowedFd) {
    if let Some(size) = size() {
        let _ = tty::set_size(master, size);
    }
}

/// The keys that leave a container without ending it (docker-attach(1), `--detach-keys`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys(Vec<u8>);

impl Default for Keys {
    /// ctrl-p, ctrl-q.
    fn default() -> Keys {
        Keys(vec![16, 17])
    }
}

impl FromStr for Keys {
    type Err = anyhow::Error;

    /// Comma-separated: one character, or `ctrl-` and a letter or one of `@[\\]^_`. Nothing at all: no keys leave.
    fn from_str(text: &str) -> Result<Keys> {
        let key = |word: &str| match (word.as_bytes(), word.strip_prefix("ctrl-").map(str::as_bytes)) {
            ([one], _) => Ok(*one),
            (_, Some([letter @ b'a'..=b'z'])) => Ok(letter - b'a' + 1),
            (_, Some([other @ (b'@' | b'['..=b'_')])) => Ok(other - b'@'),
            _ => bail!("unknown key \"{word}\": want a character, or ctrl- and a letter"),
        };
        if text.is_empty() {
            return Ok(Keys(Vec::new()));
        }
        text.split(',').map(key).collect::<Result<_>>().map(Keys)
    }
}

/// Looks for the keys in what is typed.
struct Escape {
    keys: Keys,
    matched: usize,
}

impl Escape {
    /// What of `typed` is for the payload; true when all keys have come, one after the other.
    fn filter(&mut self, typed: &[u8]) -> (Vec<u8>, bool) {
        let keys = &self.keys.0;
        let mut through = Vec::with_capacity(typed.len());
        for &byte in typed {
            if keys.get(self.matched) == Some(&byte) {
                self.matched += 1;
                if self.matched == keys.len() {
                    return (through, true);
                }
                continue;
            }
            through.extend_from_slice(&keys[..self.matched]);
            self.matched = 0;
            match keys.first() == Some(&byte) {
                true => self.matched = 1,
                false => through.push(byte),
            }
        }
        (through, false)
    }
}

/// One direction: what is read from `source` is written to `sink`.
struct Relay {
    source: OwnedFd,
    sink: OwnedFd,
    /// On the way in from a terminal.
    escape: Option<Escape>,
    /// The keys to leave were typed.
    left: bool,
    pending: Vec<u8>,
    /// No more will come.
    ended: bool,
    /// Nobody reads any more.
    broken: bool,
}

const CHUNK: usize = 64 << 10;

impl Relay {
    fn new(source: OwnedFd, sink: OwnedFd) -> Relay {
        Relay { source, sink, escape: None, left: false, pending: Vec::new(), ended: false, broken: false }
    }

    fn is_done(&self) -> bool {
        self.broken || (self.ended && self.pending.is_empty())
    }

    /// What to wait for: room where there is something to write, else something to read. An end of its own tells of a broken sink.
    fn interest(&self) -> PollFd<'_> {
        if self.pending.is_empty() {
            PollFd::new(self.source.as_fd(), PollFlags::POLLIN)
        } else {
            PollFd::new(self.sink.as_fd(), PollFlags::POLLOUT)
        }
    }

    fn advance(&mut self) {
        if self.pending.is_empty() {
            self.pending.resize(CHUNK, 0);
            let length = match read(&self.source, &mut self.pending) {
                // A pty whose last slave is closed answers EIO: the end.
                Ok(0) | Err(Errno::EIO) => {
                    self.ended = true;
                    0
                }
                Ok(length) => length,
                Err(Errno::EAGAIN | Errno::EINTR) => 0,
                Err(_) => {
                    self.ended = true;
                    0
                }
            };
            self.pending.truncate(length);
            if let Some(escape) = &mut self.escape {
                (self.pending, self.left) = escape.filter(&self.pending);
            }
        } else {
            match write(&self.sink, &self.pending) {
                Ok(length) => drop(self.pending.drain(..length)),
                Err(Errno::EAGAIN | Errno::EINTR) => {}
                Err(_) => self.broken = true,
            }
        }
    }
}

/// What [`Relays::advance`] has found.
pub struct Advance {
    /// Nobody reads one of the outputs any more.
    pub broken: bool,
    /// The keys to leave were typed.
    pub left: bool,
    /// The caller's input is at its end.
    pub input_ended: bool,
}

/// All relays of one container.
#[derive(Default)]
pub struct Relays {
    inward: Vec<Relay>,
    outward: Vec<Relay>,
}

impl Relays {
    /// Without a terminal: each stream that is a pipe of ours.
    pub fn of_pipes(ends: Ends) -> Result<Relays> {
        let mut relays = Relays::default();
        let own = |fd: BorrowedFd| fd.try_clone_to_owned().context("cannot duplicate a standard stream");
        if let Some(end) = ends.stdin {
            relays.inward.push(Relay::new(own(std::io::stdin().as_fd())?, end));
        }
        if let Some(end) = ends.stdout {
            relays.outward.push(Relay::new(end, own(std::io::stdout().as_fd())?));
        }
        if let Some(end) = ends.stderr {
            relays.outward.push(Relay::new(end, own(std::io::stderr().as_fd())?));
        }
        Ok(relays)
    }

    /// With a terminal: both directions through its master, or outwards from a pipe that Monitor writes to.
    pub fn of_terminal(master: &OwnedFd, input: Option<&Keys>, output: Option<OwnedFd>) -> Result<Relays> {
        use nix::fcntl::{FcntlArg, OFlag, fcntl};
        fcntl(master, FcntlArg::F_SETFL(OFlag::O_RDWR | OFlag::O_NONBLOCK)).context("cannot unblock the terminal")?;
        let own = |fd: BorrowedFd| fd.try_clone_to_owned().context("cannot duplicate a stream");
        let mut relays = Relays::default();
        if let Some(keys) = input {
            let mut relay = Relay::new(own(std::io::stdin().as_fd())?, own(master.as_fd())?);
            relay.escape = Some(Escape { keys: keys.clone(), matched: 0 });
            relays.inward.push(relay);
        }
        let source = output.map_or_else(|| own(master.as_fd()), Ok)?;
        relays.outward.push(Relay::new(source, own(std::io::stdout().as_fd())?));
        Ok(relays)
    }

    /// What to wait for, appended to the caller's own.
    pub fn interests(&self) -> Vec<PollFd<'_>> {
        self.inward.iter().chain(&self.outward).map(Relay::interest).collect()
    }

    /// Moves what is ready; `ready` are the raw descriptors that poll(2) named.
    pub fn advance(&mut self, ready: &[i32]) -> Advance {
        for relay in self.inward.iter_mut().chain(&mut self.outward) {
            let awaited = if relay.pending.is_empty() { relay.source.as_raw_fd() } else { relay.sink.as_raw_fd() };
            if ready.contains(&awaited) {
                relay.advance();
            }
        }
        let broken = self.outward.iter().any(|relay| relay.broken);
        let left = self.inward.iter().any(|relay| relay.left);
        let input_ended = self.inward.iter().any(Relay::is_done);
        // A finished inward relay closes its end: the payload sees EOF.
        self.inward.retain(|relay| !relay.is_done());
        self.outward.retain(|relay| !relay.is_done());
        Advance { broken, left, input_ended }
    }

    /// After the payload's end: all that it still wrote. With the payload its whole PID namespace has gone, so the ends are at hand.
    pub fn drain(mut self) {
        self.inward.clear();
        for relay in &mut self.outward {
            while !relay.is_done() {
                let mut set = [relay.interest()];
                // A terminal's master stays open while Monitor holds it: what is not there now will never come.
                let patience = nix::poll::PollTimeout::ZERO;
                let reading = relay.pending.is_empty();
                match nix::poll::poll(&mut set, if reading { patience } else { nix::poll::PollTimeout::NONE }) {
                    Ok(0) => break,
                    Ok(_) | Err(Errno::EINTR) => relay.advance(),
                    Err(_) => break,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_read_as_dockers() {
        assert_eq!("ctrl-p,ctrl-q".parse::<Keys>().unwrap(), Keys::default());
        assert_eq!("a,ctrl-[,ctrl-@".parse::<Keys>().unwrap(), Keys(vec![b'a', 27, 0]));
        assert_eq!("".parse::<Keys>().unwrap(), Keys(vec![]));
        assert!("ctrl-".parse::<Keys>().is_err() && "ab".parse::<Keys>().is_err() && "ctrl-1".parse::<Keys>().is_err());
    }

    #[test]
    fn only_the_whole_sequence_leaves_and_the_rest_comes_through() {
        let escape = || Escape { keys: Keys::default(), matched: 0 };
        assert_eq!(escape().filter(b"ab\x10c"), (b"ab\x10c".to_vec(), false));
        assert_eq!(escape().filter(b"ab\x10\x10\x11cd"), (b"ab\x10".to_vec(), true));
        let mut split = escape();
        assert_eq!(split.filter(b"x\x10"), (b"x".to_vec(), false));
        assert_eq!(split.filter(b"\x11"), (vec![], true));
        let mut none = Escape { keys: Keys(vec![]), matched: 0 };
        assert_eq!(none.filter(b"\x10\x11"), (b"\x10\x11".to_vec(), false));
    }
}
