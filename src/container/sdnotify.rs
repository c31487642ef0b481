//! Readiness, as systemd wants to hear of it (sd_notify(3)): who tells it for a container.

use std::ffi::OsStr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::config::Config;
use crate::network::NetworkMode;
use crate::oci::runtime::Mount;

/// `--sdnotify`; Podman's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Sdnotify {
    /// The payload itself, to whom NOTIFY_SOCKET is passed on (the default)
    Container,
    /// rl, as soon as the payload runs
    Conmon,
    /// Nobody
    Ignore,
}

impl Sdnotify {
    /// As the flag has it.
    pub fn word(self) -> &'static str {
        match self {
            Sdnotify::Container => "container",
            Sdnotify::Conmon => "conmon",
            Sdnotify::Ignore => "ignore",
        }
    }
}

/// Where the payload finds the socket.
const INSIDE: &str = "/run/notify/notify.sock";
const VARIABLE: &str = "NOTIFY_SOCKET";

/// Gives the container about to be started the caller's socket, where it is to have it, and takes away that of an earlier start.
pub fn pass(config: &mut Config) {
    config.spec.mounts.retain(|mount| mount.destination != Path::new(INSIDE));
    let env = &mut config.spec.process.env;
    let ours = |entry: &String| entry.strip_prefix(VARIABLE).and_then(|rest| rest.strip_prefix('=')).is_some_and(is_ours);
    env.retain(|entry| !ours(entry));
    if config.sdnotify.unwrap_or(Sdnotify::Container) != Sdnotify::Container {
        return;
    }
    let Some(socket) = std::env::var_os(VARIABLE) else { return };
    match socket.as_bytes().first() {
        Some(b'/') if Path::new(&socket).exists() => {
            env.push(format!("{VARIABLE}={INSIDE}"));
            config.spec.mounts.push(Mount {
                destination: INSIDE.into(),
                kind: "bind".into(),
                source: socket.into(),
                options: Vec::new(),
                volume: None,
            });
        }
        // Such a name means something in its own network namespace only.
        Some(b'@') if config.network == NetworkMode::Host => env.push(format!("{VARIABLE}={}", socket.to_string_lossy())),
        _ => {}
    }
}

fn is_ours(value: &str) -> bool {
    value == INSIDE || value.starts_with('@')
}

/// What a Client has to tell once the payload runs.
pub struct Notice {
    text: String,
}

impl Notice {
    /// `monitor`: who is to be the unit's main process, where Client does not stay and be that itself.
    pub fn of(config: &Config, monitor: Option<i32>) -> Option<Notice> {
        std::env::var_os(VARIABLE)?;
        let main = monitor.map(|pid| format!("MAINPID={pid}\n")).unwrap_or_default();
        match config.sdnotify.unwrap_or(Sdnotify::Container) {
            Sdnotify::Conmon => Some(Notice { text: format!("{main}READY=1") }),
            Sdnotify::Container if !main.is_empty() => Some(Notice { text: main }),
            Sdnotify::Container | Sdnotify::Ignore => None,
        }
    }

    /// Tells it. Nobody's container fails for want of a listener.
    pub fn send(&self) {
        let Some(socket) = std::env::var_os(VARIABLE) else { return };
        let sent = address(&socket).and_then(|address| UnixDatagram::unbound()?.send_to_addr(self.text.as_bytes(), &address));
        if let Err(error) = sent {
            eprintln!("rl: cannot tell {} that the container is ready: {error}", socket.to_string_lossy());
        }
    }
}

fn address(socket: &OsStr) -> std::io::Result<SocketAddr> {
    match socket.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(socket),
    }
}
