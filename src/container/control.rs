//! Requests to a container's Monitor, by the socket in its record's directory.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use anyhow::{Context, Result, anyhow, bail};

use super::record::{self, Record};
use super::serve::CONTROL;
use super::wire::{self, FromClient, FromMonitor};
use crate::sys::sock;

/// Begins a conversation with the container's Monitor.
pub fn connect(record: &Record) -> Result<OwnedFd> {
    let name = &record.config.name;
    let directory = record::open_directory(&record.directory).map_err(|_| anyhow!("container \"{name}\" is gone"))?;
    match sock::connect(directory.as_fd(), CONTROL) {
        Ok(socket) => Ok(socket),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            bail!("container \"{name}\" is not running")
        }
        Err(error) => Err(error).with_context(|| format!("cannot reach the monitor of \"{name}\"")),
    }
}

/// Asks and waits for the answer. None: Monitor has died, or the container has ended meanwhile.
pub fn ask(record: &Record, request: &FromClient) -> Result<Option<(FromMonitor, Vec<OwnedFd>)>> {
    let conversation = connect(record)?;
    wire::send(&conversation, request, &[])?;
    match wire::receive::<FromMonitor>(&conversation)? {
        Some((FromMonitor::MonitorFailed(failure), _)) => Err(failure.into()),
        answer => Ok(answer),
    }
}
