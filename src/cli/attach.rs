//! `rl attach`.

use anyhow::{Result, bail};

use super::Context;
use super::run::Attached;
use crate::container::attend::{self, Outcome};
use crate::container::record;

/// Stay with a running container: its output from now on, your input, your signals
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    attached: Attached,
    /// Leave your input out
    #[arg(long)]
    no_stdin: bool,
    /// Its name or id
    #[arg(value_name = "CONTAINER")]
    container: String,
}

/// Ends with the container's exit code, or with 0 when the caller leaves.
pub fn run(args: &Args, context: &Context) -> Result<u8> {
    let record = record::find(&context.paths, &args.container)?;
    if !record.alive || !record.state.status.is_up() {
        bail!("container \"{}\" is not running", record.config.name);
    }
    let interactive = record.config.interactive && !args.no_stdin;
    Ok(match attend::attach(&record, &args.attached.company(interactive))? {
        Outcome::Ended(code) => code,
        Outcome::Started | Outcome::Detached => 0,
    })
}
