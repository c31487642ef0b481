//! `rl image`.

use anyhow::Result;
use serde_json::{Map, Value, json};

use super::images::{Filters, Listed};
use super::{Context, history, images, inspect, output, pull, rmi, tag};
use crate::container::events;
use crate::container::uses::Uses;
use crate::image::delete::Removal;
use crate::image::erase_removed;
use crate::image::gc::Layers;
use crate::image::store::Exclusive;

/// Manage images
#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    #[command(visible_alias = "list")]
    Ls(images::Args),
    #[command(visible_alias = "remove")]
    Rm(rmi::Args),
    Pull(pull::Args),
    Tag(tag::Args),
    History(history::Args),
    /// Show everything about images, as JSON
    Inspect(inspect::OneKind),
    /// Exit with 0 where the image is in the store, else with 1
    Exists {
        /// A name, an id, or the beginning of an id
        #[arg(value_name = "IMAGE")]
        image: String,
    },
    /// Remove images that have no name, and what nothing needs
    Prune(Prune),
}

#[derive(Debug, clap::Args)]
pub struct Prune {
    /// All that no container uses, and what archives left in the store
    #[arg(short, long)]
    all: bool,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// Only those for which it is so: until=TIME, label=KEY[=VALUE], label!=KEY[=VALUE]
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
}

/// Runs one of them.
pub fn run(verb: &Verb, context: &Context) -> Result<u8> {
    match verb {
        Verb::Ls(args) => images::run(args, context),
        Verb::Rm(args) => rmi::run(args, context),
        Verb::Pull(args) => pull::run(args, context),
        Verb::Tag(args) => tag::run(args, context),
        Verb::History(args) => history::run(args, context),
        Verb::Inspect(args) => inspect::images(args, context),
        Verb::Exists { image } => Ok(if context.store().find(image).is_ok() { 0 } else { 1 }),
        Verb::Prune(args) => prune(args, context),
    }
}

fn prune(args: &Prune, context: &Context) -> Result<u8> {
    let filters = Filters::for_prune(&args.filter)?;
    let which = if args.all { "images that no container uses" } else { "dangling images" };
    if !args.force && !output::confirm(&format!("WARNING! This will remove all {which}."))? {
        return Ok(1);
    }
    let bytes = remove_unused(context, args.all, &filters)?;
    output::line(format!("Total reclaimed space: {}", output::size(bytes)))?;
    Ok(0)
}

/// Removes what `prune` means, telling of each; returns how many bytes that freed.
pub fn remove_unused(context: &Context, all: bool, filters: &Filters) -> Result<u64> {
    context.make_store()?;
    let lock = context.store().exclusive()?;
    let uses = Uses::now(&context.paths)?;
    let mut lines = Vec::new();
    let mut bytes = 0;
    for listed in images::listed(lock.store())? {
        let dangling = listed.stored.tags().next().is_none();
        let used = !uses.of(&listed.stored.id.to_string()).is_empty();
        if used || !(all || dangling) || !filters.fit(&listed) {
            continue;
        }
        bytes += remove(&lock, &listed, &uses, &mut lines)?;
        tell_of(context, &listed);
    }
    lock.forget_archives(all)?;
    bytes += lock.collect(Layers::All, &uses.layers)?.bytes;
    drop(lock);
    erase_removed(&context.store(), || context.userns())?;
    if !lines.is_empty() {
        output::line("Deleted Images:")?;
        lines.iter().try_for_each(output::line)?;
        output::line("")?;
    }
    Ok(bytes)
}

fn remove(lock: &Exclusive, listed: &Listed, uses: &Uses, lines: &mut Vec<String>) -> Result<u64> {
    let untag = listed.stored.names.iter().filter_map(|named| named.reference.clone()).collect();
    let removal = Removal { untag, nameless: false, delete: true };
    let freed = lock.remove_image(&listed.stored, &removal, &uses.layers)?;
    lines.extend(removal.untag.iter().map(|name| format!("untagged: {}", name.familiar())));
    lines.push(format!("deleted: {}", listed.stored.id));
    lines.extend(freed.layers.iter().rev().map(|layer| format!("deleted: {layer}")));
    Ok(freed.bytes)
}

/// It has gone with all its names.
fn tell_of(context: &Context, listed: &Listed) {
    let (store, id) = (&context.paths.store, listed.stored.id.to_string());
    for name in listed.stored.names.iter().filter_map(|named| named.reference.as_ref()) {
        events::of_image(store, "untag", &id, &name.familiar());
    }
    events::of_image(store, "delete", &id, &id);
}

/// Docker's names for what is known of an image.
pub fn value(listed: &Listed) -> Value {
    let Listed { stored, image, size, .. } = listed;
    let config = &image.config;
    let target = stored.target();
    let comment = config.history.last().and_then(|step| step.comment.clone()).unwrap_or_default();
    json!({
        "Id": stored.id,
        "RepoTags": stored.tags().map(|name| name.familiar()).collect::<Vec<_>>(),
        "RepoDigests": stored.digests().map(|name| name.familiar()).collect::<Vec<_>>(),
        "Parent": "",
        "Comment": comment,
        "Created": config.created.clone().unwrap_or_default(),
        "Author": config.author.clone().unwrap_or_default(),
        "Architecture": config.architecture,
        "Variant": config.variant,
        "Os": config.os,
        "Size": size,
        "RootFS": {
            "Type": "layers",
            "Layers": image.layers.iter().map(|layer| &layer.diff_id).collect::<Vec<_>>(),
        },
        "Metadata": { "LastTagTime": target.updated },
        "Descriptor": target.manifest,
        "Config": container_config(config),
        "History": config.history,
    })
}

/// With Docker's members even where they are empty, for templates that ask for them.
fn container_config(config: &crate::oci::image::ImageConfig) -> Value {
    let found = serde_json::to_value(config.config.clone().unwrap_or_default()).unwrap_or_default();
    let empty = |name: &str| match name {
        "User" | "WorkingDir" => json!(""),
        _ => Value::Null,
    };
    let names = ["User", "Env", "Cmd", "Entrypoint", "WorkingDir", "Volumes", "ExposedPorts", "Labels"];
    let mut members: Map<String, Value> = names.iter().map(|&name| (name.to_string(), empty(name))).collect();
    members.extend(found.as_object().cloned().unwrap_or_default());
    Value::Object(members)
}

/// An image that is asked for by what a person calls it, as `rl inspect` shows it.
pub fn inspected(context: &Context, wanted: &str) -> Result<Value> {
    Ok(value(&images::find(&context.store(), wanted)?))
}
