//! `rl rm`.

use anyhow::{Context as _, Result};

use super::{Context, attempt, output, ps};
use crate::container::{record, remove};

/// Remove containers
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Kill a running container first; no error where there is none
    #[arg(short, long)]
    force: bool,
    /// Remove its anonymous volumes too
    #[arg(short, long)]
    volumes: bool,
    /// All of them
    #[arg(short, long, conflicts_with_all = ["containers", "latest", "filter"])]
    all: bool,
    /// The newest one
    #[arg(short, long, conflicts_with_all = ["containers", "filter"])]
    latest: bool,
    /// All for which it is so, as with rl ps -a
    #[arg(long, value_name = "KEY=VALUE", conflicts_with = "containers")]
    filter: Vec<String>,
    /// Names, ids, or beginnings of ids
    #[arg(required_unless_present_any = ["all", "latest", "filter"], value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// Goes on after a failure, as Docker; exits 1 when there was one.
pub fn run(args: &Args, context: &Context) -> Result<u8> {
    remove::sweep(&context.paths, || context.userns())?;
    attempt(&wanted(args, context)?, |wanted| {
        let removed = match record::find(&context.paths, wanted) {
            Err(_) if args.force => return Ok(()),
            Err(error) => Err(error),
            Ok(record) => context.userns().and_then(|u| remove::container(&context.paths, &u, &record, args.force, args.volumes)),
        };
        removed.with_context(|| format!("cannot remove \"{wanted}\""))?;
        output::line(wanted)
    })
}

/// What is to be removed: as it was named, or the ids of what was chosen otherwise.
fn wanted(args: &Args, context: &Context) -> Result<Vec<String>> {
    if !args.containers.is_empty() {
        return Ok(args.containers.clone());
    }
    let chosen = ps::chosen(context, &args.filter, true)?;
    let most = if args.latest { 1 } else { usize::MAX };
    Ok(chosen.into_iter().take(most).map(|record| record.config.id).collect())
}
