//! How healthy a container is, as its check tells: Docker's rules, pure. Monitor runs the checks (serve/checks.rs).
//!
//! What is known lies in `health.json` of the record, in the shape of Docker's API, rewritten whole after each check. It says something
//! of a container that runs, and so of one whose Monitor lives; [`of`] asks for both.

pub mod flags;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::record::Record;
use crate::oci::image::Healthcheck;

/// Name of the file in the record's directory.
pub const FILE: &str = "health.json";
/// How much of a check's output is kept, in bytes.
pub const OUTPUT_LIMIT: usize = 4096;
/// How many results are kept.
const RESULTS: usize = 5;
/// Of a check that could not be run, or was killed at its timeout.
pub const NO_EXIT_CODE: i32 = -1;

/// How a container is checked; in its configuration, merged of flags and image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HealthConfig {
    /// As it was asked for, 0 where the default holds.
    pub check: Healthcheck,
    /// What is executed.
    pub command: Vec<String>,
    #[serde(default)]
    pub on_failure: OnFailure,
}

/// `--health-on-failure`: what is done with a container that has become unhealthy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// Nothing
    #[default]
    None,
    /// SIGKILL; its restart policy says what follows
    Kill,
    /// Stop it and start it again
    Restart,
    /// Stop it
    Stop,
}

impl OnFailure {
    /// As the flag has it.
    pub fn word(self) -> &'static str {
        match self {
            OnFailure::None => "none",
            OnFailure::Kill => "kill",
            OnFailure::Restart => "restart",
            OnFailure::Stop => "stop",
        }
    }
}

impl HealthConfig {
    /// How long one check may take.
    pub fn timeout(&self) -> Duration {
        or_default(self.check.timeout, Duration::from_secs(30))
    }

    fn interval(&self) -> Duration {
        or_default(self.check.interval, Duration::from_secs(30))
    }

    fn start_period(&self) -> Duration {
        or_default(self.check.start_period, Duration::ZERO)
    }

    fn start_interval(&self) -> Duration {
        or_default(self.check.start_interval, Duration::from_secs(5))
    }

    fn retries(&self) -> u32 {
        u32::try_from(self.check.retries).ok().filter(|retries| *retries > 0).unwrap_or(3)
    }
}

fn or_default(nanoseconds: i64, default: Duration) -> Duration {
    u64::try_from(nanoseconds).ok().filter(|n| *n > 0).map_or(default, Duration::from_nanos)
}

/// Docker's words.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    #[default]
    Starting,
    Healthy,
    Unhealthy,
}

impl Status {
    /// As inspect, events and filters have it.
    pub fn word(self) -> &'static str {
        match self {
            Status::Starting => "starting",
            Status::Healthy => "healthy",
            Status::Unhealthy => "unhealthy",
        }
    }
}

/// How one check went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Checked {
    /// RFC 3339.
    pub start: String,
    pub end: String,
    pub exit_code: i32,
    pub output: String,
}

/// All that is known (Engine API, `State.Health`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Health {
    pub status: Status,
    pub failing_streak: u32,
    /// The newest last.
    pub log: Vec<Checked>,
}

impl Health {
    /// How long after the last check, or the start, the next one begins. `age`: since the payload's start.
    pub fn pause(&self, config: &HealthConfig, age: Duration) -> Duration {
        match self.status {
            Status::Starting if age < config.start_period() => config.start_interval(),
            _ => config.interval(),
        }
    }

    /// Takes note of a check that began when the payload was `age` old; true when the status is another one now. Failures in the start
    /// period do not count, until there was a success.
    pub fn take(&mut self, checked: Checked, config: &HealthConfig, age: Duration) -> bool {
        let before = self.status;
        if checked.exit_code == 0 {
            self.status = Status::Healthy;
            self.failing_streak = 0;
        } else if self.status != Status::Starting || age >= config.start_period() {
            self.failing_streak = self.failing_streak.saturating_add(1);
            if self.failing_streak >= config.retries() {
                self.status = Status::Unhealthy;
            }
        }
        self.log.push(checked);
        let surplus = self.log.len().saturating_sub(RESULTS);
        self.log.drain(..surplus);
        self.status != before
    }
}

/// What inspect and ps show; None where nothing is checked, or never was. As Docker's, what does not run any more is not healthy.
pub fn of(record: &Record) -> Result<Option<Health>> {
    if record.config.health.is_none() {
        return Ok(None);
    }
    let runs = record.alive && record.state.status.has_processes();
    match read(&record.directory)? {
        Some(health) if runs => Ok(Some(health)),
        Some(health) => Ok(Some(Health { status: Status::Unhealthy, ..health })),
        None => Ok(runs.then(Health::default)),
    }
}

fn read(directory: &Path) -> Result<Option<Health>> {
    let path = directory.join(FILE);
    match std::fs::read(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).with_context(|| format!("{} is damaged", path.display())),
    }
}

/// A check's output as text, cut as Docker cuts it.
pub fn output(bytes: &[u8]) -> String {
    match bytes.get(..OUTPUT_LIMIT) {
        Some(_) if bytes.len() > OUTPUT_LIMIT => format!("{}...", String::from_utf8_lossy(&bytes[..OUTPUT_LIMIT - 3])),
        _ => String::from_utf8_lossy(bytes).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: i64 = 1_000_000_000;

    fn config(retries: i64, start_period: i64) -> HealthConfig {
        let check = Healthcheck { retries, start_period: start_period * SECOND, ..Healthcheck::default() };
        HealthConfig { check, command: vec!["true".into()], on_failure: OnFailure::None }
    }

    fn checked(exit_code: i32) -> Checked {
        Checked { start: String::new(), end: String::new(), exit_code, output: String::new() }
    }

    /// What becomes of these checks: when each began, in seconds since the start, and its exit code.
    fn after(config: &HealthConfig, checks: &[(u64, i32)]) -> (Status, u32) {
        let mut health = Health::default();
        for (age, code) in checks {
            health.take(checked(*code), config, Duration::from_secs(*age));
        }
        (health.status, health.failing_streak)
    }

    #[test]
    fn zeros_are_dockers_defaults() {
        let config = config(0, 0);
        let seconds = [config.interval(), config.timeout(), config.start_interval(), config.start_period()].map(|d| d.as_secs());
        assert_eq!((seconds, config.retries()), ([30, 30, 5, 0], 3));
    }

    #[test]
    fn failures_in_a_row_make_it_unhealthy_and_one_success_healthy() {
        let config = config(3, 0);
        assert_eq!(after(&config, &[(1, 1), (2, 1)]), (Status::Starting, 2));
        assert_eq!(after(&config, &[(1, 1), (2, 1), (3, 1)]), (Status::Unhealthy, 3));
        assert_eq!(after(&config, &[(1, 0), (2, 1), (3, 1)]), (Status::Healthy, 2));
        assert_eq!(after(&config, &[(1, 1), (2, 1), (3, 0), (4, 1), (5, -1)]), (Status::Healthy, 2));
        assert_eq!(after(&config, &[(1, 1), (2, 1), (3, 1), (4, 0)]), (Status::Healthy, 0));
    }

    #[test]
    fn failures_in_the_start_period_do_not_count_until_a_success_ends_it() {
        let config = config(2, 10);
        assert_eq!(after(&config, &[(1, 1), (5, 1), (9, 1)]), (Status::Starting, 0));
        assert_eq!(after(&config, &[(9, 1), (10, 1)]), (Status::Starting, 1));
        assert_eq!(after(&config, &[(1, 0), (2, 1), (3, 1)]), (Status::Unhealthy, 2));
    }

    #[test]
    fn checks_are_closer_in_the_start_period() {
        let config = config(3, 10);
        let mut health = Health::default();
        assert_eq!(health.pause(&config, Duration::from_secs(9)).as_secs(), 5);
        assert_eq!(health.pause(&config, Duration::from_secs(10)).as_secs(), 30);
        health.take(checked(0), &config, Duration::ZERO);
        assert_eq!(health.pause(&config, Duration::ZERO).as_secs(), 30);
    }

    #[test]
    fn the_log_has_the_last_five() {
        let mut health = Health::default();
        for code in 1..=7 {
            health.take(checked(code), &config(3, 0), Duration::ZERO);
        }
        assert_eq!(health.log.iter().map(|checked| checked.exit_code).collect::<Vec<_>>(), [3, 4, 5, 6, 7]);
    }

    #[test]
    fn long_output_is_cut() {
        assert_eq!(output(&[b'x'; OUTPUT_LIMIT]).len(), OUTPUT_LIMIT);
        let cut = output(&[b'x'; OUTPUT_LIMIT + 1]);
        assert!(cut.len() == OUTPUT_LIMIT && cut.ends_with("x..."));
    }

    #[test]
    fn what_is_written_is_dockers_shape() {
        let mut health = Health::default();
        health.take(Checked { output: "up\n".into(), ..checked(0) }, &config(3, 0), Duration::ZERO);
        let json = serde_json::to_value(&health).unwrap();
        assert_eq!(
            json,
            serde_json::json!({"Status": "healthy", "FailingStreak": 0,
            "Log": [{"Start": "", "End": "", "ExitCode": 0, "Output": "up\n"}]})
        );
    }

    proptest! {
        #[test]
        fn a_success_always_heals_and_only_enough_failures_harm(codes in proptest::collection::vec(-1i32..2, 1..40), retries in 1i64..5) {
            let config = config(retries, 0);
            let mut health = Health::default();
            for (n, code) in codes.iter().enumerate() {
                let (before, changed) = (health.status, health.clone().take(checked(*code), &config, Duration::ZERO));
                health.take(checked(*code), &config, Duration::ZERO);
                let failures = codes[..=n].iter().rev().take_while(|code| **code != 0).count();
                prop_assert_eq!(health.failing_streak as usize, failures);
                prop_assert_eq!(health.status == Status::Unhealthy, failures as i64 >= retries);
                prop_assert_eq!(changed, health.status != before);
                prop_assert!(health.log.len() <= RESULTS);
            }
        }
    }
}
