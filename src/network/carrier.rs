//! A process that connects one container, as Monitor has it: the embedded gateway, or whoever looks after a driver.
//!
//! ```text
//! Monitor                     Carrier                     Init (or Monitor, where an earlier Carrier has died)
//!   |--- (fork) -------------->|                          |
//!   |                          |<------- the namespace ---|
//!   |                          |--- connected, or why not>|
//!   |--- Order --------------->|                          |    carries a published port's socket, where there is one
//!   |<-- done, or why not -----|                          |
//!   |--- Finish -------------->|                          |    its end, by itself where it has something left to deliver
//!   |<-- done, or EOF ---------|                          |
//!   |--- EOF ----------------->|                          |    its end
//! ```

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::{Deserialize, Serialize};

use super::bridge::leases::Attachment;
use super::ports::PortMapping;
use crate::error::Failure;
use crate::sys::process::{self, Child, Fork};
use crate::sys::sock;

/// Longest message of a conversation.
const LONGEST: usize = 16 << 10;
/// How long Monitor waits for an order to be carried out.
const PATIENCE: Duration = Duration::from_secs(5);

/// What Monitor may want later of a Carrier.
#[derive(Debug, Serialize, Deserialize)]
pub enum Order {
    /// Serve one more port.
    Publish(PortMapping),
    /// And no longer; what is connected by it stays so.
    Withdraw(PortMapping),
    /// Put the container on one more user-defined network.
    Join(Box<Attachment>),
    /// And no longer on the one with this id.
    Leave(String),
    /// From now on others find it by this name.
    Rename(String),
    /// The container has ended: serve no port any more, deliver what it had sent, and end. Who has nothing to deliver does not answer.
    Finish,
}

/// See the module. Dropped, it ends, unless it was told to finish.
pub struct Carrier {
    child: Child,
    /// It still delivers, and ends by itself.
    finishing: bool,
    /// Its end is the Carrier's.
    conversation: OwnedFd,
    link: OwnedFd,
}

impl Carrier {
    /// Forks it: `live` is its life, with its ends of the conversation with Monitor and of the one about the namespace. The caller is a
    /// member of U with one thread.
    pub fn start(what: &str, live: impl FnOnce(OwnedFd, OwnedFd)) -> Result<Carrier> {
        let (conversation, monitor) = sock::pair().context("cannot create a socket pair")?;
        let (link, init) = sock::pair().context("cannot create a socket pair")?;
        match process::fork(0).with_context(|| format!("cannot start the {what}"))? {
            Fork::Child => {
                live(monitor, init);
                process::exit_now(0)
            }
            Fork::Parent(child) => Ok(Carrier { child, finishing: false, conversation, link }),
        }
    }

    /// What the container's Init talks to it by: [`connect`], then [`connected`].
    pub fn link(&self) -> BorrowedFd<'_> {
        self.link.as_fd()
    }

    /// Has it carry out an order, with this socket.
    pub fn order(&self, order: &Order, socket: Option<BorrowedFd>) -> Result<()> {
        let sockets: Vec<BorrowedFd> = socket.into_iter().collect();
        sock::send(self.conversation.as_fd(), &serde_json::to_vec(order)?, &sockets).context("cannot reach the network")?;
        let patience = PollTimeout::try_from(PATIENCE).unwrap_or(PollTimeout::MAX);
        if poll(&mut [PollFd::new(self.conversation.as_fd(), PollFlags::POLLIN)], patience) == Ok(0) {
            bail!("the process that connects the container does not answer");
        }
        connected(self.conversation.as_fd())
    }

    /// The container has ended. True: it goes on until what the container had sent is delivered, and lets go of the published ports
    /// before this returns; it may be dropped then, but is reaped only by [`Carrier::has_ended`]. False: it has nothing left to do.
    pub fn finish(&mut self) -> bool {
        self.finishing = self.order(&Order::Finish, None).is_ok();
        self.finishing
    }

    /// Whether it is gone; then it is reaped.
    pub fn has_ended(&self) -> bool {
        self.child.has_ended()
    }

    /// Readable when it has ended.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.child.pidfd.as_fd()
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        if self.finishing {
            return;
        }
        let _ = self.child.signal(libc::SIGKILL);
        let _ = self.child.wait();
    }
}

/// Tells a Carrier the network namespace it is to connect.
pub fn connect(link: BorrowedFd, namespace: BorrowedFd) {
    // One that has failed meanwhile says so when it is asked.
    let _ = sock::send(link, b"c", &[namespace]);
}

/// Waits until a Carrier has connected the namespace.
pub fn connected(link: BorrowedFd) -> Result<()> {
    let mut buffer = [0; LONGEST];
    match sock::receive(link, &mut buffer).context("cannot hear what connects the network")?.0 {
        0 => bail!("the process that connects the network died"),
        length => Ok(serde_json::from_slice::<Result<(), Failure>>(&buffer[..length]).context("cannot understand it")??),
    }
}

/// In a Carrier: the answer to [`connected`], or to an order.
pub fn report<T>(link: BorrowedFd, done: &Result<T>) {
    let told = serde_json::to_vec(&done.as_ref().map(drop).map_err(Failure::from)).unwrap_or_default();
    let _ = sock::send(link, &told, &[]);
}

/// In a Carrier: the next order, and the socket with it. None: Monitor is gone.
pub fn next_order(monitor: BorrowedFd) -> Result<Option<(Order, Option<OwnedFd>)>> {
    let (message, fds) = sock::receive_message(monitor, LONGEST)?;
    if message.is_empty() {
        return Ok(None);
    }
    Ok(Some((serde_json::from_slice(&message).context("cannot understand the monitor")?, fds.into_iter().next())))
}
