//! `rl cp`.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::Context;
use crate::container::copy::{Container, Flags};
use crate::container::record;
use crate::error::Advise;

/// Copy files between a container and the host
///
/// CONTAINER:PATH is in a container, running or not; its paths begin at its root. `-` is a tar archive on stdin or stdout. A directory
/// is copied with all below it; `DIR/.` means its contents.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Keep owners and groups, by their numbers
    #[arg(short, long)]
    archive: bool,
    /// Copy what a symlink names, where the source is one
    #[arg(short = 'L', long)]
    follow_link: bool,
    /// Say nothing
    #[arg(short, long)]
    quiet: bool,
    /// CONTAINER:PATH, PATH, or -
    #[arg(value_name = "SOURCE")]
    source: String,
    /// CONTAINER:PATH, PATH, or -
    #[arg(value_name = "DESTINATION")]
    destination: String,
}

/// One end of a copy.
#[derive(Debug, PartialEq, Eq)]
enum End<'a> {
    Container(&'a str, &'a str),
    Host(&'a str),
    Stream,
}

/// As Docker reads it: a colon parts a container from a path, unless the text begins like a path.
fn end(text: &str) -> End<'_> {
    match text.split_once(':') {
        _ if text == "-" => End::Stream,
        Some((container, path)) if !text.starts_with(['/', '.']) => End::Container(container, path),
        _ => End::Host(text),
    }
}

/// Copies one way or the other.
pub fn run(args: &Args, context: &Context) -> Result<u8> {
    let flags = Flags { archive: args.archive, follow: args.follow_link };
    let (container, bytes) = match (end(&args.source), end(&args.destination)) {
        (End::Container(..), End::Container(..)) => {
            return Err(anyhow::anyhow!("cannot copy from one container to another")).hint(|| "rl cp A:PATH - | rl cp - B:DIR");
        }
        (End::Container(name, from), End::Stream) => {
            if std::io::IsTerminal::is_terminal(&std::io::stdout()) {
                return Err(anyhow::anyhow!("an archive does not go to a terminal")).hint(|| "rl cp … - | tar -t");
            }
            let stdout = std::io::stdout().as_fd().try_clone_to_owned().context("cannot use stdout")?;
            with(name, context, |container| container.archive_out(&inside(from)?, flags.follow, File::from(stdout)))?;
            return Ok(0);
        }
        (End::Stream, End::Container(name, to)) => {
            let stdin = std::io::stdin().as_fd().try_clone_to_owned().context("cannot use stdin")?;
            (name, with(name, context, |container| container.archive_in(File::from(stdin), &inside(to)?, flags))?)
        }
        (End::Container(name, from), End::Host(to)) => {
            (name, with(name, context, |container| container.copy_out(&inside(from)?, &outside(to)?, flags))?)
        }
        (End::Host(from), End::Container(name, to)) => {
            (name, with(name, context, |container| container.copy_in(&outside(from)?, &inside(to)?, flags))?)
        }
        _ => return Err(anyhow::anyhow!("neither of them is in a container")).hint(|| "name one as CONTAINER:PATH"),
    };
    if !args.quiet && std::io::IsTerminal::is_terminal(&std::io::stderr()) {
        let way = if matches!(end(&args.source), End::Container(..)) { "from" } else { "to" };
        eprintln!("Successfully copied {bytes} bytes {way} {container}");
    }
    Ok(0)
}

fn with<T>(name: &str, context: &Context, copy: impl FnOnce(&Container) -> Result<T>) -> Result<T> {
    let record = record::find(&context.paths, name)?;
    let userns = context.userns()?;
    let container = Container { record: &record, paths: &context.paths, userns: &userns };
    copy(&container).with_context(|| format!("cannot copy to or from container \"{}\"", record.config.name))
}

/// A path in a container: from its root, whatever its working directory.
fn inside(path: &str) -> Result<PathBuf> {
    match path {
        "" => bail!("the path in the container is empty"),
        path => Ok(Path::new("/").join(path)),
    }
}

fn outside(path: &str) -> Result<PathBuf> {
    match path {
        "" => bail!("a path is empty"),
        path => Ok(path.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colon_parts_a_container_from_a_path_unless_it_is_a_path() {
        for (text, wanted) in [
            ("web:/etc", End::Container("web", "/etc")),
            ("web:a:b", End::Container("web", "a:b")),
            ("./web:/etc", End::Host("./web:/etc")),
            ("/a:b", End::Host("/a:b")),
            ("file", End::Host("file")),
            ("-", End::Stream),
        ] {
            assert_eq!(end(text), wanted, "{text}");
        }
    }
}
