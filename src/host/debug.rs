//! `--log-level debug`: why `rl` decided as it did, on stderr.

use std::sync::atomic::{AtomicBool, Ordering};

static ON: AtomicBool = AtomicBool::new(false);

/// From now on it is told.
pub fn enable() {
    ON.store(true, Ordering::Relaxed);
}

/// Tells it, if anybody wants to know.
pub fn tell(what: impl FnOnce() -> String) {
    if ON.load(Ordering::Relaxed) {
        eprintln!("rl: debug: {}", what());
    }
}
