//! What network a container has. The embedded gateway, pasta and slirp4netns come with the network issue.

pub mod resolv;

use std::io;
use std::os::fd::AsFd;
use std::str::FromStr;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

use crate::sys::beside::Beside;
use crate::sys::net::new_namespace;
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

/// The container's network on its way.
pub struct Pending(Option<Beside>);

/// Begins to make what `mode` promises, for a process in the container's user namespace; nothing here waits.
pub fn begin(mode: NetworkMode) -> io::Result<Pending> {
    Ok(Pending(match mode {
        NetworkMode::None => Some(new_namespace()?),
        NetworkMode::Host => None,
    }))
}

impl Pending {
    /// Waits for it and enters it.
    pub fn enter(self) -> io::Result<()> {
        match self.0 {
            Some(namespace) => process::setns(namespace.finish()?.as_fd(), ns::NET),
            None => Ok(()),
        }
    }
}
