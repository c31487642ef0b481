//! `rl exec`.

use std::path::PathBuf;

use anyhow::{Result, bail};

use super::Context;
use crate::container::attend::{Company, Outcome};
use crate::container::console::Keys;
use crate::container::{exec, launch, parse, record};
use crate::userns::plan::Plan;

/// Run another command in a running container
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Leave it running in the background
    #[arg(short, long)]
    detach: bool,
    /// Keep stdin open
    #[arg(short, long)]
    interactive: bool,
    /// Give it a terminal of its own
    #[arg(short, long)]
    tty: bool,
    /// User to run as, by name or number (default: the container's)
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// Working directory (default: the container's)
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    /// Set an environment variable; without a value it is taken from here
    #[arg(short, long, value_name = "NAME[=VALUE]", value_parser = parse::env)]
    env: Vec<String>,
    /// Read environment variables from a file
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
    /// All capabilities within the container's user namespace
    #[arg(long)]
    privileged: bool,
    /// Keys that leave it running ("" for none)
    #[arg(long, value_name = "KEYS", default_value = "ctrl-p,ctrl-q")]
    detach_keys: Keys,
    /// The container's name or id
    #[arg(value_name = "CONTAINER")]
    container: String,
    /// The command and its arguments
    #[arg(value_name = "COMMAND", required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

/// Ends with the command's exit code.
pub fn run(args: &Args, context: &Context) -> Result<u8> {
    if args.interactive && args.tty && !args.detach {
        launch::check_terminal(true)?;
    }
    let record = record::find(&context.paths, &args.container)?;
    if !record.alive || !record.state.status.is_up() {
        bail!("container \"{}\" is not running", record.config.name);
    }
    let mut env = Vec::new();
    for entry in launch::env_files(&args.env_file)?.into_iter().chain(args.env.iter().cloned()) {
        match entry.contains('=') {
            true => env.push(entry),
            false => env.extend(std::env::var(&entry).ok().map(|value| format!("{entry}={value}"))),
        }
    }
    let request = exec::Request {
        args: args.command.clone(),
        env,
        user: args.user.clone(),
        cwd: args.workdir.clone(),
        terminal: args.tty,
        privileged: args.privileged,
    };
    let company = match args.detach {
        true => Company::None,
        false => Company::Attached { interactive: args.interactive, keys: args.detach_keys.clone(), sig_proxy: true },
    };
    let caller = &context.caller;
    let root = if caller.uid == 0 { Plan::of(caller).maps.root() } else { (caller.uid, caller.gid) };
    Ok(match exec::exec(&record, request, &company, root)? {
        Outcome::Ended(code) => code,
        Outcome::Started | Outcome::Detached => 0,
    })
}
