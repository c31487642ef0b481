//! `rl run`.

use anyhow::Result;

use super::Context;
use crate::container::launch;
use crate::container::options::Options;
use crate::userns::shared;

/// Run a command in a new container
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    options: Options,
}

/// Ends with the container's exit code.
pub fn run(args: &Args, context: &mut Context) -> Result<u8> {
    let pending = context.pending.take().unwrap_or_else(|| shared::begin(&context.caller, &context.paths.runtime))?;
    launch::run(&args.options, &context.paths, &context.caller, pending)
}
