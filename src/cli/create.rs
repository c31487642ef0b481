//! `rl create`.

use anyhow::Result;

use super::{Context, output};
use crate::container::launch;
use crate::container::options::Options;
use crate::userns::shared;

/// Create a container without starting it
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    options: Options,
}

impl Args {
    /// What the container is to be.
    pub fn options(&self) -> &Options {
        &self.options
    }
}

/// Prints its id.
pub fn run(args: &Args, context: &Context) -> Result<u8> {
    let pending = shared::begin(&context.caller, &context.paths.runtime)?;
    output::line(launch::create(&args.options, &context.paths, &context.caller, pending)?)?;
    Ok(0)
}
