//! The contents of files, written in a thread of its own: names are created in the archive's order by who reads it, but what goes into
//! a file, and its owner, mode, attributes and time, can come later, for they go by descriptor.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use anyhow::{Context, Result, anyhow};
use nix::sys::uio::pwrite;
use nix::unistd::ftruncate;

use super::attributes::Setter;
use super::ledger::Attributes;
use super::shown;

/// The largest piece in one step, in bytes.
pub const PIECE: usize = 128 << 10;
/// Steps that may wait. They bound the memory, and the descriptors that are open.
const STEPS: usize = 64;

/// A file that is being written.
pub struct Target {
    pub fd: OwnedFd,
    /// As the archive names it.
    pub path: Vec<u8>,
}

/// A piece of a file, perhaps its last.
pub struct Step {
    pub file: Arc<Target>,
    pub offset: u64,
    pub data: Vec<u8>,
    pub last: Option<Last>,
}

/// What makes a file complete.
pub struct Last {
    /// Where it ends in a hole: its length.
    pub length: Option<u64>,
    pub attributes: Attributes,
    /// The mode that it was created with.
    pub mode: u32,
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// The writer's side that takes work.
pub struct Queue(SyncSender<Step>);

impl Queue {
    pub fn push(&self, step: Step) -> Result<()> {
        // Why it has gone it says itself, and that comes first.
        self.0.send(step).map_err(|_| anyhow!("the writer has gone"))
    }
}

/// Runs `produce`, writing what it pushes, and returns when all is written. A failure to write ends both.
pub fn write_behind<T>(setter: &mut Setter, produce: impl FnOnce(&Queue) -> Result<T>) -> Result<T> {
    thread::scope(|scope| {
        let (push, steps) = sync_channel(STEPS);
        let writer = scope.spawn(move || write_all(steps, setter));
        let produced = produce(&Queue(push));
        match writer.join() {
            Ok(written) => written.and(produced),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

fn write_all(steps: Receiver<Step>, setter: &mut Setter) -> Result<()> {
    steps.into_iter().try_for_each(|step| write(&step, setter).with_context(|| format!("entry {}", shown(&step.file.path))))
}

fn write(step: &Step, setter: &mut Setter) -> Result<()> {
    let mut written = 0;
    while written < step.data.len() {
        let offset = i64::try_from(step.offset + written as u64)?;
        written += pwrite(&step.file.fd, &step.data[written..], offset).context("cannot write it")?;
    }
    let Some(last) = &step.last else { return Ok(()) };
    if let Some(length) = last.length {
        ftruncate(&step.file.fd, i64::try_from(length)?).context("cannot set its length")?;
    }
    setter.set(step.file.fd.as_fd(), &last.attributes, last.mode, &last.xattrs)
}
