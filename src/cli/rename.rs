//! `rl rename`.

use anyhow::Result;

use super::Context;
use crate::container::{lifecycle, parse};

/// Give a container another name
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Its name or id
    #[arg(value_name = "CONTAINER")]
    container: String,
    /// The new name
    #[arg(value_name = "NAME", value_parser = parse::name)]
    name: String,
}

/// Prints nothing, as Docker.
pub fn run(args: &Args, context: &Context) -> Result<u8> {
    lifecycle::rename(&context.paths, &args.container, &args.name)?;
    Ok(0)
}
