//! Every message between the processes of a container, in the order in which they are sent. Two conversations:
//!
//! ```text
//! Client                      Monitor                     Init
//!   |--- (fork) -------------->|                          |
//!   |--- ClientMapped -------->|                          |    U is made or joined; carries its descriptor
//!   |                          |--- (clone3) ------------>|
//!   |                          |--- MonitorMapped ------->|    the id map of its own namespace is written
//!   |--- ClientRecorded ------>|                          |    the record is complete; carries its directory, locked
//!   |                          |--- MonitorRecorded ----->|    the directory may be used
//!   |                          |<-- InitRootReady --------|    carries the console's master where there is one
//!   |                          |<-- InitFailed | errno ---|    or why not; EOF after InitRootReady: executed
//!   |<-- MonitorStarted -------|                          |
//!   |--- ClientSignal … ------>|                          |
//!   |<-- MonitorEnded ---------|
//! ```
//!
//! SEQPACKET: a message is whole, and EOF means that the other side has died. Variants are sender + milestone. In test builds each
//! milestone is a place where the process can be made to die ([`milestone`]).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::Failure;
pub use crate::sys::failpoint::milestone;
use crate::sys::sock;

/// Longest message: a failure with its hint.
const LONGEST: usize = 16 << 10;

/// Client to Monitor. EOF: the Client is gone; the container lives on.
#[derive(Debug, Serialize, Deserialize)]
#[allow(clippy::enum_variant_names)] // sender + milestone
pub enum FromClient {
    /// U is there. Its descriptor comes along.
    ClientMapped,
    /// The record is complete. Its directory comes along, with the lock on it.
    ClientRecorded,
    /// Pass a signal on to the payload.
    ClientSignal(i32),
    /// Nobody reads the payload's output any more: let it know by EPIPE.
    ClientOutputBroken,
}

/// Monitor to Client.
#[derive(Debug, Serialize, Deserialize)]
#[allow(clippy::enum_variant_names)] // sender + milestone
pub enum FromMonitor {
    /// The payload runs. The console's master comes along where there is one.
    MonitorStarted,
    /// It does not, and this is why.
    MonitorFailed(Failure),
    /// It has ended.
    MonitorEnded { exit_code: u8 },
}

/// Monitor to Init.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToInit {
    /// The maps of Init's user namespace are written: it may create files.
    MonitorMapped,
    /// The container's directory is complete.
    MonitorRecorded,
}

/// Init to Monitor. EOF after `InitRootReady`: the payload was executed.
#[derive(Debug, Serialize, Deserialize)]
#[allow(clippy::enum_variant_names)] // sender + milestone
pub enum FromInit {
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
