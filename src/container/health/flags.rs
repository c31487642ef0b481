//! The flags of health checks, and what becomes of them beside the image's check.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;

use super::{HealthConfig, OnFailure};
use crate::container::moment;
use crate::oci::image::{ContainerConfig, Healthcheck};

/// Docker's, and Podman's `--health-on-failure`.
#[derive(Debug, Clone, Default, Args)]
pub struct HealthFlags {
    /// Command that tells by exit code 0 that the container is healthy, for its shell or as a JSON list; "none" for no check
    #[arg(long, value_name = "COMMAND", help_heading = "Health checks")]
    pub health_cmd: Option<String>,
    /// Time between two checks (default: 30s)
    #[arg(long, value_name = "DURATION", value_parser = duration, help_heading = "Health checks")]
    pub health_interval: Option<i64>,
    /// Time after which a check has failed and is killed (default: 30s)
    #[arg(long, value_name = "DURATION", value_parser = duration, help_heading = "Health checks")]
    pub health_timeout: Option<i64>,
    /// Failures in a row that make it unhealthy (default: 3)
    #[arg(long, value_name = "N", help_heading = "Health checks")]
    pub health_retries: Option<u32>,
    /// Time after the start in which failures do not count (default: 0s)
    #[arg(long, value_name = "DURATION", value_parser = duration, help_heading = "Health checks")]
    pub health_start_period: Option<i64>,
    /// Time between two checks in the start period (default: 5s)
    #[arg(long, value_name = "DURATION", value_parser = duration, help_heading = "Health checks")]
    pub health_start_interval: Option<i64>,
    /// What to do with it once it is unhealthy (default: none)
    #[arg(long, value_name = "ACTION", help_heading = "Health checks")]
    pub health_on_failure: Option<OnFailure>,
    /// Do without the image's check
    #[arg(long, help_heading = "Health checks")]
    pub no_healthcheck: bool,
}

/// Nanoseconds. Docker refuses less than a millisecond.
fn duration(text: &str) -> Result<i64> {
    if text == "0" {
        return Ok(0);
    }
    let duration = moment::duration(text).with_context(|| format!("\"{text}\" is no duration: want 30s, 1m30s, 500ms"))?;
    if !duration.is_zero() && duration < Duration::from_millis(1) {
        bail!("{text} is too short: want 1ms or more");
    }
    i64::try_from(duration.as_nanos()).with_context(|| format!("{text} is too long"))
}

impl HealthFlags {
    /// The container's check, where it has one: what flags leave open is the image's.
    pub fn over(&self, image: &ContainerConfig) -> Result<Option<HealthConfig>> {
        let asked = Healthcheck {
            test: self.test()?,
            interval: self.health_interval.unwrap_or(0),
            timeout: self.health_timeout.unwrap_or(0),
            start_period: self.health_start_period.unwrap_or(0),
            start_interval: self.health_start_interval.unwrap_or(0),
            retries: self.health_retries.unwrap_or(0).into(),
        };
        let any = asked != Healthcheck::default() || self.health_on_failure.is_some_and(|action| action != OnFailure::None);
        if self.no_healthcheck {
            if any {
                bail!("--no-healthcheck goes with none of the other --health flags");
            }
            return Ok(None);
        }
        let check = image.healthcheck.as_ref().map_or_else(|| asked.clone(), |images| asked.clone().or(images));
        match command(&check.test, &image.shell)? {
            Some(command) => Ok(Some(HealthConfig { check, command, on_failure: self.health_on_failure.unwrap_or_default() })),
            None if any && asked.test.is_empty() => {
                bail!("there is no health check to change: neither --health-cmd nor the image has one")
            }
            None => Ok(None),
        }
    }

    fn test(&self) -> Result<Vec<String>> {
        let words = |words: &[&str]| words.iter().map(|word| word.to_string()).collect();
        Ok(match self.health_cmd.as_deref() {
            None | Some("") => Vec::new(),
            Some("none") => words(&["NONE"]),
            Some(list) if list.starts_with('[') => {
                let list: Vec<String> = serde_json::from_str(list).context("--health-cmd: not a JSON list of words")?;
                match list.first().map(String::as_str) {
                    None => bail!("--health-cmd: an empty list"),
                    Some("CMD" | "CMD-SHELL" | "NONE") => list,
                    Some(_) => std::iter::once("CMD".to_string()).chain(list).collect(),
                }
            }
            Some(command) => words(&["CMD-SHELL", command]),
        })
    }
}

impl Healthcheck {
    /// What is not said here as `other` has it.
    fn or(self, other: &Healthcheck) -> Healthcheck {
        let either = |own: i64, other: i64| if own == 0 { other } else { own };
        Healthcheck {
            test: if self.test.is_empty() { other.test.clone() } else { self.test },
            interval: either(self.interval, other.interval),
            timeout: either(self.timeout, other.timeout),
            start_period: either(self.start_period, other.start_period),
            start_interval: either(self.start_interval, other.start_interval),
            retries: either(self.retries, other.retries),
        }
    }
}

/// What a test executes (Docker image spec v1.2, `Healthcheck.Test`); None: there is no check.
fn command(test: &[String], shell: &[String]) -> Result<Option<Vec<String>>> {
    let rest = test.get(1..).unwrap_or_default();
    Ok(match test.first().map(String::as_str) {
        None | Some("NONE") => None,
        Some("CMD") if !rest.is_empty() => Some(rest.to_vec()),
        Some("CMD-SHELL") if !rest.is_empty() => {
            let default = ["/bin/sh".to_string(), "-c".to_string()];
            let shell = if shell.is_empty() { &default } else { shell };
            Some(shell.iter().cloned().chain([rest.join(" ")]).collect())
        }
        Some("CMD" | "CMD-SHELL") => bail!("the health check has no command"),
        Some(kind) => bail!("unknown kind of health check \"{kind}\": want NONE, CMD or CMD-SHELL"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        flags: HealthFlags,
    }

    fn image(test: &[&str]) -> ContainerConfig {
        let test = test.iter().map(|word| word.to_string()).collect();
        let healthcheck = Some(Healthcheck { test, interval: 7, retries: 9, ..Healthcheck::default() });
        ContainerConfig { healthcheck, ..ContainerConfig::default() }
    }

    fn over(args: &[&str], image: &ContainerConfig) -> Result<Option<HealthConfig>> {
        Cli::try_parse_from(std::iter::once(&"rl").chain(args))?.flags.over(image)
    }

    #[test]
    fn the_images_check_holds_where_flags_say_nothing() {
        let none = ContainerConfig::default();
        assert_eq!(over(&[], &none).unwrap(), None);
        let found = over(&[], &image(&["CMD", "/check", "a b"])).unwrap().unwrap();
        assert_eq!((found.command, found.check.interval), (vec!["/check".to_string(), "a b".into()], 7));
        let found = over(&["--health-interval", "1m30s"], &image(&["CMD-SHELL", "x && y"])).unwrap().unwrap();
        assert_eq!(found.command, ["/bin/sh", "-c", "x && y"]);
        assert_eq!((found.check.interval, found.check.retries), (90_000_000_000, 9));
        for off in [&["--no-healthcheck"][..], &["--health-cmd", "none"]] {
            assert_eq!(over(off, &image(&["CMD", "x"])).unwrap(), None);
        }
        assert_eq!(over(&[], &image(&["NONE"])).unwrap(), None);
    }

    #[test]
    fn a_command_is_for_the_shell_or_a_list() {
        let mut with_shell = ContainerConfig { shell: vec!["/bin/ash".into(), "-ec".into()], ..ContainerConfig::default() };
        let command = |text: &str, image: &ContainerConfig| over(&["--health-cmd", text], image).unwrap().unwrap().command;
        assert_eq!(command("a | b", &with_shell), ["/bin/ash", "-ec", "a | b"]);
        with_shell.shell.clear();
        assert_eq!(command("a | b", &with_shell), ["/bin/sh", "-c", "a | b"]);
        assert_eq!(command(r#"["a", "b c"]"#, &with_shell), ["a", "b c"]);
        assert_eq!(command(r#"["CMD-SHELL", "b c"]"#, &with_shell), ["/bin/sh", "-c", "b c"]);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let none = ContainerConfig::default();
        for (args, why) in [
            (&["--no-healthcheck", "--health-cmd", "x"][..], "goes with none"),
            (&["--health-interval", "1s"], "no health check to change"),
            (&["--health-on-failure", "kill"], "no health check to change"),
            (&["--health-cmd", "[1]"], "not a JSON list"),
            (&["--health-cmd", "[]"], "empty list"),
            (&["--health-cmd", "x", "--health-timeout", "1us"], "too short"),
            (&["--health-cmd", "x", "--health-timeout", "soon"], "no duration"),
            (&["--health-cmd", "x", "--health-timeout", "-1s"], ""),
        ] {
            let error = over(args, &none).unwrap_err();
            assert!(format!("{error:#}").contains(why), "{args:?}: {error:#}");
        }
        assert!(over(&[], &image(&["RUN", "x"])).unwrap_err().to_string().contains("unknown kind"));
        assert!(over(&[], &image(&["CMD"])).unwrap_err().to_string().contains("no command"));
    }
}
