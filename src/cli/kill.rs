//! `rl kill`.

use anyhow::Result;

use super::{Context, each};
use crate::container::{lifecycle, parse, record};

/// Send a signal to containers
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Which, by name or number
    #[arg(short, long, default_value = "KILL", value_parser = parse::signal)]
    signal: i32,
    /// Names, ids, or beginnings of ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// Prints the names of those that got it.
pub fn run(args: &Args, context: &Context) -> Result<u8> {
    each(&args.containers, |wanted| lifecycle::kill(&record::find(&context.paths, wanted)?, args.signal))
}
