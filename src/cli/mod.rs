//! The command line: one file per verb. Each has its arguments (the doc comments are the help), one call down, and prints.

mod generate;
mod info;
mod inspect;
mod listing;
mod logs;
mod output;
mod ps;
mod rm;
mod run;
mod template;
mod unshare;
mod volume;

use std::path::PathBuf;

use anyhow::{Result, anyhow};
use clap::error::ErrorKind;
use clap::{Parser, Subcommand};

use crate::error::{Advise, EXIT_RL};
use crate::host::facts::Caller;
use crate::host::paths::{Paths, runtime_dir};
use crate::userns::shared::{self, Pending, Userns};

/// Rootless containers: no daemon, no root, nothing to install first
#[derive(Debug, Parser)]
#[command(name = "rl", version, disable_help_subcommand = true, arg_required_else_help = true)]
#[command(
    after_help = "First steps:\n  rl run rootfs:/ sh            a copy-on-write view of this very system\n  rl run -it oci:DIR sh         an image from an OCI layout"
)]
pub struct Cli {
    /// Keep images, containers and volumes in this directory
    #[arg(long, global = true, value_name = "DIR", env = "RL_ROOT")]
    root: Option<PathBuf>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Run(Box<run::Args>),
    Ps(ps::Args),
    Rm(rm::Args),
    Inspect(inspect::Args),
    Logs(logs::Args),
    #[command(subcommand)]
    Volume(volume::Verb),
    Unshare(unshare::Args),
    Info(info::Args),
    #[command(hide = true)]
    Generate(generate::Args),
}

/// What every verb works with: who calls, and where things lie.
struct Context {
    caller: Caller,
    paths: Paths,
    /// U, where its making was begun before the arguments were read.
    pending: Option<Result<Pending>>,
}

impl Context {
    /// U, made or joined, waiting for it.
    fn userns(&self) -> Result<Userns> {
        Userns::open(&self.caller, &self.paths.runtime)
    }
}

/// Parses the arguments and runs the verb. Beside the result, the exit code of a failure that has none of its own.
pub fn dispatch() -> (Result<u8>, u8) {
    let caller = Caller::now();
    // newuidmap takes longer than anything else on the way to a container, reading the arguments included: so it starts first.
    let runs = std::env::args_os().nth(1).is_some_and(|verb| verb == "run");
    let pending = runs.then(|| shared::begin(&caller, &runtime_dir(caller.uid)));
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            return (told(&error), EXIT_RL);
        }
    };
    let default = if matches!(cli.verb, Verb::Run(_)) { EXIT_RL } else { 1 };
    (run_verb(cli, caller, pending), default)
}

/// Help and version as they are; a mistake in our words: what, then where to look.
fn told(error: &clap::Error) -> Result<u8> {
    if !error.use_stderr() || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        let _ = error.print();
        return Ok(if error.use_stderr() { EXIT_RL } else { 0 });
    }
    let text = error.render().to_string();
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let what = lines.next().unwrap_or_default().trim_start_matches("error: ").to_string();
    let useful = |line: &&str| !line.contains("as a value, use");
    let more: Vec<&str> =
        lines.take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more")).filter(useful).collect();
    let what = [what.as_str()].into_iter().chain(more).collect::<Vec<_>>().join(" ");
    let known = error.kind() != ErrorKind::InvalidSubcommand;
    let verb =
        std::env::args().nth(1).filter(|verb| known && !verb.starts_with('-')).map(|verb| format!("{verb} ")).unwrap_or_default();
    Err(anyhow!(what)).hint(|| format!("rl {verb}--help"))
}

fn run_verb(cli: Cli, caller: Caller, pending: Option<Result<Pending>>) -> Result<u8> {
    let paths = Paths::find(caller.uid, cli.root.as_deref())?;
    let mut context = Context { caller, paths, pending };
    match cli.verb {
        Verb::Run(args) => run::run(&args, &mut context),
        Verb::Ps(args) => ps::run(&args, &context),
        Verb::Rm(args) => rm::run(&args, &context),
        Verb::Inspect(args) => inspect::run(&args, &context),
        Verb::Logs(args) => logs::run(&args, &context),
        Verb::Volume(verb) => volume::run(&verb, &context),
        Verb::Unshare(args) => unshare::run(&args, &context),
        Verb::Info(args) => info::run(&args, &context),
        Verb::Generate(args) => generate::run(&args),
    }
}
