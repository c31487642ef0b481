//! Containers: what one is (options, config, record), and the lives of the processes that run it.

pub mod config;
pub mod console;
pub mod init;
pub mod launch;
pub mod log;
pub mod moment;
pub mod monitor;
pub mod names;
mod obtain;
pub mod options;
pub mod parse;
pub mod record;
pub mod remove;
pub mod state;
pub mod stdio;
pub mod user;
pub mod volume;
pub mod watch;
pub mod wire;
