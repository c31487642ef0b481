//! What network a container has. The embedded gateway, pasta and slirp4netns come with the network issue.

pub mod resolv;

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::str::FromStr;
use std::thread::{Builder, JoinHandle};

use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};

use crate::sys::net::loopback_up;
use crate::sys::process::{self, ns};

/// `--network`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkMode {
    /// A namespace with `lo` only.
    #[default]
    None,
    /// The host's own namespace.
    Host,
}

impl FromStr for NetworkMode {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<NetworkMode> {
        match text {
            "none" => Ok(NetworkMode::None),
            "host" => Ok(NetworkMode::Host),
            other => bail!("unknown network \"{other}\": this version knows none and host"),
        }
    }
}

/// A network namespace on its way: making one is half of a container's start, so a thread does it while Init builds the root. A
/// network namespace belongs to a thread (network_namespaces(7)); [`Making::enter`] brings it to this one.
pub struct Making(Option<JoinHandle<io::Result<OwnedFd>>>);

/// Begins to make what `mode` promises, owned by the current user namespace.
pub fn begin(mode: NetworkMode) -> io::Result<Making> {
    match mode {
        NetworkMode::None => Ok(Making(Some(Builder::new().stack_size(64 << 10).spawn(private)?))),
        NetworkMode::Host => Ok(Making(None)),
    }
}

fn private() -> io::Result<OwnedFd> {
    process::unshare(ns::NET)?;
    loopback_up()?;
    Ok(File::open("/proc/thread-self/ns/net")?.into())
}

impl Making {
    /// Waits for the namespace and enters it. Afterwards this process is single-threaded again.
    pub fn enter(self) -> Result<()> {
        let Some(thread) = self.0 else { return Ok(()) };
        let made = thread.join().map_err(|_| anyhow!("the thread that makes the network died"))?;
        let namespace = made.context("cannot create the network namespace")?;
        process::setns(namespace.as_fd(), ns::NET).context("cannot enter the network namespace")
    }
}
