//! `rl` on a real terminal: what is typed, what is shown, its size and its settings.

use super::{hang, line, wait_until};
use nix::{
    fcntl::{self, OFlag},
    poll::{PollFd, PollFlags, PollTimeout, poll},
    pty::{grantpt, posix_openpt, ptsname_r, unlockpt},
    sys::stat::Mode,
    sys::termios::{Termios, tcgetattr},
    unistd::{read, write},
};
use std::{
    os::fd::{AsFd, OwnedFd},
    process::{Child, Command, Stdio},
    time::Instant,
};

pub struct Pty {
    line: String,
    master: OwnedFd,
    child: Child,
    /// Shown, but not yet taken by `expect`.
    shown: Vec<u8>,
}

impl Pty {
    /// Starts it as the leader of a session which this terminal controls.
    pub fn spawn(command: &Command) -> Pty {
        let (master, slave) = open();
        let end = || Stdio::from(slave.try_clone().expect("dup"));
        // setsid(1) execs in place: the child's pid is rl's.
        let mut setsid = Command::new("setsid");
        setsid.arg("--ctty").arg(command.get_program()).args(command.get_args()).env_clear();
        setsid.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        if let Some(dir) = command.get_current_dir() {
            setsid.current_dir(dir);
        }
        let child = setsid.stdin(end()).stdout(end()).stderr(end()).spawn().expect("setsid");
        // Our copies of the slave are closed here, so that the end of its last user is seen.
        Pty { line: line(command), master, child, shown: Vec::new() }
    }

    pub fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// Types this; "\n" is Enter, "\x03" is Ctrl-C.
    #[track_caller]
    pub fn write(&self, keys: &str) {
        let mut rest = keys.as_bytes();
        while !rest.is_empty() {
            let n = write(&self.master, rest).unwrap_or_else(|e| panic!("cannot type to `{}`: {e}", self.line));
            rest = &rest[n..];
        }
    }

    /// Waits until this is shown; returns all up to and with it. The terminal echoes what is typed: expect only what the
    /// program prints (`echo a''b` shows `ab` only as output).
    #[track_caller]
    pub fn expect(&mut self, text: &str) -> String {
        let deadline = hang();
        loop {
            if let Some(at) = self.shown.windows(text.len()).position(|w| w == text.as_bytes()) {
                let taken: Vec<u8> = self.shown.drain(..at + text.len()).collect();
                return String::from_utf8_lossy(&taken).into_owned();
            }
            let more = self.read_more(deadline);
            assert!(
                more == Some(true),
                "`{}` never showed {text:?}; it showed:\n{}",
                self.line,
                String::from_utf8_lossy(&self.shown)
            );
        }
    }

    /// Waits for its end; returns the exit code and what it showed since the last `expect`.
    #[track_caller]
    pub fn finish(&mut self) -> (i32, String) {
        let deadline = hang();
        while let Some(true) = self.read_more(deadline) {}
        let Some(status) = wait_until(&mut self.child, deadline) else {
            panic!("`{}` hung; it showed:\n{}", self.line, String::from_utf8_lossy(&self.shown));
        };
        let code = status.code().unwrap_or_else(|| panic!("`{}` ended by {status}", self.line));
        (code, String::from_utf8_lossy(&std::mem::take(&mut self.shown)).into_owned())
    }

    #[track_caller]
    pub fn resize(&self, rows: u16, columns: u16) {
        let stdin = Stdio::from(self.master.try_clone().expect("dup"));
        let status = Command::new("stty").args(["rows", &rows.to_string(), "cols", &columns.to_string()]).stdin(stdin).status();
        assert!(status.expect("stty").success(), "cannot resize the terminal");
    }

    /// The terminal's settings as they are now: raw, echo, and so on.
    pub fn termios(&self) -> Termios {
        tcgetattr(&self.master).expect("tcgetattr")
    }

    /// Some(true): more was shown. Some(false): nobody holds the terminal any more. None: nothing until the deadline.
    fn read_more(&mut self, deadline: Instant) -> Option<bool> {
        let left = PollTimeout::try_from(deadline.saturating_duration_since(Instant::now())).unwrap_or(PollTimeout::MAX);
        let mut fds = [PollFd::new(self.master.as_fd(), PollFlags::POLLIN)];
        if poll(&mut fds, left).expect("poll") == 0 {
            return None;
        }
        let mut part = [0; 8192];
        // EIO is how a master says that the slave's last user has closed it.
        let n = read(&self.master, &mut part).unwrap_or(0);
        self.shown.extend_from_slice(&part[..n]);
        Some(n > 0)
    }
}

/// Master and slave of a new terminal, which no other child inherits (openpty(3) has no CLOEXEC).
fn open() -> (OwnedFd, OwnedFd) {
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let master = posix_openpt(flags).expect("posix_openpt");
    grantpt(&master).and_then(|()| unlockpt(&master)).expect("unlock the terminal");
    let slave = fcntl::open(ptsname_r(&master).expect("ptsname").as_str(), flags, Mode::empty()).expect("open the slave");
    let terminal = Stdio::from(slave.try_clone().expect("dup"));
    let status = Command::new("stty").args(["rows", "24", "cols", "80"]).stdin(terminal).status();
    assert!(status.expect("stty").success(), "cannot size the terminal");
    (master.into(), slave)
}

impl Drop for Pty {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
