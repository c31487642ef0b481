//! Errors that people read: a chain of contexts (anyhow), the remedy where it is known, and Docker's exit codes.

use std::fmt;

use serde::{Deserialize, Serialize};

/// `rl` itself failed (Docker: the daemon's error).
pub const EXIT_RL: u8 = 125;
/// The command was found but cannot be executed.
pub const EXIT_NOT_EXECUTABLE: u8 = 126;
/// The command was not found.
pub const EXIT_NOT_FOUND: u8 = 127;

/// A failure as it crosses from one process to another: what `main` prints and how it exits.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Failure {
    /// `cannot start "web": cannot map user IDs: no range for "ann"`.
    pub message: String,
    pub hint: Option<String>,
    /// Exit code where the cause decides it (126, 127), else the caller's default.
    pub exit: Option<u8>,
}

impl Failure {
    /// Tells the person, on stderr.
    pub fn print(&self) {
        eprintln!("rl: {}", self.message);
        if let Some(hint) = &self.hint {
            eprintln!("try: {hint}");
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// An error with a remedy or an exit code beside it; prints as the error alone.
#[derive(Debug)]
struct Advised {
    error: anyhow::Error,
    hint: Option<String>,
    exit: Option<u8>,
}

impl fmt::Display for Advised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.error)
    }
}

impl std::error::Error for Advised {}

/// Attaches what the person needs beside the message.
pub trait Advise<T> {
    /// The remedy, printed as `try: …`.
    fn hint<S: Into<String>>(self, hint: impl FnOnce() -> S) -> anyhow::Result<T>;
    /// The exit code of the whole command when this error ends it.
    fn exit_with(self, code: u8) -> anyhow::Result<T>;
}

impl<T, E: Into<anyhow::Error>> Advise<T> for Result<T, E> {
    fn hint<S: Into<String>>(self, hint: impl FnOnce() -> S) -> anyhow::Result<T> {
        self.map_err(|e| Advised { error: e.into(), hint: Some(hint().into()), exit: None }.into())
    }

    fn exit_with(self, code: u8) -> anyhow::Result<T> {
        self.map_err(|e| Advised { error: e.into(), hint: None, exit: Some(code) }.into())
    }
}

impl From<&anyhow::Error> for Failure {
    /// Flattens the chain. The innermost hint and exit code win.
    fn from(error: &anyhow::Error) -> Failure {
        let mut failure = Failure { message: chain(error), hint: None, exit: None };
        gather(error, &mut failure);
        if failure.hint.is_none() && error.chain().any(lacks_a_call) {
            failure.hint = Some(format!("Linux {OLDEST} or newer: this is {}", release()));
        }
        // A name or path of any length may be part of it, and it must fit a message between processes.
        if let Some((cut, _)) = failure.message.char_indices().nth(2000) {
            failure.message.truncate(cut);
            failure.message.push('…');
        }
        failure
    }
}

/// What rl needs: overlayfs in a user namespace (5.11), mount_setattr (5.12).
const OLDEST: &str = "5.12";

/// The kernel does not have the system call at all.
fn lacks_a_call(cause: &(dyn std::error::Error + 'static)) -> bool {
    let of_std = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::raw_os_error);
    let of_nix = cause.downcast_ref::<nix::errno::Errno>().map(|errno| *errno as i32);
    of_std.or(of_nix) == Some(libc::ENOSYS)
}

fn release() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease").map_or_else(|_| "older".into(), |release| release.trim().to_string())
}

/// `outer: inner: cause`, without saying twice what an outer message already ends with.
fn chain(error: &anyhow::Error) -> String {
    let mut message = String::new();
    for cause in error.chain() {
        let text = cause.to_string();
        if message.is_empty() {
            message = text;
        } else if !message.ends_with(&text) {
            message = format!("{message}: {text}");
        }
    }
    message
}

fn gather(error: &anyhow::Error, failure: &mut Failure) {
    for cause in error.chain() {
        if let Some(advised) = cause.downcast_ref::<Advised>() {
            failure.hint = advised.hint.clone().or(failure.hint.take());
            failure.exit = advised.exit.or(failure.exit);
            gather(&advised.error, failure);
        } else if let Some(told) = cause.downcast_ref::<Failure>() {
            failure.hint = told.hint.clone().or(failure.hint.take());
            failure.exit = told.exit.or(failure.exit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::{Context, anyhow};

    #[test]
    fn the_innermost_hint_wins_and_the_chain_reads_outside_in() {
        let error = Err::<(), _>(anyhow!("no range for \"ann\""))
            .hint(|| "inner")
            .context("cannot map user IDs")
            .hint(|| "outer")
            .exit_with(126)
            .context("cannot start \"web\"")
            .unwrap_err();
        let failure = Failure::from(&error);
        assert_eq!(failure.message, "cannot start \"web\": cannot map user IDs: no range for \"ann\"");
        assert_eq!(failure.hint.as_deref(), Some("inner"));
        assert_eq!(failure.exit, Some(126));
    }

    #[test]
    fn a_kernel_that_is_too_old_is_named() {
        let missing = std::io::Error::from_raw_os_error(libc::ENOSYS);
        let failure = Failure::from(&anyhow::Error::new(missing).context("cannot set up /etc"));
        assert!(failure.hint.unwrap().starts_with("Linux 5.12 or newer: this is "));
        let failure = Failure::from(&anyhow::Error::new(nix::errno::Errno::ENOSYS).context("x"));
        assert!(failure.hint.is_some());
        let failure = Failure::from(&anyhow::Error::new(nix::errno::Errno::ENOENT).context("x"));
        assert!(failure.hint.is_none());
    }

    #[test]
    fn a_failure_from_another_process_keeps_its_hint_and_code() {
        let told = Failure { message: "no such command".into(), hint: Some("look".into()), exit: Some(127) };
        let failure = Failure::from(&anyhow::Error::new(told).context("cannot start"));
        assert_eq!(failure.message, "cannot start: no such command");
        assert_eq!((failure.hint.as_deref(), failure.exit), (Some("look"), Some(127)));
    }
}
