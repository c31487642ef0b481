//! `rl rmi`.

use anyhow::Result;

use super::{Context, output};
use crate::container::events;
use crate::container::uses::Uses;
use crate::error::Failure;
use crate::image::{delete, erase_removed};

/// Remove images
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Even if it has several names or a stopped container uses it; no error where there is none
    #[arg(short, long)]
    force: bool,
    /// Names, ids, or beginnings of ids
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

/// Goes on after a failure, as Docker; exits 1 when there was one.
pub fn run(args: &Args, context: &Context) -> Result<u8> {
    let mut code = 0;
    for wanted in &args.images {
        if let Err(error) = remove(wanted, args.force, context) {
            Failure::from(&error.context(format!("cannot remove image \"{wanted}\""))).print();
            // Docker: what is not there is, by force, as good as removed.
            if !(args.force && context.store().find(wanted).is_err()) {
                code = 1;
            }
        }
    }
    erase_removed(&context.store(), || context.userns())?;
    Ok(code)
}

/// Decides and removes under one lock, so that no `run` can choose the image between.
fn remove(wanted: &str, force: bool, context: &Context) -> Result<()> {
    let lock = context.store().exclusive()?;
    let (image, asked) = lock.store().find(wanted)?;
    let uses = Uses::now(&context.paths)?;
    let removal = delete::decide(&image, &asked, uses.of(&image.id.to_string()), force)?;
    let freed = lock.remove_image(&image, &removal, &uses.layers)?;
    drop(lock);
    context.make_store()?;
    let id = image.id.to_string();
    let told = |action: &str, name: &str| events::of_image(&context.paths.store, action, &id, name);
    for name in &removal.untag {
        told("untag", &name.familiar());
        output::line(format!("Untagged: {}", name.familiar()))?;
    }
    if removal.delete {
        told("delete", &id);
        output::line(format!("Deleted: {}", image.id))?;
    }
    freed.layers.iter().rev().try_for_each(|layer| output::line(format!("Deleted: {layer}")))
}
