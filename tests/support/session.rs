//! The VM's login session around `rl`: what holds there is tested by tests/vm_*.rs.

use super::{HostState, Rl, eventually, run};
use nix::unistd::Pid;
use std::{ops::Deref, process::Command, sync::Once, thread};

/// `rl` alone on this machine; at the end the host is as it was, whatever the test did.
pub struct Session {
    pub rl: Rl,
    before: HostState,
}

impl Session {
    pub fn begin() -> Session {
        // The first to call it would start it, and its cgroup would count as a trace of ours.
        static BUS: Once = Once::new();
        BUS.call_once(|| {
            let mut start = Command::new("systemctl");
            start.args(["--user", "start", "dbus.service"]);
            run(start).ok();
        });
        let rl = Rl::alone();
        Session { before: HostState::now(), rl }
    }

    /// The pid on the host of a running container's payload.
    #[track_caller]
    pub fn payload(&self, container: &str) -> Pid {
        let mut pid = 0;
        eventually("a running payload", || {
            pid = self.inspect(container)["State"]["Pid"].as_i64().unwrap_or(0);
            pid > 0
        });
        Pid::from_raw(pid.try_into().expect("a pid"))
    }
}

impl Deref for Session {
    type Target = Rl;

    fn deref(&self) -> &Rl {
        &self.rl
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if !thread::panicking() {
            self.before.is_back();
        }
    }
}

/// The session, or the end of the test: skipped outside the VM, failed where the VM has none.
macro_rules! session {
    () => {{
        if !$crate::support::in_vm() {
            println!("SKIP: runs in the VM only (tests/run --only-vm)");
            return;
        }
        use $crate::support::Feature;
        $crate::support::require!(Feature::UserSession, Feature::SubIds, Feature::Image("alpine"), Feature::Release);
        $crate::support::Session::begin()
    }};
}
pub(crate) use session;
