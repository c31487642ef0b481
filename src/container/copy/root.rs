//! A container's root, seen from a Worker in U.

use std::os::fd::OwnedFd;

use anyhow::{Context, Result, bail};
use nix::fcntl::{OFlag, open};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;
use std::os::fd::AsFd;

use super::Container;
use crate::container::{launch, record};
use crate::rootfs::apply::Builder;
use crate::rootfs::plan::MountStep;
use crate::sys::process;
use crate::userns::idmap::IdMaps;

/// Opens it: with all that is mounted in it, volumes too. Of one that does not run the root is mounted here, in the Worker's own mount
/// namespace, and is gone with it.
pub fn of(container: &Container, nested: &IdMaps) -> Result<OwnedFd> {
    let state = &container.record.state;
    match state.pid.zip(state.pid_start) {
        Some((pid, start)) if container.record.alive => running(pid, start),
        _ => mounted(container, nested),
    }
}

/// Through /proc/PID/root, which leads into the payload's mount namespace. That the process is still the one of the record is certain where
/// it has not ended after its root was opened.
fn running(pid: i32, start: u64) -> Result<OwnedFd> {
    let pidfd = process::pidfd_open(pid).context("the container has just ended")?;
    if record::start_time(pid) != Some(start) {
        bail!("the container has just ended");
    }
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let root = open(format!("/proc/{pid}/root").as_str(), flags, Mode::empty()).context("cannot enter the container")?;
    let ended = poll(&mut [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO).unwrap_or(1);
    if ended > 0 {
        bail!("the container has just ended");
    }
    Ok(root)
}

/// The root and what the user has mounted in it; not the kernel's file systems, which have nothing to copy while nothing runs.
fn mounted(container: &Container, nested: &IdMaps) -> Result<OwnedFd> {
    let plan = launch::plan_of(&container.record.config, container.paths, nested)?;
    let files = |step: &&MountStep| {
        matches!(
            step,
            MountStep::UpperOnTmpfs
                | MountStep::Overlay { .. }
                | MountStep::Skeleton
                | MountStep::Directory { .. }
                | MountStep::Symlink { .. }
                | MountStep::File { .. }
                | MountStep::Bind { .. }
                | MountStep::Tmpfs { .. }
        )
    };
    let steps: Vec<MountStep> = plan.staged.iter().chain(&plan.steps).filter(files).cloned().collect();
    if steps.contains(&MountStep::UpperOnTmpfs) {
        bail!("its changes were on a tmpfs and are gone since it ended");
    }
    nix::sys::stat::umask(Mode::empty());
    let mut builder = Builder::new(&container.record.directory, None)?;
    builder.apply(&steps).context("cannot mount the container's files")?;
    builder.into_root()
}
