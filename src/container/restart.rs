//! Restart policies: whether and when a container that has ended is started again. Pure; Monitor does it (docker-run(1), `--restart`).

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

/// `--restart`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum RestartPolicy {
    #[default]
    No,
    /// After a failure, at most so many times (0: always again).
    OnFailure(u32),
    Always,
    /// As always, but after a reboot only what had not been stopped.
    UnlessStopped,
}

impl FromStr for RestartPolicy {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<RestartPolicy> {
        Ok(match text.split_once(':').map_or((text, None), |(policy, most)| (policy, Some(most))) {
            ("no", None) => RestartPolicy::No,
            ("always", None) => RestartPolicy::Always,
            ("unless-stopped", None) => RestartPolicy::UnlessStopped,
            ("on-failure", None) => RestartPolicy::OnFailure(0),
            ("on-failure", Some(most)) => {
                RestartPolicy::OnFailure(most.parse().with_context(|| format!("\"{most}\" is not a number of retries"))?)
            }
            ("no" | "always" | "unless-stopped", Some(_)) => bail!("a number of retries goes with on-failure only"),
            _ => bail!("unknown policy: want no, on-failure[:N], always or unless-stopped"),
        })
    }
}

impl fmt::Display for RestartPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RestartPolicy::No => f.write_str("no"),
            RestartPolicy::OnFailure(0) => f.write_str("on-failure"),
            RestartPolicy::OnFailure(most) => write!(f, "on-failure:{most}"),
            RestartPolicy::Always => f.write_str("always"),
            RestartPolicy::UnlessStopped => f.write_str("unless-stopped"),
        }
    }
}

impl From<RestartPolicy> for String {
    fn from(policy: RestartPolicy) -> String {
        policy.to_string()
    }
}

impl TryFrom<String> for RestartPolicy {
    type Error = anyhow::Error;

    fn try_from(text: String) -> Result<RestartPolicy> {
        text.parse()
    }
}

/// A payload that ran so long has recovered: the next delay is the first again.
const RECOVERED: Duration = Duration::from_secs(10);
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(60);

/// What restarts have been so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Restarts {
    /// Since the container was started by a person.
    pub count: u32,
    last_delay: Option<Duration>,
}

impl RestartPolicy {
    /// How long to wait before the next start; None: it stays ended. `ran`: for how long the payload did.
    pub fn after(self, exit_code: u8, ran: Duration, restarts: &mut Restarts) -> Option<Duration> {
        let again = match self {
            RestartPolicy::No => false,
            RestartPolicy::OnFailure(most) => exit_code != 0 && (most == 0 || restarts.count < most),
            RestartPolicy::Always | RestartPolicy::UnlessStopped => true,
        };
        if !again {
            return None;
        }
        let delay = match restarts.last_delay {
            Some(last) if ran < RECOVERED => (last * 2).min(LONGEST_DELAY),
            _ => FIRST_DELAY,
        };
        restarts.count += 1;
        restarts.last_delay = Some(delay);
        Some(delay)
    }

    /// Whether there are circumstances in which a boot starts the container.
    pub fn is_for_boots(self) -> bool {
        self.after_boot(false)
    }

    /// Whether a boot starts a container, `stopped` by a person or not.
    pub fn after_boot(self, stopped: bool) -> bool {
        match self {
            RestartPolicy::No | RestartPolicy::OnFailure(_) => false,
            RestartPolicy::Always => true,
            RestartPolicy::UnlessStopped => !stopped,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_read_as_they_print() {
        for text in ["no", "always", "unless-stopped", "on-failure", "on-failure:3"] {
            assert_eq!(text.parse::<RestartPolicy>().unwrap().to_string(), text);
        }
        for text in ["", "never", "always:3", "on-failure:", "on-failure:-1", "on-failure:x"] {
            assert!(text.parse::<RestartPolicy>().is_err(), "{text}");
        }
    }

    #[test]
    fn delays_double_up_to_a_minute_and_begin_anew_after_a_good_run() {
        let mut restarts = Restarts::default();
        let mut delays = (0..12).map(|_| RestartPolicy::Always.after(1, Duration::ZERO, &mut restarts).unwrap().as_millis());
        assert_eq!(delays.by_ref().take(4).collect::<Vec<_>>(), [100, 200, 400, 800]);
        assert_eq!(delays.last(), Some(60_000));
        assert_eq!(RestartPolicy::Always.after(1, RECOVERED, &mut restarts), Some(FIRST_DELAY));
    }

    #[test]
    fn on_failure_counts_and_success_is_no_failure() {
        let mut restarts = Restarts::default();
        let policy = RestartPolicy::OnFailure(2);
        assert!(policy.after(0, Duration::ZERO, &mut restarts).is_none());
        assert!(policy.after(1, Duration::ZERO, &mut restarts).is_some());
        assert!(policy.after(137, Duration::ZERO, &mut restarts).is_some());
        assert!(policy.after(1, Duration::ZERO, &mut restarts).is_none());
        assert_eq!(restarts.count, 2);
    }
}
