//! `rl exec`: Client's side of another process in a container. Monitor starts it (join.rs); Client attends it as it attends a container.

use std::os::fd::{AsFd, BorrowedFd};

use anyhow::{Context, Result, bail};

use super::attend::{self, Attendance, Company, Outcome};
use super::config::Config;
use super::console::{self, Relays};
use super::control;
use super::record::Record;
use super::stdio::{self, Ends, Stream};
use super::wire::{self, FromClient, Handed};
use crate::oci::runtime::{Process, User};
use crate::security::caps;
use crate::sys::fs;

/// What is to be executed.
pub struct Request {
    pub args: Vec<String>,
    /// `NAME=VALUE`, added to the container's own.
    pub env: Vec<String>,
    /// Instead of the container's.
    pub user: Option<String>,
    pub cwd: Option<String>,
    pub terminal: bool,
    pub privileged: bool,
}

impl Request {
    /// The container's own process, but for what was asked for.
    fn process(self, config: &Config) -> Result<Process> {
        let own = &config.spec.process;
        let mut env = own.env.clone();
        if self.terminal && !env.iter().any(|entry| entry.starts_with("TERM=")) {
            env.push("TERM=xterm".into());
        }
        for entry in self.env {
            let name = entry.split('=').next().unwrap_or_default();
            env.retain(|known| known.split('=').next() != Some(name));
            env.push(entry);
        }
        let user = match self.user {
            Some(username) => User { username, additional_groups: Vec::new(), umask: own.user.umask },
            None => own.user.clone(),
        };
        let capabilities = if self.privileged { caps::wanted(true, &[], &[])? } else { own.capabilities.clone() };
        let cwd = self.cwd.unwrap_or_else(|| own.cwd.clone());
        if !cwd.starts_with('/') {
            bail!("the working directory \"{cwd}\" is invalid: it must be an absolute path");
        }
        Ok(Process { args: self.args, env, user, cwd, terminal: self.terminal, capabilities, ..own.clone() })
    }
}

/// Executes it in a running container. `root`: container root's ids on the host.
pub fn exec(record: &Record, request: Request, company: &Company, root: (u32, u32)) -> Result<Outcome> {
    let config = &record.config;
    let process = request.process(config)?;
    let terminal = process.terminal;
    let (streams, ends) = match company {
        _ if terminal => ([Stream::Null, Stream::Null, Stream::Null], Ends::default()),
        Company::None => ([Stream::Null, Stream::Null, Stream::Null], Ends::default()),
        Company::Attached { interactive, .. } => {
            let owner = stdio::owned_by_payload(&process.user.username, config.keep_id, root);
            let (streams, ends) = stdio::prepare(*interactive, owner, root)?;
            ([streams.stdin, streams.stdout, streams.stderr], ends)
        }
    };
    let conversation = control::connect(record)?;
    let signals = attend::catch_signals(company, terminal)?;
    let file = fs::sealed_memfd(c"rl-exec", &serde_json::to_vec(&process)?).context("cannot write the request")?;
    let mut fds: Vec<BorrowedFd> = vec![file.as_fd()];
    fds.extend(streams.iter().filter_map(Stream::fd));
    let kinds = [&streams[0], &streams[1], &streams[2]].map(handed);
    let detached = matches!(company, Company::None);
    wire::send(&conversation, &FromClient::ClientExec { streams: kinds, window: console::size(), detached }, &fds)?;
    drop(fds);
    drop(streams);
    let relays = Relays::of_pipes(ends)?;
    let attendance =
        Attendance { conversation: &conversation, signals: &signals, company, terminal, relays, outputs: None, notice: None };
    attendance.run()?.with_context(|| format!("the monitor of \"{}\" died", config.name))
}

fn handed(stream: &Stream) -> Handed {
    match stream {
        Stream::Null => Handed::Null,
        Stream::Direct(_) => Handed::Direct,
        Stream::Pipe(_) => Handed::Pipe,
    }
}
