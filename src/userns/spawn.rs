//! Worker: a short-lived child with the ids of U, for what the caller's own ids cannot do: unpack layers, remove what subuids own.
//!
//! Started by Client. Namespaces: user U or one nested in it, a mount namespace and an empty network namespace of its own; the rest is the host's. Owns the
//! write end of one pipe, on which its result goes back as JSON. Ends when the work does.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::fchdir;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::shared::{Userns, enter_nested};
use crate::error::{EXIT_NOT_FOUND, Failure};
use crate::role::Role;
use crate::sys::process::{self, Child, Exit, Fork, ns};

/// Runs `work` as root of U and returns what it returned. The Worker sees this process's memory and descriptors as they are now.
pub fn worker<T: Serialize + DeserializeOwned>(userns: &Userns, work: impl FnOnce() -> Result<T>) -> Result<T> {
    child("store", || enter(userns).and_then(|()| work()))
}

/// Runs `work` in a child and returns what it returned: what `work` does to itself, to its ids say, this process does not feel.
pub fn child<T: Serialize + DeserializeOwned>(object: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let (read, write) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).context("cannot create a pipe")?;
    let child = match process::fork(0).context("cannot start a worker")? {
        Fork::Child => {
            drop(read);
            process::set_title(&Role::Worker.title(object), &Role::Worker.comm());
            let _ = process::set_parent_death_signal(libc::SIGKILL);
            let result = work().map_err(|error| Failure::from(&error));
            let sent = serde_json::to_vec(&result).map(|bytes| File::from(write).write_all(&bytes));
            process::exit_now(if matches!(sent, Ok(Ok(()))) { 0 } else { 1 })
        }
        Fork::Parent(child) => child,
    };
    drop(write);
    let mut bytes = Vec::new();
    File::from(read).read_to_end(&mut bytes).context("cannot read the worker's result")?;
    let exit = child.wait().context("cannot wait for the worker")?;
    if bytes.is_empty() {
        bail!("the worker died ({exit:?}) before it had a result");
    }
    let result: Result<T, Failure> = serde_json::from_slice(&bytes).context("cannot read the worker's result")?;
    Ok(result?)
}

/// A Worker for what strangers wrote, on its way: see [`confined`].
pub struct Confined<T> {
    guard: Child,
    line: UnixStream,
    result: PhantomData<T>,
}

/// What a confined Worker has left of the outside: the one who started it.
pub struct Line {
    stream: UnixStream,
    nested: Option<OwnedFd>,
}

impl Line {
    /// Becomes root of the namespace for layers, where that is not U. Before, the Worker has U's rights over its mounts and to the store.
    pub fn enter_nested(&mut self) -> Result<()> {
        let Some(nested) = self.nested.take() else { return Ok(()) };
        enter_nested(nested.as_fd())?;
        // A change of ids has cleared it.
        process::set_parent_death_signal(libc::SIGKILL).context("cannot be made to end with its guard")
    }

    /// Waits for [`Confined::go_on`].
    pub fn wait(&mut self) -> Result<()> {
        self.stream.read_exact(&mut [0]).context("nobody waits for the result any more")
    }
}

impl Line {
    /// The descriptors that it takes.
    pub fn descriptors(&self) -> impl Iterator<Item = RawFd> {
        self.nested.iter().map(AsRawFd::as_raw_fd).chain([self.stream.as_raw_fd()])
    }
}

/// Starts `work` as root of U in process, mount, network, IPC and UTS namespaces of its own, with `directory` as its current one (whatever
/// ids may enter it), and does not wait. Two processes: a guard stays in the host's namespaces and keeps `lock` open until the other,
/// which it ends when this process ends or loses interest, is gone for good.
pub fn confined<T: Serialize + DeserializeOwned>(
    userns: &Userns,
    directory: BorrowedFd,
    lock: BorrowedFd,
    work: impl FnOnce(&mut Line) -> Result<T>,
) -> Result<Confined<T>> {
    let (ours, theirs) = UnixStream::pair().context("cannot create a socket pair")?;
    match process::fork(0).context("cannot start a worker")? {
        Fork::Parent(guard) => Ok(Confined { guard, line: ours, result: PhantomData }),
        Fork::Child => {
            drop(ours);
            process::set_title(&Role::Worker.title("layer"), &Role::Worker.comm());
            let namespaces = ns::MOUNT | ns::NET | ns::PID | ns::IPC | ns::UTS;
            let forked = fchdir(directory)
                .context("cannot enter the store")
                .and_then(|()| userns.enter_shared())
                .and_then(|()| userns.nest())
                .and_then(|nested| Ok((nested, process::fork(namespaces).context("cannot create the worker's namespaces")?)));
            let (mut line, forked) = match forked {
                Ok((nested, forked)) => (Line { stream: theirs, nested }, Ok(forked)),
                Err(error) => (Line { stream: theirs, nested: None }, Err(error)),
            };
            let result = match forked {
                Ok(Fork::Parent(worker)) => guard(&worker, &line, lock),
                Ok(Fork::Child) => process::set_parent_death_signal(libc::SIGKILL)
                    .context("cannot be made to end with its guard")
                    .and_then(|()| work(&mut line)),
                Err(error) => Err(error),
            };
            let sent =
                serde_json::to_vec(&result.map_err(|error| Failure::from(&error))).map(|bytes| line.stream.write_all(&bytes));
            process::exit_now(if matches!(sent, Ok(Ok(()))) { 0 } else { 1 })
        }
    }
}

/// Lives as long as `worker`, which ends at the latest when nobody is at the other end of `line`.
fn guard(worker: &Child, line: &Line, lock: BorrowedFd) -> ! {
    let _ = process::close_all_but(&[worker.pidfd.as_raw_fd(), line.stream.as_raw_fd(), lock.as_raw_fd()]);
    let mut events = [PollFd::new(worker.pidfd.as_fd(), PollFlags::POLLIN), PollFd::new(line.stream.as_fd(), PollFlags::empty())];
    while matches!(poll(&mut events, PollTimeout::NONE), Err(Errno::EINTR)) {}
    let _ = worker.signal(libc::SIGKILL);
    let _ = worker.wait();
    process::exit_now(0)
}

impl<T: DeserializeOwned> Confined<T> {
    /// Ends the wait of [`Line::wait`].
    pub fn go_on(&mut self) {
        // Where it has failed meanwhile, the result says why.
        let _ = self.line.write_all(&[0]);
    }

    /// Waits for the end, and returns what the work returned.
    pub fn finish(mut self) -> Result<T> {
        let mut bytes = Vec::new();
        match self.line.read_to_end(&mut bytes) {
            // It ended without having waited to go on: an end like any other.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
            other => other.map(drop).context("cannot read the worker's result")?,
        }
        self.guard.wait().context("cannot wait for the worker")?;
        if bytes.is_empty() {
            bail!("the worker died before it had a result");
        }
        let result: Result<T, Failure> = serde_json::from_slice(&bytes).context("cannot read the worker's result")?;
        Ok(result?)
    }

    /// Ends it, whatever it is doing. When this returns it does nothing any more.
    pub fn abort(self) {
        drop(self.line);
        let _ = self.guard.wait();
    }
}

fn enter(userns: &Userns) -> Result<()> {
    userns.enter()?;
    // A change of ids has cleared it.
    process::set_parent_death_signal(libc::SIGKILL).context("cannot be made to end with who started this")?;
    process::unshare(ns::MOUNT | ns::NET).context("cannot create the worker's namespaces")
}

/// Runs a command of the host as root of U, in a mount namespace of its own (`rl unshare`); returns its exit code.
pub fn command(userns: Userns, argv: &[std::ffi::OsString]) -> Result<u8> {
    let child = match process::fork(0).context("cannot start the command")? {
        Fork::Child => {
            let error = match userns.join().and_then(|_| Ok(process::unshare(ns::MOUNT)?)) {
                Ok(()) => {
                    process::reset_signals();
                    exec(argv)
                }
                Err(error) => error,
            };
            eprintln!("rl: {error:#}");
            process::exit_now(EXIT_NOT_FOUND)
        }
        Fork::Parent(child) => child,
    };
    // The command is in our process group: what the terminal sends reaches it directly, and we only wait.
    for signal in [libc::SIGINT, libc::SIGQUIT] {
        process::ignore_signal(signal);
    }
    let exit = child.wait().context("cannot wait for the command")?;
    Ok(match exit {
        Exit::Code(code) => code,
        Exit::Signal(_) => exit.code(),
    })
}

fn exec(argv: &[std::ffi::OsString]) -> anyhow::Error {
    let Ok(argv) = argv.iter().map(|a| CString::new(a.as_bytes())).collect::<Result<Vec<_>, _>>() else {
        return anyhow::anyhow!("an argument has a NUL byte");
    };
    let Err(errno) = nix::unistd::execvp(&argv[0], &argv);
    anyhow::Error::new(errno).context(format!("cannot run {}", argv[0].to_string_lossy()))
}
