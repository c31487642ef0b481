//! What a container's connector and a network's hub say to each other, over SEQPACKET:
//!
//! ```text
//! connector                   hub
//!   |--- (connect) ----------->|    at `hub` in the network's directory; or as the end of a pair, by whoever started it
//!   |--- Join ---------------->|    carries where to tell of what the container reaches, if somebody wants to know
//!   |<-- Joined, or why not ---|    carries the hub's network namespace, in which the connector makes its link
//!   |--- Publish … ----------->|    carries the port's socket
//!   |<-- Done, or why not -----|
//!   |--- Watch --------------->|    a container on several networks: the names of each are to be known on the others
//!   |<-- Names … --------------|    at once, and whenever they change
//!   |--- Peers --------------->|    the names of its other networks
//!   |--- EOF ----------------->|    it is no member any more
//! ```

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::{Context, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::Failure;
use crate::network::egress::Egress;
use crate::network::ports::PortMapping;
use crate::sys::sock;

/// Longest message: some two thousand names.
pub const LONGEST: usize = 128 << 10;

/// One container on a network.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Member {
    /// Inode of the user namespace it is in, which must be the hub's: only inside one can a link join two containers.
    pub userns: u64,
    /// By which others find it.
    pub named: Named,
    /// Its own names for others.
    pub links: Vec<(String, String)>,
    /// Name servers to ask instead of the host's.
    pub servers: Vec<IpAddr>,
    /// What it takes for a name server; it may have left the network whose gateway that is.
    pub resolvers: Vec<IpAddr>,
    /// The gateway's address stands for the host's loopback.
    pub host_loopback: bool,
    /// What it may reach beyond the network; None: everything.
    pub egress: Option<Egress>,
}

/// What names mean. The first is the one that an address is told by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    pub names: Vec<String>,
    pub addresses: Vec<IpAddr>,
}

#[derive(Debug, Serialize, Deserialize)]
pub enum ToHub {
    Join(Box<Member>),
    Publish(PortMapping),
    Withdraw(PortMapping),
    Watch,
    Peers(Vec<Named>),
}

#[derive(Debug, Serialize, Deserialize)]
pub enum FromHub {
    Joined,
    /// It is in another user namespace: soon it will be gone, for it has no members left that are not ending.
    Foreign,
    Done,
    Refused(Failure),
    Names(Vec<Named>),
}

/// Sends one message, without waiting where the other side does not read.
pub fn send<T: Serialize>(socket: impl AsFd, message: &T, fds: &[BorrowedFd]) -> io::Result<()> {
    let bytes = serde_json::to_vec(message)?;
    if bytes.len() > LONGEST {
        return Err(io::Error::from_raw_os_error(libc::EMSGSIZE));
    }
    sock::send_now(socket.as_fd(), &bytes, fds)
}

/// Receives one message; None at EOF.
pub fn receive<T: DeserializeOwned>(socket: impl AsFd) -> Result<Option<(T, Vec<OwnedFd>)>> {
    let (bytes, fds) = sock::receive_message(socket.as_fd(), LONGEST).context("cannot hear the network")?;
    if bytes.is_empty() {
        return Ok(None);
    }
    Ok(Some((read(&bytes)?, fds)))
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).context("cannot understand the network")
}
