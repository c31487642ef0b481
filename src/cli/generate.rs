//! Man pages and shell completions, from the very definitions that parse (`man/`, `completions/`; a test compares them).

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::CommandFactory;
use clap_complete::{Shell, generate_to};

use super::Cli;

/// Write man pages and completions into a directory
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where `man/` and `completions/` are made
    directory: PathBuf,
}

/// Writes every page and the completions of bash, zsh and fish.
pub fn run(args: &Args) -> Result<u8> {
    let (man, completions) = (args.directory.join("man"), args.directory.join("completions"));
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
