//! `rl system reset`.

use std::ffi::CString;
use std::fs;
use std::os::fd::AsFd;

use anyhow::{Context as _, Result, anyhow};

use crate::cli::{Context, output};
use crate::container::record::{self, Record};
use crate::container::remove;
use crate::container::state::Status;
use crate::error::Advise;
use crate::host::tree;
use crate::userns::spawn;

/// Remove everything: containers, images, volumes, networks
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Do not ask; kill what is running
    #[arg(short, long)]
    force: bool,
}

/// All that a store may have at its top. Something else in the directory is not ours, and stays.
const OURS: [&str; 13] = [
    "refs",
    "index.json",
    "containers",
    "names",
    "volumes",
    "layers",
    "blobs",
    "imports",
    "downloads",
    "events",
    "tmp",
    "networks",
    "oci-layout",
];

/// Asks, then removes the containers one by one and the rest at once.
pub fn run(args: &Args, context: &Context) -> Result<u8> {
    let store = &context.paths.store;
    if !store.join("containers").is_dir() && !store.join("oci-layout").exists() {
        return Ok(0);
    }
    let records = record::list(&context.paths)?;
    let runs = |record: &&Record| record.alive && !matches!(record.state.status, Status::Created | Status::Exited);
    if let Some(running) = records.iter().find(runs).filter(|_| !args.force) {
        return Err(anyhow!("container \"{}\" is running", running.config.name))
            .hint(|| "rl system reset -f kills what is running");
    }
    let question = format!("WARNING! This will remove all containers, images and volumes: everything in {}.", store.display());
    if !args.force && !output::confirm(&question)? {
        return Ok(1);
    }
    let userns = context.userns()?;
    for record in &records {
        remove::container(&context.paths, &userns, record, true, true)?;
    }
    let lock = context.store().exclusive()?;
    let directory = record::open_directory(store)?;
    let remove = |name: &str| -> Result<()> {
        let path = CString::new(name)?;
        tree::remove(directory.as_fd(), &path).with_context(|| format!("cannot remove {}", store.join(name).display()))
    };
    // The names first: from then on nothing leads to what is half gone. Root needs no ids of others, and has files that U does not know.
    let all = || OURS.iter().try_for_each(|name| remove(name));
    if context.caller.uid == 0 {
        all()?
    } else {
        spawn::worker(&userns, all)?
    }
    // Not where something else lies in it.
    let _ = fs::remove_dir(store);
    drop(lock);
    Ok(0)
}
