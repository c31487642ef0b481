//! The only writer of results to stdout.

use std::io::{self, Write};
use std::os::fd::AsFd;

use anyhow::{Context, Result};
use serde::Serialize;

/// Prints one line. A reader that has left is no error of ours: `rl ps | head -1`.
pub fn line(text: impl AsRef<str>) -> Result<()> {
    written(writeln!(io::stdout().lock(), "{}", text.as_ref()))
}

/// Prints a text as it is, in one piece.
pub fn text(text: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    written(stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()))
}

/// Columns of the terminal that stdout is; None where it is none.
pub fn width() -> Option<usize> {
    crate::sys::tty::size(io::stdout().as_fd()).ok().map(|(_, columns)| columns.into()).filter(|columns| *columns > 0)
}

/// Prints indented JSON.
pub fn json<T: Serialize>(value: &T) -> Result<()> {
    line(serde_json::to_string_pretty(value)?)
}

/// Two streams that somebody else's output goes to, in pieces: stdout, and stderr in order with it.
#[derive(Default)]
pub struct Streams {
    buffer: Vec<u8>,
    to_stderr: bool,
}

impl Streams {
    /// Writes, now or later. False: the reader has left.
    pub fn write(&mut self, to_stderr: bool, bytes: &[u8]) -> Result<bool> {
        if (to_stderr != self.to_stderr || self.buffer.len() > 64 << 10) && !self.flush()? {
            return Ok(false);
        }
        self.to_stderr = to_stderr;
        self.buffer.extend_from_slice(bytes);
        Ok(true)
    }

    /// Writes what has been kept back. False: the reader has left.
    pub fn flush(&mut self) -> Result<bool> {
        let written = match self.to_stderr {
            true => io::stderr().lock().write_all(&self.buffer),
            false => io::stdout().lock().write_all(&self.buffer).and_then(|()| io::stdout().lock().flush()),
        };
        self.buffer.clear();
        match written {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            other => other.map(|()| true).context("cannot write the output"),
        }
    }
}

fn written(result: io::Result<()>) -> Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("cannot write to stdout"),
    }
}

/// Asks on the terminal before something is lost; no answer is a no.
pub fn confirm(question: &str) -> Result<bool> {
    written(
        write!(io::stdout().lock(), "{question}\nAre you sure you want to continue? [y/N] ").and_then(|()| io::stdout().flush()),
    )?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).context("cannot read the answer")?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// How long ago an RFC 3339 time was, in Docker's words: `3 minutes`, `About an hour`, `2 weeks`.
pub fn ago(time: &str) -> String {
    let then = humantime::parse_rfc3339(time).ok();
    then.and_then(|then| then.elapsed().ok()).map_or_else(|| "Less than a second".into(), |past| duration(past.as_secs()))
}

/// The same for a time.
pub fn since(time: std::time::SystemTime) -> String {
    duration(time.elapsed().map_or(0, |past| past.as_secs()))
}

/// Bytes as Docker shows them: decimal, three digits: `7.8MB`, `13.3kB`, `0B`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    let (mut number, mut unit) = (bytes as f64, 0);
    while number >= 999.5 && unit + 1 < UNITS.len() {
        number /= 1000.0;
        unit += 1;
    }
    let digits = if number >= 100.0 {
        0
    } else if number >= 10.0 {
        1
    } else {
        2
    };
    let text = format!("{number:.digits$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{}", UNITS[unit])
}

fn duration(seconds: u64) -> String {
    let (minutes, hours) = (seconds / 60, (seconds + 1800) / 3600);
    match (seconds, minutes, hours) {
        (0, ..) => "Less than a second".into(),
        (1, ..) => "1 second".into(),
        (2..60, ..) => format!("{seconds} seconds"),
        (_, 1, _) => "About a minute".into(),
        (_, 2..60, _) => format!("{minutes} minutes"),
        (_, _, 1) => "About an hour".into(),
        (_, _, 2..48) => format!("{hours} hours"),
        (_, _, 48..336) => format!("{} days", hours / 24),
        (_, _, 336..1440) => format!("{} weeks", hours / 24 / 7),
        (_, _, 1440..17520) => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", hours / 24 / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::{duration, size};

    #[test]
    fn sizes_read_as_dockers() {
        let cases = [
            (0, "0B"),
            (999, "999B"),
            (999_999, "1MB"),
            (1000, "1kB"),
            (13_300, "13.3kB"),
            (7_800_000, "7.8MB"),
            (7_834_000, "7.83MB"),
            (123_456_789, "123MB"),
            (1_230_000_000, "1.23GB"),
            (u64::MAX, "18.4EB"),
        ];
        for (bytes, text) in cases {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn durations_read_as_dockers() {
        let cases = [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (600, "10 minutes"),
            (3600, "About an hour"),
            (7200, "2 hours"),
            (86_400 * 3, "3 days"),
            (86_400 * 20, "2 weeks"),
            (86_400 * 100, "3 months"),
            (86_400 * 800, "2 years"),
        ];
        for (seconds, words) in cases {
            assert_eq!(duration(seconds), words);
        }
    }
}
