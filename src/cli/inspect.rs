//! `rl inspect`.

use anyhow::{Result, anyhow};
use serde_json::Value;

use super::container_json::container;
use super::template::Template;
use super::{Context, image, network, output, size};
use crate::container::record;
use crate::container::volume;
use crate::error::{Advise, Failure};

/// Show everything about containers, images, volumes and networks, as JSON
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only objects of this kind (without it: a container, else an image, else a volume, else a network)
    #[arg(long = "type", value_enum, value_name = "KIND")]
    kind: Option<Kind>,
    /// Of containers, how much disk they take too
    #[arg(short, long)]
    size: bool,
    #[command(flatten)]
    objects: OneKind,
}

/// What `rl image inspect` and its like take.
#[derive(Debug, clap::Args)]
pub struct OneKind {
    /// Print by a Go template, or `json` for JSON in one line
    #[arg(short, long, value_name = "TEMPLATE")]
    format: Option<String>,
    /// Names, ids, or beginnings of ids
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

/// What can be inspected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    Container,
    Image,
    Volume,
    Network,
}

/// Prints what is found, in the order asked for; exits 1 when something is not there.
pub fn run(args: &Args, context: &Context) -> Result<u8> {
    let sized = |kind: Kind, name: &str| match kind {
        Kind::Container if args.size => with_size(name, context),
        _ => object(kind, name, context),
    };
    show(&args.objects, |name| match args.kind {
        Some(kind) => sized(kind, name),
        None => any(name, sized),
    })
}

/// `rl image inspect`.
pub fn images(args: &OneKind, context: &Context) -> Result<u8> {
    show(args, |name| object(Kind::Image, name, context))
}

/// Docker's names for it: what it has written, and that with its image.
fn with_size(name: &str, context: &Context) -> Result<Value> {
    let record = record::find(&context.paths, name)?;
    let written: u64 = size::written(context, std::slice::from_ref(&record))?.iter().sum();
    let mut shown = container(&record);
    shown["SizeRw"] = written.into();
    shown["SizeRootFs"] = (written + size::layers(&record)).into();
    Ok(shown)
}

/// `rl volume inspect`.
pub fn volumes(args: &OneKind, context: &Context) -> Result<u8> {
    show(args, |name| object(Kind::Volume, name, context))
}

/// `rl network inspect`.
pub fn networks(args: &OneKind, context: &Context) -> Result<u8> {
    show(args, |name| object(Kind::Network, name, context))
}

fn object(kind: Kind, name: &str, context: &Context) -> Result<Value> {
    match kind {
        Kind::Container => record::find(&context.paths, name).map(|record| container(&record)),
        Kind::Image => image::inspected(context, name),
        Kind::Network => network::inspected(context, name),
        Kind::Volume => Ok(serde_json::to_value(volume::find(&context.paths, name)?)?),
    }
}

fn any(name: &str, object: impl Fn(Kind, &str) -> Result<Value>) -> Result<Value> {
    for kind in [Kind::Container, Kind::Image, Kind::Volume, Kind::Network] {
        match object(kind, name) {
            Err(error) if !Failure::from(&error).message.starts_with("more than one") => continue,
            known => return known,
        }
    }
    Err(anyhow!("no such object: {name}")).hint(|| "rl ps -a, rl images, rl volume ls, or rl network ls")
}

fn show(args: &OneKind, find: impl Fn(&str) -> Result<Value>) -> Result<u8> {
    let format = args.format.as_deref().filter(|format| !format.is_empty());
    let template = format.filter(|&format| format != "json").map(Template::parse).transpose()?;
    let mut code = 0;
    let mut found = Vec::new();
    for name in &args.names {
        match find(name) {
            Ok(value) => found.push(value),
            Err(error) => {
                Failure::from(&error).print();
                code = 1;
            }
        }
    }
    match (template, format) {
        (Some(template), _) => found.iter().try_for_each(|value| output::line(template.render(value)?))?,
        (None, Some(_)) => output::line(serde_json::to_string(&found)?)?,
        (None, None) => output::json(&found)?,
    }
    Ok(code)
}
