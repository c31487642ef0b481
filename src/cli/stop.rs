//! `rl stop`.

use anyhow::Result;

use super::{Context, each};
use crate::container::{lifecycle, parse, record};

/// Stop containers: their stop signal, then SIGKILL
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Seconds between the two (default: the container's, or 10); -1 waits for ever
    #[arg(short, long, visible_alias = "timeout", value_name = "SECONDS", allow_negative_numbers = true)]
    time: Option<i64>,
    /// Another signal to begin with
    #[arg(short, long, value_parser = parse::signal)]
    signal: Option<i32>,
    /// Names, ids, or beginnings of ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// Prints the names of those that are stopped.
pub fn run(args: &Args, context: &Context) -> Result<u8> {
    each(&args.containers, |wanted| lifecycle::stop(&record::find(&context.paths, wanted)?, args.signal, args.time))
}
