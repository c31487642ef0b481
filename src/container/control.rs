//! Requests to a container's Monitor, by the socket in its record's directory.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::{Context, Result, anyhow};

use super::record::{self, Record};
use super::wire::{self, CONTROL, FromClient, FromMonitor};
use crate::sys::{fs, sock};

/// Begins a conversation with the container's Monitor.
pub fn connect(record: &Record) -> Result<OwnedFd> {
    reach(record)?.ok_or_else(|| not_running(record))
}

/// Asks for something that only a running container can do.
pub fn tell(record: &Record, request: &FromClient) -> Result<()> {
    tell_with(record, request, &[])
}

/// The same, with descriptors.
pub fn tell_with(record: &Record, request: &FromClient, fds: &[BorrowedFd]) -> Result<()> {
    ask_with(record, request, fds)?.map(drop).ok_or_else(|| not_running(record))
}

/// Asks and waits for the answer. None: the container has ended meanwhile, as its record says by now; or Monitor has died.
pub fn ask(record: &Record, request: &FromClient) -> Result<Option<(FromMonitor, Vec<OwnedFd>)>> {
    ask_with(record, request, &[])
}

fn ask_with(record: &Record, request: &FromClient, fds: &[BorrowedFd]) -> Result<Option<(FromMonitor, Vec<OwnedFd>)>> {
    let Some(conversation) = reach(record)? else { return Ok(None) };
    if wire::send(&conversation, request, fds).is_err() {
        return Ok(None);
    }
    match wire::receive::<FromMonitor>(&conversation)? {
        Some((FromMonitor::MonitorFailed(failure), _)) => Err(failure.into()),
        answer => Ok(answer),
    }
}

/// The network namespace of the container `id`, for a Monitor, which has the store's directory.
pub fn network_of(store: BorrowedFd, id: &str) -> Result<OwnedFd> {
    let path = std::ffi::CString::new(format!("containers/{id}"))?;
    let not_running = || anyhow!("container \"{}\", whose network is to be shared, is not running", &id[..id.len().min(12)]);
    let directory = fs::open_beneath(store, &path, libc::O_RDONLY | libc::O_DIRECTORY, 0).map_err(|_| not_running())?;
    let conversation = sock::connect(directory.as_fd(), CONTROL).map_err(|_| not_running())?;
    wire::send(&conversation, &FromClient::ClientNetwork, &[])?;
    match wire::receive::<FromMonitor>(&conversation)? {
        Some((FromMonitor::MonitorDone, fds)) => fds.into_iter().next().ok_or_else(not_running),
        Some((FromMonitor::MonitorFailed(failure), _)) => Err(failure.into()),
        _ => Err(not_running()),
    }
}

fn reach(record: &Record) -> Result<Option<OwnedFd>> {
    let Ok(directory) = record::open_directory(&record.directory) else { return Ok(None) };
    match sock::connect(directory.as_fd(), CONTROL) {
        Ok(socket) => Ok(Some(socket)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot reach the monitor of \"{}\"", record.config.name)),
    }
}

fn not_running(record: &Record) -> anyhow::Error {
    anyhow!("container \"{}\" is not running", record.config.name)
}
