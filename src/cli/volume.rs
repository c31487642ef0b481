//! `rl volume`.

use std::os::fd::AsFd;

use anyhow::{Context as _, Result};

use super::filters::{Filters, name_fits};
use super::listing::{Listing, Row};
use super::{Context, attempt, inspect, output, size};
use crate::container::{events, launch, parse, record, volume};
use crate::host::tree;
use crate::userns::spawn;

/// Manage volumes
#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    /// Create a volume
    Create {
        /// Attach a label
        #[arg(short, long, value_name = "KEY[=VALUE]")]
        label: Vec<String>,
        /// Its name (default: a random one)
        #[arg(value_parser = parse::name, value_name = "VOLUME")]
        name: Option<String>,
    },
    /// Exit with 0 where there is such a volume, else with 1
    Exists {
        #[arg(value_name = "VOLUME")]
        name: String,
    },
    /// List volumes
    #[command(visible_alias = "list")]
    Ls(List),
    /// Show volumes, as JSON
    Inspect(inspect::OneKind),
    /// Remove volumes
    #[command(visible_alias = "remove")]
    Rm {
        /// No error where there is none
        #[arg(short, long)]
        force: bool,
        #[arg(required = true, value_name = "VOLUME")]
        names: Vec<String>,
    },
    /// Remove anonymous volumes that no container uses
    Prune {
        /// Named ones too
        #[arg(short, long)]
        all: bool,
        /// Do not ask
        #[arg(short, long)]
        force: bool,
        /// Only those for which it is so: label=KEY[=VALUE], label!=KEY[=VALUE], all=1 for named ones too
        #[arg(long, value_name = "KEY=VALUE")]
        filter: Vec<String>,
    },
}

#[derive(Debug, clap::Args)]
pub struct List {
    /// Print names only
    #[arg(short, long)]
    quiet: bool,
    /// Only those for which it is so: dangling, driver, label, name
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// Print by a Go template, `table TEMPLATE`, or `json`
    #[arg(long, value_name = "TEMPLATE")]
    format: Option<String>,
}

const VOLUMES: Listing = Listing {
    columns: &[
        ("Driver", "DRIVER"),
        ("Name", "VOLUME NAME"),
        ("Scope", "SCOPE"),
        ("Mountpoint", "MOUNTPOINT"),
        ("Labels", "LABELS"),
    ],
    table: "{{.Driver}}\t{{.Name}}",
    id: "Name",
};

/// Runs one of them.
pub fn run(verb: &Verb, context: &Context) -> Result<u8> {
    match verb {
        Verb::Create { label, name } => {
            let random = || launch::random_id();
            create(label, &name.clone().map_or_else(random, Ok)?, context)
        }
        Verb::Exists { name } => Ok(u8::from(volume::find(&context.paths, name).is_err())),
        Verb::Ls(args) => list(args, context),
        Verb::Inspect(args) => inspect::volumes(args, context),
        Verb::Rm { force, names } => remove(*force, names, context),
        Verb::Prune { all, force, filter } => prune(*all, *force, filter, context),
    }
}

fn create(labels: &[String], name: &str, context: &Context) -> Result<u8> {
    let owner = crate::userns::plan::Plan::of(&context.caller).maps.root();
    if volume::create(&context.paths, name, parse::pairs(labels).collect(), false, owner)? {
        happened(context, "create", name);
    }
    output::line(name)?;
    Ok(0)
}

fn list(args: &List, context: &Context) -> Result<u8> {
    let layout = VOLUMES.layout(args.format.as_deref(), args.quiet)?;
    let filters = Filters::read(&args.filter, &["dangling", "driver", "label", "label!", "name"])?;
    filters.check("dangling", &["true", "false", "1", "0"])?;
    let records = if filters.values("dangling").is_empty() { Vec::new() } else { record::list(&context.paths)? };
    let fits = |volume: &volume::Volume| {
        let unused = || volume::users(&records, &volume.name).is_empty();
        filters.any("dangling", |wanted| matches!(wanted, "true" | "1") == unused())
            && filters.any("driver", |wanted| wanted == volume.driver)
            && filters.any("name", |wanted| name_fits(wanted, &volume.name))
            && filters.labels(&volume.labels)
    };
    let row = |volume: volume::Volume| {
        Row::new([
            ("Driver", volume.driver.into()),
            ("Name", volume.name.into()),
            ("Scope", volume.scope.into()),
            ("Mountpoint", volume.mountpoint.display().to_string().into()),
        ])
        .labels(&volume.labels)
    };
    layout.print(volume::list(&context.paths)?.into_iter().filter(fits).map(row))?;
    Ok(0)
}

fn remove(force: bool, names: &[String], context: &Context) -> Result<u8> {
    attempt(names, |name| match volume::find(&context.paths, name) {
        Err(_) if force => Ok(()),
        found => found.and_then(|_| remove_one(name, context)).context("cannot remove volume").and_then(|()| output::line(name)),
    })
}

fn remove_one(name: &str, context: &Context) -> Result<()> {
    volume::check_unused(&record::list(&context.paths)?, name)?;
    let volumes = record::open_directory(&context.paths.volumes())?;
    let userns = context.userns()?;
    let c_name = std::ffi::CString::new(name)?;
    spawn::worker(&userns, || tree::remove(volumes.as_fd(), &c_name).context("cannot delete its files"))?;
    happened(context, "destroy", name);
    Ok(())
}

fn happened(context: &Context, action: &str, name: &str) {
    events::of_object(&context.paths.store, "volume", action, name, &[("driver", "local")]);
}

fn prune(all: bool, force: bool, filters: &[String], context: &Context) -> Result<u8> {
    let filters = Filters::read(filters, &["label", "label!", "all"])?;
    filters.check("all", &["true", "false", "1", "0"])?;
    let all = all || filters.values("all").iter().any(|value| matches!(value.as_str(), "true" | "1"));
    let which = if all { "all local volumes" } else { "anonymous local volumes" };
    let question = format!("WARNING! This will remove {which} not used by at least one container.");
    if !force && !output::confirm(&question)? {
        return Ok(1);
    }
    let bytes = remove_unused(context, all, &filters)?;
    output::line(format!("Total reclaimed space: {}", output::size(bytes)))?;
    Ok(0)
}

/// Removes volumes that no container uses, anonymous ones or all, telling of each; returns how many bytes that freed.
pub fn remove_unused(context: &Context, all: bool, filters: &Filters) -> Result<u64> {
    let records = record::list(&context.paths)?;
    let meant = |volume: &volume::Volume| (all || volume.anonymous) && filters.labels(&volume.labels);
    let unused = |volume: &volume::Volume| meant(volume) && volume::users(&records, &volume.name).is_empty();
    let volumes: Vec<volume::Volume> = volume::list(&context.paths)?.into_iter().filter(unused).collect();
    if volumes.is_empty() {
        return Ok(0);
    }
    let data: Vec<String> = volumes.iter().map(|volume| format!("volumes/{}/_data", volume.name)).collect();
    let sizes = size::below_store(context, &data)?;
    output::line("Deleted Volumes:")?;
    for volume in volumes {
        remove_one(&volume.name, context)?;
        output::line(&volume.name)?;
    }
    output::line("")?;
    Ok(sizes.iter().sum())
}
