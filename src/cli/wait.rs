//! `rl wait`.

use anyhow::Result;

use super::{Context, attempt, output};
use crate::container::lifecycle::{self, Condition};
use crate::container::record;

/// Wait for containers to end, and print their exit codes
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to wait for
    #[arg(long, value_enum, default_value = "not-running", value_name = "CONDITION")]
    condition: Condition,
    /// Names, ids, or beginnings of ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// One code a line, in the order asked for.
pub fn run(args: &Args, context: &Context) -> Result<u8> {
    attempt(&args.containers, |wanted| {
        let code = lifecycle::wait(&record::find(&context.paths, wanted)?, args.condition)?;
        output::line(code.to_string())
    })
}
