//! U: the one user namespace of a user and id map, shared by all its Monitors.
//!
//! No process exists just to hold it: it lives as long as its last member. Members are registered by number and namespace inode
//! in the runtime directory, and whoever reads there clears the dead away:
//!
//! ```text
//! /run/user/UID/rl/userns/<map-id>/lock
//! /run/user/UID/rl/userns/<map-id>/<pid>-<inode of U>
//! ```
//!
//! Who has found U holds the lock, shared, until it is a member itself; who makes one holds it alone. So the last member may leave at any
//! time without two of them coming to be, and containers of one user can share their namespaces.
//!
//! Joining costs a handful of system calls. Making U costs 1.5-2 ms (mapper.rs), while which the caller goes on with its own work between
//! [`begin`] and [`Pending::finish`].

use std::fs::{self, File};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::idmap::IdMaps;
use super::mapper::{self, Made, Making, Watch, member_namespace};
use super::plan::Plan;
use super::sharing::Sharing;
use crate::host::facts::Caller;
use crate::host::paths::make_private_dir;
use crate::sys::process::{self, ns};

/// U, open: kept alive by this descriptor.
#[derive(Debug)]
pub struct Userns {
    namespace: OwnedFd,
    pub plan: Plan,
    registry: PathBuf,
    /// Held until there is one member more; somebody who finds none meanwhile would make a second U. Never unlocked by being closed: the
    /// member to be has a copy.
    until_joined: Option<Made>,
    /// The map of a namespace nested in U, for Workers whose files are to belong to its ids; see [`Userns::for_layers`].
    nested: Option<IdMaps>,
    /// Where others need not wait for that.
    _sharing: Option<Sharing>,
}

/// This process's line in the registry, by descriptor: it may leave the host's mounts before it leaves U.
pub struct Entry {
    registry: File,
    name: String,
}

impl Entry {
    /// Removes it: nobody shall try to join through a process that is about to end.
    pub fn remove(&self) {
        let _ = nix::unistd::unlinkat(&self.registry, self.name.as_str(), nix::unistd::UnlinkatFlags::NoRemoveDir);
    }
}

/// U found, or on its way.
pub enum Pending {
    Ready(Userns),
    Making { plan: Plan, registry: PathBuf, making: Making },
}

/// A member to be: U found or on its way, as a child has it that was forked meanwhile.
pub enum Prospect {
    Ready(Userns),
    Making { plan: Plan, registry: PathBuf, watch: Watch },
}

impl Prospect {
    /// The map that U has or will have.
    pub fn plan(&self) -> &Plan {
        match self {
            Prospect::Ready(userns) => &userns.plan,
            Prospect::Making { plan, .. } => plan,
        }
    }

    /// The descriptors that this needs.
    pub fn raw(&self) -> Vec<RawFd> {
        match self {
            Prospect::Ready(userns) => {
                let lock = userns.until_joined.iter().map(|made| made.lock.as_raw_fd());
                lock.chain([userns.namespace.as_raw_fd()]).collect()
            }
            Prospect::Making { watch, .. } => watch.raw().collect(),
        }
    }

    /// Waits for U where it is being made, and becomes a member.
    pub fn join(self) -> Result<Entry> {
        match self {
            Prospect::Ready(userns) => userns.join(),
            Prospect::Making { plan, registry, watch } => {
                let (namespace, made) = watch.finish()?;
                Userns::new(namespace, plan, registry, Some(made)).join()
            }
        }
    }
}

/// Joins U through a live member, or starts making it. Nothing here waits for newuidmap.
pub fn begin(caller: &Caller, runtime: &Path) -> Result<Pending> {
    let plan = Plan::of(caller);
    let registry = runtime.join("userns").join(plan.maps.id());
    // Where others may write, somebody could have put a registry of theirs.
    make_private_dir(runtime, caller.uid)?;
    let lock = open_lock(&registry, || {
        make_private_dir(&runtime.join("userns"), caller.uid)?;
        make_registry(&registry, plan.maps.root())
    })?;
    let busy = || format!("cannot lock {}", registry.display());
    loop {
        lock.lock_shared().with_context(busy)?;
        if let Some(namespace) = live_member(&registry) {
            let until_joined = Some(Made { lock, mapper: None });
            return Ok(Pending::Ready(Userns::new(namespace, plan, registry, until_joined)));
        }
        // Others may come between: this gives up the one lock before it waits for the other.
        lock.lock().with_context(busy)?;
        if live_member(&registry).is_none() {
            let making = Making::start(&plan, lock)?;
            return Ok(Pending::Making { plan, registry, making });
        }
    }
}

/// Inside a private directory; members write there as root of U.
fn make_registry(registry: &Path, (uid, gid): (u32, u32)) -> Result<()> {
    match fs::create_dir(registry) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        other => other.with_context(|| format!("cannot create {}", registry.display()))?,
    }
    std::os::unix::fs::chown(registry, Some(uid), Some(gid)).with_context(|| format!("cannot give away {}", registry.display()))
}

/// The lock's file, in a registry that is made where it is missing.
fn open_lock(registry: &Path, make: impl FnOnce() -> Result<()>) -> Result<File> {
    let path = registry.join("lock");
    let open = || File::options().create(true).truncate(false).write(true).open(&path);
    let file = match open() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => make().map(|()| open())?,
        other => other,
    };
    file.with_context(|| format!("cannot open {}", path.display()))
}

/// The user namespace of the first registered member that still lives in it.
fn live_member(registry: &Path) -> Option<OwnedFd> {
    for entry in fs::read_dir(registry).ok()?.flatten() {
        let name = entry.file_name();
        let Some((pid, inode)) = name.to_str().and_then(|n| n.split_once('-')) else { continue };
        let (Ok(pid), Ok(inode)) = (pid.parse::<i32>(), inode.parse::<u64>()) else { continue };
        match namespace_of(pid) {
            // The inode names this very U, whatever became of the number.
            Some(namespace) if inode_of(namespace.as_fd()) == Some(inode) => return Some(namespace),
            _ => drop(fs::remove_file(entry.path())),
        }
    }
    None
}

fn namespace_of(pid: i32) -> Option<OwnedFd> {
    let pidfd = process::pidfd_open(pid).ok()?;
    member_namespace(pid, pidfd.as_fd()).ok()
}

fn inode_of(namespace: BorrowedFd) -> Option<u64> {
    nix::sys::stat::fstat(namespace).ok().map(|stat| stat.st_ino)
}

impl Pending {
    /// The map that U has or will have: known before U is.
    pub fn plan(&self) -> &Plan {
        match self {
            Pending::Ready(userns) => &userns.plan,
            Pending::Making { plan, .. } => plan,
        }
    }

    /// In a child that will be a member.
    pub fn into_prospect(self) -> Prospect {
        match self {
            Pending::Ready(userns) => Prospect::Ready(userns),
            Pending::Making { plan, registry, making } => Prospect::Making { plan, registry, watch: making.watch() },
        }
    }

    /// In the parent of that child: waits until the maps are written where they are being, and hears why they are not. What is returned is
    /// to be dropped when nothing else has to be done, for then the Mapper is waited for.
    pub fn left_to_child(self) -> Result<Option<Made>> {
        match self {
            Pending::Ready(_) => Ok(None),
            Pending::Making { making, .. } => making.left_to_child().map(Some),
        }
    }

    /// Waits for the maps where they are being written.
    pub fn finish(self) -> Result<Userns> {
        match self {
            Pending::Ready(userns) => Ok(userns),
            Pending::Making { plan, registry, making } => {
                let (namespace, made) = making.finish()?;
                Ok(Userns::new(namespace, plan, registry, Some(made)))
            }
        }
    }
}

impl Userns {
    fn new(namespace: OwnedFd, plan: Plan, registry: PathBuf, until_joined: Option<Made>) -> Userns {
        Userns { namespace, plan, registry, until_joined, nested: None, _sharing: None }
    }

    /// Makes or joins U, waiting, for somebody who will be no member.
    pub fn open(caller: &Caller, runtime: &Path) -> Result<Userns> {
        let mut userns = begin(caller, runtime)?.finish()?;
        userns.until_joined = None;
        Ok(userns)
    }

    /// U for those who unpack layers: as it is, or, for a container that keeps the caller's ids `kept`, with a namespace nested in it whose
    /// root is the image's root.
    pub fn for_layers(&self, kept: Option<(u32, u32)>) -> Result<Userns> {
        let namespace = self.namespace.try_clone().context("cannot keep the user namespace")?;
        let maps = &self.plan.maps;
        let nested = kept.filter(|_| maps.has_ranges()).map(|(uid, gid)| maps.keep_id_within(uid, gid));
        Ok(Userns {
            namespace,
            plan: self.plan.clone(),
            registry: self.registry.clone(),
            until_joined: None,
            nested,
            _sharing: None,
        })
    }

    /// For a process that works for long before it is a member: others may make or join U meanwhile.
    pub fn share(&mut self) -> Result<()> {
        if self.until_joined.is_none() {
            return Ok(());
        }
        let namespace = self.namespace.try_clone().context("cannot keep the user namespace")?;
        let (plan, registry, until_joined) = (self.plan.clone(), self.registry.clone(), self.until_joined.take());
        self._sharing = Some(Sharing::start(Userns::new(namespace, plan, registry, until_joined))?);
        Ok(())
    }

    /// The short name of the map, for what is stored under it.
    pub fn map_id(&self) -> String {
        match &self.nested {
            Some(nested) => self.plan.maps.seen_through(nested).id(),
            None => self.plan.maps.id(),
        }
    }

    /// The host's uid and gid of root in U: the caller's own, unless the caller is root.
    pub fn root_ids(&self) -> (u32, u32) {
        self.plan.maps.root()
    }

    /// Makes this process a member for the rest of its life: enters U, becomes a way in for later commands, and lets them look.
    pub fn join(self) -> Result<Entry> {
        use nix::fcntl::{OFlag, openat};
        let registry = File::open(&self.registry).with_context(|| format!("cannot open {}", self.registry.display()))?;
        let inode = inode_of(self.namespace.as_fd()).context("cannot read the user namespace")?;
        let entry = Entry { registry, name: format!("{}-{inode}", std::process::id()) };
        self.enter()?;
        let flags = OFlag::O_CREAT | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
        let mode = nix::sys::stat::Mode::from_bits_truncate(0o600);
        openat(&entry.registry, entry.name.as_str(), flags, mode).context("cannot register in the user namespace")?;
        if let Some(made) = self.until_joined {
            // The process that took it and others hold copies of the descriptor: closing ours would not be enough.
            made.lock.unlock().context("cannot unlock the registry")?;
        }
        Ok(entry)
    }

    /// Enters U as its root, with all its capabilities, and then the namespace for layers where there is one. This process then has no
    /// way back.
    pub fn enter(&self) -> Result<()> {
        self.enter_shared()?;
        self.nest()?.map_or(Ok(()), |nested| enter_nested(nested.as_fd()))
    }

    /// The namespace for layers where there is one, for a process that is root of U.
    pub fn nest(&self) -> Result<Option<OwnedFd>> {
        self.nested.as_ref().map(mapper::nested).transpose()
    }

    /// The ids that there are for layers.
    pub fn layer_maps(&self) -> &IdMaps {
        self.nested.as_ref().unwrap_or(&self.plan.maps)
    }

    /// Enters U alone.
    pub fn enter_shared(&self) -> Result<()> {
        process::setns(self.namespace.as_fd(), ns::USER).context("cannot enter the user namespace")?;
        let caller = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
        if caller != (0, 0) {
            if self.plan.maps.has_ranges() {
                process::set_groups(&[]).context("cannot leave the supplementary groups")?;
            }
            process::set_ids(0, 0).context("cannot become root of the user namespace")?;
            // A change of ids makes a process undumpable, and an undumpable member could not be joined through.
            process::set_dumpable(true).context("cannot stay joinable")?;
        }
        Ok(())
    }
}

/// From root of U to root of a namespace nested in it.
pub fn enter_nested(namespace: BorrowedFd) -> Result<()> {
    process::setns(namespace, ns::USER).context("cannot enter the nested user namespace")?;
    process::set_ids(0, 0).context("cannot become root of the nested user namespace")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_whose_process_is_not_in_that_namespace_is_cleared_away() {
        let registry = tempfile::tempdir().unwrap();
        let stale = registry.path().join("999999999-1");
        let wrong = registry.path().join(format!("{}-1", std::process::id()));
        fs::write(&stale, "").unwrap();
        fs::write(&wrong, "").unwrap();
        assert!(live_member(registry.path()).is_none());
        assert!(!stale.exists() && !wrong.exists());
        let own = nix::sys::stat::stat("/proc/self/ns/user").unwrap().st_ino;
        fs::write(registry.path().join(format!("{}-{own}", std::process::id())), "").unwrap();
        assert!(live_member(registry.path()).is_some());
    }
}
