//! The cgroup of a container.
//!
//! ```text
//! rl-NAME.scope/         made by systemd with Delegate=yes, or rl-NAME-ID/ below a cgroup of the caller's (delegate.rs)
//!   monitor/             Monitor and its helpers, where controllers are enabled below the scope: then no process may sit in it
//!   payload/             the container, root of its cgroup namespace; the limits are here
//!     exec-N/            each process executed in it later, with its children
//! ```
//!
//! Client has the scope made and hands its descriptor to Monitor, which does the rest by descriptor ([`Cgroup`]) and removes it in the end.

pub mod dbus;
pub mod delegate;
pub mod limits;
pub mod stats;
pub mod systemd;
pub mod tree;

use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::{Context, Result};

use limits::Setting;

/// The payload's cgroup below the container's.
pub const PAYLOAD: &str = "payload";
/// Where Monitor steps aside to.
const MONITOR: &str = "monitor";

/// A container's cgroup, as Monitor holds it.
#[derive(Debug)]
pub struct Cgroup {
    base: OwnedFd,
    /// Where the container's cgroup is not systemd's to remove: its parent, and its name there.
    parent: Option<(OwnedFd, String)>,
    payload: OwnedFd,
    /// memory.events of the payload, or else of the scope: each change of it is announced.
    events: Option<File>,
    /// Kills that it counted before this life of the payload.
    killed_before: u64,
    /// Who may make cgroups in the payload's: uid and gid as this process sees them.
    delegated: Option<(u32, u32)>,
}

impl Cgroup {
    /// Makes the payload's cgroup with its limits. Without limits no controller is enabled, and nothing has to move. `delegated`: the
    /// payload divides its cgroup itself, with every controller there is; it works as this uid and gid.
    pub fn prepare(
        base: OwnedFd,
        parent: Option<(OwnedFd, String)>,
        settings: &[Setting],
        delegated: Option<(u32, u32)>,
    ) -> Result<Cgroup> {
        let payload = make_payload(base.as_fd(), settings, delegated)?;
        let mut cgroup = Cgroup { base, parent, payload, events: None, killed_before: 0, delegated };
        cgroup.watch();
        Ok(cgroup)
    }

    /// A new cgroup for the payload's next life: its counters begin at zero.
    pub fn renew(&mut self, settings: &[Setting]) -> Result<()> {
        tree::kill(self.payload.as_fd())?;
        tree::remove(self.base.as_fd(), PAYLOAD)?;
        self.payload = make_payload(self.base.as_fd(), settings, self.delegated)?;
        self.watch();
        Ok(())
    }

    fn watch(&mut self) {
        self.events = tree::open_events(self.payload.as_fd()).or_else(|| tree::open_events(self.base.as_fd()));
        self.killed_before = 0;
        self.killed_before = self.oom_kills();
    }

    /// Changes limits while it runs.
    pub fn update(&mut self, settings: &[Setting]) -> Result<()> {
        delegate::check_controllers(&tree::words(self.base.as_fd(), "cgroup.controllers"), settings)?;
        if settings.iter().any(|setting| setting.file == "pids.max") {
            // What was the default for the scope as a whole gives way to what is said of the payload.
            let _ = tree::write(self.base.as_fd(), "pids.max", "max");
        }
        limit(self.base.as_fd(), self.payload.as_fd(), settings)?;
        self.watch();
        Ok(())
    }

    /// The caller's cgroup above it, where it is not systemd's.
    pub fn parent(&self) -> Option<BorrowedFd<'_>> {
        self.parent.as_ref().map(|(parent, _)| parent.as_fd())
    }

    /// What poll(2) tells of (POLLPRI) when the payload's memory becomes an event; to be read by [`oom_kills`](Self::oom_kills).
    pub fn events(&self) -> Option<BorrowedFd<'_>> {
        self.events.as_ref().map(|file| file.as_fd())
    }

    /// Where the payload is born.
    pub fn payload(&self) -> BorrowedFd<'_> {
        self.payload.as_fd()
    }

    /// A cgroup for the `number`th process executed in the container; its end can be made sure of with [`end_exec`](Self::end_exec).
    pub fn make_exec(&self, number: u32) -> Result<OwnedFd> {
        let name = format!("exec-{number}");
        tree::child(self.payload.as_fd(), &name).with_context(|| format!("cannot make the cgroup {name}"))
    }

    /// Removes an executed process's cgroup, unless it has left something running. `kill`: not even then.
    pub fn end_exec(&self, number: u32, kill: bool) {
        let name = format!("exec-{number}");
        if kill && let Ok(exec) = tree::open_child(self.payload.as_fd(), &name) {
            let _ = tree::kill(exec.as_fd());
        }
        let _ = tree::remove(self.payload.as_fd(), &name);
    }

    /// Freezes the payload, or lets it go on.
    pub fn freeze(&self, frozen: bool) -> Result<()> {
        tree::freeze(self.payload.as_fd(), frozen)
    }

    /// How many of the payload's processes the kernel has killed for want of memory.
    pub fn oom_kills(&self) -> u64 {
        // Through the descriptor that is polled, so that what was announced counts as read.
        let text = self.events.as_ref().and_then(|mut file| {
            let mut text = String::new();
            file.rewind().and_then(|()| file.read_to_string(&mut text)).ok().map(|_| text)
        });
        text.and_then(|text| stats::value(&text, "oom_kill")).unwrap_or(0).saturating_sub(self.killed_before)
    }

    /// Kills whatever is left and removes what is not systemd's to remove. A scope goes with its last process.
    pub fn retire(&self) -> Result<()> {
        // A frozen process would not die.
        let _ = tree::write(self.payload.as_fd(), "cgroup.freeze", "0");
        tree::kill(self.payload.as_fd())?;
        tree::remove(self.base.as_fd(), PAYLOAD)?;
        match &self.parent {
            Some((parent, name)) => tree::remove(parent.as_fd(), name),
            None => Ok(()),
        }
    }
}

impl Drop for Cgroup {
    /// A start that failed leaves no directory of ours. Processes there are none any more; a scope is systemd's.
    fn drop(&mut self) {
        if let Some((parent, name)) = &self.parent {
            let _ = tree::remove(parent.as_fd(), name);
        }
    }
}

fn make_payload(base: BorrowedFd, settings: &[Setting], delegated: Option<(u32, u32)>) -> Result<OwnedFd> {
    let payload = tree::make_child(base, PAYLOAD).context("cannot make the container's cgroup")?;
    limit(base, payload.as_fd(), settings)?;
    if let Some(owner) = delegated {
        tree::move_all_to(base, MONITOR)?;
        let all = tree::words(base, "cgroup.controllers");
        tree::enable(base, &all.iter().map(String::as_str).collect::<Vec<_>>()).context("cannot enable the controllers")?;
        tree::give(payload.as_fd(), owner)?;
    }
    Ok(payload)
}

/// Enables the controllers that are needed, and writes. First everybody leaves the scope itself: the kernel wants no process beside the
/// cgroups that controllers tell apart.
fn limit(base: BorrowedFd, payload: BorrowedFd, settings: &[Setting]) -> Result<()> {
    if settings.is_empty() {
        return Ok(());
    }
    let controllers = limits::controllers(settings);
    tree::move_all_to(base, MONITOR)?;
    tree::enable(base, &controllers).with_context(|| format!("cannot enable the controllers {}", controllers.join(", ")))?;
    settings.iter().try_for_each(|setting| tree::apply(payload, setting))
}
