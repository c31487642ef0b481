//! `rl system`.

mod check;
mod df;
mod prune;
mod reset;

use anyhow::Result;

use super::Context;

/// Look after everything that is stored
#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    Df(df::Args),
    Check(check::Args),
    Prune(prune::Args),
    Reset(reset::Args),
}

/// Runs one of them.
pub fn run(verb: &Verb, context: &Context) -> Result<u8> {
    match verb {
        Verb::Df(args) => df::run(args, context),
        Verb::Check(args) => check::run(args, context),
        Verb::Prune(args) => prune::run(args, context),
        Verb::Reset(args) => reset::run(args, context),
    }
}
