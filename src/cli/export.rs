//! `rl export`.

use std::fs::{self, File};
use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};

use super::Context;
use crate::container::copy::Container;
use crate::container::record;
use crate::error::Advise;

/// Write a container's files as a tar archive
///
/// All that its image and itself have put there, running or not; in the place of volumes and other mounts are empty directories.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Write to this file (default: stdout)
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Name, id, or beginning of an id
    #[arg(value_name = "CONTAINER")]
    container: String,
}

/// A file appears whole or not at all.
pub fn run(args: &Args, context: &Context) -> Result<u8> {
    let record = record::find(&context.paths, &args.container)?;
    let export = |archive: File| {
        let userns = context.userns()?;
        let container = Container { record: &record, paths: &context.paths, userns: &userns };
        container.export(archive).with_context(|| format!("cannot export container \"{}\"", record.config.name))
    };
    match args.output.as_deref().filter(|path| *path != Path::new("-")) {
        None if std::io::stdout().is_terminal() => {
            return Err(anyhow!("an archive does not go to a terminal")).hint(|| "rl export -o FILE CONTAINER");
        }
        None => export(std::io::stdout().as_fd().try_clone_to_owned().context("cannot use stdout")?.into())?,
        Some(path) => to_file(path, export)?,
    }
    Ok(0)
}

fn to_file(path: &Path, export: impl FnOnce(File) -> Result<()>) -> Result<()> {
    let failed = || format!("cannot write {}", path.display());
    // A pipe, a device: written as it is.
    if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        return export(File::options().write(true).open(path).with_context(failed)?);
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let temporary = parent.join(format!(".rl-export-{}", std::process::id()));
    let result = File::create_new(&temporary).with_context(failed).and_then(export);
    let result = result.and_then(|()| fs::rename(&temporary, path).with_context(failed));
    if result.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    result
}
