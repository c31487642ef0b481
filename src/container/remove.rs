//! Taking containers away: at once invisible and its name free, then erased. Interrupted anywhere, what is left is invisible
//! and goes with the next [`sweep`].

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use nix::fcntl::{readlinkat, renameat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::config::Config;
use super::record::{self, Record};
use super::state::Status;
use super::wire::milestone;
use crate::error::Advise;
use crate::host::paths::Paths;
use crate::host::tree;
use crate::sys::process;
use crate::userns::shared::Userns;
use crate::userns::spawn;

/// Makes a record disappear: its name is free and its directory no record any more. `store` is the store's directory.
pub fn retire(store: BorrowedFd, config: &Config) -> Result<()> {
    let name = format!("names/{}", config.name);
    if config.named && readlinkat(store, name.as_str()).is_ok_and(|id| id == config.id.as_str()) {
        let _ = unlinkat(store, name.as_str(), UnlinkatFlags::NoRemoveDir);
    }
    let (from, to) = (format!("containers/{}", config.id), format!("containers/.rm-{}", config.id));
    match renameat(store, from.as_str(), store, to.as_str()) {
        Ok(()) | Err(nix::errno::Errno::ENOENT) => Ok(()),
        Err(errno) => Err(errno).with_context(|| format!("cannot remove container {}", config.id)),
    }
}

/// Deletes what [`retire`] left, and the volumes that go with the container. Needs the ids of U.
pub fn erase(store: BorrowedFd, config: &Config, with_volumes: bool) -> Result<()> {
    let remove = |path: String| {
        let path = CString::new(path).context("a name with a NUL byte")?;
        tree::remove(store, &path).with_context(|| format!("cannot delete {}", path.to_string_lossy()))
    };
    if with_volumes {
        for volume in config.volumes.iter().filter(|volume| volume.anonymous) {
            remove(format!("volumes/{}", volume.name))?;
        }
    }
    remove(format!("containers/.rm-{}", config.id))
}

/// Removes one container, as `rl rm`. A running one is killed first when `force`.
pub fn container(paths: &Paths, userns: &Userns, record: &Record, force: bool, volumes: bool) -> Result<()> {
    // One that has ended may still have its Monitor, cleaning up: that is waited for below.
    let runs = record.alive && matches!(record.state.status, Status::Created | Status::Running);
    if runs && !force {
        return Err(anyhow!("container \"{}\" is running", record.config.name))
            .hint(|| format!("rl rm -f {}", record.config.name));
    }
    end_payload(record);
    let store = record::open_directory(&paths.store)?;
    // Released when Monitor, or the Client that is still making it, is through.
    if let Ok(lock) = std::fs::File::open(&record.directory) {
        lock.lock().context("cannot wait for the container's end")?;
    }
    milestone("rm-ended");
    retire(store.as_fd(), &record.config)?;
    milestone("rm-retired");
    spawn::worker(userns, || {
        milestone("rm-worker");
        erase(store.as_fd(), &record.config, volumes || record.config.auto_remove)
    })
}

/// Kills the payload if it is still the process that the record names.
fn end_payload(record: &Record) {
    let Some((pid, start)) = record.state.pid.zip(record.state.pid_start) else { return };
    let Ok(pidfd) = process::pidfd_open(pid) else { return };
    // Between the two looks the number cannot change hands: the pidfd holds the process it was opened on.
    if record.state.boot_id == record::boot_id() && record::start_time(pid) == Some(start) {
        let _ = process::pidfd_signal(pidfd.as_fd(), libc::SIGKILL);
    }
}

/// Erases what killed processes left in the store. Cheap where there is nothing.
pub fn sweep(paths: &Paths, open: impl FnOnce() -> Result<Userns>) -> Result<()> {
    let leftovers = record::leftovers(paths);
    if leftovers.is_empty() {
        return Ok(());
    }
    let store = record::open_directory(&paths.store)?;
    for path in &leftovers {
        put_aside(store.as_fd(), path);
    }
    let userns = open()?;
    spawn::worker(&userns, || erase_leftovers(store, &leftovers))
}

/// A dead temporary container's name is freed and its payload, should it have outlived its Monitor, ended.
fn put_aside(store: BorrowedFd, path: &Path) {
    if let Ok(Some(record)) = Record::load(path) {
        end_payload(&record);
        let _ = retire(store, &record.config);
    }
}

fn erase_leftovers(store: OwnedFd, leftovers: &[std::path::PathBuf]) -> Result<()> {
    for path in leftovers {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        for name in [format!("containers/{name}"), format!("containers/.rm-{name}")] {
            let name = CString::new(name).context("a name with a NUL byte")?;
            tree::remove(store.as_fd(), &name).with_context(|| format!("cannot delete {}", path.display()))?;
        }
    }
    Ok(())
}
