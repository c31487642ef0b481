//! Processes that are executed beside the payload, from the request for one to its end.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use anyhow::{Context, Result, anyhow};
use nix::poll::{PollFd, PollFlags};

use super::{Payload, Server};
use crate::container::join::Joiner;
use crate::container::state::Status;
use crate::container::stdio::{Stream, Streams};
use crate::container::wire::{self, FromClient, FromInit, FromMonitor, Handed};
use crate::container::{events, execute, record};
use crate::error::{Advise, Failure};
use crate::oci::runtime::Process;
use crate::sys::failpoint::milestone;
use crate::sys::process::{self, Child, Exit};

/// A process that was executed beside the payload.
pub(super) struct Executed {
    /// Of its cgroup.
    pub(super) number: u32,
    command: String,
    child: Child,
    /// Until it has executed or failed.
    starting: Option<OwnedFd>,
    /// All but the execve is done.
    ready: bool,
    console: Option<OwnedFd>,
    /// Who hears of its start and end, and whose death is its own.
    caller: Option<OwnedFd>,
    detached: bool,
    pub(super) failure: Option<Failure>,
    pub(super) exit_code: u8,
}

impl Server<'_> {
    /// Starts another process in the container. Its Client hears of it on a conversation that is its own from here on.
    pub(super) fn execute(
        &mut self,
        payload: Option<&Payload>,
        caller: OwnedFd,
        fds: Vec<OwnedFd>,
        streams: [Handed; 3],
        window: Option<(u16, u16)>,
        detached: bool,
    ) {
        milestone("exec-asked");
        let started = unpack(fds, streams).and_then(|(process, streams)| self.join(payload, process, streams, window));
        match started {
            Ok(executed) => {
                let action = |action: &str| {
                    let action = format!("{action}: {}", executed.command);
                    events::Event::of_container(&self.config, &action, &[])
                };
                events::tell(self.store, &[action("exec_create"), action("exec_start")]);
                self.executed.push(Executed { caller: Some(caller), detached, ..executed });
            }
            Err(error) => {
                let failure = Failure::from(&error.context(format!("container \"{}\"", self.config.name)));
                let _ = wire::send(&caller, &FromMonitor::MonitorFailed(failure), &[]);
            }
        }
    }

    /// Clones a process beside the payload.
    pub(super) fn join(
        &mut self,
        payload: Option<&Payload>,
        process: Process,
        streams: Streams,
        window: Option<(u16, u16)>,
    ) -> Result<Executed> {
        let payload = payload.ok_or_else(|| anyhow!("is not running"))?;
        if self.state.status == Status::Paused {
            // It would be born frozen, and never answer.
            return Err(anyhow!("is paused")).hint(|| format!("rl unpause {}", self.config.name));
        }
        let streams = if process.terminal { None } else { Some(streams) };
        let command = process.args.first().cloned().unwrap_or_default();
        let (maps, name, namespaces) = (self.maps, self.config.name.as_str(), &payload.namespaces);
        self.execs += 1;
        let leaf = self.scope.as_ref().map(|scope| scope.cgroup.make_exec(self.execs)).transpose()?;
        let cgroup = leaf.as_ref().map(|leaf| leaf.as_fd());
        let joiner = Joiner { name, process, streams, window, maps, init: payload.init.pidfd.as_fd(), namespaces, cgroup };
        let (child, starting) = joiner.start()?;
        Ok(Executed {
            number: self.execs,
            command,
            child,
            starting: Some(starting),
            ready: false,
            console: None,
            caller: None,
            detached: true,
            failure: None,
            exit_code: 0,
        })
    }

    pub(super) fn advance_executed(&mut self, ready: &[i32]) {
        let (scope, mut ended) = (self.scope.as_ref(), Vec::new());
        self.executed.retain_mut(|executed| {
            let lives = executed.advance(ready);
            if !lives {
                ended.push(executed.exit_code);
                if let Some(scope) = scope {
                    scope.cgroup.end_exec(executed.number, executed.is_abandoned());
                }
            }
            lives
        });
        ended.into_iter().for_each(|code| self.happened("exec_die", &[("exitCode", code.to_string())]));
    }
}

/// The request's file and streams.
fn unpack(fds: Vec<OwnedFd>, kinds: [Handed; 3]) -> Result<(Process, Streams)> {
    let mut fds = fds.into_iter();
    let request = File::from(fds.next().context("no request came along")?);
    std::io::Seek::rewind(&mut &request)?;
    let process: Process = serde_json::from_reader(std::io::BufReader::new(&request)).context("cannot read the request")?;
    let mut stream = |kind: Handed| -> Result<Stream> {
        Ok(match kind {
            Handed::Null => Stream::Null,
            Handed::Direct => Stream::Direct(fds.next().context("a stream did not come along")?),
            Handed::Pipe => Stream::Pipe(fds.next().context("a stream did not come along")?),
        })
    };
    let streams = Streams { stdin: stream(kinds[0])?, stdout: stream(kinds[1])?, stderr: stream(kinds[2])? };
    Ok((process, streams))
}

impl Executed {
    /// What to wait for.
    pub(super) fn interests(&self) -> impl Iterator<Item = PollFd<'_>> {
        let ended = if self.starting.is_none() { Some(&self.child.pidfd) } else { None };
        let fds = [self.starting.as_ref(), self.caller.as_ref(), ended].into_iter().flatten();
        fds.map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN))
    }

    /// Takes notice of what is ready; false when it is over.
    pub(super) fn advance(&mut self, ready: &[i32]) -> bool {
        let fired = |fd: &Option<OwnedFd>| fd.as_ref().is_some_and(|fd| ready.contains(&fd.as_raw_fd()));
        if fired(&self.caller) {
            self.hear();
        }
        if fired(&self.starting) {
            self.follow_start();
        }
        if ready.contains(&self.child.pidfd.as_raw_fd()) && self.starting.is_none() {
            self.end();
            return false;
        }
        true
    }

    /// Its Client has gone before it.
    fn is_abandoned(&self) -> bool {
        self.caller.is_none() && !self.detached
    }

    fn tell(&self, message: &FromMonitor, fds: &[BorrowedFd]) {
        if let Some(caller) = &self.caller {
            let _ = wire::send(caller, message, fds);
        }
    }

    /// How far it has come on its way to execve.
    fn follow_start(&mut self) {
        let Some(conversation) = &self.starting else { return };
        match wire::receive_from_init(conversation) {
            Ok(Some((FromInit::InitRootReady, fds))) => {
                self.ready = true;
                self.console = fds.into_iter().next();
                return;
            }
            Ok(Some((FromInit::InitFailed(failure), _))) => self.failure = Some(failure),
            Ok(Some((FromInit::InitNotExecuted(errno), _))) => {
                self.failure = Some(Failure::from(&execute::not_executed(&self.command, errno)));
            }
            Ok(None) if self.ready => {
                milestone("exec-started");
                let console: Vec<BorrowedFd> = self.console.iter().map(|fd| fd.as_fd()).collect();
                self.tell(&FromMonitor::MonitorStarted, &console);
            }
            _ => self.failure = Some(Failure::from(&anyhow!("the process died before it could execute \"{}\"", self.command))),
        }
        self.starting = None;
    }

    /// What its Client says, or that it is gone: then nobody wants it any more.
    fn hear(&mut self) {
        let Some(caller) = &self.caller else { return };
        match wire::receive::<FromClient>(caller) {
            Ok(Some((FromClient::ClientSignal(signal), _))) => drop(self.child.signal(signal)),
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => {
                self.caller = None;
                if !self.detached {
                    self.kill();
                }
            }
        }
    }

    /// Kills it and all of its session: what it has left in the background too.
    pub(super) fn kill(&self) {
        kill_session(self.child.pid);
        let _ = self.child.signal(libc::SIGKILL);
    }

    pub(super) fn end(&mut self) {
        let exit_code = self.child.wait().map_or(u8::MAX, Exit::code);
        self.exit_code = exit_code;
        match self.failure.clone() {
            Some(failure) => self.tell(&FromMonitor::MonitorFailed(failure), &[]),
            None => self.tell(&FromMonitor::MonitorEnded { exit_code }, &[]),
        }
    }
}

/// Kills all of a session, whose number is nobody else's as long as it has members.
pub(super) fn kill_session(leader: i32) {
    for pid in record::session_members(leader) {
        if let Ok(member) = process::pidfd_open(pid) {
            let _ = process::pidfd_signal(member.as_fd(), libc::SIGKILL);
        }
    }
}
