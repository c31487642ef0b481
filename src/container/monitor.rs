//! Monitor: holds one container from its start to its end.
//!
//! Started by Client, a fork without exec. Namespaces: user U (joined), from shortly after the start on a mount namespace of its own
//! whose root is an empty tmpfs; the rest is the host's. Own session. Owns the record's directory, locked, the store's, one
//! end of each conversation, and what else a dead Client would leave nobody to read. Waits for Init's end and Client's messages.
//! Reports, then cleans up, then ends. Killed, it takes the payload along (PR_SET_PDEATHSIG).

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use anyhow::{Context, Result, anyhow};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::config::Config;
use super::init::{self, Init};
use super::record::{self, State};
use super::remove;
use super::stdio::{Ends, Streams};
use super::wire::{self, FromClient, FromInit, FromMonitor, ToInit, milestone};
use crate::error::{EXIT_NOT_EXECUTABLE, EXIT_NOT_FOUND, EXIT_RL, Failure};
use crate::role::Role;
use crate::rootfs::apply::Builder;
use crate::rootfs::plan::Plan;
use crate::sys::mount::{self, FsContext};
use crate::sys::process::{self, Child, Exit, Fork, ns};
use crate::sys::sock;
use crate::userns::idmap::{IdMaps, to_host};
use crate::userns::mapper::write_maps;
use crate::userns::shared::{Prospect, Userns};
use crate::userns::spawn;

/// How long a payload runs before Monitor settles down beside it: lets go of the host's mounts.
const SETTLE_MS: u8 = 100;

/// What Monitor inherits from Client.
pub struct Monitor {
    pub config: Config,
    pub plan: Plan,
    /// What it takes to join U, but for its descriptor.
    /// The payload's streams; None with a terminal.
    pub streams: Option<Streams>,
    /// Client's ends of the pipes.
    pub ends: Ends,
    pub client: OwnedFd,
    /// The store's directory.
    pub store: OwnedFd,
    /// Where Init finds the container's directory.
    pub path: PathBuf,
    /// This boot, for the record.
    pub boot_id: String,
    /// Rows and columns of the caller's terminal.
    pub window: Option<(u16, u16)>,
}

/// Lives Monitor's life as a member of U. The process ends here.
pub fn run(monitor: Monitor, prospect: Prospect) -> ! {
    let _ = nix::unistd::setsid();
    let _ = monitor.let_go_of_the_callers(&prospect);
    process::set_title(&Role::Monitor.title(&monitor.config.name), &Role::Monitor.comm());
    // Client's signals arrive as messages; what is sent to this process directly does what it says.
    process::reset_signals();
    process::ignore_signal(libc::SIGPIPE);
    let client = monitor.client.try_clone();
    let ended = monitor.live(prospect);
    if let (Err(error), Ok(client)) = (&ended, client) {
        let _ = wire::send(client, &FromMonitor::MonitorFailed(Failure::from(error)), &[]);
    }
    process::exit_now(if ended.is_ok() { 0 } else { EXIT_RL })
}

/// The container while its payload runs.
struct Running {
    init: Child,
    state: State,
    /// The payload's output, held so that it does not break with Client: the console's master, or the pipes.
    outputs: Vec<OwnedFd>,
}

impl Monitor {
    /// Keeps what is listed above and nothing else: who reads from a pipe that the caller leaked must not wait for our end.
    fn let_go_of_the_callers(&self, prospect: &Prospect) -> Result<()> {
        let null = std::fs::File::options().read(true).write(true).open("/dev/null")?;
        for place in 0..=2 {
            process::put_at(null.as_fd(), place)?;
        }
        let ends = [&self.ends.stdin, &self.ends.stdout, &self.ends.stderr].into_iter().flatten().map(|fd| fd.as_raw_fd());
        let streams = self.streams.iter().flat_map(Streams::raw);
        let own = [self.client.as_raw_fd(), self.store.as_raw_fd()].into_iter().chain(prospect.lock());
        drop(null);
        Ok(process::close_all_but(&own.chain(streams).chain(ends).collect::<Vec<_>>())?)
    }

    fn live(mut self, prospect: Prospect) -> Result<()> {
        // The write end must be Client's alone, or the payload would never see the end of its input.
        self.ends.stdin = None;
        let maps = prospect.plan.maps.clone();
        let entry = Userns::handed(self.expect("the user namespace")?, prospect).join()?;
        milestone("monitor-entered");
        let staged = match self.plan.staged.is_empty() {
            true => None,
            false => Some(self.stage(&maps)?),
        };
        let (init, conversation) = self.clone_init(&maps)?;
        if staged.is_some() {
            // What was mounted for Init keeps the container's directory busy here.
            leave_the_hosts_mounts().context("cannot leave the host's mounts")?;
        }
        let directory = match staged.map_or_else(|| self.expect("the record"), Ok) {
            Ok(directory) => directory,
            Err(error) => return abandon(&init, error),
        };
        wire::send(&conversation, &ToInit::MonitorRecorded, &[])?;
        milestone("monitor-recorded");
        let started_at = record::start_time(init.pid);
        let state = State::created(&self.boot_id);
        let console = match self.start(conversation) {
            Ok(console) => console,
            Err(error) => return self.failed(Some(&init), &directory, state, error),
        };
        let namespaces = hold_namespaces(&init);
        let fds: Vec<BorrowedFd> = console.iter().map(|fd| fd.as_fd()).collect();
        let _ = wire::send(&self.client, &FromMonitor::MonitorStarted, &fds);
        let state = state.started(init.pid, started_at)?;
        record::write_json(&directory, "state.json", &state)?;
        milestone("monitor-started");
        self.streams = None;
        let outputs = console.into_iter().chain(self.ends.stdout.take()).chain(self.ends.stderr.take()).collect();
        let mut running = Running { init, state, outputs };
        let exit = self.supervise(&mut running)?;
        milestone("monitor-reaped");
        let retired = self.report(&directory, running.state, exit)?;
        entry.remove();
        drop(namespaces);
        retired.map_or(Ok(()), |retired| remove::erase(self.store.as_fd(), &retired))
    }

    /// The next descriptor from Client, in the order of wire.rs.
    fn expect(&self, what: &str) -> Result<OwnedFd> {
        match wire::receive::<FromClient>(&self.client)? {
            Some((FromClient::ClientMapped | FromClient::ClientRecorded, fds)) => {
                fds.into_iter().next().with_context(|| format!("{what} did not come along"))
            }
            Some((other, _)) => Err(anyhow!("unexpected {other:?} instead of {what}")),
            None => Err(anyhow!("the client gave up before it had {what}")),
        }
    }

    /// Mounts what the payload must not be able to change, in a namespace of ours that Init will inherit; returns the record.
    fn stage(&self, maps: &IdMaps) -> Result<OwnedFd> {
        let directory = self.expect("the record")?;
        let staged = process::unshare(ns::MOUNT).context("cannot create a mount namespace").and_then(|()| {
            nix::sys::stat::umask(nix::sys::stat::Mode::empty());
            // The mounts stay, attached; only their descriptors go.
            let build = |caller| Builder::new(&self.path, caller)?.apply(&self.plan.staged);
            let nested = nested(&self.config, maps);
            match (to_host(&nested.uid, 0), to_host(&nested.gid, 0)) {
                (Some(uid), Some(gid)) if (uid, gid) != (0, 0) => spawn::child(&self.config.name, || {
                    process::set_fs_ids(uid, gid).context("cannot make files for root of the container")?;
                    build(Some((0, 0)))
                }),
                _ => build(None),
            }
        });
        match staged {
            Ok(()) => Ok(directory),
            Err(error) => self.failed(None, &directory, State::created(&self.boot_id), error).map(|()| directory),
        }
    }

    /// Clones Init into namespaces of its own and maps its ids.
    fn clone_init(&mut self, maps: &IdMaps) -> Result<(Child, OwnedFd)> {
        let nested = nested(&self.config, maps);
        let (conversation, inits_end) = sock::pair().context("cannot create a socket pair")?;
        let fork = process::fork(self.namespaces()).context("cannot create the container's namespaces")?;
        let child = match fork {
            Fork::Child => {
                drop(conversation);
                init::run(Init {
                    config: &self.config,
                    plan: &self.plan,
                    directory: &self.path,
                    streams: self.streams.take(),
                    monitor: inits_end,
                    window: self.window,
                    maps: &nested,
                })
            }
            Fork::Parent(child) => child,
        };
        write_maps(child.pid, &nested)?;
        milestone("monitor-mapped");
        wire::send(&conversation, &ToInit::MonitorMapped, &[])?;
        Ok((child, conversation))
    }

    fn namespaces(&self) -> u64 {
        let kinds = [("pid", ns::PID), ("ipc", ns::IPC), ("uts", ns::UTS), ("cgroup", ns::CGROUP), ("time", ns::TIME)];
        let own = kinds.iter().filter(|(kind, _)| self.config.spec.linux.has(kind));
        own.fold(ns::USER | ns::MOUNT, |flags, (_, flag)| flags | flag)
    }

    /// Follows Init to the payload's execve; returns the console's master where there is one.
    fn start(&self, conversation: OwnedFd) -> Result<Option<OwnedFd>> {
        let mut console = None;
        let mut ready = false;
        loop {
            match wire::receive_from_init(&conversation)? {
                Some((FromInit::InitRootReady, fds)) => {
                    ready = true;
                    console = fds.into_iter().next();
                }
                Some((FromInit::InitFailed(failure), _)) => return Err(failure.into()),
                Some((FromInit::InitNotExecuted(errno), _)) => return Err(self.not_executed(errno)),
                None if ready => return Ok(console),
                None => return Err(anyhow!("the container's first process died before it could start the command")),
            }
        }
    }

    /// Docker's codes for a command that cannot be run.
    fn not_executed(&self, errno: i32) -> anyhow::Error {
        let command = self.config.spec.process.args.first().map_or("", String::as_str);
        let missing = errno == libc::ENOENT;
        let why = match errno {
            libc::ENOENT => "its interpreter or loader is not in the container".to_string(),
            libc::ENOEXEC => "not a program for this machine (exec format error)".to_string(),
            errno => Errno::from_raw(errno).desc().to_string(),
        };
        let exit = Some(if missing { EXIT_NOT_FOUND } else { EXIT_NOT_EXECUTABLE });
        Failure { message: format!("cannot execute \"{command}\": {why}"), hint: None, exit }.into()
    }

    /// The payload never ran: the record says why, and Client hears it from [`run`].
    fn failed(&self, init: Option<&Child>, directory: &OwnedFd, state: State, error: anyhow::Error) -> Result<()> {
        if let Some(init) = init {
            let _ = init.signal(libc::SIGKILL);
            let _ = init.wait();
        }
        let failure = Failure::from(&error);
        if self.config.auto_remove {
            let _ = remove::retire(self.store.as_fd(), &self.config, true).and_then(|r| remove::erase(self.store.as_fd(), &r));
        } else {
            let ended = state.ended(failure.exit.unwrap_or(EXIT_RL), Some(failure.message))?;
            let _ = record::write_json(directory, "state.json", &ended);
        }
        Err(error)
    }

    /// Waits for the payload's end and serves Client meanwhile.
    fn supervise(&self, running: &mut Running) -> Result<Exit> {
        let mut client = Some(&self.client);
        // A short payload does not pay for what only matters beside a long one.
        let mut settled = !self.plan.staged.is_empty();
        loop {
            let mut set = vec![PollFd::new(running.init.pidfd.as_fd(), PollFlags::POLLIN)];
            set.extend(client.map(|client| PollFd::new(client.as_fd(), PollFlags::POLLIN)));
            if client.is_none() {
                // Nobody reads the payload's output any more: we do, so that it lives on.
                set.extend(running.outputs.iter().map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)));
            }
            let patience = if settled { PollTimeout::NONE } else { PollTimeout::from(SETTLE_MS) };
            match poll(&mut set, patience) {
                Err(Errno::EINTR) => continue,
                Ok(0) => {
                    settled = true;
                    leave_the_hosts_mounts().context("cannot leave the host's mounts")?;
                    continue;
                }
                other => other.context("cannot wait for the payload")?,
            };
            let fired: Vec<i32> = set.iter().filter(|fd| fd.any().unwrap_or(true)).map(|fd| fd.as_fd().as_raw_fd()).collect();
            drop(set);
            if fired.contains(&running.init.pidfd.as_raw_fd()) {
                return running.init.wait().context("cannot reap the payload");
            }
            match client {
                Some(socket) if fired.contains(&socket.as_raw_fd()) => match wire::receive::<FromClient>(socket)? {
                    Some((FromClient::ClientSignal(signal), _)) => drop(running.init.signal(signal)),
                    Some((FromClient::ClientOutputBroken, _)) => running.outputs.clear(),
                    Some((message, _)) => return Err(anyhow!("unexpected {message:?} from the client")),
                    None => client = None,
                },
                Some(_) => {}
                None => running.outputs.retain(|fd| !fired.contains(&fd.as_raw_fd()) || discard(fd)),
            }
        }
    }

    /// Makes the end known: in the record, then to Client. A temporary container is gone before anybody hears of its end, so
    /// that the caller's next command may use its name; where it lies meanwhile is returned.
    fn report(&self, directory: &OwnedFd, state: State, exit: Exit) -> Result<Option<CString>> {
        let exit_code = exit.code();
        let retired = match self.config.auto_remove {
            true => Some(remove::retire(self.store.as_fd(), &self.config, true)?),
            false => record::write_json(directory, "state.json", &state.ended(exit_code, None)?).map(|()| None)?,
        };
        milestone("monitor-ended");
        let _ = wire::send(&self.client, &FromMonitor::MonitorEnded { exit_code }, &[]);
        milestone("monitor-reported");
        Ok(retired)
    }
}

/// The map of the payload's own user namespace within U.
pub fn nested(config: &Config, maps: &IdMaps) -> IdMaps {
    match config.keep_id {
        None => maps.identity_within(),
        Some((uid, gid)) => maps.keep_id_within(uid, gid),
    }
}

/// Client is gone, or could not make a record: there will be no container.
fn abandon(init: &Child, error: anyhow::Error) -> Result<()> {
    let _ = init.signal(libc::SIGKILL);
    let _ = init.wait();
    Err(error)
}

/// Reads what nobody wants; false at the end.
fn discard(fd: &OwnedFd) -> bool {
    let mut buffer = [0; 16 << 10];
    match nix::unistd::read(fd, &mut buffer) {
        Ok(0) => false,
        Ok(_) | Err(Errno::EAGAIN | Errno::EINTR) => true,
        Err(_) => false,
    }
}

/// Descriptors of the payload's namespaces: while they are held, its exit need not wait for their destruction.
fn hold_namespaces(init: &Child) -> Vec<OwnedFd> {
    [ns::MOUNT, ns::NET, ns::IPC].iter().filter_map(|&kind| process::pidfd_namespace(init.pidfd.as_fd(), kind).ok()).collect()
}

/// A mount namespace with an empty root: otherwise this process would keep the user's USB sticks and network shares busy for as long as
/// the container runs. From here on everything goes by descriptor.
fn leave_the_hosts_mounts() -> Result<()> {
    process::unshare(ns::MOUNT)?;
    let context = FsContext::open(c"tmpfs")?;
    context.string(c"size", c"0")?;
    context.string(c"mode", c"755")?;
    let empty = context.mount(mount::attr::RDONLY | mount::attr::NOSUID | mount::attr::NODEV | mount::attr::NOEXEC)?;
    mount::attach_at(empty.as_fd(), crate::sys::fs::CWD, c"/proc")?;
    nix::unistd::fchdir(&empty)?;
    mount::pivot_here()?;
    Ok(mount::umount_here()?)
}
