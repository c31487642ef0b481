//! Worker: a short-lived child with the ids of U, for what the caller's own ids cannot do: unpack layers, remove what subuids own.
//!
//! Started by Client. Namespaces: user U or one nested in it, a mount namespace and an empty network namespace of its own; the rest is the host's. Owns the
//! write end of one pipe, on which its result goes back as JSON. Ends when the work does.

use std::ffi::CString;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;

use anyhow::{Context, Result, bail};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::shared::Userns;
use crate::error::{EXIT_NOT_FOUND, Failure};
use crate::role::Role;
use crate::sys::process::{self, Exit, Fork, ns};

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
