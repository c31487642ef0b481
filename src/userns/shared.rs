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
//! Joining costs a handful of system calls. Making U costs 1.5-2 ms, nearly all of it newuidmap and newgidmap, which run side by
//! side while the caller goes on with its own work between [`begin`] and [`Pending::finish`]. They map a *Mapper*: a child that does
//! nothing but exist until the maps are written.

use std::ffi::CString;
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};

use super::idmap::{IdMapping, IdMaps, text};
use super::subid::{SubidRange, ranges};
use crate::error::{Advise, EXIT_NOT_FOUND};
use crate::host::advice;
use crate::host::facts::{Caller, tool};
use crate::host::paths::make_private_dir;
use crate::role::Role;
use crate::sys::process::{self, Child, Exit, Fork, ns};
use crate::sys::{caps, sock};

/// How the maps of a new U get written.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Writer {
    /// newuidmap and newgidmap.
    Helpers { newuidmap: PathBuf, newgidmap: PathBuf },
    /// By the caller itself: one id needs no privilege, ranges need CAP_SETUID and CAP_SETGID.
    Caller,
}

/// Which U this caller gets.
#[derive(Debug, Clone)]
pub struct Plan {
    pub maps: IdMaps,
    writer: Writer,
    /// What this host does without, one line, and its cure: to be said once per run.
    pub warning: Option<(String, String)>,
}

/// What the plan depends on, so that it is a pure function of it.
struct Means {
    subuid: Vec<SubidRange>,
    subgid: Vec<SubidRange>,
    helpers: Option<(PathBuf, PathBuf)>,
    /// CAP_SETUID and CAP_SETGID in the caller's own user namespace.
    may_map: bool,
    /// The ids that exist in the caller's own user namespace (`/proc/self/uid_map`), as (first, size).
    own: Vec<(u32, u32)>,
}

impl Plan {
    /// Reads the caller's means and decides.
    pub fn of(caller: &Caller) -> Plan {
        let name = caller.name.as_deref();
        let is_root = caller.uid == 0;
        let means = Means {
            subuid: ranges(Path::new("/etc/subuid"), name, caller.uid),
            subgid: ranges(Path::new("/etc/subgid"), name, caller.uid),
            helpers: tool("newuidmap").zip(tool("newgidmap")),
            may_map: is_root && caps::effective().is_ok_and(|set| set & 0xC0 == 0xC0),
            own: if is_root { own_ids(&fs::read_to_string("/proc/self/uid_map").unwrap_or_default()) } else { Vec::new() },
        };
        decide(caller, means)
    }
}

fn decide(caller: &Caller, means: Means) -> Plan {
    let granted = !means.subuid.is_empty() && !means.subgid.is_empty();
    if means.may_map {
        let high = high_range(&means.own).map(|range| IdMaps::ranges_only(&[range], &[range]));
        let maps = if granted { Some(IdMaps::ranges_only(&means.subuid, &means.subgid)) } else { high };
        if let Some(maps) = maps {
            return Plan { maps, writer: Writer::Caller, warning: None };
        }
    }
    match means.helpers {
        Some((newuidmap, newgidmap)) if granted => {
            let maps = match caller.uid {
                0 => IdMaps::ranges_only(&means.subuid, &means.subgid),
                uid => IdMaps::with_ranges(uid, caller.gid, &means.subuid, &means.subgid),
            };
            Plan { maps, writer: Writer::Helpers { newuidmap, newgidmap }, warning: None }
        }
        helpers => Plan {
            maps: IdMaps::single(caller.uid, caller.gid),
            writer: Writer::Caller,
            warning: Some(single_warning(caller, helpers.is_some())),
        },
    }
}

fn single_warning(caller: &Caller, has_helpers: bool) -> (String, String) {
    let who = caller.label();
    if caller.uid == 0 {
        return ("container root is this root: no other ids can be mapped here".into(), advice::add_ranges(caller));
    }
    if has_helpers {
        (
            format!("only one id in the container: no range for \"{who}\" in /etc/subuid and /etc/subgid"),
            advice::add_ranges(caller),
        )
    } else {
        ("only one id in the container: newuidmap and newgidmap are not installed".into(), advice::install_uidmap().into())
    }
}

/// Ids for a root that was given none: far above what distributions and systemd hand out, else the top of what exists here.
fn high_range(own: &[(u32, u32)]) -> Option<SubidRange> {
    const START: u32 = 1_000_000_000;
    const SIZE: u32 = 65536;
    let holds = |&&(first, size): &&(u32, u32)| first <= START && size - (START - first).min(size) >= SIZE;
    if own.iter().find(holds).is_some() {
        return Some(SubidRange { start: START, size: SIZE });
    }
    let &(first, size) = own.iter().max_by_key(|(_, size)| *size)?;
    (size >= 2 * SIZE).then(|| SubidRange { start: first + (size - SIZE), size: SIZE })
}

fn own_ids(uid_map: &str) -> Vec<(u32, u32)> {
    uid_map
        .lines()
        .filter_map(|line| {
            let mut numbers = line.split_whitespace().map(|n| n.parse::<u32>().ok());
            Some((numbers.next()??, numbers.nth(1)??))
        })
        .collect()
}

/// U, open: kept alive by this descriptor.
#[derive(Debug)]
pub struct Userns {
    namespace: OwnedFd,
    pub plan: Plan,
    registry: PathBuf,
    /// Held by whoever makes U until its first member is registered; a second maker would make a second U. Never unlocked by being
    /// closed: the member to be has a copy.
    making: Option<Made>,
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

/// A member to be, see [`Pending::into_prospect`].
pub struct Prospect {
    pub plan: Plan,
    registry: PathBuf,
    making: Option<Made>,
}

impl Prospect {
    /// The number of the making lock's descriptor, where it is held.
    pub fn lock(&self) -> Option<i32> {
        self.making.as_ref().map(|made| made.lock.as_raw_fd())
    }
}

/// U while newuidmap and newgidmap are at work.
pub struct Making {
    lock: File,
    mapper: Child,
    /// The Mapper leaves when this closes.
    _stay: OwnedFd,
    helpers: Vec<Helper>,
}

/// newuidmap or newgidmap at work.
struct Helper {
    name: &'static str,
    child: Child,
    stderr: OwnedFd,
}

impl Helper {
    /// A fork and exec of our own: posix_spawn(3) would hold us until the helper is loaded, twice.
    fn start(name: &'static str, program: &Path, mapper: i32, lines: &[IdMapping]) -> Result<Helper> {
        let purpose = || format!("cannot run {}", program.display());
        let numbers = lines.iter().flat_map(|l| [l.container_id, l.host_id, l.size]).map(|n| n.to_string());
        let words = [program.display().to_string(), mapper.to_string()].into_iter().chain(numbers);
        let argv = words.map(CString::new).collect::<Result<Vec<_>, _>>().with_context(purpose)?;
        let (stderr, childs_stderr) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).with_context(purpose)?;
        match process::fork(0).with_context(purpose)? {
            Fork::Parent(child) => Ok(Helper { name, child, stderr }),
            Fork::Child => {
                let _ = process::put_at(childs_stderr.as_fd(), 2);
                process::reset_signals();
                let _ = nix::unistd::execve::<_, CString>(&argv[0], &argv, &[]);
                process::exit_now(EXIT_NOT_FOUND)
            }
        }
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

/// Joins U through a live member, or starts making it. Nothing here waits for newuidmap.
pub fn begin(caller: &Caller, runtime: &Path) -> Result<Pending> {
    let plan = Plan::of(caller);
    let registry = runtime.join("userns").join(plan.maps.id());
    // Where others may write, somebody could have put a registry of theirs.
    make_private_dir(runtime, caller.uid)?;
    if let Some(namespace) = live_member(&registry) {
        return Ok(Pending::Ready(Userns { namespace, plan, registry, making: None }));
    }
    if !registry.is_dir() {
        make_private_dir(&runtime.join("userns"), caller.uid)?;
        make_registry(&registry, plan.maps.root())?;
    }
    let lock = lock(&registry)?;
    if let Some(namespace) = live_member(&registry) {
        return Ok(Pending::Ready(Userns { namespace, plan, registry, making: None }));
    }
    let making = Making::start(&plan, lock)?;
    Ok(Pending::Making { plan, registry, making })
}

/// Inside a private directory; members write there as root of U.
fn make_registry(registry: &Path, (uid, gid): (u32, u32)) -> Result<()> {
    match fs::create_dir(registry) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        other => other.with_context(|| format!("cannot create {}", registry.display()))?,
    }
    std::os::unix::fs::chown(registry, Some(uid), Some(gid)).with_context(|| format!("cannot give away {}", registry.display()))
}

fn lock(registry: &Path) -> Result<File> {
    let path = registry.join("lock");
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.with_context(|| format!("cannot open {}", path.display()))?;
    file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
    Ok(file)
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

fn member_namespace(pid: i32, pidfd: BorrowedFd) -> std::io::Result<OwnedFd> {
    process::pidfd_namespace(pidfd, ns::USER).or_else(|_| Ok(File::open(format!("/proc/{pid}/ns/user"))?.into()))
}

fn inode_of(namespace: BorrowedFd) -> Option<u64> {
    nix::sys::stat::fstat(namespace).ok().map(|stat| stat.st_ino)
}

impl Making {
    fn start(plan: &Plan, lock: File) -> Result<Making> {
        let (stay, gone) = sock::pair().context("cannot create a socket pair")?;
        let fork = process::fork(ns::USER).context("cannot create a user namespace").or_else(refused)?;
        let mapper = match fork {
            Fork::Child => {
                drop((lock, stay));
                process::set_title(&Role::Mapper.title("U"), &Role::Mapper.comm());
                let _ = sock::receive(gone.as_fd(), &mut [0]);
                process::exit_now(0)
            }
            Fork::Parent(child) => child,
        };
        let mut making = Making { lock, mapper, _stay: stay, helpers: Vec::new() };
        match &plan.writer {
            Writer::Helpers { newuidmap, newgidmap } => {
                let uids = Helper::start("newuidmap", newuidmap, making.mapper.pid, &plan.maps.uid)?;
                process::send_elsewhere(&uids.child);
                let gids = Helper::start("newgidmap", newgidmap, making.mapper.pid, &plan.maps.gid)?;
                making.helpers = vec![uids, gids];
            }
            Writer::Caller => write_maps(making.mapper.pid, &plan.maps)?,
        }
        Ok(making)
    }

    fn finish(self) -> Result<(OwnedFd, Made)> {
        for helper in self.helpers {
            helper.finish()?;
        }
        let namespace = member_namespace(self.mapper.pid, self.mapper.pidfd.as_fd()).context("cannot open the user namespace")?;
        let _ = self.mapper.signal(libc::SIGKILL);
        Ok((namespace, Made { lock: self.lock, mapper: Some(self.mapper) }))
    }
}

/// What is left of the making: the lock, and the Mapper, which has been told to leave.
#[derive(Debug)]
struct Made {
    lock: File,
    mapper: Option<Child>,
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

impl Pending {
    /// The map that U has or will have: known before U is.
    pub fn plan(&self) -> &Plan {
        match self {
            Pending::Ready(userns) => &userns.plan,
            Pending::Making { plan, .. } => plan,
        }
    }

    /// In a child that will be a member: what it needs beside the descriptor that it will be handed.
    pub fn into_prospect(self) -> Prospect {
        match self {
            Pending::Ready(Userns { plan, registry, making, .. }) => Prospect { plan, registry, making },
            Pending::Making { plan, registry, making } => {
                // The Mapper is the parent's child, not ours to wait for.
                Prospect { plan, registry, making: Some(Made { lock: making.lock, mapper: None }) }
            }
        }
    }

    /// Waits for the maps where they are being written.
    pub fn finish(self) -> Result<Userns> {
        match self {
            Pending::Ready(userns) => Ok(userns),
            Pending::Making { plan, registry, making } => {
                let (namespace, made) = making.finish()?;
                Ok(Userns { namespace, plan, registry, making: Some(made) })
            }
        }
    }
}

impl Userns {
    /// Makes or joins U, waiting.
    pub fn open(caller: &Caller, runtime: &Path) -> Result<Userns> {
        begin(caller, runtime)?.finish()
    }

    /// The short name of U's map, for what is stored under it.
    pub fn map_id(&self) -> String {
        self.plan.maps.id()
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
        if let Some(made) = self.making {
            // The process that took it and others hold copies of the descriptor: closing ours would not be enough.
            made.lock.unlock().context("cannot unlock the registry")?;
        }
        Ok(entry)
    }

    /// U as a process has it that was forked while U was [`Pending`] and was handed the descriptor afterwards.
    pub fn handed(namespace: OwnedFd, prospect: Prospect) -> Userns {
        let Prospect { plan, registry, making } = prospect;
        Userns { namespace, plan, registry, making }
    }

    /// The descriptor, to be handed on.
    pub fn namespace(&self) -> BorrowedFd<'_> {
        self.namespace.as_fd()
    }

    /// Enters U as its root, with all its capabilities. This process then has no way back.
    pub fn enter(&self) -> Result<()> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn means(granted: bool, helpers: bool) -> Means {
        let range = vec![SubidRange { start: 100_000, size: 65536 }];
        Means {
            subuid: if granted { range.clone() } else { vec![] },
            subgid: if granted { range } else { vec![] },
            helpers: helpers.then(|| ("/usr/bin/newuidmap".into(), "/usr/bin/newgidmap".into())),
            may_map: false,
            own: vec![(0, u32::MAX)],
        }
    }

    fn ann() -> Caller {
        Caller { uid: 1000, gid: 1000, name: Some("ann".into()) }
    }

    fn root() -> Caller {
        Caller { uid: 0, gid: 0, name: Some("root".into()) }
    }

    #[test]
    fn ranges_and_helpers_give_a_full_map() {
        let plan = decide(&ann(), means(true, true));
        assert!(plan.maps.has_ranges() && plan.warning.is_none());
        assert!(matches!(plan.writer, Writer::Helpers { .. }));
    }

    #[test]
    fn without_ranges_or_helpers_there_is_one_id_and_a_cure() {
        let plan = decide(&ann(), means(false, true));
        assert_eq!(plan.maps, IdMaps::single(1000, 1000));
        assert!(plan.warning.unwrap().1.contains("usermod"));
        assert!(decide(&ann(), means(true, false)).warning.unwrap().1.contains("uidmap"));
    }

    #[test]
    fn container_root_is_never_silently_host_root() {
        let able = |granted, own| decide(&root(), Means { may_map: true, own, ..means(granted, true) });
        assert_eq!(able(true, vec![(0, u32::MAX)]).maps.root(), (100_000, 100_000));
        assert_eq!(able(false, vec![(0, u32::MAX)]).maps.root(), (1_000_000_000, 1_000_000_000));
        assert_eq!(able(false, vec![(0, 200_000)]).maps.root().0, 200_000 - 65536);
        let poor = able(false, vec![(0, 65536)]);
        assert_eq!(poor.maps.root(), (0, 0));
        assert!(poor.warning.is_some());
    }

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
