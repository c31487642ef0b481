//! Every message between the processes of a container, in the order in which they are sent. Three conversations:
//!
//! ```text
//! Client                      Monitor                     Init
//!   |--- (fork) -------------->|                          |
//!   |--- ClientScoped -------->|                          |    carries the cgroup's directory; where there may be one
//!   |                          |--- (clone3) ------------>|
//!   |                          |--- MonitorMapped ------->|    the id map of its own namespace is written
//!   |--- ClientAttach -------->|                          |    only who wants to see all that Monitor keeps
//!   |--- ClientRecorded ------>|                          |    the record is complete; carries its directory, locked
//!   |                          |--- MonitorRecorded ----->|    the directory may be used
//!   |                          |<-- InitNetwork ----------|    under --init; carries the network namespace
//!   |                          |<-- InitRootReady --------|    carries the console's master where there is one
//!   |                          |<-- InitFailed | errno ---|    or why not; EOF after InitRootReady: executed
//!   |<-- MonitorStarted -------|                          |
//!   |--- ClientSignal … ------>|                          |
//!   |<-- MonitorEnded ---------|
//!
//! another Client              Monitor                     Joiner
//!   |--- (connect) ----------->|                          |    at `control` in the record's directory
//!   |--- ClientExec ---------->|                          |
//!   |                          |--- (fork) -------------->|
//!   |                          |<-- JoinerCloned ---------|    carries the pidfd of the process in the container
//!   |                          |<-- InitRootReady … ------|    from there on as Init
//!   |<-- MonitorStarted -------|                          |
//!   |<-- MonitorEnded ---------|
//!   |--- any other request --->|
//!   |<-- MonitorDone … --------|                               or MonitorFailed; MonitorEnded to who waits
//! ```
//!
//! SEQPACKET: a message is whole, and EOF means that the other side has died. Variants are sender + milestone. In test builds each
//! milestone is a place where the process can be made to die ([`milestone`]).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::health;
use super::restart::RestartPolicy;
use crate::error::Failure;
use crate::network::bridge::leases::Attachment;
use crate::network::ports::PortMapping;
use crate::oci::runtime::Resources;
pub use crate::sys::failpoint::milestone;
use crate::sys::sock;

/// Name of the socket in the record's directory on which Monitor hears further Clients.
pub const CONTROL: &str = "control";

/// Longest message: a failure with its hint.
const LONGEST: usize = 16 << 10;

/// Client to Monitor. EOF: the Client is gone; the container lives on, what it had executed there does not.
#[derive(Debug, Serialize, Deserialize)]
#[allow(clippy::enum_variant_names)] // sender + milestone
pub enum FromClient {
    /// Monitor is in the cgroup of the container, at this path. Its directory comes along, and its parent's where that is not systemd's.
    /// None: there is no cgroup. Sent only where Monitor knows that it will be. `uid`: Client's.
    ClientScoped { path: Option<String>, uid: u32 },
    /// The record is complete. Its directory comes along, with the lock on it.
    ClientRecorded,
    /// Pass a signal on to the payload, or to what was executed.
    ClientSignal(i32),
    /// Nobody reads the payload's output any more: let it know by EPIPE.
    ClientOutputBroken,
    /// Send what the payload writes from now on into the pipes that come along: one for a terminal, else stdout's and stderr's.
    /// Answered by `MonitorStarted`, once the payload runs, with the console's master or the payload's stdin.
    ClientAttach,
    /// The attached Client's input has ended, and so shall the payload's.
    ClientInputEnded,
    /// Execute another process in the container. Along come a file with the [`Process`](crate::oci::runtime::Process) and the streams
    /// that are not null.
    ClientExec { streams: [Handed; 3], window: Option<(u16, u16)>, detached: bool },
    /// End the payload: this signal, and after so many milliseconds SIGKILL. `again`: start it anew then. Answered by `MonitorEnded`,
    /// or by `MonitorStarted` when it runs again.
    ClientStop { signal: i32, patience: Option<u64>, again: bool },
    /// Send the payload a signal because a person says so: one that ends it ends its restarts too.
    ClientKill(i32),
    /// Freeze, or let run again.
    ClientPause(bool),
    /// Answer at the next end. `last`: at the end that no restart follows.
    ClientWait { last: bool },
    /// From now on this name.
    ClientRename(String),
    /// From now on this policy, these limits.
    ClientUpdate { restart: Option<RestartPolicy>, resources: Option<Box<Resources>> },
    /// Check its health now. Answered by `MonitorChecked`.
    ClientCheck,
    /// Publish one more port. Its socket comes along where the gateway is to serve it.
    ClientPublish(PortMapping),
    /// And no longer.
    ClientWithdraw(PortMapping),
    /// Join one more user-defined network, at a place that is taken.
    ClientJoin(Box<Attachment>),
    /// Leave the one with this id.
    ClientLeave(String),
    /// Hand out a descriptor of the payload's network namespace.
    ClientNetwork,
    /// Hand out descriptors of the payload's user, mount and pid namespace, and of its first process.
    ClientEnter,
}

/// How a stream of a process to be executed is handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Handed {
    Null,
    Direct,
    Pipe,
}

/// Monitor to Client.
#[derive(Debug, Serialize, Deserialize)]
#[allow(clippy::enum_variant_names)] // sender + milestone
pub enum FromMonitor {
    /// The payload runs. The console's master comes along where there is one.
    MonitorStarted,
    /// It does not, and this is why. Or why a request was refused.
    MonitorFailed(Failure),
    /// It has ended.
    MonitorEnded { exit_code: u8 },
    /// Its health has been checked: whether this one check passed, and what follows from all of them.
    MonitorChecked { passed: bool, status: health::Status },
    /// A request is carried out.
    MonitorDone,
}

/// Monitor to Init.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToInit {
    /// The maps of Init's user namespace are written: it may create files.
    MonitorMapped,
    /// The container's directory is complete.
    MonitorRecorded,
}

/// Init, or Joiner, to Monitor. EOF after `InitRootReady`: the payload was executed.
#[derive(Debug, Serialize, Deserialize)]
#[allow(clippy::enum_variant_names)] // sender + milestone
pub enum FromInit {
    /// The process that will be the payload exists; its number on the host, and its pidfd along with it.
    JoinerCloned(i32),
    /// Under `--init`: the network namespace, which comes along, is entered.
    InitNetwork,
    /// The cgroup namespace comes along, of an Init that will not let itself be looked into (`--init`).
    InitNamespaced,
    /// The root is complete; what remains is to become the payload. Carries the console's master where there is one.
    InitRootReady,
    InitFailed(Failure),
    /// execve failed with this errno: four bytes, sent by the trampoline, which knows no JSON.
    InitNotExecuted(i32),
}

/// Sends one message.
pub fn send<T: Serialize>(socket: impl AsFd, message: &T, fds: &[BorrowedFd]) -> Result<()> {
    let bytes = serde_json::to_vec(message)?;
    if bytes.len() > LONGEST {
        bail!("a message of {} bytes is too long", bytes.len());
    }
    sock::send(socket.as_fd(), &bytes, fds).context("cannot reach the other process")
}

/// Receives one message and the descriptors with it; None at EOF.
pub fn receive<T: DeserializeOwned>(socket: impl AsFd) -> Result<Option<(T, Vec<OwnedFd>)>> {
    let Some((bytes, fds)) = receive_bytes(socket)? else { return Ok(None) };
    Ok(Some((serde_json::from_slice(&bytes).context("cannot understand the other process")?, fds)))
}

/// The same for Init's side, where the trampoline may be the one who speaks.
pub fn receive_from_init(socket: impl AsFd) -> Result<Option<(FromInit, Vec<OwnedFd>)>> {
    let Some((bytes, fds)) = receive_bytes(socket)? else { return Ok(None) };
    let message = match <[u8; 4]>::try_from(bytes.as_slice()) {
        Ok(errno) => FromInit::InitNotExecuted(i32::from_ne_bytes(errno)),
        Err(_) => serde_json::from_slice(&bytes).context("cannot understand Init")?,
    };
    Ok(Some((message, fds)))
}

fn receive_bytes(socket: impl AsFd) -> Result<Option<(Vec<u8>, Vec<OwnedFd>)>> {
    let (message, fds) = sock::receive_message(socket.as_fd(), LONGEST).context("cannot hear the other process")?;
    Ok((!message.is_empty()).then_some((message, fds)))
}
