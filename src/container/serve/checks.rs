//! Health checks while the payload runs: one at a time, each a process executed beside it, killed at its timeout.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use nix::poll::{PollFd, PollFlags};

use super::executed::Executed;
use super::{Payload, Server};
use crate::container::health::{self, Checked, Health, HealthConfig, NO_EXIT_CODE, OUTPUT_LIMIT, OnFailure, Status};
use crate::container::stdio::{self, Stream, Streams};
use crate::container::wire::{self, FromMonitor};
use crate::container::{record, state};
use crate::error::Failure;
use crate::oci::runtime::Process;

/// The checks of one life of the payload.
pub struct Checks {
    config: HealthConfig,
    health: Health,
    /// When the payload was started.
    since: Instant,
    /// When the next one is to begin. None while one runs, and while none shall.
    due: Option<Instant>,
    running: Option<Running>,
}

/// A check, running.
struct Running {
    process: Executed,
    output: Option<File>,
    /// What it has printed, up to a byte more than is kept.
    printed: Vec<u8>,
    /// RFC 3339.
    start: String,
    /// Of the payload, when it began.
    age: Duration,
    /// When it has taken too long. None: that is over, it was killed.
    deadline: Option<Instant>,
    /// The container was paused meanwhile: the result means nothing.
    void: bool,
    /// Who wants to know the result.
    askers: Vec<OwnedFd>,
}

impl Checks {
    /// When [`Server::advance_checks`] has something to do, whatever happens.
    pub fn deadline(&self) -> Option<Instant> {
        self.running.as_ref().map_or(self.due, |running| running.deadline)
    }

    /// What to wait for.
    pub fn interests(&self) -> Vec<PollFd<'_>> {
        let Some(running) = &self.running else { return Vec::new() };
        let output = running.output.iter().map(|output| PollFd::new(output.as_fd(), PollFlags::POLLIN));
        running.process.interests().chain(output).collect()
    }

    fn plan_next(&mut self, now: Instant) {
        self.due = Some(now + self.health.pause(&self.config, now - self.since));
    }
}

impl Running {
    /// Takes notice of what is ready, and of the time; false when it is over.
    fn advance(&mut self, ready: &[i32]) -> bool {
        if self.output.as_ref().is_some_and(|output| ready.contains(&output.as_raw_fd())) {
            self.read();
        }
        if self.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            self.kill();
        }
        self.process.advance(ready)
    }

    fn kill(&mut self) {
        self.deadline = None;
        self.process.kill();
    }

    /// Reads what there is.
    fn read(&mut self) {
        let mut buffer = [0; OUTPUT_LIMIT + 1];
        while let Some(output) = &mut self.output {
            match output.read(&mut buffer) {
                Ok(length) if length > 0 => {
                    let room = (OUTPUT_LIMIT + 1).saturating_sub(self.printed.len());
                    self.printed.extend_from_slice(&buffer[..length.min(room)]);
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                _ => self.output = None,
            }
        }
    }

    fn result(&mut self, timeout: Duration) -> Checked {
        self.read();
        let printed = health::output(&self.printed);
        let (exit_code, output) = match (&self.process.failure, self.deadline) {
            (_, None) => {
                let after = humantime::format_duration(timeout).to_string().replace(' ', "");
                let colon = if printed.is_empty() { "" } else { ": " };
                (NO_EXIT_CODE, format!("Health check exceeded timeout ({after}){colon}{printed}"))
            }
            (Some(failure), _) => (NO_EXIT_CODE, failure.message.clone()),
            (None, _) => (i32::from(self.process.exit_code), printed),
        };
        Checked { start: self.start.clone(), end: record::now(), exit_code, output }
    }
}

impl Server<'_> {
    /// The payload has just been started: nothing is known of its health, and no longer what was known of the last one's.
    pub fn begin_checks(&mut self) {
        let Some(config) = self.config.health.clone() else { return };
        let mut checks = Checks { config, health: Health::default(), since: Instant::now(), due: None, running: None };
        checks.plan_next(checks.since);
        self.write_health(&checks.health);
        self.checks = Some(checks);
    }

    /// A container does not suffer for a full disk.
    fn write_health(&self, health: &Health) {
        let _ = record::write_json(&self.directory, health::FILE, health);
    }

    /// Begins and ends checks as it is time.
    pub(super) fn advance_checks(&mut self, ready: &[i32], payload: Option<&Payload>) -> Result<()> {
        let Some(mut checks) = self.checks.take() else { return Ok(()) };
        let mut failed = false;
        if let Some(running) = checks.running.take_if(|running| !running.advance(ready)) {
            failed = self.conclude(&mut checks, running);
        }
        if checks.due.is_some_and(|due| due <= Instant::now()) {
            checks.due = None;
            // What is about to end is not asked how it is.
            if self.ending.is_none() {
                self.check(&mut checks, payload);
            }
        }
        let on_failure = checks.config.on_failure;
        self.checks = Some(checks);
        if failed { self.react(on_failure, payload) } else { Ok(()) }
    }

    /// Starts a check. One that cannot be started has failed.
    fn check(&mut self, checks: &mut Checks, payload: Option<&Payload>) {
        let (now, start) = (Instant::now(), record::now());
        match self.execute_check(&checks.config, payload) {
            Ok((process, output)) => {
                checks.running = Some(Running {
                    process,
                    output: Some(output),
                    printed: Vec::new(),
                    start,
                    age: now - checks.since,
                    deadline: Some(now + checks.config.timeout()),
                    void: false,
                    askers: Vec::new(),
                });
            }
            Err(error) => {
                let output = Failure::from(&error).message;
                let checked = Checked { start, end: record::now(), exit_code: NO_EXIT_CODE, output };
                self.take(checks, checked, now - checks.since);
            }
        }
    }

    fn execute_check(&mut self, config: &HealthConfig, payload: Option<&Payload>) -> Result<(Executed, File)> {
        let (output, written) = stdio::pipe()?;
        let output = stdio::unblocked(output)?;
        let streams = Streams { stdin: Stream::Null, stdout: Stream::Pipe(written.try_clone()?), stderr: Stream::Pipe(written) };
        let own = &self.config.spec.process;
        let process = Process { args: config.command.clone(), terminal: false, ..own.clone() };
        Ok((self.join(payload, process, streams, None)?, output.into()))
    }

    /// A check is over; true when the container has become unhealthy by it.
    fn conclude(&mut self, checks: &mut Checks, mut running: Running) -> bool {
        if let Some(scope) = &self.scope {
            scope.cgroup.end_exec(running.process.number, running.deadline.is_none());
        }
        if running.void {
            if self.state.status == state::Status::Running {
                checks.plan_next(Instant::now());
            }
            let failure = Failure::from(&anyhow!("container \"{}\" is paused", self.config.name));
            running.askers.iter().for_each(|asker| drop(wire::send(asker, &FromMonitor::MonitorFailed(failure.clone()), &[])));
            return false;
        }
        let checked = running.result(checks.config.timeout());
        let passed = checked.exit_code == 0;
        let failed = self.take(checks, checked, running.age);
        let answer = FromMonitor::MonitorChecked { passed, status: checks.health.status };
        running.askers.iter().for_each(|asker| drop(wire::send(asker, &answer, &[])));
        failed
    }

    /// Takes note of a result; true when the container has become unhealthy by it.
    fn take(&mut self, checks: &mut Checks, checked: Checked, age: Duration) -> bool {
        let changed = checks.health.take(checked, &checks.config, age);
        self.write_health(&checks.health);
        if changed {
            self.happened(&format!("health_status: {}", checks.health.status.word()), &[]);
        }
        checks.plan_next(Instant::now());
        changed && checks.health.status == Status::Unhealthy
    }

    /// `--health-on-failure`.
    fn react(&mut self, on_failure: OnFailure, payload: Option<&Payload>) -> Result<()> {
        let patience = Some(self.config.patience());
        match on_failure {
            OnFailure::None => Ok(()),
            OnFailure::Stop => self.stop(payload, self.config.stop_signal, patience, false),
            OnFailure::Restart => self.stop(payload, self.config.stop_signal, patience, true),
            // Not as a person's: what follows is for the restart policy to say.
            OnFailure::Kill => {
                self.happened("kill", &[("signal", libc::SIGKILL.to_string())]);
                payload.into_iter().for_each(|payload| drop(payload.init.signal(libc::SIGKILL)));
                Ok(())
            }
        }
    }

    /// `rl healthcheck run`: a check right now, or the one that runs already.
    pub(super) fn check_now(&mut self, payload: Option<&Payload>, asker: OwnedFd) {
        let refusal = match &self.checks {
            _ if self.config.health.is_none() => Some("has no health check"),
            None => Some("is not running"),
            Some(_) if self.state.status == state::Status::Paused => Some("is paused"),
            Some(_) => None,
        };
        if let Some(why) = refusal {
            let failure = Failure::from(&anyhow!("container \"{}\" {why}", self.config.name));
            let _ = wire::send(&asker, &FromMonitor::MonitorFailed(failure), &[]);
            return;
        }
        let Some(mut checks) = self.checks.take() else { return };
        if checks.running.is_none() {
            checks.due = None;
            self.check(&mut checks, payload);
        }
        match &mut checks.running {
            Some(running) => running.askers.push(asker),
            None => {
                let answer = FromMonitor::MonitorChecked { passed: false, status: checks.health.status };
                let _ = wire::send(&asker, &answer, &[]);
            }
        }
        self.checks = Some(checks);
    }

    /// Nothing is checked while the container is frozen.
    pub(super) fn suspend_checks(&mut self, paused: bool) {
        let Some(checks) = &mut self.checks else { return };
        match (paused, &mut checks.running) {
            (true, running) => {
                checks.due = None;
                running.iter_mut().for_each(|running| {
                    running.void = true;
                    running.kill();
                });
            }
            (false, None) => checks.plan_next(Instant::now()),
            // Planned when the killed one has ended.
            (false, Some(_)) => {}
        }
    }

    /// The payload has ended. Who asked for a check hears that by the end of the conversation.
    pub(super) fn end_checks(&mut self) {
        if let Some(mut running) = self.checks.take().and_then(|checks| checks.running) {
            if !self.config.spec.linux.has("pid") {
                running.process.kill();
            }
            running.process.end();
        }
    }
}
