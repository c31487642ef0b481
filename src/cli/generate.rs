//! `rl generate`: units for systemd; and, hidden, man pages and shell completions from the very definitions that parse (`man/`,
//! `completions/`; a test compares them).

mod systemd;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::CommandFactory;
use clap_complete::{Shell, generate_to};

use super::{Cli, Context};

/// Print what other programs can use of a container
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Args {
    /// Where `man/` and `completions/` are made
    #[arg(required = true, hide = true)]
    directory: Option<PathBuf>,
    #[command(subcommand)]
    kind: Option<Kind>,
}

/// What is made of a container.
#[derive(Debug, clap::Subcommand)]
enum Kind {
    Systemd(systemd::Args),
}

/// Prints a unit, or writes the pages.
pub fn run(args: &Args, context: &Context) -> Result<u8> {
    match (&args.kind, &args.directory) {
        (Some(Kind::Systemd(args)), _) => systemd::run(args, context),
        (None, Some(directory)) => pages(directory),
        (None, None) => Ok(0),
    }
}

/// Writes every page and the completions of bash, zsh and fish.
fn pages(directory: &Path) -> Result<u8> {
    let (man, completions) = (directory.join("man"), directory.join("completions"));
    for dir in [&man, &completions] {
        fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    }
    let mut command = Cli::command();
    clap_mangen::generate_to(command.clone(), &man).context("cannot write the man pages")?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        generate_to(shell, &mut command, "rl", &completions).context("cannot write the completions")?;
    }
    Ok(0)
}
