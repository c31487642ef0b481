//! `rl system prune`.

use anyhow::Result;

use crate::cli::images::Filters;
use crate::cli::{Context, container, image, network, output, volume};

/// Remove stopped containers, networks that no container uses, images without a name, and what nothing needs
#[derive(Debug, clap::Args)]
pub struct Args {
    /// All images that no container uses, not only those without a name
    #[arg(short, long)]
    all: bool,
    /// Anonymous volumes that no container uses too
    #[arg(long)]
    volumes: bool,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// Only those for which it is so: until=TIME, label=KEY[=VALUE], label!=KEY[=VALUE]
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
}

/// Asks, removes, and tells how much that freed.
pub fn run(args: &Args, context: &Context) -> Result<u8> {
    let filters = Filters::for_prune(&args.filter)?;
    if !args.force && !output::confirm(&question(args))? {
        return Ok(1);
    }
    let written = container::remove_stopped(context, &filters)?;
    network::remove_unused(context, &filters)?;
    let volumes = if args.volumes { volume::remove_unused(context, false, &Default::default())? } else { 0 };
    let bytes = written + volumes + image::remove_unused(context, args.all, &filters)?;
    output::line(format!("Total reclaimed space: {}", output::size(bytes)))?;
    Ok(0)
}

fn question(args: &Args) -> String {
    let images = if args.all { "all images that no container uses" } else { "all dangling images" };
    let mut lines =
        vec!["WARNING! This will remove:", "  - all stopped containers", "  - all networks not used by at least one container"];
    if args.volumes {
        lines.push("  - all anonymous volumes not used by at least one container");
    }
    let images = format!("  - {images}\n");
    lines.push(&images);
    lines.join("\n")
}
