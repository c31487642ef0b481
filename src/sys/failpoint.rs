//! Milestones: points that a process has reached. In test builds (feature `failpoints`) it can be made to die at each, by SIGKILL as
//! nothing else can be prepared for. Named after the work: `client-…`, `monitor-…`, `init-…` on the way of a container, `rm-…` and
//! `pull-…`, `image-…` (rmi, tag, prune) on those of what is in the store.

/// A point that a life has reached. In test builds the process dies here when `RL_FAILPOINT` names it.
#[cfg(feature = "failpoints")]
pub fn milestone(name: &str) {
    if std::env::var("RL_FAILPOINT").as_deref() == Ok(name) {
        let _ = nix::sys::signal::kill(nix::unistd::getpid(), nix::sys::signal::Signal::SIGKILL);
        // PID 1 cannot kill itself from within its namespace.
        super::process::exit_now(137);
    }
}

/// A point that a life has reached.
#[cfg(not(feature = "failpoints"))]
pub fn milestone(_name: &str) {}
