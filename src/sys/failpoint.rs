//! Milestones: points that a process has reached. In test builds (feature `failpoints`) it can be made to die at each, by SIGKILL as
//! nothing else can be prepared for, or to stop until it is told to go on. Named after the work: `client-…`, `monitor-…`, `init-…` on the
//! way of a container, `rm-…` and `pull-…`, `image-…` (rmi, tag, prune) on those of what is in the store.

/// A point that a life has reached. In test builds the process dies here when `RL_FAILPOINT` names it, and stops where that is
/// `stop:NAME`; several are parted by commas.
#[cfg(feature = "failpoints")]
pub fn milestone(name: &str) {
    let Ok(wanted) = std::env::var("RL_FAILPOINT") else { return };
    if wanted.split(',').any(|one| one.strip_prefix("stop:") == Some(name)) {
        let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGSTOP);
    }
    if wanted.split(',').any(|one| one == name) {
        let _ = nix::sys::signal::kill(nix::unistd::getpid(), nix::sys::signal::Signal::SIGKILL);
        // PID 1 cannot kill itself from within its namespace.
        super::process::exit_now(137);
    }
}

/// A point that a life has reached.
#[cfg(not(feature = "failpoints"))]
pub fn milestone(_name: &str) {}
