//! `rl run`.

use anyhow::Result;

use super::Context;
use crate::container::launch;
use crate::container::options::Options;

/// Run a command in a new container
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    options: Options,
}

/// Ends with the container's exit code.
pub fn run(args: &Args, context: &Context) -> Result<u8> {
    launch::run(&args.options, &context.paths, &context.caller)
}
