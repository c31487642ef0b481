//! `rl restart`.

use anyhow::Result;

use super::{Context, each};
use crate::container::{lifecycle, parse};
use crate::userns::shared;

/// Stop containers and start them again
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Seconds between the stop signal and SIGKILL (default: the container's, or 10); -1 waits for ever
    #[arg(short, long, visible_alias = "timeout", value_name = "SECONDS", allow_negative_numbers = true)]
    time: Option<i64>,
    /// Another signal to stop them with
    #[arg(short, long, value_parser = parse::signal)]
    signal: Option<i32>,
    /// Names, ids, or beginnings of ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// Prints the names of those that run again.
pub fn run(args: &Args, context: &Context) -> Result<u8> {
    let pending = || shared::begin(&context.caller, &context.paths.runtime);
    each(&args.containers, |wanted| lifecycle::restart(&context.paths, wanted, args.signal, args.time, pending))
}
