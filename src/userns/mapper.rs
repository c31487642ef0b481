//! Mapper: a child that does nothing but exist in a new user namespace until its id maps are written.
//!
//! Started by Client (or whoever needs U first), or by a Worker for a namespace nested in U. Namespaces: user, a new one, and otherwise
//! its maker's. Owns one end of a socket pair, and waits on it for its end. newuidmap and newgidmap, which take most of the time, work
//! on it side by side.

use std::ffi::CString;
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};

use super::idmap::{IdMapping, IdMaps, text};
use super::plan::{Plan, Writer};
use crate::error::{Advise, EXIT_NOT_FOUND};
use crate::host::advice;
use crate::role::Role;
use crate::sys::process::{self, Child, Exit, Processors, ns};
use crate::sys::{sock, spawn};

/// U while newuidmap and newgidmap are at work.
pub struct Making {
    lock: File,
    mapper: Child,
    /// The Mapper leaves when this closes, here and in every child.
    stay: OwnedFd,
    helpers: Vec<Helper>,
}

/// newuidmap or newgidmap at work.
struct Helper {
    name: &'static str,
    child: Child,
    stderr: OwnedFd,
}

impl Helper {
    /// Not posix_spawn(3), which would hold us until the helper is loaded, twice.
    fn start(name: &'static str, program: &Path, mapper: i32, lines: &[IdMapping], on: Option<Processors>) -> Result<Helper> {
        let purpose = || format!("cannot run {}", program.display());
        let numbers = lines.iter().flat_map(|l| [l.container_id, l.host_id, l.size]).map(|n| n.to_string());
        let words = [program.display().to_string(), mapper.to_string()].into_iter().chain(numbers);
        let argv = words.map(CString::new).collect::<Result<Vec<_>, _>>().with_context(purpose)?;
        let (stderr, childs_stderr) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).with_context(purpose)?;
        let child = spawn::program(argv, childs_stderr.as_fd(), on, EXIT_NOT_FOUND).with_context(purpose)?;
        Ok(Helper { name, child, stderr })
    }

    fn finish(self) -> Result<()> {
        let exit = self.child.wait().with_context(|| format!("cannot wait for {}", self.name))?;
        if exit == Exit::Code(0) {
            return Ok(());
        }
        let mut said = String::new();
        let _ = File::from(self.stderr).read_to_string(&mut said);
        let said = said.lines().next().unwrap_or("no reason given").trim();
        let error = anyhow!("cannot map user IDs: {} failed (exit code {}): {said}", self.name, exit.code());
        refused(error).hint(|| "grep \"$USER\" /etc/subuid /etc/subgid   (the ranges must be yours and not overlap)")
    }
}

impl Making {
    /// Begins; `lock` keeps others from making a second U.
    pub fn start(plan: &Plan, lock: File) -> Result<Making> {
        let (mapper, stay) = mapper()?;
        let mut making = Making { lock, mapper, stay, helpers: Vec::new() };
        match &plan.writer {
            Writer::Helpers { newuidmap, newgidmap } => {
                let mapper = making.mapper.pid;
                let uids = Helper::start("newuidmap", newuidmap, mapper, &plan.maps.uid, Processors::elsewhere())?;
                let gids = Helper::start("newgidmap", newgidmap, mapper, &plan.maps.gid, None)?;
                making.helpers = vec![uids, gids];
            }
            Writer::Caller => write_maps(making.mapper.pid, &plan.maps)?,
        }
        Ok(making)
    }

    /// What a child that was forked meanwhile makes of it.
    pub fn watch(self) -> Watch {
        let helpers = self.helpers.into_iter().map(|helper| helper.child.pidfd).collect();
        Watch { lock: self.lock, mapper: self.mapper, stay: self.stay, helpers }
    }

    /// Waits until newuidmap and newgidmap have done it, for a maker whose child takes U from there.
    pub fn left_to_child(self) -> Result<Made> {
        self.helpers.into_iter().try_for_each(Helper::finish)?;
        Ok(Made { lock: self.lock, mapper: Some(self.mapper) })
    }

    /// Waits for the maps; returns the namespace.
    pub fn finish(self) -> Result<(OwnedFd, Made)> {
        self.helpers.into_iter().try_for_each(Helper::finish)?;
        let namespace = member_namespace(self.mapper.pid, self.mapper.pidfd.as_fd()).context("cannot open the user namespace")?;
        let _ = self.mapper.signal(libc::SIGKILL);
        Ok((namespace, Made { lock: self.lock, mapper: Some(self.mapper) }))
    }
}

/// The making of U as a child of the maker's sees it, which can wait for processes that are not its own to end, but not hear how.
pub struct Watch {
    lock: File,
    mapper: Child,
    /// Here too, so that the Mapper stays until it is not needed.
    stay: OwnedFd,
    helpers: Vec<OwnedFd>,
}

impl Watch {
    /// The descriptors that this needs.
    pub fn raw(&self) -> impl Iterator<Item = RawFd> {
        let own = [self.lock.as_raw_fd(), self.mapper.pidfd.as_raw_fd(), self.stay.as_raw_fd()];
        own.into_iter().chain(self.helpers.iter().map(|helper| helper.as_raw_fd()))
    }

    /// Waits until newuidmap and newgidmap have ended; returns the namespace. Were they refused, then nobody can be root in it.
    pub fn finish(self) -> Result<(OwnedFd, Made)> {
        self.helpers.iter().try_for_each(|helper| sock::wait_readable(helper.as_fd())).context("cannot wait for the id maps")?;
        let namespace = member_namespace(self.mapper.pid, self.mapper.pidfd.as_fd()).context("cannot open the user namespace")?;
        Ok((namespace, Made { lock: self.lock, mapper: None }))
    }
}

/// A Mapper in a new user namespace, and what keeps it there.
fn mapper() -> Result<(Child, OwnedFd)> {
    let (stay, gone) = sock::pair().context("cannot create a socket pair")?;
    let mapper = spawn::existence(ns::USER, gone.as_fd(), &Role::Mapper.comm());
    Ok((mapper.context("cannot create a user namespace").or_else(refused)?, stay))
}

/// A new user namespace nested in this process's own, in which it must be privileged.
pub fn nested(maps: &IdMaps) -> Result<OwnedFd> {
    let (mapper, stay) = mapper()?;
    let namespace = write_maps(mapper.pid, maps)
        .and_then(|()| member_namespace(mapper.pid, mapper.pidfd.as_fd()).context("cannot open the user namespace"));
    drop(stay);
    mapper.wait().context("cannot wait for the mapper")?;
    namespace
}

/// What is left of the making, or finding: the lock, and the Mapper, which has been told to leave.
#[derive(Debug)]
pub struct Made {
    pub lock: File,
    pub mapper: Option<Child>,
}

impl Drop for Made {
    /// No zombie shall wait beside a container that runs for days; by now there is nothing to wait for.
    fn drop(&mut self) {
        if let Some(mapper) = self.mapper.take() {
            let _ = mapper.wait();
        }
    }
}

/// The failure with the switch of this host that is behind it, where one is.
fn refused<T>(error: anyhow::Error) -> Result<T> {
    match advice::user_namespaces_blocked() {
        Some(cure) => Err(error).hint(|| cure),
        None => Err(error),
    }
}

/// Writes the maps of the namespace that `pid` is alone in (user_namespaces(7)).
pub fn write_maps(pid: i32, maps: &IdMaps) -> Result<()> {
    let process = PathBuf::from(format!("/proc/{pid}"));
    let put = |file: &str, value: &str| {
        fs::write(process.join(file), value).with_context(|| format!("cannot map user IDs: writing {file} of process {pid}"))
    };
    let result = put("uid_map", &text(&maps.uid)).and_then(|()| {
        if !maps.has_ranges() {
            // Without privilege a gid map may only be written by who can no longer drop groups (user_namespaces(7)).
            put("setgroups", "deny")?;
        }
        put("gid_map", &text(&maps.gid))
    });
    result.or_else(refused)
}

/// The user namespace of a process.
pub fn member_namespace(pid: i32, pidfd: BorrowedFd) -> std::io::Result<OwnedFd> {
    process::pidfd_namespace(pidfd, ns::USER).or_else(|_| Ok(File::open(format!("/proc/{pid}/ns/user"))?.into()))
}
