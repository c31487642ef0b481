//! What Monitor does while its payload runs, or waits to be started again: one loop over everything that can happen.
//!
//! It serves the Client that started the container and whoever connects to `control` in the record's directory, reads the payload's
//! output, reaps the payload and what was executed beside it, and keeps the deadlines. Nothing in it blocks on a process of the container.

mod checks;
mod executed;
mod networks;

use std::ffi::{CStr, CString};
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::config::Config;
use super::events;
use super::join::Namespaces;
use super::log::{self, LogConfig, LogWriter};
use super::outputs::Outputs;
use super::record::{self, State};
use super::remove;
use super::restart::RestartPolicy;
use super::scope::{self, Scope};
use super::state::{Event, Status};
use super::stdio::Origin;
use super::uplink::{Change, Uplink};
use super::wire::{self, CONTROL, FromClient, FromMonitor};
use crate::error::{Advise, Failure};
use crate::network::ports::{PortMapping, Published};
use crate::network::{self, Network, NetworkMode, Order, Subject};
use crate::oci::runtime::Resources;
use crate::sys::failpoint::milestone;
use crate::sys::process::{Child, Exit};
use crate::sys::sock;
use crate::userns::idmap::IdMaps;
use checks::Checks;
use executed::Executed;

/// The payload, running.
pub struct Payload {
    pub init: Child,
    pub namespaces: Namespaces,
    /// The console's master.
    pub console: Option<OwnedFd>,
    /// Our end of its stdin, kept so that it does not end before somebody attaches.
    pub stdin: Option<OwnedFd>,
    /// Its namespaces, kept from being destroyed.
    #[allow(dead_code)] // Held, and no more.
    pub held: Vec<OwnedFd>,
    /// What connects it, while it runs.
    pub uplink: Uplink,
}

/// A Client: the one that started the container, or one that connected.
struct Caller {
    socket: OwnedFd,
    /// What it is still to hear about.
    awaits: Awaits,
    /// It started the container.
    launcher: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Awaits {
    Nothing,
    /// That the payload runs.
    Start,
    /// The next end.
    End,
    /// The end that no restart follows.
    LastEnd,
}

/// That the payload is to end.
#[derive(Default)]
struct Ending {
    /// When patience ends.
    deadline: Option<Instant>,
    /// And is to be started again.
    again: bool,
}

/// Why [`Server::wait`] returns.
pub enum Turn {
    Ended(Exit),
    /// The time is up.
    Due,
    /// There is no payload, and a person wants it to stay so.
    Stopped,
}

/// Monitor's part in all conversations but the one with Init.
pub struct Server<'a> {
    pub config: Config,
    pub maps: &'a IdMaps,
    pub state: State,
    pub outputs: Outputs,
    /// What the container's network tells of what it reaches.
    egress: Outputs,
    /// The ports that the container's network serves.
    pub published: Vec<Published>,
    /// The runtime directory.
    pub runtime: PathBuf,
    /// Where the payload asks for names, on networks that it may leave.
    resolvers: Vec<IpAddr>,
    /// The container's cgroup, where there is one.
    pub scope: Option<Scope>,
    /// How many processes were executed: each has a cgroup by this number.
    execs: u32,
    /// The record's directory, and the store's.
    directory: OwnedFd,
    store: BorrowedFd<'a>,
    listener: Option<OwnedFd>,
    /// What is sent to this process itself.
    signals: Option<SignalFd>,
    callers: Vec<Caller>,
    executed: Vec<Executed>,
    /// Where its health is checked, and the payload runs.
    checks: Option<Checks>,
    ending: Option<Ending>,
    /// Outputs that the Client who started the container reads itself, for when it is gone.
    left: Vec<(log::Stream, OwnedFd)>,
    /// What connected earlier lives of the payload, and still delivers what they had sent.
    former: Vec<Network>,
}

impl<'a> Server<'a> {
    /// `client`: who started the container, or is about to.
    pub fn new(
        config: Config,
        maps: &'a IdMaps,
        state: State,
        directory: OwnedFd,
        store: BorrowedFd<'a>,
        client: OwnedFd,
    ) -> Self {
        let callers = vec![Caller { socket: client, awaits: Awaits::LastEnd, launcher: true }];
        let (outputs, executed, left) = (Outputs::default(), Vec::new(), Vec::new());
        Server {
            resolvers: super::networks::resolvers(&config),
            config,
            maps,
            state,
            outputs,
            egress: Outputs::default(),
            published: Vec::new(),
            runtime: PathBuf::new(),
            scope: None,
            execs: 0,
            directory,
            store,
            listener: None,
            signals: None,
            callers,
            executed,
            checks: None,
            ending: None,
            left,
            former: Vec::new(),
        }
    }

    /// While Init works: Clients can connect, and will be heard when the payload runs, as the record is going to say.
    pub fn prepare(&mut self, init: i32) -> Result<()> {
        if self.listener.is_none() {
            self.listener = Some(sock::listen(self.directory.as_fd(), CONTROL).context("cannot listen for commands")?);
        }
        self.state = self.state.clone().started(init, record::start_time(init))?;
        record::stage_json(&self.directory, record::STATE, &self.state)
    }

    /// The payload is about to run, says the record.
    pub fn announce(&mut self) -> Result<()> {
        record::publish_json(&self.directory, record::STATE)
    }

    /// From here on SIGTERM, by which systemd ends a scope at a logout and when the host goes down, asks for the payload's end in its own
    /// time. Before, it ends this process, and the payload with it.
    pub fn hear_signals(&mut self) -> Result<()> {
        if self.signals.is_none() {
            let mut set = SigSet::empty();
            set.add(Signal::SIGTERM);
            set.thread_block().context("cannot block signals")?;
            let signals = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK);
            self.signals = Some(signals.context("cannot receive signals")?);
        }
        Ok(())
    }

    /// As a person's stop, but that a boot starts it again all the same.
    fn heed_signals(&mut self, ready: &[i32], payload: Option<&Payload>) -> Result<()> {
        let Some(signals) = self.signals.as_ref().filter(|signals| ready.contains(&signals.as_raw_fd())) else { return Ok(()) };
        let mut asked = false;
        while let Ok(Some(_)) = signals.read_signal() {
            asked = true;
        }
        if asked && !self.is_ending() {
            let stopped = self.state.stopped;
            self.stop(payload, self.config.stop_signal, Some(self.config.patience()), false)?;
            self.state.stopped = stopped;
        }
        Ok(())
    }

    /// Tells who listens to events.
    pub fn happened(&self, action: &str, particular: &[(&str, String)]) {
        events::tell(self.store, &[events::Event::of_container(&self.config, action, particular)]);
    }

    /// Writes the record's state.
    pub fn write(&self) -> Result<()> {
        record::write_json(&self.directory, record::STATE, &self.state)
    }

    /// A person wants the container ended, and not only to start it again.
    pub fn is_ending(&self) -> bool {
        self.ending.as_ref().is_some_and(|ending| !ending.again)
    }

    /// True once when the end that has come was asked for only to start it again.
    pub fn take_restart(&mut self) -> bool {
        self.ending.take_if(|ending| ending.again).is_some()
    }

    /// The payload runs: tells those who wait for that. The Client that started it gets the console, or the payload's stdin.
    pub fn tell_started(&mut self, payload: &Payload, first: bool) {
        for caller in &mut self.callers {
            if caller.awaits == Awaits::Start || (first && caller.awaits == Awaits::LastEnd) {
                let fds: Vec<BorrowedFd> = payload.console.iter().chain(&payload.stdin).map(|fd| fd.as_fd()).collect();
                let _ = wire::send(&caller.socket, &FromMonitor::MonitorStarted, &fds);
                if caller.awaits == Awaits::Start {
                    caller.awaits = Awaits::Nothing;
                }
            }
        }
    }

    /// Tells those who wait for it. `last`: no restart follows.
    pub fn tell_ended(&mut self, exit_code: u8, last: bool) {
        for caller in &mut self.callers {
            if caller.awaits == Awaits::End || (last && caller.awaits != Awaits::Nothing) {
                let _ = wire::send(&caller.socket, &FromMonitor::MonitorEnded { exit_code }, &[]);
                caller.awaits = Awaits::Nothing;
            }
        }
    }

    /// Serves until the payload ends, or without one until it is `due`.
    pub fn wait(&mut self, mut payload: Option<&mut Payload>, due: Option<Instant>) -> Result<Turn> {
        loop {
            if payload.is_none() && self.is_ending() {
                return Ok(Turn::Stopped);
            }
            let deadline = self.ending.as_ref().and_then(|ending| ending.deadline);
            let check = self.checks.as_ref().and_then(Checks::deadline);
            let reconnect = payload.as_ref().and_then(|payload| payload.uplink.due());
            let next = [due, deadline, check, reconnect].into_iter().flatten().min();
            let ready = self.poll(payload.as_deref(), next)?;
            if let Some(payload) = payload.as_deref().filter(|payload| ready.contains(&payload.init.pidfd.as_raw_fd())) {
                return Ok(Turn::Ended(payload.init.wait().context("cannot reap the payload")?));
            }
            let now = Instant::now();
            if deadline.is_some_and(|deadline| deadline <= now) {
                self.ending.iter_mut().for_each(|ending| ending.deadline = None);
                payload.as_deref().into_iter().for_each(|payload| drop(payload.init.signal(libc::SIGKILL)));
            }
            if due.is_some_and(|due| due <= now) {
                return Ok(Turn::Due);
            }
            self.notice_oom(&ready)?;
            self.heed_signals(&ready, payload.as_deref())?;
            payload.as_deref_mut().map_or(Ok(()), |payload| self.keep_connected(payload, &ready))?;
            self.outputs.advance(&ready);
            self.egress.advance(&ready);
            self.advance_executed(&ready);
            self.advance_checks(&ready, payload.as_deref())?;
            self.serve(&ready, payload.as_deref_mut())?;
            if self.listener.as_ref().is_some_and(|listener| ready.contains(&listener.as_raw_fd())) {
                self.accept();
            }
        }
    }

    /// The raw numbers of what is ready.
    fn poll(&self, payload: Option<&Payload>, until: Option<Instant>) -> Result<Vec<i32>> {
        let mut set: Vec<PollFd> = payload.iter().map(|p| PollFd::new(p.init.pidfd.as_fd(), PollFlags::POLLIN)).collect();
        let reads = |fd| PollFd::new(fd, PollFlags::POLLIN);
        set.extend(payload.and_then(|payload| payload.uplink.interest()).map(reads));
        set.extend(self.listener.iter().map(|fd| reads(fd.as_fd())));
        set.extend(self.signals.iter().map(|signals| reads(signals.as_fd())));
        set.extend(self.callers.iter().map(|caller| reads(caller.socket.as_fd())));
        set.extend(self.executed.iter().flat_map(Executed::interests));
        set.extend(self.checks.iter().flat_map(Checks::interests));
        let events = self.scope.as_ref().and_then(|scope| scope.cgroup.events());
        set.extend(events.map(|events| PollFd::new(events, PollFlags::POLLPRI)));
        set.extend(self.outputs.interests());
        set.extend(self.egress.interests());
        let patience = match until.map(|until| until.saturating_duration_since(Instant::now())) {
            // One millisecond more, or the last turns would find the time not quite up.
            Some(left) => PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX),
            None => PollTimeout::NONE,
        };
        match poll(&mut set, patience) {
            Err(Errno::EINTR) => return Ok(Vec::new()),
            other => other.context("cannot wait for the payload")?,
        };
        Ok(set.iter().filter(|fd| fd.any().unwrap_or(true)).map(|fd| fd.as_fd().as_raw_fd()).collect())
    }

    fn accept(&mut self) {
        if let Some(listener) = &self.listener
            && let Ok(socket) = sock::accept(listener.as_fd())
        {
            self.callers.push(Caller { socket, awaits: Awaits::Nothing, launcher: false });
        }
    }

    fn serve(&mut self, ready: &[i32], mut payload: Option<&mut Payload>) -> Result<()> {
        for mut caller in std::mem::take(&mut self.callers) {
            if !ready.contains(&caller.socket.as_raw_fd()) {
                self.callers.push(caller);
                continue;
            }
            // One that speaks nonsense is dropped; the container does not suffer for it.
            let Ok(Some((message, fds))) = wire::receive::<FromClient>(&caller.socket) else {
                if caller.launcher {
                    self.adopt()?;
                }
                continue;
            };
            if let FromClient::ClientExec { streams, window, detached } = message {
                self.execute(payload.as_deref(), caller.socket, fds, streams, window, detached);
                continue;
            }
            if let FromClient::ClientCheck = message {
                self.check_now(payload.as_deref(), caller.socket);
                continue;
            }
            let name = self.config.name.clone();
            if let Err(error) = self.request(&mut caller, message, fds, payload.as_deref_mut()) {
                let failure = Failure::from(&error.context(format!("container \"{name}\"")));
                let _ = wire::send(&caller.socket, &FromMonitor::MonitorFailed(failure), &[]);
            }
            self.callers.push(caller);
        }
        Ok(())
    }

    /// Nobody reads the payload's output any more: we do, so that it lives on, and keep it from here.
    fn adopt(&mut self) -> Result<()> {
        if !self.left.is_empty() {
            self.open_log()?;
        }
        self.left.drain(..).for_each(|(stream, fd)| self.outputs.add(stream, fd));
        Ok(())
    }

    /// Keeps the output that is Monitor's to read.
    pub fn open_log(&mut self) -> Result<()> {
        let directory = self.directory.try_clone().context("cannot duplicate the container's directory")?;
        self.outputs.log(LogWriter::open(directory, &self.config.id, &self.config.name, &self.config.log)?);
        Ok(())
    }

    /// Carries out what a Client asks for and answers.
    fn request(
        &mut self,
        caller: &mut Caller,
        message: FromClient,
        fds: Vec<OwnedFd>,
        payload: Option<&mut Payload>,
    ) -> Result<()> {
        let signal = |signal: i32| payload.as_ref().map_or(Ok(()), |payload| payload.init.signal(signal));
        match message {
            FromClient::ClientSignal(number) => {
                let _ = signal(number);
                return Ok(());
            }
            FromClient::ClientOutputBroken => {
                self.left.clear();
                return Ok(());
            }
            FromClient::ClientInputEnded => {
                payload.into_iter().for_each(|payload| payload.stdin = None);
                return Ok(());
            }
            FromClient::ClientAttach => return self.attach(caller, fds, payload.as_deref()),
            FromClient::ClientWait { last } => {
                caller.awaits = if last { Awaits::LastEnd } else { Awaits::End };
                return Ok(());
            }
            FromClient::ClientStop { signal: number, patience, again } => {
                caller.awaits = if again { Awaits::Start } else { Awaits::LastEnd };
                return self.stop(payload.as_deref(), number, patience, again);
            }
            FromClient::ClientKill(number) => {
                signal(number).context("cannot send the signal")?;
                self.happened("kill", &[("signal", number.to_string())]);
                self.thaw()?;
                if number == libc::SIGKILL || number == self.config.stop_signal {
                    self.state.stopped = true;
                    self.ending.get_or_insert_default();
                }
            }
            FromClient::ClientPause(pause) => self.pause(pause, payload.as_deref())?,
            FromClient::ClientRename(name) => self.rename(name, payload.as_deref())?,
            FromClient::ClientUpdate { restart, resources } => self.update(restart, resources.map(|resources| *resources))?,
            FromClient::ClientPublish(mapping) => self.publish(mapping, fds, payload.as_deref())?,
            FromClient::ClientWithdraw(mapping) => self.withdraw(&mapping, payload.as_deref())?,
            FromClient::ClientJoin(attachment) => self.join_network(*attachment, payload.as_deref())?,
            FromClient::ClientLeave(network) => self.leave_network(&network, payload.as_deref())?,
            FromClient::ClientNetwork => {
                let payload = payload.ok_or_else(|| anyhow!("is not running"))?;
                let network = payload.namespaces.network(&payload.init)?;
                return wire::send(&caller.socket, &FromMonitor::MonitorDone, &[network.as_fd()]);
            }
            FromClient::ClientEnter => return self.hand_out(caller, payload.as_deref()),
            FromClient::ClientScoped { .. }
            | FromClient::ClientRecorded
            | FromClient::ClientCheck
            | FromClient::ClientExec { .. } => {
                bail!("a message that makes no sense here")
            }
        }
        wire::send(&caller.socket, &FromMonitor::MonitorDone, &[])
    }

    /// Has the payload end: by this signal, or when `patience`, in milliseconds, is over.
    fn stop(&mut self, payload: Option<&Payload>, signal: i32, patience: Option<u64>, again: bool) -> Result<()> {
        let deadline = patience.map(|patience| Instant::now() + Duration::from_millis(patience));
        self.state.stopped = !again;
        self.ending = Some(Ending { deadline, again });
        milestone("stop-asked");
        self.happened("kill", &[("signal", signal.to_string())]);
        payload.into_iter().for_each(|payload| drop(payload.init.signal(signal)));
        self.thaw()
    }

    /// From now on all output goes there too.
    pub fn follow(&mut self, pipes: Vec<OwnedFd>) {
        let mut pipes = pipes.into_iter();
        self.outputs.follow(pipes.next(), pipes.next());
    }

    fn attach(&mut self, caller: &mut Caller, pipes: Vec<OwnedFd>, payload: Option<&Payload>) -> Result<()> {
        let payload = payload.ok_or_else(|| anyhow!("is not running"))?;
        self.follow(pipes);
        caller.awaits = Awaits::End;
        let fds: Vec<BorrowedFd> = payload.console.iter().chain(&payload.stdin).map(|fd| fd.as_fd()).collect();
        wire::send(&caller.socket, &FromMonitor::MonitorStarted, &fds)
    }

    /// Freezes the payload and all that was executed beside it, or lets them go on.
    fn pause(&mut self, pause: bool, payload: Option<&Payload>) -> Result<()> {
        payload.ok_or_else(|| anyhow!("is not running"))?;
        let scope = self.scope.as_ref().ok_or_else(|| anyhow!("cannot be paused: it has no cgroup of its own"));
        let scope = scope.hint(|| "rl info says why there is none")?;
        let status = self.state.status.after(if pause { Event::Paused } else { Event::Resumed })?;
        scope.cgroup.freeze(pause)?;
        self.state.status = status;
        self.suspend_checks(pause);
        self.happened(if pause { "pause" } else { "unpause" }, &[]);
        self.write()
    }

    /// As Docker: a signal is for a payload that can act on it.
    fn thaw(&mut self) -> Result<()> {
        match (&self.scope, self.state.status) {
            (Some(scope), Status::Paused) => {
                self.state.status = self.state.status.after(Event::Resumed)?;
                scope.cgroup.freeze(false)?;
                self.suspend_checks(false);
                self.write()
            }
            _ => Ok(()),
        }
    }

    /// Changes limits and policy, first where they act, then in the record.
    fn update(&mut self, restart: Option<RestartPolicy>, resources: Option<Resources>) -> Result<()> {
        if let Some(resources) = resources {
            scope::update(self.scope.as_mut(), &self.config.spec.linux.resources, &resources)?;
            self.config.spec.linux.resources = resources;
        }
        self.config.restart = restart.unwrap_or(self.config.restart);
        self.happened("update", &[]);
        record::write_json(&self.directory, "config.json", &self.config)
    }

    /// The payload has ended: what its cgroup tells of it.
    fn look_back(&mut self) {
        self.state.oom_killed = self.scope.as_ref().is_some_and(|scope| scope.cgroup.oom_kills() > 0);
    }

    /// Memory has become short: known at once, as with Docker, and not only at the end.
    fn notice_oom(&mut self, ready: &[i32]) -> Result<()> {
        let Some(scope) = &self.scope else { return Ok(()) };
        if !scope.cgroup.events().is_some_and(|events| ready.contains(&events.as_raw_fd())) {
            return Ok(());
        }
        if scope.cgroup.oom_kills() > 0 && !self.state.oom_killed && self.state.status.has_processes() {
            self.state.oom_killed = true;
            self.happened("oom", &[]);
            self.write()?;
        }
        Ok(())
    }

    /// One more port, from now on and in the record.
    fn publish(&mut self, mapping: PortMapping, fds: Vec<OwnedFd>, payload: Option<&Payload>) -> Result<()> {
        let payload = payload.ok_or_else(|| anyhow!("is not running"))?;
        let socket = fds.into_iter().next();
        payload.uplink.order(&Order::Publish(mapping.clone()), socket.as_ref().map(|socket| socket.as_fd()))?;
        self.published.extend(socket.map(|socket| Published { socket, mapping: mapping.clone() }));
        self.config.ports.push(mapping);
        self.keep_ports()
    }

    /// One port less.
    fn withdraw(&mut self, mapping: &PortMapping, payload: Option<&Payload>) -> Result<()> {
        let payload = payload.ok_or_else(|| anyhow!("is not running"))?;
        payload.uplink.order(&Order::Withdraw(mapping.clone()), None)?;
        self.published.retain(|published| published.mapping != *mapping);
        self.config.ports.retain(|port| port != mapping);
        self.keep_ports()
    }

    fn keep_ports(&mut self) -> Result<()> {
        self.happened("update", &[]);
        record::write_json(&self.directory, "config.json", &self.config)
    }

    /// The process that connects the payload may have died: known in the record while there is no other, and to who listens to events.
    fn keep_connected(&mut self, payload: &mut Payload, ready: &[i32]) -> Result<()> {
        let Payload { init, namespaces, uplink, .. } = payload;
        let Config { network: mode, name, ports, .. } = &self.config;
        let party = super::networks::party(&self.config, &self.resolvers);
        let (published, runtime, store) = (&mut self.published, &self.runtime, self.store);
        let abode = || scope::abode(self.scope.as_ref());
        let subject = Subject { mode, name, ports, published, runtime, store, party, abode };
        match uplink.advance(ready, || network::start(subject), || namespaces.network(init)) {
            None => return Ok(()),
            Some(Change::Lost(error)) => {
                self.state.error = Some(format!("the network is down: {error:#}"));
                self.happened("network_down", &[("error", format!("{error:#}"))]);
            }
            Some(Change::Restored) => {
                self.state.error = None;
                self.happened("network_up", &[]);
                self.keep_egress(&mut payload.uplink)?;
            }
        }
        self.write()
    }

    /// The payload has ended: so does its network, once what it had sent is delivered, and at once as far as anybody else is concerned.
    pub fn disconnect(&mut self, payload: Option<Payload>) {
        self.former.retain(|network| !network.has_ended());
        self.former.extend(payload.and_then(|payload| payload.uplink.finish()));
    }

    /// Keeps what the payload's network tells of what it reaches.
    pub fn keep_egress(&mut self, uplink: &mut Uplink) -> Result<()> {
        let Some(told) = uplink.take_log() else { return Ok(()) };
        let directory = self.directory.try_clone().context("cannot duplicate the container's directory")?;
        self.egress.log(LogWriter::open(directory, log::EGRESS, &self.config.name, &LogConfig::of_egress())?);
        self.egress.add(log::Stream::Stdout, told);
        Ok(())
    }

    /// An empty cgroup for the payload's next life.
    pub fn renew_cgroup(&mut self) -> Result<()> {
        let settings = scope::settings(&self.config)?;
        self.scope.as_mut().map_or(Ok(()), |scope| scope.cgroup.renew(&settings))
    }

    /// The container has ended for good: kills what is left in its cgroup and removes it.
    pub fn retire_cgroup(&mut self) -> Result<()> {
        self.scope.take().map_or(Ok(()), |scope| scope.cgroup.retire())
    }

    fn rename(&mut self, name: String, payload: Option<&Payload>) -> Result<()> {
        if let (NetworkMode::User(_), Some(payload)) = (&self.config.network, payload) {
            // Where that is down, what comes in its place knows the name.
            let _ = payload.uplink.order(&Order::Rename(name.clone()), None);
        }
        self.config = Config { name, named: true, ..self.config.clone() };
        record::write_json(&self.directory, "config.json", &self.config)
    }

    fn hand_out(&self, caller: &Caller, payload: Option<&Payload>) -> Result<()> {
        let payload = payload.ok_or_else(|| anyhow!("is not running"))?;
        let files = payload.namespaces.files_of(&payload.init)?;
        let fds: Vec<BorrowedFd> = files.iter().map(|fd| fd.as_fd()).chain(std::iter::once(payload.init.pidfd.as_fd())).collect();
        wire::send(&caller.socket, &FromMonitor::MonitorDone, &fds)
    }

    /// The payload has ended, and with its PID namespace all that was executed in it. Without one of its own its session has to be ended;
    /// who has left that is found in the cgroup, where there is one.
    pub fn settle(&mut self) {
        if let (Some(init), false) = (self.state.pid, self.config.spec.linux.has("pid")) {
            executed::kill_session(init);
        }
        self.outputs.drain();
        self.egress.drain();
        self.end_checks();
        for mut executed in std::mem::take(&mut self.executed) {
            if !self.config.spec.linux.has("pid") {
                executed.kill();
            }
            executed.end();
        }
    }

    /// Takes the payload's outputs: to read them, or to have them for when the Client that reads them is gone.
    pub fn keep(
        &mut self,
        origin: &Origin,
        console: Option<&OwnedFd>,
        stdout: Option<OwnedFd>,
        stderr: Option<OwnedFd>,
    ) -> Result<()> {
        let console = console.map(|master| master.try_clone().context("cannot duplicate the terminal")).transpose()?;
        let stdout = [console, stdout].into_iter().flatten().map(|fd| (log::Stream::Stdout, fd));
        let all = stdout.chain(stderr.map(|fd| (log::Stream::Stderr, fd)));
        match origin {
            Origin::Client(..) => self.left.extend(all),
            Origin::Monitor => all.for_each(|(stream, fd)| self.outputs.add(stream, fd)),
        }
        Ok(())
    }

    /// The payload has ended and will be started again: in the record, and to those who wait for any end.
    pub fn retry(&mut self, exit_code: u8, error: Option<&Failure>, count: u32) -> Result<()> {
        self.look_back();
        self.state = self.state.clone().ended(Event::Retrying, exit_code, error.map(|error| error.message.clone()))?;
        self.happened("die", &[("exitCode", exit_code.to_string())]);
        self.state.restart_count = count;
        self.write()?;
        self.tell_ended(exit_code, false);
        Ok(())
    }

    /// The container has ended: in the record. Returns where a temporary one's lies, to be erased: it is gone before anybody hears of its
    /// end, so that the caller's next command may use its name.
    pub fn finish(&mut self, exit_code: u8, error: Option<&Failure>) -> Result<Option<CString>> {
        self.look_back();
        self.happened("die", &[("exitCode", exit_code.to_string())]);
        if self.config.auto_remove {
            return Ok(Some(remove::retire(self.store, &self.config, true)?));
        }
        self.state = self.state.clone().ended(Event::Ended, exit_code, error.map(|error| error.message.clone()))?;
        self.write()?;
        // After the record: who is not heard any more finds the end there.
        if self.listener.take().is_some() {
            let _ = nix::unistd::unlinkat(&self.directory, CONTROL, nix::unistd::UnlinkatFlags::NoRemoveDir);
        }
        Ok(None)
    }

    /// Deletes a temporary container's files.
    pub fn erase(&self, retired: &CStr) -> Result<()> {
        remove::erase(self.store, retired)
    }
}
