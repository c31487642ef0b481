//! A container's root, seen from a Worker in U.

use std::collections::HashSet;
use std::os::fd::{AsFd, OwnedFd};

use anyhow::{Context, Result, bail};
use nix::fcntl::{OFlag, open};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;

use super::Container;
use crate::container::{launch, record};
use crate::rootfs::apply::Builder;
use crate::rootfs::inroot::c_path;
use crate::rootfs::plan::MountStep;
use crate::sys::fs::{mount_id, open_in_root};
use crate::sys::process;
use crate::userns::idmap::IdMaps;

/// Opens it: with all that is mounted in it, volumes too. Of one that does not run the root is mounted here, in the Worker's own mount
/// namespace, and is gone with it.
pub fn of(container: &Container, nested: &IdMaps) -> Result<OwnedFd> {
    match payload(container) {
        Some((pid, start)) => running(pid, start),
        None => {
            mounted(container, nested, &|step| is_own(step) || matches!(step, MountStep::Bind { .. } | MountStep::Tmpfs { .. }))
        }
    }
}

/// The same, and the mounts in it that hold the container's own files: overlays, not volumes.
pub fn own(container: &Container, nested: &IdMaps) -> Result<(OwnedFd, HashSet<u64>)> {
    let root = match payload(container) {
        Some((pid, start)) => running(pid, start)?,
        None => mounted(container, nested, &is_own)?,
    };
    let plan = launch::plan_of(&container.record.config, container.paths, nested)?;
    let mut mounts = HashSet::from([mount_id(root.as_fd()).context("cannot tell mounts apart")?]);
    for step in plan.staged.iter().chain(&plan.steps) {
        let (MountStep::Overlay { at, .. } | MountStep::File { at, .. }) = step else { continue };
        // What has gone meanwhile, or could not be mounted, is not there.
        if let Ok(place) = open_in_root(root.as_fd(), &c_path(at)?, libc::O_PATH, 0) {
            mounts.insert(mount_id(place.as_fd()).context("cannot tell mounts apart")?);
        }
    }
    Ok((root, mounts))
}

fn payload(container: &Container) -> Option<(i32, u64)> {
    let state = &container.record.state;
    state.pid.zip(state.pid_start).filter(|_| container.record.alive)
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

/// What the root is built of.
fn is_own(step: &MountStep) -> bool {
    matches!(
        step,
        MountStep::UpperOnTmpfs
            | MountStep::Overlay { .. }
            | MountStep::Skeleton
            | MountStep::Directory { .. }
            | MountStep::Symlink { .. }
            | MountStep::File { .. }
    )
}

/// The root with the steps that are wanted; not the kernel's file systems, which have nothing to copy while nothing runs.
fn mounted(container: &Container, nested: &IdMaps, wanted: &dyn Fn(&MountStep) -> bool) -> Result<OwnedFd> {
    let plan = launch::plan_of(&container.record.config, container.paths, nested)?;
    let steps: Vec<MountStep> = plan.staged.iter().chain(&plan.steps).filter(|step| wanted(step)).cloned().collect();
    if steps.contains(&MountStep::UpperOnTmpfs) {
        bail!("its changes were on a tmpfs and are gone since it ended");
    }
    nix::sys::stat::umask(Mode::empty());
    let mut builder = Builder::new(&container.record.directory, None)?;
    builder.apply(&steps).context("cannot mount the container's files")?;
    builder.into_root()
}
