//! What the payload gets as stdin, stdout and stderr when it has no terminal (DESIGN.md, the last rule of "Processes").
//!
//! The caller's terminal is never handed on: through it a payload could read what is typed and change its settings. Nor is a directory
//! (a way out), a socket, or any other device. A pipe or a file is, when the payload is container root, who owns it; for another
//! user there is a pipe of ours that it can own, so that it can open `/dev/stdout`. Between our pipes and the caller's descriptors
//! Client relays.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use anyhow::{Context, Result};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::stat::{SFlag, fstat};

/// One stream as the payload will have it.
#[derive(Debug)]
pub enum Stream {
    /// The container's /dev/null.
    Null,
    /// The caller's own descriptor.
    Direct(OwnedFd),
    /// The payload's end of a pipe of ours.
    Pipe(OwnedFd),
}

impl Stream {
    /// The descriptor, where there is one.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Stream::Null => None,
            Stream::Direct(fd) | Stream::Pipe(fd) => Some(fd.as_fd()),
        }
    }

    /// The descriptor's number, where there is one.
    fn raw(&self) -> Option<i32> {
        match self {
            Stream::Null => None,
            Stream::Direct(fd) | Stream::Pipe(fd) => Some(fd.as_raw_fd()),
        }
    }
}

/// The payload's ends, for Init.
#[derive(Debug)]
pub struct Streams {
    pub stdin: Stream,
    pub stdout: Stream,
    pub stderr: Stream,
}

impl Streams {
    /// As the payload's user gets them: it owns what is ours to give. `null` opens the container's /dev/null.
    pub fn owned_by(self, uid: u32, null: impl Fn() -> Result<OwnedFd>) -> Result<[OwnedFd; 3]> {
        let take = |stream: Stream| match stream {
            Stream::Direct(fd) => Ok(fd),
            Stream::Pipe(fd) => {
                nix::unistd::fchown(&fd, Some(uid.into()), None).context("cannot give a stream to the user").map(|()| fd)
            }
            Stream::Null => null(),
        };
        Ok([take(self.stdin)?, take(self.stdout)?, take(self.stderr)?])
    }

    /// The numbers of the descriptors among them.
    pub fn raw(&self) -> Vec<i32> {
        [&self.stdin, &self.stdout, &self.stderr].into_iter().filter_map(Stream::raw).collect()
    }
}

/// Our ends of the pipes, for Client to relay, or for Monitor to keep. Not blocking.
#[derive(Debug, Default)]
pub struct Ends {
    pub stdin: Option<OwnedFd>,
    pub stdout: Option<OwnedFd>,
    pub stderr: Option<OwnedFd>,
}

/// Where the payload's streams come from.
pub enum Origin {
    /// Client has prepared them (None with a terminal), relays what there is to relay, and is the only one who sees it.
    Client(Option<Streams>, Ends),
    /// They are Monitor's: logged, for any Client to attach, and new at each start.
    Monitor,
}

/// Whether the payload's user, by name or number, owns what the caller owns: container root does (`root`, as the host knows it); so does
/// the caller's own number under keep-id.
pub fn owned_by_payload(username: &str, keep_id: Option<(u32, u32)>, root: (u32, u32)) -> bool {
    if root.0 != nix::unistd::geteuid().as_raw() {
        return false;
    }
    let user = username.split(':').next().unwrap_or("");
    match keep_id {
        None => matches!(user, "" | "0" | "root"),
        Some((uid, _)) => user == uid.to_string(),
    }
}

/// Decides and makes the pipes. `owner`: the payload's user owns what the caller owns. `root`: container root's ids on the host; the
/// payload's ends are given to it where the caller is host root, or Init could not give them on.
pub fn prepare(interactive: bool, owner: bool, root: (u32, u32)) -> Result<(Streams, Ends)> {
    let pipe = |reader: bool| -> Result<(OwnedFd, OwnedFd)> {
        let (read, write) = pipe()?;
        if root.0 != nix::unistd::geteuid().as_raw() {
            let payloads = if reader { &read } else { &write };
            nix::unistd::fchown(payloads, Some(root.0.into()), Some(root.1.into()))
                .context("cannot give a pipe to container root")?;
        }
        Ok((read, write))
    };
    let mut ends = Ends::default();
    let stdin = match interactive {
        false => Stream::Null,
        true if owner && may_hand_on(std::io::stdin().as_fd()) => direct(std::io::stdin().as_fd())?,
        true => {
            let (read, write) = pipe(true)?;
            ends.stdin = Some(unblocked(write)?);
            Stream::Pipe(read)
        }
    };
    let output = |fd: BorrowedFd| -> Result<(Stream, Option<OwnedFd>)> {
        if owner && may_hand_on(fd) {
            return Ok((direct(fd)?, None));
        }
        let (read, write) = pipe(false)?;
        Ok((Stream::Pipe(write), Some(unblocked(read)?)))
    };
    let (stdout, stdout_end) = output(std::io::stdout().as_fd())?;
    let (stderr, stderr_end) = output(std::io::stderr().as_fd())?;
    ends.stdout = stdout_end;
    ends.stderr = stderr_end;
    Ok((Streams { stdin, stdout, stderr }, ends))
}

/// Pipes of Monitor's own, for a payload that no caller waits for: its output is logged, its input comes from whoever attaches.
pub fn kept(interactive: bool) -> Result<(Streams, Ends)> {
    let mut ends = Ends::default();
    let stdin = match interactive {
        false => Stream::Null,
        true => {
            let (read, write) = pipe()?;
            ends.stdin = Some(unblocked(write)?);
            Stream::Pipe(read)
        }
    };
    let output = || -> Result<(Stream, Option<OwnedFd>)> {
        let (read, write) = pipe()?;
        Ok((Stream::Pipe(write), Some(unblocked(read)?)))
    };
    let (stdout, stdout_end) = output()?;
    let (stderr, stderr_end) = output()?;
    ends.stdout = stdout_end;
    ends.stderr = stderr_end;
    Ok((Streams { stdin, stdout, stderr }, ends))
}

/// A pipe of ours.
pub fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    nix::unistd::pipe2(OFlag::O_CLOEXEC).context("cannot create a pipe")
}

fn direct(fd: BorrowedFd) -> Result<Stream> {
    Ok(Stream::Direct(fd.try_clone_to_owned().context("cannot duplicate a standard stream")?))
}

/// Our end only: the payload's end is another file description and stays blocking.
pub fn unblocked(fd: OwnedFd) -> Result<OwnedFd> {
    fcntl(&fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).context("cannot unblock a pipe")?;
    Ok(fd)
}

/// Pipes, regular files, and the two devices that are nothing.
fn may_hand_on(fd: BorrowedFd) -> bool {
    let Ok(stat) = fstat(fd) else { return false };
    match SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()) {
        SFlag::S_IFIFO | SFlag::S_IFREG => true,
        SFlag::S_IFCHR => [libc::makedev(1, 3), libc::makedev(1, 5)].contains(&stat.st_rdev),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn only_pipes_files_and_the_null_device_are_handed_on() {
        let (read, write) = pipe().unwrap();
        assert!(may_hand_on(read.as_fd()) && may_hand_on(write.as_fd()));
        assert!(may_hand_on(File::open("/dev/null").unwrap().as_fd()));
        assert!(may_hand_on(File::open("/proc/self/exe").unwrap().as_fd()));
        assert!(!may_hand_on(File::open("/").unwrap().as_fd()));
        assert!(!may_hand_on(File::open("/dev/urandom").unwrap().as_fd()));
        let terminal = nix::pty::openpty(None, None).unwrap();
        assert!(!may_hand_on(terminal.slave.as_fd()));
        assert!(!may_hand_on(std::os::unix::net::UnixStream::pair().unwrap().0.as_fd()));
    }
}
