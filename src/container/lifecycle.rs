//! What commands do to containers that there are: start, stop, kill, restart, wait, rename. Each finds its container in whatever state it
//! is; a running one is asked through its Monitor, any other is locked by the command itself.

use anyhow::{Context, Result, anyhow, bail};

use super::attend::Company;
use super::events;
use super::health;
use super::hold::{Held, PATIENCE, hold, wait_for_change};
use super::record::{self, Record};
use super::resources::{self, Limits};
use super::restart::RestartPolicy;
use super::state::Status;
use super::watch::Watch;
use super::wire::{FromClient, FromMonitor};
use super::{attend, boot, control, launch, remove};
use crate::cgroup;
use crate::error::Advise;
use crate::host::paths::Paths;
use crate::userns::shared::Pending;

/// `rl start`. Returns the payload's exit code where the caller stays with it.
pub fn start(paths: &Paths, wanted: &str, company: &Company, pending: impl FnOnce() -> Result<Pending>) -> Result<u8> {
    match hold(paths, wanted)? {
        Held::Up(record) => match company {
            Company::None => Ok(0),
            Company::Attached { .. } => Ok(match attend::attach(&record, company)? {
                attend::Outcome::Ended(code) => code,
                _ => 0,
            }),
        },
        Held::Down(record, lock) => launch::start_again(record, lock, company, paths, pending()?),
    }
}

/// `rl stop`: the signal, then after `timeout` seconds SIGKILL; negative: never. One that is down already is none the worse for it.
pub fn stop(record: &Record, signal: Option<i32>, timeout: Option<i64>) -> Result<()> {
    if end(record, signal, timeout, false)?.is_some() {
        events::by_client(record, "stop", &[]);
    }
    Ok(())
}

fn end(record: &Record, signal: Option<i32>, timeout: Option<i64>, again: bool) -> Result<Option<FromMonitor>> {
    if !record.alive {
        remove::end_payload(record);
        return Ok(None);
    }
    if !record.state.status.is_up() {
        return Ok(None);
    }
    let patience = match timeout {
        None => Some(record.config.patience()),
        Some(seconds) => u64::try_from(seconds).ok().map(|seconds| seconds.saturating_mul(1000)),
    };
    let signal = signal.unwrap_or(record.config.stop_signal);
    match control::ask(record, &FromClient::ClientStop { signal, patience, again })? {
        Some((answer, _)) => Ok(Some(answer)),
        // It ended by itself at this very moment; if it is not its Monitor that died.
        None => Ok(None),
    }
}

/// `rl kill`.
pub fn kill(record: &Record, signal: i32) -> Result<()> {
    if !record.alive || !record.state.status.is_up() {
        bail!("container \"{}\" is not running", record.config.name);
    }
    if signal == libc::SIGKILL {
        return end(record, Some(signal), Some(-1), false).map(drop);
    }
    control::tell(record, &FromClient::ClientKill(signal))
}

/// `rl restart`: what is up ends and starts again under the same Monitor; what is down starts.
pub fn restart(
    paths: &Paths,
    wanted: &str,
    signal: Option<i32>,
    timeout: Option<i64>,
    pending: impl FnOnce() -> Result<Pending>,
) -> Result<()> {
    if let Held::Up(record) = hold(paths, wanted)?
        && end(&record, signal, timeout, true)?.is_some()
    {
        events::by_client(&record, "restart", &[]);
        return Ok(());
    }
    start(paths, wanted, &Company::None, pending).map(drop)
}

/// What `rl wait` waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Condition {
    /// That it does not run, now or later
    NotRunning,
    /// The next time that it ends
    NextExit,
    /// That it is removed
    Removed,
}

/// `rl wait`: the exit code.
pub fn wait(record: &Record, condition: Condition) -> Result<u8> {
    let up = record.alive && record.state.status.is_up();
    let known = || record.state.exit_code.unwrap_or(0);
    let code = match condition {
        Condition::NotRunning if !up => return Ok(known()),
        _ if up => ended(record, condition != Condition::NextExit)?,
        Condition::NextExit => next_end(record)?,
        _ => known(),
    };
    if condition == Condition::Removed && record.directory.exists() {
        let mut watch = Watch::new(record)?;
        while record.directory.exists() {
            wait_for_change(&mut watch, PATIENCE)?;
        }
    }
    Ok(code)
}

fn ended(record: &Record, last: bool) -> Result<u8> {
    match control::ask(record, &FromClient::ClientWait { last })? {
        Some((FromMonitor::MonitorEnded { exit_code }, _)) => Ok(exit_code),
        Some((other, _)) => bail!("unexpected {other:?}"),
        None => {
            let now = Record::load(&record.directory)?;
            let code = now.filter(|now| now.state.status == Status::Exited).and_then(|now| now.state.exit_code);
            code.ok_or_else(|| anyhow!("the monitor of \"{}\" died: its exit code is unknown", record.config.name))
        }
    }
}

/// It is down: waits for it to come up, then for its end.
fn next_end(record: &Record) -> Result<u8> {
    let finished = record.state.finished_at.clone();
    loop {
        let mut watch = Watch::new(record)?;
        let now = Record::load(&record.directory)?.with_context(|| format!("container \"{}\" is gone", record.config.name))?;
        if now.alive && now.state.status.is_up() {
            return ended(&now, false);
        }
        if now.state.finished_at != finished {
            return Ok(now.state.exit_code.unwrap_or(0));
        }
        wait_for_change(&mut watch, PATIENCE)?;
    }
}

/// `rl healthcheck run`: whether the check has passed, and how the container is.
pub fn check(record: &Record) -> Result<(bool, health::Status)> {
    let name = &record.config.name;
    if record.config.health.is_none() {
        return Err(anyhow!("container \"{name}\" has no health check")).hint(|| "rl run --health-cmd COMMAND …");
    }
    let answer = if record.alive { control::ask(record, &FromClient::ClientCheck)? } else { None };
    match answer {
        Some((FromMonitor::MonitorChecked { passed, status }, _)) => Ok((passed, status)),
        Some((other, _)) => bail!("unexpected {other:?}"),
        None => bail!("container \"{name}\" is not running"),
    }
}

/// `rl pause` and `rl unpause`.
pub fn pause(record: &Record, pause: bool) -> Result<()> {
    let name = &record.config.name;
    match (record.state.status, pause) {
        (Status::Paused, true) => bail!("container \"{name}\" is paused already"),
        (Status::Running, false) => bail!("container \"{name}\" is not paused"),
        _ => control::tell(record, &FromClient::ClientPause(pause)),
    }
}

/// `rl update`: of one that runs, what it may use from this moment; of any other, from its next start on.
pub fn update(paths: &Paths, wanted: &str, restart: Option<RestartPolicy>, limits: &Limits) -> Result<()> {
    loop {
        let held = hold(paths, wanted)?;
        let old = held.record().config.clone();
        if try_update(&held, restart, limits)? {
            let new = super::config::Config { restart: restart.unwrap_or(old.restart), ..old.clone() };
            boot::enable(paths, &new);
            if !new.restart.is_for_boots() {
                boot::disable(paths, &old);
            }
            return Ok(());
        }
    }
}

/// False: it was up, and has ended meanwhile.
fn try_update(held: &Held, restart: Option<RestartPolicy>, limits: &Limits) -> Result<bool> {
    let config = &held.record().config;
    if config.auto_remove && restart.is_some_and(|policy| policy != RestartPolicy::No) {
        bail!("container \"{}\" is removed when it ends, so it cannot be restarted", config.name);
    }
    let resources = limits.over(&config.spec.linux.resources, &resources::block_device)?;
    // Whether all of it can be written down as settings at all.
    cgroup::limits::settings(&resources)?;
    let changed = (!limits.is_empty()).then(|| Box::new(resources.clone()));
    held.change(&FromClient::ClientUpdate { restart, resources: changed }, |config| {
        config.spec.linux.resources = resources;
        config.restart = restart.unwrap_or(config.restart);
    })
}

/// `rl rename`. The new name leads to it before the old one does not any more.
pub fn rename(paths: &Paths, wanted: &str, name: &str) -> Result<()> {
    let held = hold(paths, wanted)?;
    let record = held.record();
    let old = record.config.clone();
    if old.name == name {
        bail!("container \"{name}\" has this name already");
    }
    record::take_name(paths, name, &old.id)?;
    let mut renamed = give_name(&held, name);
    while let Ok(false) = renamed {
        renamed = hold(paths, &old.id).and_then(|held| give_name(&held, name));
    }
    if renamed.is_err() {
        let _ = std::fs::remove_file(paths.names().join(name));
    } else {
        if old.named {
            let _ = std::fs::remove_file(paths.names().join(&old.name));
        }
        let now = Record { config: super::config::Config { name: name.into(), ..old.clone() }, ..record.clone() };
        events::by_client(&now, "rename", &[("oldName", format!("/{}", old.name))]);
    }
    renamed.map(drop)
}

/// As [`Held::change`].
fn give_name(held: &Held, name: &str) -> Result<bool> {
    held.change(&FromClient::ClientRename(name.into()), |config| (config.name, config.named) = (name.into(), true))
}
