//! `rl healthcheck`.

use anyhow::Result;
use clap::Subcommand;

use super::{Context, output};
use crate::container::{lifecycle, record};
use crate::error::{Advise, EXIT_RL};

/// Check the health of containers
#[derive(Debug, Subcommand)]
pub enum Verb {
    Run(Args),
}

/// Run a container's health check now; exits 0 when it passes, 1 when it fails, 125 when it cannot be run
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Name, id, or beginning of an id
    #[arg(value_name = "CONTAINER")]
    container: String,
}

/// Prints how the container is when the check has failed: starting or unhealthy, or healthy yet.
pub fn run(verb: &Verb, context: &Context) -> Result<u8> {
    let Verb::Run(args) = verb;
    let checked = record::find(&context.paths, &args.container).and_then(|record| lifecycle::check(&record));
    let (passed, status) = checked.exit_with(EXIT_RL)?;
    if !passed {
        output::line(status.word())?;
    }
    Ok(u8::from(!passed))
}
