//! Waiting for what happens to a container, without asking again and again: inotify(7) on its directory, and a pidfd.
//!
//! Ended means: the record says so, or it is gone, or nobody holds its lock any more (Monitor was killed). A dying process lets go of its
//! lock before anybody can see its payload's end, and its closing the directory is an event too.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use super::record::{self, Record, State};
use super::state::Status;
use crate::error::Advise;
use crate::host::facts::boot_id;
use crate::rootfs::inroot;
use crate::sys::process;

const STATE_LIMIT: u64 = 1 << 20;

/// A look-out on one container.
pub struct Watch {
    inotify: Inotify,
    directory: File,
    /// The payload, while it is not known to have ended.
    payload: Option<OwnedFd>,
}

/// What has come.
#[derive(Debug, PartialEq, Eq)]
pub enum Turn {
    /// A file has changed.
    Changed,
    /// The container has ended; all that it wrote is written.
    Ended,
    TimeUp,
}

impl Watch {
    /// From here on nothing is missed.
    pub fn new(record: &Record) -> Result<Watch> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)
            .context("cannot watch the container")
            .hint(|| "sudo sysctl fs.inotify.max_user_instances=1024")?;
        let directory = File::open(&record.directory).context("cannot open the container's directory")?;
        let flags = AddWatchFlags::IN_MODIFY
            | AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_CLOSE_NOWRITE
            | AddWatchFlags::IN_MOVE_SELF
            | AddWatchFlags::IN_DELETE_SELF;
        inotify.add_watch(&record.directory, flags).context("cannot watch the container")?;
        Ok(Watch { inotify, directory, payload: payload(&record.state) })
    }

    /// Whether the container has ended by now.
    pub fn has_ended(&mut self) -> Result<bool> {
        let Some(bytes) = inroot::read(self.directory.as_fd(), Path::new(record::STATE), STATE_LIMIT)? else {
            return Ok(self.is_abandoned());
        };
        let state: State = serde_json::from_slice(&bytes).context("state.json is damaged")?;
        if self.payload.is_none() {
            self.payload = payload(&state);
        }
        Ok(matches!(state.status, Status::Exited | Status::Lost) || self.is_abandoned())
    }

    /// Nobody holds the lock.
    fn is_abandoned(&self) -> bool {
        let free = self.directory.try_lock_shared().is_ok();
        if free {
            let _ = self.directory.unlock();
        }
        free
    }

    /// Waits for the next change.
    pub fn wait(&mut self, until: Option<Instant>) -> Result<Turn> {
        loop {
            let patience = match until.map(|until| until.saturating_duration_since(Instant::now())) {
                Some(Duration::ZERO) => return Ok(Turn::TimeUp),
                Some(left) => PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX),
                None => PollTimeout::NONE,
            };
            let mut set = vec![PollFd::new(self.inotify.as_fd(), PollFlags::POLLIN)];
            set.extend(self.payload.iter().map(|pidfd| PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)));
            match poll(&mut set, patience) {
                Err(Errno::EINTR) => continue,
                other => other.context("cannot wait for the container")?,
            };
            let payload_ended = set.get(1).is_some_and(|fd| fd.any().unwrap_or(true));
            drop(set);
            if payload_ended {
                self.payload = None;
                if self.is_abandoned() {
                    return Ok(Turn::Ended);
                }
            }
            if let Some(turn) = self.events()? {
                return Ok(turn);
            }
        }
    }

    /// What the kernel tells; None where it is nothing that matters.
    fn events(&mut self) -> Result<Option<Turn>> {
        let events = match self.inotify.read_events() {
            Err(Errno::EAGAIN) => return Ok(None),
            other => other.context("cannot watch the container")?,
        };
        let (mut changed, mut look) = (false, false);
        for event in events {
            let closed = event.mask.contains(AddWatchFlags::IN_CLOSE_NOWRITE);
            match event.name.as_deref() {
                None if event.mask.intersects(AddWatchFlags::IN_MOVE_SELF | AddWatchFlags::IN_DELETE_SELF) => {
                    return Ok(Some(Turn::Ended));
                }
                None => look = true,
                Some(_) if closed => {}
                Some(name) => {
                    changed = true;
                    look |= name == record::STATE;
                }
            }
        }
        if look && self.has_ended()? {
            return Ok(Some(Turn::Ended));
        }
        Ok(changed.then_some(Turn::Changed))
    }
}

/// The process that the record names, if it still runs.
fn payload(state: &State) -> Option<OwnedFd> {
    let (pid, start) = state.pid.zip(state.pid_start)?;
    let pidfd = process::pidfd_open(pid).ok()?;
    // Between the two looks the number cannot change hands: the pidfd holds the process it was opened on.
    (state.boot_id == boot_id() && record::start_time(pid) == Some(start)).then_some(pidfd)
}
