//! `rl system check`.

use std::fs;

use anyhow::Result;

use crate::cli::{Context, output};
use crate::container::record::Record;
use crate::container::{remove, volume};
use crate::error::Failure;
use crate::image::{Store, check, erase_removed};
use crate::rootfs::plan::RootSource;

/// Find out whether what is stored is as it should be
///
/// Every blob is read and hashed. Exits with 1 when something is wrong, or after a repair still is.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Remove what is damaged, so that it can be pulled or made again
    #[arg(short, long)]
    repair: bool,
    /// Do not read the blobs
    #[arg(short, long)]
    quick: bool,
}

/// Clears away what killed processes left, then looks at the rest; says what is wrong and what was done.
pub fn run(args: &Args, context: &Context) -> Result<u8> {
    remove::sweep(&context.paths, || context.userns())?;
    let store = context.store();
    // Who was killed between a reference and the index left an old one.
    store.exclusive()?.write_index()?;
    let mut left = if args.repair { repair(&store, args.quick)? } else { look(&store, args.quick)? };
    erase_removed(&store, || context.userns())?;
    for problem in containers(context)? {
        output::line(problem)?;
        left += 1;
    }
    match left {
        0 => output::line("no problems")?,
        1 => output::line("1 problem")?,
        _ => output::line(format!("{left} problems"))?,
    }
    Ok(u8::from(left > 0))
}

/// Tells of each problem; returns how many there are. Containers can start meanwhile, and nothing be removed.
fn look(store: &Store, quick: bool) -> Result<usize> {
    let _hold = store.hold()?;
    let problems = check::check(store, quick)?;
    problems.iter().try_for_each(|problem| output::line(&problem.what))?;
    Ok(problems.len())
}

/// The same, doing what can be done about each; returns how many remain.
fn repair(store: &Store, quick: bool) -> Result<usize> {
    let lock = store.exclusive()?;
    let mut left = 0;
    for problem in check::check(store, quick)? {
        output::line(&problem.what)?;
        match problem.repair(&lock) {
            Ok(done) => output::line(format!("  repaired: {done}"))?,
            Err(error) => {
                output::line(format!("  not repaired: {}", Failure::from(&error).message))?;
                left += 1;
            }
        }
    }
    lock.write_index()?;
    Ok(left)
}

/// What is wrong with containers, names and volumes. What they hold is nobody's but the user's: none of it is repaired.
fn containers(context: &Context) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for entry in fs::read_dir(context.paths.containers()).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') {
            continue;
        }
        let short = name.get(..12).unwrap_or(&name);
        match Record::load(&entry.path()) {
            Ok(None) => {}
            Ok(Some(record)) => {
                let RootSource::Layers(layers) = &record.config.root else { continue };
                if let Some(layer) = layers.iter().find(|layer| !layer.symlink_metadata().is_ok_and(|m| m.is_dir())) {
                    problems.push(format!(
                        "container {short} cannot start: its layer {} is gone (try: rl rm {short})",
                        layer.display()
                    ));
                }
            }
            Err(error) => problems.push(format!("container {short}: {}", Failure::from(&error).message)),
        }
    }
    for entry in fs::read_dir(context.paths.volumes()).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        // Without the file it is on its way in or out.
        if entry.path().join("volume.json").exists()
            && let Err(error) = volume::find(&context.paths, &name)
            && !name.starts_with('.')
        {
            problems.push(Failure::from(&error).message);
        }
    }
    Ok(problems)
}
