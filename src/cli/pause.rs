//! `rl pause` and `rl unpause`.

use anyhow::Result;

use super::{Context, each};
use crate::container::{lifecycle, record};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Names, ids, or beginnings of ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// Freezes them, or lets them go on; prints their names.
pub fn run(args: &Args, pause: bool, context: &Context) -> Result<u8> {
    each(&args.containers, |wanted| lifecycle::pause(&record::find(&context.paths, wanted)?, pause))
}
