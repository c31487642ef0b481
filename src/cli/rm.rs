//! `rl rm`.

use anyhow::Result;

use super::{Context, output};
use crate::container::{record, remove};
use crate::error::Failure;

/// Remove containers
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Kill a running container first; no error where there is none
    #[arg(short, long)]
    force: bool,
    /// Remove its anonymous volumes too
    #[arg(short, long)]
    volumes: bool,
    /// Names, ids, or beginnings of ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// Goes on after a failure, as Docker; exits 1 when there was one.
pub fn run(args: &Args, context: &Context) -> Result<u8> {
    remove::sweep(&context.paths, || context.userns())?;
    let mut code = 0;
    for wanted in &args.containers {
        let found = record::find(&context.paths, wanted);
        let result = match found {
            Err(_) if args.force => continue,
            Err(error) => Err(error),
            Ok(record) => context.userns().and_then(|u| remove::container(&context.paths, &u, &record, args.force, args.volumes)),
        };
        match result {
            Ok(()) => output::line(wanted)?,
            Err(error) => {
                Failure::from(&error.context(format!("cannot remove \"{wanted}\""))).print();
                code = 1;
            }
        }
    }
    Ok(code)
}
