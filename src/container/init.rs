//! Init: from a clone of Monitor to the payload.
//!
//! Started by Monitor. Namespaces: user (nested in U), mount, and of its own unless shared with the host: pid, network,
//! ipc, uts, cgroup, time; the network's it makes itself, beside the mounts, and enters. Owns one end of the conversation with Monitor, the payload's streams, and while it builds them the mounts of the root. Waits
//! for its id maps and for the record. Ends in the execve of the payload, by way of the trampoline; under `--init` a child of it does, and it
//! stays as the Reaper. Undumpable throughout: nothing in the container may look into a process that has the host's memory.

use std::convert::Infallible;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::stat::{Mode, umask};

use super::config::Config;
use super::execute::{self, Payload};
use super::stdio::Streams;
use super::user::User;
use super::wire::{self, FromInit, ToInit};
use crate::error::{EXIT_NOT_FOUND, Failure};
use crate::network;
use crate::role::Role;
use crate::rootfs::apply::{Builder, Rootfs};
use crate::rootfs::plan::Plan;
use crate::rootfs::{dev, inroot};
use crate::security::caps::names_to_bits;
use crate::sys::failpoint::milestone;
use crate::sys::process::{self, Exit, Fork};
use crate::sys::{caps, fs, mount};
use crate::userns::idmap::IdMaps;

/// What Init inherits from Monitor.
pub struct Init<'a> {
    pub config: &'a Config,
    pub plan: &'a Plan,
    /// The container's directory on the host.
    pub directory: &'a Path,
    /// None with a terminal.
    pub streams: Option<Streams>,
    pub monitor: OwnedFd,
    /// What connects the network, where there is one to be connected.
    pub network: Option<BorrowedFd<'a>>,
    /// Rows and columns of the terminal that the payload finds from its first moment.
    pub window: Option<(u16, u16)>,
    /// The ids that exist in the container.
    pub maps: &'a IdMaps,
}

/// Lives Init's life: this process becomes the payload or ends.
pub fn run(mut init: Init) -> ! {
    let Err(error) = init.live();
    let _ = wire::send(&init.monitor, &FromInit::InitFailed(Failure::from(&error)), &[]);
    process::exit_now(EXIT_NOT_FOUND)
}

impl Init<'_> {
    fn live(&mut self) -> Result<Infallible> {
        process::set_title(&Role::Init.title(&self.config.name), &Role::Init.comm());
        self.close_what_is_monitors()?;
        // What is made on the way has the mode that is written there, whoever calls.
        umask(Mode::empty());
        let mut network = network::begin(&self.config.network, self.network).context("cannot create the network")?;
        if wire::receive::<ToInit>(&self.monitor)?.is_none() {
            bail!("the monitor died");
        }
        let caller = self.become_root()?;
        // Not before: Monitor could not have written the maps of an undumpable process.
        process::set_dumpable(false)?;
        // Not in the clone: there it would take the cgroup that Monitor is in for its root.
        if self.config.spec.linux.has("cgroup") {
            process::unshare(process::ns::CGROUP).context("cannot create a cgroup namespace")?;
            if self.config.init {
                // Nobody will be able to open it later.
                let own = std::fs::File::open("/proc/thread-self/ns/cgroup").context("cannot open the cgroup namespace")?;
                wire::send(&self.monitor, &FromInit::InitNamespaced, &[own.as_fd()])?;
            }
        }
        if wire::receive::<ToInit>(&self.monitor)?.is_none() {
            bail!("the monitor died");
        }
        let mut builder = Builder::new(self.directory, caller)?;
        let (before, after) = self.plan.at_the_network();
        builder.apply(before)?;
        network.enter().context("cannot bring up the network")?;
        if self.config.init {
            // Nobody can look it up later: the reaper never executes anything.
            let own = std::fs::File::open("/proc/self/ns/net").context("cannot open the network namespace")?;
            wire::send(&self.monitor, &FromInit::InitNetwork, &[own.as_fd()])?;
        }
        builder.apply(after)?;
        let rootfs = builder.finish()?;
        milestone("init-mounted");
        let process = &self.config.spec.process;
        let user = execute::find_user(rootfs.root.as_fd(), process, self.maps)?;
        let (master, streams) = self.streams(&rootfs, &user)?;
        self.host_name()?;
        let cwd = self.working_directory(&rootfs)?;
        let master: Vec<BorrowedFd> = master.iter().map(|fd| fd.as_fd()).collect();
        wire::send(&self.monitor, &FromInit::InitRootReady, &master)?;
        milestone("init-root-ready");
        enter(&rootfs)?;
        drop(rootfs);
        execute::limit(process)?;
        if self.config.init {
            self.stay_as_reaper()?;
        }
        network.connected().context("cannot connect the network")?;
        let monitor = self.monitor.try_clone().context("cannot duplicate the conversation")?;
        let has_ranges = self.maps.has_ranges();
        Payload { process, user, streams, cwd, has_ranges, monitor, milestone: "init-exec" }.execute()
    }

    /// What is made from here on is container root's. Returns the caller's own ids in the container, where these are others.
    fn become_root(&self) -> Result<Option<(u32, u32)>> {
        let caller = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
        if caller == (0, 0) || !self.maps.has_ranges() {
            return Ok(None);
        }
        process::set_ids(0, 0).context("cannot become root of the container")?;
        Ok(Some(caller))
    }

    /// With Monitor's end of its conversation with Client, say, Monitor's death would go unnoticed.
    fn close_what_is_monitors(&self) -> Result<()> {
        let mut keep = vec![self.monitor.as_raw_fd()];
        keep.extend(self.network.map(|link| link.as_raw_fd()));
        if let Some(streams) = &self.streams {
            keep.extend(streams.raw());
        }
        process::close_all_but(&keep).context("cannot close inherited descriptors")
    }

    /// With a terminal its slave thrice, and the master for Monitor; else the streams that Client or Monitor has prepared.
    fn streams(&mut self, rootfs: &Rootfs, user: &User) -> Result<(Option<OwnedFd>, [OwnedFd; 3])> {
        match self.streams.take() {
            None => {
                let (master, streams) = execute::own_terminal(dev::console(&rootfs.dev)?, user, self.window)?;
                Ok((Some(master), streams))
            }
            Some(streams) => Ok((None, streams.owned_by(user.uid, || null(rootfs))?)),
        }
    }

    fn host_name(&self) -> Result<()> {
        let spec = &self.config.spec;
        if spec.linux.has("uts") {
            nix::unistd::sethostname(&spec.hostname).context("cannot set the host name")?;
        }
        Ok(())
    }

    /// Made if missing, opened once, refused where it leads through a magic link (CVE-2024-21626).
    fn working_directory(&self, rootfs: &Rootfs) -> Result<OwnedFd> {
        let cwd = &self.config.spec.process.cwd;
        inroot::directory(rootfs.root.as_fd(), Path::new(cwd)).with_context(|| format!("cannot use the working directory {cwd}"))
    }

    /// `--init`: the payload becomes a child, and this process its reaper. Returns in the child.
    fn stay_as_reaper(&mut self) -> Result<()> {
        let child = match process::fork(0).context("cannot start the command under the reaper")? {
            Fork::Child => return Ok(()),
            Fork::Parent(child) => child,
        };
        process::set_title(&Role::Reaper.title(&self.config.name), &Role::Reaper.comm());
        let bits = names_to_bits(&self.config.spec.process.capabilities)?;
        caps::limit_bounding(bits).and_then(|()| caps::set(bits)).context("cannot limit the reaper's capabilities")?;
        reap(child)
    }
}

/// Makes the built root this process's root; nothing of the host's tree remains in sight.
fn enter(rootfs: &Rootfs) -> Result<()> {
    nix::unistd::fchdir(&rootfs.root).context("cannot enter the new root")?;
    mount::pivot_here().context("cannot pivot into the new root")?;
    mount::umount_here().context("cannot leave the old root")?;
    nix::unistd::chdir(c"/").context("cannot enter the new root")
}

fn null(rootfs: &Rootfs) -> Result<OwnedFd> {
    fs::open_beneath(rootfs.dev.mount.as_fd(), c"null", libc::O_RDWR, 0).context("cannot open /dev/null")
}

/// PID 1 of the container: passes signals to `child`, reaps all, and ends as `child` does (tini's loop).
fn reap(child: process::Child) -> ! {
    let _ = process::set_parent_death_signal(libc::SIGKILL);
    let _ = process::close_from(0);
    let all = SigSet::all();
    let _ = all.thread_block();
    loop {
        match all.wait() {
            Ok(Signal::SIGCHLD) => {
                while let Ok(Some((pid, exit))) = process::reap_any() {
                    if pid == child.pid {
                        process::exit_now(Exit::code(exit));
                    }
                }
            }
            Ok(signal) => drop(nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.pid), signal)),
            Err(_) => {}
        }
    }
}
