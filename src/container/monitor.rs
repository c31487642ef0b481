//! Monitor: holds one container from its start to its end, restarts included.
//!
//! Started by Client, a fork without exec. Namespaces: user U (joined); the rest is the host's, where a process that keeps nothing but
//! the root directory open pins no mount. Own session. Owns the record's directory, locked, the store's, one end of each conversation,
//! the socket on which further Clients find it, and the payload's output where nobody else reads it. Waits for all of these (serve.rs).
//! Reports, then cleans up, then ends. Killed, it takes the payload along (PR_SET_PDEATHSIG).

use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, anyhow};

use super::config::Config;
use super::control;
use super::execute;
use super::init::{self, Init};
use super::join::Namespaces;
use super::networks;
use super::record::State;
use super::remove;
use super::restart::Restarts;
use super::scope::{self, Scope};
use super::serve::{Payload, Server, Turn};
use super::stdio::{self, Ends, Origin, Streams};
use super::uplink::Uplink;
use super::wire::{self, FromClient, FromInit, FromMonitor, ToInit};
use crate::error::{Advise, EXIT_RL, Failure};
use crate::network::ports::Published;
use crate::network::{self, Network, NetworkMode, Subject};
use crate::role::Role;
use crate::rootfs::apply::Builder;
use crate::rootfs::plan::Plan;
use crate::sys::failpoint::milestone;
use crate::sys::mount::{self, FsContext};
use crate::sys::process::{self, Child, Fork, SIBLING, ns};
use crate::sys::sock;
use crate::userns::idmap::{IdMaps, to_host};
use crate::userns::mapper::write_maps;
use crate::userns::shared::Prospect;
use crate::userns::spawn;

/// What Monitor inherits from Client.
pub struct Monitor {
    pub config: Config,
    pub plan: Plan,
    pub origin: Origin,
    /// Where the payload asks for names, as its /etc/resolv.conf has it in every life.
    pub resolvers: Vec<IpAddr>,
    /// The ports that the container's network is to serve.
    pub published: Vec<Published>,
    pub client: OwnedFd,
    /// Client will say where the container's cgroup is.
    pub scoped: bool,
    /// The store's directory.
    pub store: OwnedFd,
    /// Where Init finds the container's directory.
    pub path: PathBuf,
    /// The runtime directory.
    pub runtime: PathBuf,
    /// Rows and columns of the caller's terminal.
    pub window: Option<(u16, u16)>,
    /// As the record has it.
    pub state: State,
}

/// Lives Monitor's life as a member of U. The process ends here.
pub fn run(monitor: Monitor, prospect: Prospect) -> ! {
    let _ = nix::unistd::setsid();
    let _ = nix::unistd::chdir(c"/");
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

/// A payload on its way to execve.
struct Starting {
    init: Child,
    conversation: OwnedFd,
    /// Our ends of its streams.
    ends: Ends,
    namespaces: Namespaces,
    /// Those of them that take long to destroy.
    held: Vec<OwnedFd>,
    network: Network,
}

/// How a life of the payload ended.
struct End {
    exit_code: u8,
    /// Why it could not start.
    error: Option<Failure>,
}

impl Monitor {
    /// Keeps what is listed above and nothing else: who reads from a pipe that the caller leaked must not wait for our end.
    fn let_go_of_the_callers(&self, prospect: &Prospect) -> Result<()> {
        let null = std::fs::File::options().read(true).write(true).open("/dev/null")?;
        for place in 0..=2 {
            process::put_at(null.as_fd(), place)?;
        }
        let mut own = vec![self.client.as_raw_fd(), self.store.as_raw_fd()];
        own.extend(prospect.raw());
        own.extend(self.published.iter().map(|published| published.socket.as_raw_fd()));
        if let Origin::Client(streams, ends) = &self.origin {
            own.extend(streams.iter().flat_map(Streams::raw));
            own.extend([&ends.stdin, &ends.stdout, &ends.stderr].into_iter().flatten().map(|fd| fd.as_raw_fd()));
        }
        drop(null);
        Ok(process::close_all_but(&own)?)
    }

    fn live(mut self, prospect: Prospect) -> Result<()> {
        let maps = nested(&self.config, &prospect.plan().maps);
        let entry = prospect.join()?;
        milestone("monitor-entered");
        // Init is cloned while Client still makes the record, unless something has to be mounted in the record's directory first.
        let scope = self.receive_scope(&maps)?;
        self.state.cgroup = scope.as_ref().map(|scope| scope.path.clone());
        let mut published = std::mem::take(&mut self.published);
        let early =
            if self.plan.staged.is_empty() { Some(self.clone_init(&maps, scope.as_ref(), &mut published)?) } else { None };
        let (directory, pipes) = match (self.receive_record(), &early) {
            (Ok(record), _) => record,
            (Err(error), Some(starting)) => return abandon(&starting.init, error),
            (Err(error), None) => return Err(error),
        };
        let mut starting = early.map_or_else(|| self.clone_init(&maps, scope.as_ref(), &mut published), Ok);
        let (store, client) = (self.store.try_clone()?, self.client.try_clone()?);
        let mut server = Server::new(self.config.clone(), &maps, self.state.clone(), directory, store.as_fd(), client);
        server.runtime = self.runtime.clone();
        (server.scope, server.published) = (scope, published);
        pipes.into_iter().for_each(|pipes| server.follow(pipes));
        if matches!(self.origin, Origin::Monitor)
            && let Err(error) = server.open_log()
        {
            starting = starting.and_then(|starting| abandon(&starting.init, error).map(|()| starting));
        }
        let mut restarts = Restarts::default();
        // Kept beyond the report: while somebody holds the payload's namespaces, nobody waits for their destruction.
        let mut payload = None;
        let end = loop {
            let begun = Instant::now();
            let first = server.state.started_at == self.state.started_at;
            let end = match starting.and_then(|starting| self.follow(starting, &mut server)) {
                Ok(up) => self.attend(&mut server, payload.insert(up), first)?,
                Err(error) if first => return failed(&mut server, error),
                Err(error) => End::of(&error),
            };
            server.settle();
            let delay = match server.take_restart() {
                true => Some(std::time::Duration::ZERO),
                false if server.is_ending() || self.config.auto_remove => None,
                false => server.config.restart.after(end.exit_code, begun.elapsed(), &mut restarts),
            };
            let Some(delay) = delay else { break end };
            server.retry(end.exit_code, end.error.as_ref(), restarts.count)?;
            if let Turn::Stopped = server.wait(None, Some(Instant::now() + delay))? {
                break end;
            }
            // Its network first: two of them would share the published ports.
            server.disconnect(payload.take());
            self.config.ports = server.config.ports.clone();
            self.config.networks = server.config.networks.clone();
            starting = server.renew_cgroup().and_then(|()| self.clone_init(&maps, server.scope.as_ref(), &mut server.published));
        };
        let retired = server.finish(end.exit_code, end.error.as_ref())?;
        milestone("monitor-ended");
        if !server.published.is_empty() {
            // Who hears of the end may start it again at once, and finds the ports free.
            server.disconnect(payload.take());
            server.published.clear();
        }
        server.tell_ended(end.exit_code, true);
        milestone("monitor-reported");
        entry.remove();
        server.retire_cgroup()?;
        server.disconnect(payload);
        retired.map_or(Ok(()), |retired| remove::erase(store.as_fd(), &retired))
    }

    /// The container's cgroup, where Client may have one for us.
    fn receive_scope(&self, maps: &IdMaps) -> Result<Option<Scope>> {
        if !self.scoped {
            return Ok(None);
        }
        match wire::receive::<FromClient>(&self.client)? {
            Some((FromClient::ClientScoped { path, uid }, fds)) => scope::take(&self.config, maps, (path, uid), fds),
            Some((other, _)) => Err(anyhow!("unexpected {other:?} instead of the cgroup")),
            None => Err(anyhow!("the client gave up before it had a cgroup")),
        }
    }

    /// The record's directory, and where Client wants to read all output if it said so before.
    fn receive_record(&self) -> Result<(OwnedFd, Option<Vec<OwnedFd>>)> {
        let mut pipes = None;
        loop {
            match wire::receive::<FromClient>(&self.client)? {
                Some((FromClient::ClientRecorded, fds)) => {
                    let fd = fds.into_iter().next().context("the record did not come along")?;
                    return Ok((fd, pipes));
                }
                Some((FromClient::ClientAttach, fds)) => pipes = Some(fds),
                Some((other, _)) => return Err(anyhow!("unexpected {other:?} instead of the record")),
                None => return Err(anyhow!("the client gave up before it had the record")),
            }
        }
    }

    /// Clones Init into namespaces of its own and maps its ids.
    fn clone_init(&mut self, maps: &IdMaps, scope: Option<&Scope>, published: &mut Vec<Published>) -> Result<Starting> {
        let cgroup = scope.map(|scope| scope.cgroup.payload());
        let (streams, ends) = self.streams()?;
        let (conversation, inits_end) = sock::pair().context("cannot create a socket pair")?;
        let network = network::start(Subject {
            mode: &self.config.network,
            name: &self.config.name,
            ports: &self.config.ports,
            published,
            runtime: &self.runtime,
            store: self.store.as_fd(),
            party: networks::party(&self.config, &self.resolvers),
            abode: || scope::abode(scope),
        })?;
        let peer = match &self.config.network {
            NetworkMode::Container(id) => Some(control::network_of(self.store.as_fd(), id).context("cannot share the network")?),
            _ => None,
        };
        let init = match self.plan.staged.is_empty() && peer.is_none() {
            true => self.fork_init(0, maps, streams, inits_end, &network, cgroup)?,
            false => self.stage(maps, streams, inits_end, (&network, peer), cgroup, &conversation)?,
        };
        let namespaces = Namespaces::of(&init, self.namespaces(), self.config.spec.linux.has("network"), self.config.init)?;
        if let Some(score) = self.config.spec.process.oom_score_adj {
            std::fs::write(format!("/proc/{}/oom_score_adj", init.pid), score.to_string())
                .with_context(|| format!("cannot set the OOM score to {score}"))
                .hint(|| "only root may go below its own: cat /proc/self/oom_score_adj")?;
        }
        let held = hold_namespaces(&init);
        write_maps(init.pid, maps)?;
        milestone("monitor-mapped");
        wire::send(&conversation, &ToInit::MonitorMapped, &[])?;
        Ok(Starting { init, conversation, ends, namespaces, held, network })
    }

    /// The payload's streams, and what of them is ours: Client's once, or new ones.
    fn streams(&mut self) -> Result<(Option<Streams>, Ends)> {
        match &mut self.origin {
            Origin::Client(streams, ends) => {
                let mut ends = std::mem::take(ends);
                // The write end must be Client's alone, or the payload would never see the end of its input.
                ends.stdin = None;
                Ok((streams.take(), ends))
            }
            Origin::Monitor if self.config.spec.process.terminal => Ok((None, Ends::default())),
            Origin::Monitor => stdio::kept(self.config.interactive).map(|(streams, ends)| (Some(streams), ends)),
        }
    }

    fn fork_init(
        &self,
        flags: u64,
        maps: &IdMaps,
        streams: Option<Streams>,
        monitor: OwnedFd,
        network: &Network,
        cgroup: Option<BorrowedFd>,
    ) -> Result<Child> {
        // A cgroup namespace of the clone's would have Monitor's cgroup for its root: Init makes its own.
        let namespaces = self.namespaces() & !ns::CGROUP;
        let fork = process::fork_into(namespaces | flags, cgroup).context("cannot create the container's namespaces")?;
        match fork {
            Fork::Child => init::run(Init {
                config: &self.config,
                plan: &self.plan,
                directory: &self.path,
                streams,
                monitor,
                network: network.link(),
                window: self.window,
                maps,
            }),
            Fork::Parent(child) => Ok(child),
        }
    }

    /// Mounts what the payload must not be able to change, and enters another container's network, in a mount namespace that Init's is
    /// a copy of: one of a child that ends at once, so that it keeps nothing busy. Init is a sibling of that child, and so our own.
    fn stage(
        &self,
        maps: &IdMaps,
        streams: Option<Streams>,
        inits_end: OwnedFd,
        (network, peer): (&Network, Option<OwnedFd>),
        cgroup: Option<BorrowedFd>,
        conversation: &OwnedFd,
    ) -> Result<Child> {
        let stager = match process::fork(0).context("cannot start the mounting process")? {
            Fork::Child => {
                let report = inits_end.try_clone();
                let told = self.mount_staged(maps).and_then(|()| enter_peer(peer.as_ref())).and_then(|()| {
                    let init = self.fork_init(SIBLING, maps, streams, inits_end, network, cgroup)?;
                    wire::send(
                        report.as_ref().map_err(|error| anyhow!("{error}"))?,
                        &FromInit::JoinerCloned(init.pid),
                        &[init.pidfd.as_fd()],
                    )
                });
                if let (Err(error), Ok(report)) = (told, report) {
                    let _ = wire::send(report, &FromInit::InitFailed(Failure::from(&error)), &[]);
                }
                process::exit_now(0)
            }
            Fork::Parent(stager) => stager,
        };
        drop((streams, inits_end));
        let told = wire::receive::<FromInit>(conversation);
        let _ = stager.wait();
        match told? {
            Some((FromInit::JoinerCloned(pid), fds)) => {
                Ok(Child { pid, pidfd: fds.into_iter().next().context("the first process did not come along")? })
            }
            Some((FromInit::InitFailed(failure), _)) => Err(failure.into()),
            _ => Err(anyhow!("the mounting process died")),
        }
    }

    fn mount_staged(&self, nested: &IdMaps) -> Result<()> {
        process::unshare(ns::MOUNT).context("cannot create a mount namespace")?;
        if self.plan.staged.is_empty() {
            return Ok(());
        }
        nix::sys::stat::umask(nix::sys::stat::Mode::empty());
        // The mounts stay, attached; only their descriptors go.
        let build = |caller| Builder::new(&self.path, caller)?.apply(&self.plan.staged);
        match (to_host(&nested.uid, 0), to_host(&nested.gid, 0)) {
            (Some(uid), Some(gid)) if (uid, gid) != (0, 0) => spawn::child(&self.config.name, || {
                process::set_fs_ids(uid, gid).context("cannot make files for root of the container")?;
                build(Some((0, 0)))
            }),
            _ => build(None),
        }
    }

    fn namespaces(&self) -> u64 {
        let kinds = [("pid", ns::PID), ("ipc", ns::IPC), ("uts", ns::UTS), ("cgroup", ns::CGROUP), ("time", ns::TIME)];
        let own = kinds.iter().filter(|(kind, _)| self.config.spec.linux.has(kind));
        own.fold(ns::USER | ns::MOUNT, |flags, (_, flag)| flags | flag)
    }

    /// Follows Init to the payload's execve. One that fails is ended and reaped.
    fn follow(&self, starting: Starting, server: &mut Server) -> Result<Payload> {
        let Starting { init, conversation, ends, mut namespaces, held, network } = starting;
        let before = server.state.clone();
        match self.lead(&init, &conversation, &mut namespaces, server) {
            Ok(console) => {
                let Ends { stdin, stdout, stderr } = ends;
                server.keep(&self.origin, console.as_ref(), stdout, stderr)?;
                Ok(Payload { init, namespaces, console, stdin, held, uplink: Uplink::new(network) })
            }
            Err(error) => {
                server.state = before;
                let _ = init.signal(libc::SIGKILL);
                let _ = init.wait();
                Err(error)
            }
        }
    }

    /// Tells Init what it waits for and hears what it says; returns the console's master where there is one.
    fn lead(
        &self,
        init: &Child,
        conversation: &OwnedFd,
        namespaces: &mut Namespaces,
        server: &mut Server,
    ) -> Result<Option<OwnedFd>> {
        // A dead Init has said why.
        let _ = wire::send(conversation, &ToInit::MonitorRecorded, &[]);
        milestone("monitor-recorded");
        server.prepare(init.pid)?;
        let mut console = None;
        let mut ready = false;
        loop {
            match wire::receive_from_init(conversation)? {
                Some((FromInit::InitRootReady, fds)) => {
                    ready = true;
                    console = fds.into_iter().next();
                    // All but the execve is done: whoever hears from the payload shall find that it runs.
                    server.announce()?;
                }
                Some((FromInit::InitNetwork, fds)) => fds.into_iter().for_each(|fd| namespaces.add_network(fd)),
                Some((FromInit::InitNamespaced, fds)) => fds.into_iter().for_each(|fd| namespaces.add_cgroup(fd)),
                Some((FromInit::InitFailed(failure), _)) => return Err(failure.into()),
                Some((FromInit::InitNotExecuted(errno), _)) => {
                    let command = self.config.spec.process.args.first().map_or("", String::as_str);
                    return Err(execute::not_executed(command, errno));
                }
                Some((FromInit::JoinerCloned(_), _)) => {}
                None if ready => return Ok(console),
                None => return Err(anyhow!("the container's first process died before it could start the command")),
            }
        }
    }

    /// The payload runs: tells who waits for that, and stays with it to its end.
    fn attend(&self, server: &mut Server, payload: &mut Payload, first: bool) -> Result<End> {
        server.begin_checks();
        server.keep_egress(&mut payload.uplink)?;
        milestone("monitor-started");
        server.tell_started(payload, first);
        server.happened("start", &[]);
        server.hear_signals()?;
        let Turn::Ended(exit) = server.wait(Some(payload), None)? else { return Err(anyhow!("the payload was lost")) };
        milestone("monitor-reaped");
        Ok(End { exit_code: exit.code(), error: None })
    }
}

impl End {
    /// The payload never ran.
    fn of(error: &anyhow::Error) -> End {
        let failure = Failure::from(error);
        End { exit_code: failure.exit.unwrap_or(EXIT_RL), error: Some(failure) }
    }
}

/// The payload never ran, at the first try: the record says why, and Client hears it from [`run`].
fn failed(server: &mut Server, error: anyhow::Error) -> Result<()> {
    let end = End::of(&error);
    if let Ok(Some(retired)) = server.finish(end.exit_code, end.error.as_ref()) {
        let _ = server.erase(&retired);
    }
    Err(error)
}

/// Enters another container's network namespace, which only an ancestor of its user namespace may, and shows it in /sys, from where Init
/// takes it, who may not mount it anew.
fn enter_peer(peer: Option<&OwnedFd>) -> Result<()> {
    let Some(peer) = peer else { return Ok(()) };
    process::setns(peer.as_fd(), ns::NET).context("cannot enter the other container's network")?;
    let show = || -> std::io::Result<()> {
        let sysfs = FsContext::open(c"sysfs")?.mount(0)?;
        mount::attach(sysfs.as_fd(), std::fs::File::open("/sys")?.as_fd())
    };
    // Inside another container it may be that only a part of /sys can be shown; then that part it is.
    let _ = show();
    Ok(())
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

/// Descriptors of the payload's namespaces: while they are held, its exit need not wait for their destruction. Taken while Init waits: later
/// it does not let itself be looked into, and a short payload has ended before it could be.
fn hold_namespaces(init: &Child) -> Vec<OwnedFd> {
    [ns::MOUNT, ns::IPC].iter().filter_map(|&kind| process::pidfd_namespace(init.pidfd.as_fd(), kind).ok()).collect()
}
