//! `rl unshare`.

use std::ffi::OsString;

use anyhow::Result;

use super::Context;
use crate::userns::spawn;

/// Run a command of the host as root of the containers' user namespace
///
/// There you own what containers own: files of your subordinate ids can be read, changed and deleted.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The command (default: your shell)
    #[arg(value_name = "COMMAND", trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

/// Ends with the command's exit code.
pub fn run(args: &Args, context: &Context) -> Result<u8> {
    let shell = || vec![std::env::var_os("SHELL").unwrap_or_else(|| "/bin/sh".into())];
    let command = if args.command.is_empty() { shell() } else { args.command.clone() };
    spawn::command(context.userns()?, &command)
}
