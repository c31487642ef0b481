//! The host's journal: its native protocol for writing (systemd.io, "Native Journal Protocol"), journalctl(1) for reading.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::line::Line;
use super::{LogConfig, Stream};
use crate::error::Advise;

const SOCKET: &str = "/run/systemd/journal/socket";

/// Whether there is a journal to write to.
pub fn check() -> Result<()> {
    if Path::new(SOCKET).exists() {
        return Ok(());
    }
    Err(anyhow::anyhow!("there is no journal on this host ({SOCKET})")).hint(|| "--log-driver json-file, or local")
}

/// An open way into the journal.
#[derive(Debug)]
pub struct Journal {
    socket: UnixDatagram,
    /// The fields that every line has.
    fields: Vec<u8>,
}

impl Journal {
    /// Connects, with Docker's fields for the container.
    pub fn open(id: &str, name: &str, config: &LogConfig) -> Result<Journal> {
        check()?;
        let socket = UnixDatagram::unbound().and_then(|socket| socket.connect(SOCKET).map(|()| socket));
        let socket = socket.context("cannot reach the journal")?;
        let short = id.get(..12).unwrap_or(id);
        let tag = config.attributes.get("tag").map_or(short, String::as_str);
        let mut fields = Vec::new();
        for (key, value) in [
            ("CONTAINER_ID", short),
            ("CONTAINER_ID_FULL", id),
            ("CONTAINER_NAME", name),
            ("CONTAINER_TAG", tag),
            ("SYSLOG_IDENTIFIER", tag),
        ] {
            field(&mut fields, key, value.as_bytes());
        }
        for (key, value) in config.attributes.iter().filter(|(key, _)| *key != "tag") {
            field(&mut fields, &field_name(key), value.as_bytes());
        }
        Ok(Journal { socket, fields })
    }

    /// Sends one line. What the journal does not take is lost: it may be restarting.
    pub fn send(&mut self, stream: Stream, text: &[u8], whole: bool) {
        let mut message = self.fields.clone();
        field(&mut message, "PRIORITY", if stream == Stream::Stdout { b"6" } else { b"3" });
        if !whole {
            field(&mut message, "CONTAINER_PARTIAL_MESSAGE", b"true");
        }
        field(&mut message, "MESSAGE", text);
        let _ = self.socket.send(&message);
    }
}

/// `KEY=VALUE`, or with a length where the value has a newline or is no text.
fn field(to: &mut Vec<u8>, key: &str, value: &[u8]) {
    to.extend_from_slice(key.as_bytes());
    if value.contains(&b'\n') || std::str::from_utf8(value).is_err() {
        to.push(b'\n');
        to.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        to.push(b'=');
    }
    to.extend_from_slice(value);
    to.push(b'\n');
}

/// Capitals, digits and underscores, as the journal wants it.
fn field_name(key: &str) -> String {
    let name: String = key.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect();
    name.trim_start_matches(|c: char| c == '_' || c.is_ascii_digit()).to_string()
}

/// What to read.
#[derive(Debug, Default)]
pub struct Wanted<'a> {
    pub id: &'a str,
    pub follow: bool,
    pub tail: Option<usize>,
    /// RFC 3339.
    pub since: Option<&'a str>,
    pub until: Option<&'a str>,
}

/// `journalctl`, reading.
pub struct JournalReader {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl JournalReader {
    /// Starts it. It is the host's own program, looked for where the caller's programs are.
    pub fn open(wanted: &Wanted) -> Result<JournalReader> {
        let mut command = Command::new("journalctl");
        command.args(["--output=json", "--no-pager", "--quiet", "--all"]);
        command.arg(format!("CONTAINER_ID_FULL={}", wanted.id));
        if wanted.follow {
            command.arg("--follow");
        }
        match wanted.tail {
            Some(lines) => drop(command.arg(format!("--lines={lines}"))),
            None => drop(command.arg("--lines=all")),
        }
        // journalctl knows times as text without a zone, or as seconds.
        for (option, time) in [("--since", wanted.since), ("--until", wanted.until)] {
            if let Some(time) = time.and_then(|time| humantime::parse_rfc3339(time).ok()) {
                let seconds = time.duration_since(std::time::SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
                command.arg(format!("{option}=@{seconds}"));
            }
        }
        let started = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut child = started.context("cannot run journalctl").hint(|| "install systemd's journalctl")?;
        let Some(stdout) = child.stdout.take() else { bail!("journalctl has no output") };
        Ok(JournalReader { child, lines: BufReader::new(stdout) })
    }

    /// The next line; None when journalctl ends.
    pub fn next(&mut self) -> Result<Option<Line>> {
        loop {
            let mut line = Vec::new();
            if self.lines.read_until(b'\n', &mut line).context("cannot read the journal")? == 0 {
                let status = self.child.wait().context("cannot wait for journalctl")?;
                return match status.success() {
                    true => Ok(None),
                    false => bail!("journalctl failed ({status})"),
                };
            }
            if let Some(line) = entry(&line) {
                return Ok(Some(line));
            }
        }
    }
}

impl Drop for JournalReader {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One entry of `--output=json`: text is a string, anything else a list of bytes.
fn entry(line: &[u8]) -> Option<Line> {
    let entry: Value = serde_json::from_slice(line).ok()?;
    let mut text = match entry.get("MESSAGE")? {
        Value::String(text) => text.clone().into_bytes(),
        Value::Array(bytes) => bytes.iter().map(|byte| byte.as_u64().unwrap_or(0) as u8).collect(),
        _ => Vec::new(),
    };
    if entry.get("CONTAINER_PARTIAL_MESSAGE").is_none() {
        text.push(b'\n');
    }
    let micros: u64 = entry.get("__REALTIME_TIMESTAMP")?.as_str()?.parse().ok()?;
    let time = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_micros(micros);
    let stream = if entry.get("PRIORITY").and_then(Value::as_str) == Some("3") { Stream::Stderr } else { Stream::Stdout };
    let tag = entry.get("CONTAINER_TAG").and_then(Value::as_str).map(|tag| ("tag".to_string(), tag.to_string()));
    let time = humantime::format_rfc3339_nanos(time).to_string();
    Some(Line { time, stream, text, attributes: BTreeMap::from_iter(tag) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_those_of_the_native_protocol() {
        let mut bytes = Vec::new();
        field(&mut bytes, "A", b"x");
        field(&mut bytes, "MESSAGE", b"two\nlines");
        assert_eq!(bytes, b"A=x\nMESSAGE\n\x09\0\0\0\0\0\0\0two\nlines\n");
        assert_eq!(field_name("_1com.example.tier"), "COM_EXAMPLE_TIER");
    }

    #[test]
    fn entries_are_read_as_journalctl_prints_them() {
        let line =
            entry(br#"{"MESSAGE":"hi","PRIORITY":"3","__REALTIME_TIMESTAMP":"1800000000000001","CONTAINER_TAG":"web"}"#).unwrap();
        assert_eq!((line.text.as_slice(), line.stream), (&b"hi\n"[..], Stream::Stderr));
        assert_eq!(line.time, "2027-01-15T08:00:00.000001000Z");
        let bytes = entry(br#"{"MESSAGE":[255,0],"PRIORITY":"6","__REALTIME_TIMESTAMP":"1","CONTAINER_PARTIAL_MESSAGE":"true"}"#)
            .unwrap();
        assert_eq!(bytes.text, [255, 0]);
        assert!(entry(b"{}").is_none() && entry(b"x").is_none());
    }
}
