//! `rl system df`.

use anyhow::Result;

use crate::cli::listing::{Listing, Row};
use crate::cli::{Context, images, output, size};
use crate::container::record::{self, Record};
use crate::container::state::Status;
use crate::container::uses::Uses;
use crate::container::{remove, volume};
use crate::image::erase_removed;

/// Show how much disk is used, and how much of it for nothing
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Show each image, container and volume
    #[arg(short, long)]
    verbose: bool,
    /// Print by a Go template, `table TEMPLATE`, or `json`
    #[arg(long, value_name = "TEMPLATE", conflicts_with = "verbose")]
    format: Option<String>,
}

const KINDS: Listing = Listing {
    columns: &[("Type", "TYPE"), ("TotalCount", "TOTAL"), ("Active", "ACTIVE"), ("Size", "SIZE"), ("Reclaimable", "RECLAIMABLE")],
    table: "{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}",
    id: "Type",
};

/// Prints one line for each kind of thing, or one for each thing.
pub fn run(args: &Args, context: &Context) -> Result<u8> {
    remove::sweep(&context.paths, || context.userns())?;
    erase_removed(&context.store(), || context.userns())?;
    let (uses, images, total, unused) = {
        let lock = context.store().exclusive()?;
        let uses = Uses::now(&context.paths)?;
        let images = images::listed(lock.store())?;
        let used = |named: &crate::image::Named| !uses.of(&named.target.id.to_string()).is_empty();
        let (total, unused) = lock.sizes(&uses.layers, &used)?;
        (uses, images, total, unused)
    };
    let things = Things::measure(context)?;
    if args.verbose {
        return verbose(context, &images, &things, &uses);
    }
    let active = images.iter().filter(|image| !uses.of(&image.stored.id.to_string()).is_empty()).count();
    KINDS.print(
        args.format.as_deref(),
        false,
        [
            kind("Images", images.len(), active, total, unused),
            things.containers_kind(),
            things.volumes_kind(),
            kind("Build Cache", 0, 0, 0, 0),
        ],
    )?;
    Ok(0)
}

fn kind(name: &str, count: usize, active: usize, size: u64, reclaimable: u64) -> Row {
    let mut text = output::size(reclaimable);
    if let Some(percent) = (reclaimable * 100).checked_div(size) {
        text = format!("{text} ({percent}%)");
    }
    Row::new([
        ("Type", name.into()),
        ("TotalCount", count.to_string().into()),
        ("Active", active.to_string().into()),
        ("Size", output::size(size).into()),
        ("Reclaimable", text.into()),
    ])
}

/// Containers and volumes with their sizes.
struct Things {
    containers: Vec<(Record, u64)>,
    volumes: Vec<(volume::Volume, usize, u64)>,
}

impl Things {
    fn measure(context: &Context) -> Result<Things> {
        let records = record::list(&context.paths)?;
        let volumes = volume::list(&context.paths)?;
        if records.is_empty() && volumes.is_empty() {
            return Ok(Things { containers: Vec::new(), volumes: Vec::new() });
        }
        let own = size::written(context, &records)?;
        let data: Vec<String> = volumes.iter().map(|volume| format!("volumes/{}/_data", volume.name)).collect();
        let of_volumes = size::below_store(context, &data)?;
        let links = |name: &str| volume::users(&records, name).len();
        let volumes = volumes.into_iter().zip(of_volumes).map(|(volume, size)| (links(&volume.name), volume, size));
        let volumes = volumes.map(|(links, volume, size)| (volume, links, size)).collect();
        Ok(Things { containers: records.into_iter().zip(own).collect(), volumes })
    }

    fn containers_kind(&self) -> Row {
        let running = |record: &Record| record.alive && !matches!(record.state.status, Status::Created | Status::Exited);
        let sum = |all: bool| self.containers.iter().filter(|(r, _)| all || !running(r)).map(|(_, size)| size).sum();
        let active = self.containers.iter().filter(|(record, _)| running(record)).count();
        kind("Containers", self.containers.len(), active, sum(true), sum(false))
    }

    fn volumes_kind(&self) -> Row {
        let sum = |all: bool| self.volumes.iter().filter(|(_, links, _)| all || *links == 0).map(|(_, _, size)| size).sum();
        let active = self.volumes.iter().filter(|(_, links, _)| *links > 0).count();
        kind("Local Volumes", self.volumes.len(), active, sum(true), sum(false))
    }
}

fn verbose(context: &Context, images: &[images::Listed], things: &Things, uses: &Uses) -> Result<u8> {
    output::line("Images space usage:\n")?;
    images::print_usage(&context.store(), images, uses)?;
    output::line("\nContainers space usage:\n")?;
    let rows = things.containers.iter().map(|(record, size)| {
        let config = &record.config;
        Row::new([
            ("ID", record.short_id().into()),
            ("Image", config.image.clone().into()),
            ("LocalVolumes", config.volumes.len().to_string().into()),
            ("Size", output::size(*size).into()),
            ("RunningFor", format!("{} ago", output::ago(&config.created)).into()),
            ("Status", record.state.status.word().into()),
            ("Names", config.name.clone().into()),
        ])
    });
    CONTAINERS.print(None, false, rows)?;
    output::line("\nLocal Volumes space usage:\n")?;
    let rows = things.volumes.iter().map(|(volume, links, size)| {
        Row::new([
            ("Name", volume.name.clone().into()),
            ("Links", links.to_string().into()),
            ("Size", output::size(*size).into()),
        ])
    });
    VOLUMES.print(None, false, rows)?;
    output::line("\nBuild cache usage: 0B")?;
    Ok(0)
}

const CONTAINERS: Listing = Listing {
    columns: &[
        ("ID", "CONTAINER ID"),
        ("Image", "IMAGE"),
        ("LocalVolumes", "LOCAL VOLUMES"),
        ("Size", "SIZE"),
        ("RunningFor", "CREATED"),
        ("Status", "STATUS"),
        ("Names", "NAMES"),
    ],
    table: "{{.ID}}\t{{.Image}}\t{{.LocalVolumes}}\t{{.Size}}\t{{.RunningFor}}\t{{.Status}}\t{{.Names}}",
    id: "ID",
};

const VOLUMES: Listing = Listing {
    columns: &[("Name", "VOLUME NAME"), ("Links", "LINKS"), ("Size", "SIZE")],
    table: "{{.Name}}\t{{.Links}}\t{{.Size}}",
    id: "Name",
};
