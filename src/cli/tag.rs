//! `rl tag`.

use anyhow::{Result, bail};

use super::Context;
use crate::container::events;
use crate::image::Reference;

/// Give an image another name
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A name, an id, or the beginning of an id
    #[arg(value_name = "IMAGE")]
    source: String,
    /// The new name; without a tag it gets the tag latest
    #[arg(value_name = "NAME[:TAG]")]
    name: String,
}

/// Silent when it worked, as Docker.
pub fn run(args: &Args, context: &Context) -> Result<u8> {
    let name: Reference = args.name.parse()?;
    if name.digest().is_some() {
        bail!("cannot tag with {}: an image's digest is not given but computed", name.familiar());
    }
    let lock = context.store().exclusive()?;
    let (image, _) = lock.store().find(&args.source)?;
    let target = image.target().retagged();
    lock.name(&name, &target)?;
    lock.write_index()?;
    context.make_store()?;
    events::of_image(&context.paths.store, "tag", &image.id.to_string(), &name.familiar());
    Ok(0)
}
