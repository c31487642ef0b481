//! The payload's connection to the world outlives the process that makes it: one that dies is started again, after the delays of a
//! restart policy, for a payload that can make it die could do so again.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use anyhow::{Result, anyhow};

use super::restart::{RestartPolicy, Restarts};
use crate::network::{Network, Order};

/// How it is.
enum Condition {
    Up {
        since: Instant,
    },
    /// A new process is connecting the payload's namespace.
    Connecting,
    Down {
        until: Instant,
    },
}

/// See the module.
pub struct Uplink {
    network: Option<Network>,
    condition: Condition,
    restarts: Restarts,
}

/// What has become of it.
pub enum Change {
    Lost(anyhow::Error),
    Restored,
}

impl Uplink {
    /// One that works.
    pub fn new(network: Network) -> Uplink {
        Uplink { network: Some(network), condition: Condition::Up { since: Instant::now() }, restarts: Restarts::default() }
    }

    /// What to wait for.
    pub fn interest(&self) -> Option<BorrowedFd<'_>> {
        match self.condition {
            Condition::Up { .. } => self.network.as_ref()?.pidfd(),
            // Its end ends this conversation as well.
            Condition::Connecting => self.network.as_ref()?.link(),
            Condition::Down { .. } => None,
        }
    }

    /// See [`Network::order`]. One that is down comes back with everything that is published by then.
    pub fn order(&self, order: &Order, socket: Option<BorrowedFd>) -> Result<()> {
        self.network.as_ref().map_or(Ok(()), |network| network.order(order, socket))
    }

    /// Where the process that connects it now tells of what the payload reaches; once for each.
    pub fn take_log(&mut self) -> Option<OwnedFd> {
        self.network.as_mut()?.take_log()
    }

    /// The payload has ended. What is returned still delivers what it had sent.
    pub fn finish(mut self) -> Option<Network> {
        self.network.take_if(|network| matches!(self.condition, Condition::Up { .. }) && network.finish())
    }

    /// When something is to be done by itself.
    pub fn due(&self) -> Option<Instant> {
        if let Condition::Down { until } = self.condition { Some(until) } else { None }
    }

    /// Does what has become possible. `start` begins a new network; `namespace` is the payload's.
    pub fn advance(
        &mut self,
        ready: &[i32],
        start: impl FnOnce() -> Result<Network>,
        namespace: impl FnOnce() -> Result<OwnedFd>,
    ) -> Option<Change> {
        let now = Instant::now();
        let fired = self.interest().is_some_and(|fd| ready.contains(&fd.as_raw_fd()));
        match &self.condition {
            Condition::Up { since } if fired => {
                let ran = now - *since;
                Some(self.lose(anyhow!("the process that connects the container died"), ran))
            }
            Condition::Connecting if fired => match self.network.as_ref().map_or(Ok(()), Network::connected) {
                Ok(()) => {
                    self.condition = Condition::Up { since: now };
                    Some(Change::Restored)
                }
                Err(error) => Some(self.lose(error, std::time::Duration::ZERO)),
            },
            Condition::Down { until } if *until <= now => {
                let begun = namespace().and_then(|namespace| {
                    let network = start()?;
                    network.connect(namespace.as_fd());
                    Ok(network)
                });
                match begun {
                    Ok(network) => {
                        self.network = Some(network);
                        self.condition = Condition::Connecting;
                        None
                    }
                    Err(error) => Some(self.lose(error, std::time::Duration::ZERO)),
                }
            }
            _ => None,
        }
    }

    fn lose(&mut self, error: anyhow::Error, ran: std::time::Duration) -> Change {
        self.network = None;
        let delay = RestartPolicy::Always.after(1, ran, &mut self.restarts).unwrap_or_default();
        self.condition = Condition::Down { until: Instant::now() + delay };
        Change::Lost(error)
    }
}
