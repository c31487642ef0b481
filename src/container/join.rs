//! Joiner: from a fork of Monitor to another process in the container.
//!
//! Started by Monitor, once for each exec. It enters the namespaces of the payload, which for the PID namespace takes effect in a child
//! only: that child, a sibling by CLONE_PARENT, is Monitor's, becomes the process that was asked for, and its exit code is exact; the
//! first one ends at once. Owns one end of a conversation with Monitor and the streams. Waits for nothing. Undumpable from before it
//! enters: nothing in the container may look into a process that has the host's memory (setns(2) does not change that).

use std::convert::Infallible;
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use anyhow::{Context, Result, anyhow, bail};
use nix::sys::stat::{Mode, umask};

use super::execute::{self, Payload};
use super::stdio::Streams;
use super::wire::{self, FromInit};
use crate::error::{EXIT_NOT_FOUND, Failure};
use crate::oci::runtime::Process;
use crate::role::Role;
use crate::rootfs::dev;
use crate::sys::failpoint::milestone;
use crate::sys::process::{self, Child, Fork, SIBLING, ns};
use crate::sys::{fs, sock};
use crate::userns::idmap::IdMaps;

const DEVPTS_SUPER_MAGIC: i64 = 0x1cd1;

/// The payload's namespaces, as a way in.
pub struct Namespaces {
    /// Kinds that are the container's own.
    kinds: u64,
    /// Each by descriptor where its first process does not let itself be looked into: it never executed (`--init`). User first.
    files: Vec<(u64, OwnedFd)>,
}

impl Namespaces {
    /// Those of `init`, which is new, and waits, and may still be looked into. `by_file`: and later will not.
    /// `network`: it will have a network namespace too, which it makes itself.
    pub fn of(init: &Child, kinds: u64, network: bool, by_file: bool) -> Result<Namespaces> {
        let all = [ns::USER, ns::MOUNT, ns::PID, ns::IPC, ns::UTS, ns::TIME];
        let files = match by_file {
            true => all.into_iter().filter(|kind| kinds & kind != 0).map(|kind| open(init, kind)).collect::<Result<_>>()?,
            false => Vec::new(),
        };
        Ok(Namespaces { kinds: if network { kinds | ns::NET } else { kinds }, files })
    }

    /// The network namespace by descriptor, once it is there.
    pub fn add_network(&mut self, file: OwnedFd) {
        // First of all: it may be another container's, in whose user namespace nobody may do anything who has entered this one's.
        self.files.insert(0, (ns::NET, file));
    }

    /// The cgroup namespace, which Init makes later than the others. Only where they are known by file.
    pub fn add_cgroup(&mut self, file: OwnedFd) {
        self.files.push((ns::CGROUP, file));
    }

    /// Its user, mount and PID namespace, in this order, for another process to enter.
    pub fn files_of(&self, init: &Child) -> Result<Vec<OwnedFd>> {
        let file = |kind| match self.files.iter().find(|(known, _)| *known == kind) {
            Some((_, file)) => file.try_clone().context("cannot duplicate a namespace"),
            None => open(init, kind).map(|(_, file)| file),
        };
        [ns::USER, ns::MOUNT, ns::PID].into_iter().map(file).collect()
    }

    /// Its network namespace.
    pub fn network(&self, init: &Child) -> Result<OwnedFd> {
        if self.kinds & ns::NET == 0 {
            bail!("has no network of its own, but the host's");
        }
        match self.files.iter().find(|(known, _)| *known == ns::NET) {
            Some((_, file)) => file.try_clone().context("cannot duplicate a namespace"),
            None => open(init, ns::NET).map(|(_, file)| file),
        }
    }

    fn raw(&self) -> impl Iterator<Item = i32> {
        self.files.iter().map(|(_, file)| file.as_raw_fd())
    }

    /// Enters all of them (setns(2)).
    fn enter(&self, init: BorrowedFd) -> std::io::Result<()> {
        if self.files.is_empty() {
            return process::setns(init, self.kinds);
        }
        self.files.iter().try_for_each(|(kind, file)| process::setns(file.as_fd(), *kind))
    }
}

fn open(init: &Child, kind: u64) -> Result<(u64, OwnedFd)> {
    if let Ok(file) = process::pidfd_namespace(init.pidfd.as_fd(), kind) {
        return Ok((kind, file));
    }
    let path = format!("/proc/{}/ns/{}", init.pid, file_name(kind));
    std::fs::File::open(&path).map(|file| (kind, file.into())).with_context(|| format!("cannot open {path}"))
}

fn file_name(kind: u64) -> &'static str {
    match kind {
        ns::USER => "user",
        ns::MOUNT => "mnt",
        ns::PID => "pid",
        ns::NET => "net",
        ns::IPC => "ipc",
        ns::UTS => "uts",
        ns::CGROUP => "cgroup",
        _ => "time",
    }
}

/// What Joiner inherits from Monitor.
pub struct Joiner<'a> {
    /// The container's name.
    pub name: &'a str,
    pub process: Process,
    /// None with a terminal.
    pub streams: Option<Streams>,
    pub window: Option<(u16, u16)>,
    pub maps: &'a IdMaps,
    pub init: BorrowedFd<'a>,
    pub namespaces: &'a Namespaces,
    /// Where it is born.
    pub cgroup: Option<BorrowedFd<'a>>,
}

impl Joiner<'_> {
    /// Starts it: the process in the container, and the conversation on which it tells how far it has come.
    pub fn start(self) -> Result<(Child, OwnedFd)> {
        let (conversation, joiners_end) = sock::pair().context("cannot create a socket pair")?;
        let joiner = match process::fork_into(0, self.cgroup).context("cannot start another process")? {
            Fork::Child => {
                drop(conversation);
                self.run(joiners_end)
            }
            Fork::Parent(joiner) => joiner,
        };
        drop(joiners_end);
        let cloned = wire::receive::<FromInit>(&conversation);
        let _ = joiner.wait();
        let failed = match cloned {
            Ok(Some((FromInit::JoinerCloned(pid), fds))) => {
                let pidfd = fds.into_iter().next().context("the process did not come along")?;
                return Ok((Child { pid, pidfd }, conversation));
            }
            Ok(Some((FromInit::InitFailed(failure), _))) => failure.into(),
            Err(error) => error,
            _ => anyhow!("the process that was to enter the container died"),
        };
        // One that was not announced ends by itself; unreaped it would keep the container's PID namespace from ending.
        process::reap_group(joiner.pid);
        Err(failed)
    }

    fn run(mut self, monitor: OwnedFd) -> ! {
        let Err(error) = self.live(&monitor);
        let _ = wire::send(&monitor, &FromInit::InitFailed(Failure::from(&error)), &[]);
        process::exit_now(EXIT_NOT_FOUND)
    }

    fn live(&mut self, monitor: &OwnedFd) -> Result<Infallible> {
        process::set_title(&Role::Joiner.title(self.name), &Role::Joiner.comm());
        let streams = self.streams.iter().flat_map(Streams::raw);
        let own = [monitor.as_raw_fd(), self.init.as_raw_fd()].into_iter().chain(self.namespaces.raw());
        process::close_all_but(&own.chain(streams).collect::<Vec<_>>()).context("cannot close inherited descriptors")?;
        process::set_dumpable(false)?;
        umask(Mode::empty());
        // By this group Monitor finds a child of ours that we could not announce.
        nix::unistd::setpgid(nix::unistd::Pid::this(), nix::unistd::Pid::this()).context("cannot begin a process group")?;
        // The host's: in the container anything may stand in its place.
        let null = OwnedFd::from(std::fs::File::options().read(true).write(true).open("/dev/null")?);
        self.namespaces.enter(self.init).context("cannot enter the container: has it ended?")?;
        // It must not speak before it was announced, however long this process is kept from running (by the cgroup's CPU limit, say).
        let (announced, announcing) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).context("cannot create a pipe")?;
        match process::fork(SIBLING).context("cannot start a process in the container")? {
            Fork::Child => {
                drop(announcing);
                if nix::unistd::read(&announced, &mut [0]) != Ok(1) {
                    process::exit_now(EXIT_NOT_FOUND);
                }
            }
            Fork::Parent(child) => {
                milestone("joiner-cloned");
                wire::send(monitor, &FromInit::JoinerCloned(child.pid), &[child.pidfd.as_fd()])?;
                nix::unistd::write(&announcing, &[0])?;
                process::exit_now(0)
            }
        }
        let root = nix::fcntl::open(c"/", nix::fcntl::OFlag::O_PATH | nix::fcntl::OFlag::O_CLOEXEC, Mode::empty())?;
        let process = &self.process;
        let user = execute::find_user(root.as_fd(), process, self.maps)?;
        let (master, streams) = match self.streams.take() {
            Some(streams) => (None, streams.owned_by(user.uid, || Ok(null.try_clone()?))?),
            None => {
                let (master, streams) = execute::own_terminal(terminal(root.as_fd())?, &user, self.window)?;
                (Some(master), streams)
            }
        };
        drop(null);
        let cwd = working_directory(&process.cwd)?;
        let master: Vec<BorrowedFd> = master.iter().map(|fd| fd.as_fd()).collect();
        wire::send(monitor, &FromInit::InitRootReady, &master)?;
        milestone("joiner-ready");
        execute::limit(process)?;
        let (has_ranges, monitor) = (self.maps.has_ranges(), monitor.try_clone()?);
        Payload { process, user, streams, cwd, has_ranges, monitor, milestone: "joiner-exec" }.execute()
    }
}

/// Opened once, refused where it leads through a magic link (CVE-2024-21626). Not made: the container runs already.
fn working_directory(path: &str) -> Result<OwnedFd> {
    let open = || fs::open_no_magic(&CString::new(path)?, libc::O_PATH | libc::O_DIRECTORY);
    open().with_context(|| format!("cannot use the working directory {path}"))
}

/// A new terminal in the container's own devpts, which nothing else may stand in for (CVE-2025-52565).
fn terminal(root: BorrowedFd) -> Result<(OwnedFd, OwnedFd)> {
    let pts = fs::open_in_root(root, c"/dev/pts", libc::O_PATH | libc::O_DIRECTORY, 0).context("cannot open /dev/pts")?;
    if fs::fs_magic(pts.as_fd())? != DEVPTS_SUPER_MAGIC {
        bail!("the container's /dev/pts is not a devpts");
    }
    dev::terminal(pts.as_fd())
}
