//! Client beside a container, or beside what it has executed in one: forwards signals and streams until Monitor reports the end, or the
//! caller leaves.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use anyhow::{Context, Result};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::console::{self, Keys, RawMode, Relays};
use super::control;
use super::record::Record;
use super::sdnotify::Notice;
use super::stdio::{self, Ends};
use super::wire::{self, FromClient, FromMonitor};

/// How a Client stays with a container.
#[derive(Debug, Clone)]
pub enum Company {
    /// Not at all (`-d`).
    None,
    /// To its end, or until these keys are typed; with the caller's input, or without.
    Attached { interactive: bool, keys: Keys, sig_proxy: bool },
}

/// How attending ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It runs, and nobody wanted to stay.
    Started,
    Ended(u8),
    /// The caller has left.
    Detached,
}

/// Every signal that can be caught and means something to a payload; none for who does not stay. SIGTSTP and its kin stay the caller's
/// shell's.
pub fn catch_signals(company: &Company, has_terminal: bool) -> Result<Option<SignalFd>> {
    let Company::Attached { sig_proxy: true, .. } = company else { return Ok(None) };
    let own = [
        Signal::SIGSEGV,
        Signal::SIGBUS,
        Signal::SIGFPE,
        Signal::SIGILL,
        Signal::SIGTRAP,
        Signal::SIGABRT,
        Signal::SIGKILL,
        Signal::SIGSTOP,
        Signal::SIGTSTP,
        Signal::SIGTTIN,
        Signal::SIGTTOU,
        Signal::SIGPIPE,
        Signal::SIGCHLD,
        Signal::SIGURG,
    ];
    let mut set = SigSet::empty();
    Signal::iterator().filter(|signal| !own.contains(signal)).for_each(|signal| set.add(signal));
    // With a terminal the hang-up is the terminal's end, not a message to the payload: Client goes, the container stays.
    if has_terminal {
        set.remove(Signal::SIGHUP);
    }
    set.thread_block().context("cannot block signals")?;
    SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).map(Some).context("cannot receive signals")
}

/// Asks Monitor for everything that the payload writes from now on; returns where to read it.
pub fn ask(conversation: &OwnedFd, terminal: bool) -> Result<Ends> {
    let pipe = || -> Result<(OwnedFd, OwnedFd)> {
        let (read, write) = stdio::pipe()?;
        Ok((stdio::unblocked(read)?, stdio::unblocked(write)?))
    };
    let (stdout, to_stdout) = pipe()?;
    let mut ends = Ends { stdout: Some(stdout), ..Ends::default() };
    let mut pipes = vec![to_stdout];
    if !terminal {
        let (stderr, to_stderr) = pipe()?;
        ends.stderr = Some(stderr);
        pipes.push(to_stderr);
    }
    let fds: Vec<_> = pipes.iter().map(|fd| fd.as_fd()).collect();
    wire::send(conversation, &FromClient::ClientAttach, &fds)?;
    Ok(ends)
}

/// `rl attach`: stays with a container that runs already.
pub fn attach(record: &Record, company: &Company) -> Result<Outcome> {
    let terminal = record.config.spec.process.terminal;
    let signals = catch_signals(company, terminal)?;
    let conversation = control::connect(record)?;
    let outputs = Some(ask(&conversation, terminal)?);
    let attendance = Attendance {
        conversation: &conversation,
        signals: &signals,
        company,
        terminal,
        relays: Relays::default(),
        outputs,
        notice: None,
    };
    attendance.run()?.with_context(|| format!("the monitor of \"{}\" died", record.config.name))
}

/// A Client, attending.
pub struct Attendance<'a> {
    pub conversation: &'a OwnedFd,
    pub signals: &'a Option<SignalFd>,
    pub company: &'a Company,
    pub terminal: bool,
    /// Between the caller's streams and pipes that are the payload's other ends.
    pub relays: Relays,
    /// Pipes that Monitor writes the payload's output to.
    pub outputs: Option<Ends>,
    /// What to tell systemd once the payload runs.
    pub notice: Option<Notice>,
}

impl Attendance<'_> {
    /// Returns at the end; None when Monitor died.
    pub fn run(mut self) -> Result<Option<Outcome>> {
        let mut terminal: Option<(OwnedFd, Option<RawMode>)> = None;
        let kept = self.outputs.is_some();
        loop {
            let ready = self.wait()?;
            if let Some(signals) = self.signals.as_ref().filter(|signals| ready.contains(&signals.as_raw_fd())) {
                while let Ok(Some(signal)) = signals.read_signal() {
                    forward(signal.ssi_signo as i32, self.conversation, terminal.as_ref().map(|(master, _)| master));
                }
            }
            let advance = self.relays.advance(&ready);
            if advance.left {
                return Ok(Some(Outcome::Detached));
            }
            if advance.broken {
                let _ = wire::send(self.conversation, &FromClient::ClientOutputBroken, &[]);
            }
            if advance.input_ended && kept && !self.terminal {
                let _ = wire::send(self.conversation, &FromClient::ClientInputEnded, &[]);
            }
            if !ready.contains(&self.conversation.as_raw_fd()) {
                continue;
            }
            match wire::receive::<FromMonitor>(self.conversation)? {
                Some((FromMonitor::MonitorStarted, fds)) => {
                    self.notice.take().iter().for_each(Notice::send);
                    if matches!(self.company, Company::None) {
                        return Ok(Some(Outcome::Started));
                    }
                    terminal = self.connect(fds)?;
                }
                Some((FromMonitor::MonitorEnded { exit_code }, _)) => {
                    self.relays.drain();
                    return Ok(Some(Outcome::Ended(exit_code)));
                }
                Some((FromMonitor::MonitorFailed(failure), _)) => return Err(failure.into()),
                Some((FromMonitor::MonitorDone | FromMonitor::MonitorChecked { .. }, _)) => {}
                None => return Ok(None),
            }
        }
    }

    fn wait(&self) -> Result<Vec<i32>> {
        let mut set = vec![PollFd::new(self.conversation.as_fd(), PollFlags::POLLIN)];
        set.extend(self.signals.iter().map(|signals| PollFd::new(signals.as_fd(), PollFlags::POLLIN)));
        set.extend(self.relays.interests());
        match poll(&mut set, PollTimeout::NONE) {
            Err(nix::errno::Errno::EINTR) => return Ok(Vec::new()),
            other => other.context("cannot wait for the container")?,
        };
        Ok(set.iter().filter(|fd| fd.any().unwrap_or(true)).map(|fd| fd.as_fd().as_raw_fd()).collect())
    }

    /// The payload runs: its terminal, or its input, comes along. Returns the terminal, the caller's being raw from here on.
    fn connect(&mut self, fds: Vec<OwnedFd>) -> Result<Option<(OwnedFd, Option<RawMode>)>> {
        let Company::Attached { interactive, keys, .. } = self.company else { return Ok(None) };
        let Some(fd) = fds.into_iter().next() else {
            if let Some(ends) = self.outputs.take() {
                self.relays = Relays::of_pipes(ends)?;
            }
            return Ok(None);
        };
        if !self.terminal {
            if let Some(ends) = self.outputs.take() {
                self.relays = Relays::of_pipes(Ends { stdin: interactive.then_some(fd), ..ends })?;
            }
            return Ok(None);
        }
        console::copy_size(fd.as_fd());
        let output = self.outputs.take().and_then(|ends| ends.stdout);
        self.relays = Relays::of_terminal(&fd, interactive.then_some(keys), output)?;
        let raw = if *interactive { RawMode::enter()? } else { None };
        Ok(Some((fd, raw)))
    }
}

fn forward(signal: i32, conversation: &OwnedFd, terminal: Option<&OwnedFd>) {
    match terminal {
        Some(master) if signal == libc::SIGWINCH => console::copy_size(master.as_fd()),
        _ => drop(wire::send(conversation, &FromClient::ClientSignal(signal), &[])),
    }
}
