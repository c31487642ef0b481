//! What this host is and has: the caller, the kernel's switches, where things lie, and what to do when it says no.

pub mod advice;
pub mod config;
pub mod debug;
pub mod facts;
pub mod linger;
pub mod paths;
pub mod tree;
