//! `rl start`.

use anyhow::{Result, bail};

use super::run::Attached;
use super::{Context, each};
use crate::container::attend::Company;
use crate::container::lifecycle;
use crate::userns::shared;

/// Start containers that were created, or have ended
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Stay with it: show its output, pass signals on, end with its exit code
    #[arg(short, long)]
    attach: bool,
    /// Give it this input too
    #[arg(short, long)]
    interactive: bool,
    #[command(flatten)]
    attached: Attached,
    /// Names, ids, or beginnings of ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// Prints the names of those that run; attached, ends with the exit code.
pub fn run(args: &Args, context: &Context) -> Result<u8> {
    let pending = || shared::begin(&context.caller, &context.paths.runtime);
    if !args.attach && !args.interactive {
        return each(&args.containers, |wanted| lifecycle::start(&context.paths, wanted, &Company::None, pending).map(drop));
    }
    let [wanted] = &args.containers[..] else { bail!("only one container can be attached to") };
    lifecycle::start(&context.paths, wanted, &args.attached.company(args.interactive), pending)
}
