//! Keeper: a member of U that does nothing, while the process that made U works for long before it has a member of its own.
//!
//! Until a new U has a registered member its maker holds the lock that keeps others from making a second one (shared.rs). A pull takes
//! minutes, and nobody else's `run` is to wait for it. Started by Client. Namespaces: user U, the rest the host's. Owns one end of a
//! socket pair, and waits on it for its end.

use std::os::fd::{AsFd, OwnedFd};

use anyhow::{Context, Result, bail};

use super::shared::Userns;
use crate::error::Failure;
use crate::role::Role;
use crate::sys::process::{self, Child, Fork};
use crate::sys::sock;

/// While this lives, U has a member. A child that is forked meanwhile and stays must close what it inherits of it.
#[derive(Debug)]
pub struct Sharing {
    stay: Option<OwnedFd>,
    keeper: Child,
}

impl Sharing {
    /// Registers a Keeper in `userns`, and with that lets go of the lock.
    pub fn start(userns: Userns) -> Result<Sharing> {
        let (stay, gone) = sock::pair().context("cannot create a socket pair")?;
        let keeper = match process::fork(0).context("cannot start a keeper")? {
            Fork::Child => {
                drop(stay);
                process::set_title(&Role::Keeper.title("U"), &Role::Keeper.comm());
                let joined = userns.join();
                let result = joined.as_ref().map(|_| ()).map_err(Failure::from);
                let _ = sock::send(gone.as_fd(), &serde_json::to_vec(&result).unwrap_or_default(), &[]);
                if let Ok(entry) = joined {
                    let _ = sock::receive(gone.as_fd(), &mut [0]);
                    entry.remove();
                }
                process::exit_now(0)
            }
            Fork::Parent(child) => child,
        };
        drop((gone, userns));
        let mut answer = vec![0; 16 << 10];
        let (length, _) = sock::receive(stay.as_fd(), &mut answer).context("cannot hear the keeper")?;
        let sharing = Sharing { stay: Some(stay), keeper };
        if length == 0 {
            bail!("the keeper died");
        }
        serde_json::from_slice::<Result<(), Failure>>(&answer[..length]).context("cannot understand the keeper")??;
        Ok(sharing)
    }
}

impl Drop for Sharing {
    fn drop(&mut self) {
        self.stay = None;
        let _ = self.keeper.wait();
    }
}
