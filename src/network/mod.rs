//! What network a container has: the embedded gateway's by default, the host's own, or none.

mod carrier;
pub mod embedded;
pub mod netlink;
pub mod ports;
pub mod resolv;

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::str::FromStr;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

use self::carrier::Carrier;
use self::ports::Published;
use crate::sys::beside::Beside;
use crate::sys::net::new_namespace;
use crate::sys::process::{self, ns};

/// `--network`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum NetworkMode {
    /// A namespace connected to the host's networks by our own gateway. `host_loopback`: also to what listens on the host's loopback.
    Gateway { host_loopback: bool },
    /// A namespace with `lo` only.
    None,
    /// The host's own namespace.
    Host,
}

impl FromStr for NetworkMode {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<NetworkMode> {
        let (name, options) = text.split_once(':').unwrap_or((text, ""));
        match (name, options) {
            ("none", "") => Ok(NetworkMode::None),
            ("host", "") => Ok(NetworkMode::Host),
            // Docker's names of its default.
            ("gateway" | "bridge" | "default", "") => Ok(NetworkMode::Gateway { host_loopback: false }),
            ("gateway", "host-loopback") => Ok(NetworkMode::Gateway { host_loopback: true }),
            ("gateway", other) => bail!("unknown option \"{other}\" of the network gateway: it has host-loopback"),
            ("none" | "host", _) => bail!("the network {name} has no options"),
            _ => bail!("unknown network \"{text}\": this version knows gateway, host and none"),
        }
    }
}

impl fmt::Display for NetworkMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NetworkMode::Gateway { host_loopback: false } => "gateway",
            NetworkMode::Gateway { host_loopback: true } => "gateway:host-loopback",
            NetworkMode::None => "none",
            NetworkMode::Host => "host",
        })
    }
}

impl TryFrom<String> for NetworkMode {
    type Error = anyhow::Error;

    fn try_from(text: String) -> Result<NetworkMode> {
        text.parse()
    }
}

impl From<NetworkMode> for String {
    fn from(mode: NetworkMode) -> String {
        mode.to_string()
    }
}

/// What connects one container, in its Monitor's hands: begun before there is an Init. Dropped, it ends.
pub struct Network {
    carrier: Option<Carrier>,
}

/// Starts what `mode` needs beside the container, for its `name`. This process is a member of U with one thread.
pub fn start(mode: NetworkMode, name: &str, published: &mut Vec<Published>) -> Result<Network> {
    let carrier = match mode {
        NetworkMode::Gateway { host_loopback } => Some(embedded::start(name, host_loopback, published)?),
        NetworkMode::None | NetworkMode::Host => None,
    };
    Ok(Network { carrier })
}

impl Network {
    /// What Init needs of it; and readable when a namespace that [`Network::connect`] has named is connected, or will never be.
    pub fn link(&self) -> Option<BorrowedFd<'_>> {
        self.carrier.as_ref().map(Carrier::link)
    }

    /// Readable when the process that connects it has died.
    pub fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        self.carrier.as_ref().map(Carrier::pidfd)
    }

    /// In Init's place, where there was an Init already: begins to connect its namespace. Waits for nothing.
    pub fn connect(&self, namespace: BorrowedFd) {
        self.link().into_iter().for_each(|link| carrier::connect(link, namespace));
    }

    /// Whether that has worked; waits until it is known.
    pub fn connected(&self) -> Result<()> {
        self.link().map_or(Ok(()), carrier::connected)
    }
}

/// The container's network on its way, in Init's hands.
pub struct Pending<'a> {
    namespace: Option<Beside>,
    link: Option<BorrowedFd<'a>>,
}

/// Begins to make what `mode` promises, for a process in the container's user namespace; nothing here waits.
pub fn begin(mode: NetworkMode, link: Option<BorrowedFd<'_>>) -> io::Result<Pending<'_>> {
    let namespace = match mode {
        NetworkMode::None | NetworkMode::Gateway { .. } => Some(new_namespace()?),
        NetworkMode::Host => None,
    };
    Ok(Pending { namespace, link })
}

impl Pending<'_> {
    /// Waits for the namespace, enters it, and has it connected meanwhile.
    pub fn enter(&mut self) -> Result<()> {
        let Some(namespace) = self.namespace.take() else { return Ok(()) };
        let namespace = namespace.finish()?;
        process::setns(namespace.as_fd(), ns::NET)?;
        self.link.into_iter().for_each(|link| carrier::connect(link, namespace.as_fd()));
        Ok(())
    }

    /// Waits until it is connected.
    pub fn connected(&self) -> Result<()> {
        self.link.map_or(Ok(()), carrier::connected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_written_as_it_is_read() {
        for text in ["gateway", "gateway:host-loopback", "none", "host"] {
            assert_eq!(text.parse::<NetworkMode>().unwrap().to_string(), text);
        }
        assert_eq!("bridge".parse::<NetworkMode>().unwrap().to_string(), "gateway");
        for text in ["", "none:x", "gateway:x", "gateway:", "nowhere"] {
            assert_eq!(text.parse::<NetworkMode>().is_ok(), text == "gateway:", "{text}");
        }
    }
}
