//! What network a container has. The embedded gateway, pasta and slirp4netns come with the network issue.

pub mod resolv;

use std::io;
use std::str::FromStr;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

use crate::sys::net::loopback_up;

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

/// Brings the container's own network namespace, in which this process is, to what `mode` promises.
pub fn setup(mode: NetworkMode) -> io::Result<()> {
    match mode {
        NetworkMode::None => loopback_up(),
        NetworkMode::Host => Ok(()),
    }
}
