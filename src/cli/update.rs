//! `rl update`.

use anyhow::{Result, bail};

use super::{Context, each};
use crate::container::lifecycle;
use crate::container::resources::Limits;
use crate::container::restart::RestartPolicy;

/// Change what containers may use, running or not
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    limits: Limits,
    /// When to start it again after its end: no, on-failure[:N], always, unless-stopped
    #[arg(long, value_name = "POLICY")]
    restart: Option<RestartPolicy>,
    /// Names, ids, or beginnings of ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// Prints the names of those that were changed.
pub fn run(args: &Args, context: &Context) -> Result<u8> {
    if args.limits.is_empty() && args.restart.is_none() {
        bail!("say what to change: --memory, --cpus, --pids-limit, --restart and the like");
    }
    each(&args.containers, |wanted| lifecycle::update(&context.paths, wanted, args.restart, &args.limits))
}
