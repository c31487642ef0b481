//! A process that connects one container, as Monitor has it: the embedded gateway, or whoever looks after a driver.
//!
//! ```text
//! Monitor                     Carrier                     Init (or Monitor, where an earlier Carrier has died)
//!   |--- (fork) -------------->|                          |
//!   |                          |<------- the namespace ---|
//!   |                          |--- connected, or why not>|
//!   |--- EOF ----------------->|                          |    its end
//! ```

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::{Context, Result, bail};

use crate::error::Failure;
use crate::sys::process::{self, Child, Fork};
use crate::sys::sock;

/// Longest message of a conversation.
const LONGEST: usize = 16 << 10;

/// See the module. Dropped, it ends.
pub struct Carrier {
    child: Child,
    /// Its end is the Carrier's.
    _conversation: OwnedFd,
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
            Fork::Parent(child) => Ok(Carrier { child, _conversation: conversation, link }),
        }
    }

    /// What the container's Init talks to it by: [`connect`], then [`connected`].
    pub fn link(&self) -> BorrowedFd<'_> {
        self.link.as_fd()
    }

    /// Readable when it has ended.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.child.pidfd.as_fd()
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
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

/// In a Carrier: the answer to [`connected`].
pub fn report<T>(link: OwnedFd, begun: &Result<T>) {
    let told = serde_json::to_vec(&begun.as_ref().map(drop).map_err(Failure::from)).unwrap_or_default();
    let _ = sock::send(link.as_fd(), &told, &[]);
}
