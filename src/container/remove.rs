//! Taking containers away: at once invisible and its name free, then erased. Interrupted anywhere, what is left is invisible
//! and goes with the next [`sweep`].

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use nix::fcntl::{readlinkat, renameat};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::boot;
use super::config::Config;
use super::control;
use super::events::{self, Event};
use super::record::{self, Record};
use super::state::Status;
use super::watch::Watch;
use super::wire::FromClient;
use super::wire::milestone;
use crate::error::Advise;
use crate::host::facts::boot_id;
use crate::host::paths::Paths;
use crate::host::tree;
use crate::network::bridge::leases;
use crate::rootfs::inroot;
use crate::sys::process;
use crate::userns::shared::Userns;
use crate::userns::spawn;

/// Makes a record disappear: its name is free, its directory no record any more, and with `with_volumes` its anonymous volumes none.
/// `store` is the store's directory. Returns the directory's new name, which says whether volumes are to be deleted too.
pub fn retire(store: BorrowedFd, config: &Config, with_volumes: bool) -> Result<CString> {
    let name = format!("names/{}", config.name);
    if config.named && readlinkat(store, name.as_str()).is_ok_and(|id| id == config.id.as_str()) {
        let _ = unlinkat(store, name.as_str(), UnlinkatFlags::NoRemoveDir);
    }
    if with_volumes {
        for volume in config.volumes.iter().filter(|volume| volume.anonymous) {
            let (from, to) = (format!("volumes/{}", volume.name), format!("volumes/{ALONE}{}", volume.name));
            let _ = renameat(store, from.as_str(), store, to.as_str());
        }
    }
    let retired = put_aside(store, &config.id, with_volumes)?;
    // Not before: a record that is there has its addresses.
    config.networks.iter().for_each(|place| leases::release(store, &config.id, place));
    events::tell(store, &[Event::of_container(config, "destroy", &[])]);
    Ok(retired)
}

fn put_aside(store: BorrowedFd, id: &str, with_volumes: bool) -> Result<CString> {
    let from = format!("containers/{id}");
    let to = CString::new(format!("containers/{}{id}", if with_volumes { VOLUMES_TOO } else { ALONE }))?;
    match renameat(store, from.as_str(), store, to.as_c_str()) {
        Ok(()) | Err(nix::errno::Errno::ENOENT) => Ok(to),
        Err(errno) => Err(errno).with_context(|| format!("cannot remove container {id}")),
    }
}

const ALONE: &str = ".rm-";
const VOLUMES_TOO: &str = ".rmv-";

/// Deletes what [`retire`] has put aside as `retired`. Needs the ids of U. The volumes go first: the record names them.
pub fn erase(store: BorrowedFd, retired: &CStr) -> Result<()> {
    let name = retired.to_string_lossy();
    if name.contains(VOLUMES_TOO)
        && let Ok(Some(config)) = inroot::read(store, &Path::new(&*name).join("config.json"), CONFIG_LIMIT)
        && let Ok(config) = serde_json::from_slice::<Config>(&config)
    {
        for volume in config.volumes.iter().filter(|volume| volume.anonymous) {
            delete(store, &CString::new(format!("volumes/{ALONE}{}", volume.name))?)?;
            delete(store, &CString::new(format!("volumes/{}", volume.name))?)?;
        }
    }
    delete(store, retired)
}

const CONFIG_LIMIT: u64 = 16 << 20;

fn delete(store: BorrowedFd, path: &CStr) -> Result<()> {
    tree::remove(store, path).with_context(|| format!("cannot delete {}", path.to_string_lossy()))
}

/// Removes one container, as `rl rm`. A running one is killed first when `force`.
pub fn container(paths: &Paths, userns: &Userns, record: &Record, force: bool, volumes: bool) -> Result<()> {
    // One that has ended may still have its Monitor, cleaning up: that is waited for below.
    let runs = record.alive && (record.state.status.is_up() || record.state.status == Status::Created);
    if runs && !force {
        return Err(anyhow!("container \"{}\" is running", record.config.name))
            .hint(|| format!("rl rm -f {}", record.config.name));
    }
    if runs {
        // By way of its Monitor, which would start it again otherwise.
        stop(record)?;
    }
    end_payload(record);
    let store = record::open_directory(&paths.store)?;
    // Released when Monitor, or the Client that is still making it, is through.
    if let Ok(lock) = std::fs::File::open(&record.directory) {
        lock.lock().context("cannot wait for the container's end")?;
    }
    milestone("rm-ended");
    let retired = retire(store.as_fd(), &record.config, volumes || record.config.auto_remove)?;
    milestone("rm-retired");
    boot::disable(paths, &record.config);
    spawn::worker(userns, || {
        milestone("rm-worker");
        erase(store.as_fd(), &retired)
    })
}

/// Has Monitor end the payload. One that is not to be reached is gone, or does not listen yet.
fn stop(record: &Record) -> Result<()> {
    const PATIENCE: Duration = Duration::from_secs(1);
    loop {
        let Ok(mut watch) = Watch::new(record) else { return Ok(()) };
        let asked = control::ask(record, &FromClient::ClientStop { signal: libc::SIGKILL, patience: None, again: false });
        let is_free = || std::fs::File::open(&record.directory).map_or(true, |directory| directory.try_lock().is_ok());
        if !matches!(asked, Ok(None)) || is_free() {
            return Ok(());
        }
        watch.wait(Some(Instant::now() + PATIENCE))?;
    }
}

/// Kills the payload if it is still the process that the record names, and waits for its end.
pub fn end_payload(record: &Record) {
    let Some((pid, start)) = record.state.pid.zip(record.state.pid_start) else { return };
    let Ok(pidfd) = process::pidfd_open(pid) else { return };
    // Between the two looks the number cannot change hands: the pidfd holds the process it was opened on.
    if record.state.boot_id == boot_id() && record::start_time(pid) == Some(start) {
        let _ = process::pidfd_signal(pidfd.as_fd(), libc::SIGKILL);
        let mut set = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
        while matches!(poll(&mut set, PollTimeout::NONE), Err(nix::errno::Errno::EINTR)) {}
    }
}

/// Erases what killed processes left in the store. Cheap where there is nothing.
pub fn sweep(paths: &Paths, open: impl FnOnce() -> Result<Userns>) -> Result<()> {
    let leftovers = record::leftovers(paths);
    if leftovers.is_empty() {
        return Ok(());
    }
    let store = record::open_directory(&paths.store)?;
    let retired = leftovers.iter().map(|path| retire_leftover(store.as_fd(), path)).collect::<Result<Vec<_>>>()?;
    let userns = open()?;
    spawn::worker(&userns, || retired.iter().try_for_each(|retired| erase(store.as_fd(), retired)))
}

/// A dead temporary container's payload, should it have outlived its Monitor, is ended and its name freed.
fn retire_leftover(store: BorrowedFd, path: &Path) -> Result<CString> {
    let name = path.file_name().and_then(|name| name.to_str()).context("a leftover without a name")?;
    if name.starts_with('.') {
        return Ok(CString::new(format!("containers/{name}"))?);
    }
    match Record::load(path) {
        Ok(Some(record)) => {
            end_payload(&record);
            retire(store, &record.config, true)
        }
        _ => put_aside(store, name, false),
    }
}
