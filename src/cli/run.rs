//! `rl run`.

use anyhow::Result;

use super::Context;
use crate::container::attend::Company;
use crate::container::boot;
use crate::container::console::Keys;
use crate::container::launch;
use crate::container::options::{More, Options, Usual};
use crate::userns::shared;

/// Run a command in a new container
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Leave it running in the background and print its id
    #[arg(short, long)]
    detach: bool,
    #[command(flatten)]
    attached: Attached,
    #[command(flatten)]
    options: Options,
}

impl Args {
    /// What the container is to be.
    pub fn options(&self) -> &Options {
        &self.options
    }
}

/// The same by the usual flags alone.
#[derive(Debug, clap::Args)]
pub struct Brief {
    #[arg(short, long)]
    detach: bool,
    #[command(flatten)]
    attached: Attached,
    #[command(flatten)]
    usual: Usual,
}

impl From<Brief> for Args {
    fn from(Brief { detach, attached, usual }: Brief) -> Args {
        Args { detach, attached, options: Options { usual, more: More::default() } }
    }
}

/// How to stay with a container; shared by the verbs that do.
#[derive(Debug, clap::Args)]
pub struct Attached {
    /// Keys that leave the container running ("" for none)
    #[arg(long, value_name = "KEYS", default_value = "ctrl-p,ctrl-q")]
    detach_keys: Keys,
    /// Pass signals on to the container; --sig-proxy=false leaves it at the first
    #[arg(long, value_name = "BOOL", default_value = "true", num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    sig_proxy: bool,
}

impl Attached {
    /// The company that these flags describe.
    pub fn company(&self, interactive: bool) -> Company {
        Company::Attached { interactive, keys: self.detach_keys.clone(), sig_proxy: self.sig_proxy }
    }
}

/// Ends with the container's exit code.
pub fn run(args: &Args, context: &mut Context) -> Result<u8> {
    let pending = context.pending.take().unwrap_or_else(|| shared::begin(&context.caller, &context.paths.runtime))?;
    let company = if args.detach { Company::None } else { args.attached.company(args.options.usual.interactive) };
    let code = launch::run(&args.options, &company, &context.paths, &context.caller, pending)?;
    if args.detach {
        boot::warn_of_logout(&context.paths, &context.caller);
    }
    Ok(code)
}
