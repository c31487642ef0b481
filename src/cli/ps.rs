//! `rl ps`.

use std::time::SystemTime;

use anyhow::Result;

use super::filters::{Filters, name_fits};
use super::listing::{Listing, Row};
use super::{Context, output};
use crate::container::record::{self, Record};
use crate::container::state::Status;
use crate::container::survey::survey;
use crate::container::{health, moment, remove};

/// List containers
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Show all, not only running ones
    #[arg(short, long)]
    all: bool,
    /// Print ids only
    #[arg(short, long)]
    quiet: bool,
    /// Show the newest one, whatever its state
    #[arg(short, long)]
    latest: bool,
    /// Show the N newest, whatever their state
    #[arg(short = 'n', long, value_name = "N", allow_negative_numbers = true, default_value = "-1")]
    last: i64,
    /// Print ids, commands and images in full
    #[arg(long)]
    no_trunc: bool,
    /// Only those for which it is so: id, name, label, exited, status, ancestor, before, since, volume, network, health, publish
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// Print by a Go template, `table TEMPLATE`, or `json`
    #[arg(long, value_name = "TEMPLATE")]
    format: Option<String>,
}

const KEYS: [&str; 14] = [
    "id", "name", "label", "label!", "exited", "status", "ancestor", "before", "since", "volume", "network", "health", "publish",
    "expose",
];

const STATES: [&str; 8] = ["created", "running", "paused", "restarting", "removing", "exited", "dead", "lost"];

const CONTAINERS: Listing = Listing {
    columns: &[
        ("ID", "CONTAINER ID"),
        ("Image", "IMAGE"),
        ("Command", "COMMAND"),
        ("CreatedAt", "CREATED AT"),
        ("RunningFor", "CREATED"),
        ("Ports", "PORTS"),
        ("State", "STATE"),
        ("Status", "STATUS"),
        ("Names", "NAMES"),
        ("Labels", "LABELS"),
        ("Mounts", "MOUNTS"),
        ("LocalVolumes", "LOCAL VOLUMES"),
        ("Networks", "NETWORKS"),
    ],
    table: "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}",
    id: "ID",
};

/// What gives way on a narrow terminal, and to how much. At 80 columns id, image, status and name remain.
const YIELDING: [(&str, usize); 7] =
    [("COMMAND", 12), ("CREATED", 0), ("IMAGE", 16), ("COMMAND", 0), ("PORTS", 12), ("STATUS", 20), ("NAMES", 8)];

/// Prints the list, after clearing away what killed processes left.
pub fn run(args: &Args, context: &Context) -> Result<u8> {
    let layout = CONTAINERS.layout(args.format.as_deref(), args.quiet)?;
    let filters = Filters::read(&args.filter, &KEYS)?;
    filters.check("status", &STATES)?;
    filters.check("health", &["starting", "healthy", "unhealthy", "none"])?;
    let newest = if args.latest { 1 } else { usize::try_from(args.last).unwrap_or(0) };
    let all = args.all || newest > 0 || !filters.values("status").is_empty() || !filters.values("exited").is_empty();
    let mut found = survey(&context.paths, all)?;
    if found.leftovers {
        remove::sweep(&context.paths, || context.userns())?;
        found = survey(&context.paths, all)?;
    }
    let bounds = Bounds::find(&filters, context)?;
    let fits = |record: &&Record| (all || record.state.status.is_up()) && bounds.hold(record) && fits(record, &filters);
    let most = if newest > 0 { newest } else { usize::MAX };
    layout.print_fitted(found.records.iter().filter(fits).take(most).map(|record| row(record, args.no_trunc)), &YIELDING)?;
    Ok(0)
}

/// What `before` and `since` ask for, as times.
struct Bounds {
    before: Option<String>,
    since: Option<String>,
}

impl Bounds {
    fn find(filters: &Filters, context: &Context) -> Result<Bounds> {
        let created = |key: &str| -> Result<Option<String>> {
            let found = filters.values(key).iter().map(|name| record::find(&context.paths, name));
            let times = found.map(|record| record.map(|record| record.config.created)).collect::<Result<Vec<_>>>()?;
            Ok(if key == "before" { times.into_iter().min() } else { times.into_iter().max() })
        };
        Ok(Bounds { before: created("before")?, since: created("since")? })
    }

    fn hold(&self, record: &Record) -> bool {
        self.before.as_ref().is_none_or(|before| record.config.created < *before)
            && self.since.as_ref().is_none_or(|since| record.config.created > *since)
    }
}

fn fits(record: &Record, filters: &Filters) -> bool {
    let (config, state) = (&record.config, &record.state);
    let exited = |wanted: &str| state.exit_code.is_some_and(|code| wanted == code.to_string()) && !record.state.status.is_up();
    let volume = |wanted: &str| {
        config.volumes.iter().any(|volume| volume.name == wanted)
            || config
                .spec
                .mounts
                .iter()
                .any(|mount| mount.destination.as_os_str() == wanted || mount.source.as_os_str() == wanted)
    };
    let network = |wanted: &str| networks(record) == wanted;
    let port = |wanted: &str| {
        let wanted = if wanted.contains('/') { wanted.to_string() } else { format!("{wanted}/tcp") };
        config.exposed_ports.contains(&wanted)
    };
    filters.any("id", |wanted| config.id.starts_with(wanted))
        && filters.any("name", |wanted| name_fits(wanted, &config.name))
        && filters.labels(&config.labels)
        && filters.any("status", |wanted| wanted == state.status.word())
        && filters.any("exited", exited)
        && filters.any("ancestor", |wanted| is_of(record, wanted))
        && filters.any("volume", volume)
        && filters.any("network", network)
        && filters.any("health", |wanted| wanted == health_of(record).map_or("none", |health| health.word()))
        && filters.any("expose", port)
        // No port is published before there are networks.
        && filters.any("publish", |_| false)
}

/// Whether the container was made of this image: by name, with or without tag, or by id.
fn is_of(record: &Record, wanted: &str) -> bool {
    let (image, id) = (record.config.image.as_str(), record.config.image_id.trim_start_matches("sha256:"));
    let short = wanted.trim_start_matches("sha256:");
    let is_id = short.len() >= 4 && !id.is_empty() && id.starts_with(short);
    let named = image == wanted || image.strip_suffix(":latest") == Some(wanted) || wanted.strip_suffix(":latest") == Some(image);
    named || is_id
}

fn networks(record: &Record) -> String {
    serde_json::to_value(record.config.network).ok().and_then(|v| v.as_str().map(String::from)).unwrap_or_default()
}

fn row(record: &Record, whole: bool) -> Row {
    let config = &record.config;
    let created = humantime::parse_rfc3339(&config.created).unwrap_or(SystemTime::UNIX_EPOCH);
    let created = moment::format(created);
    let mounts = config.spec.mounts.iter().filter(|mount| mount.kind == "bind" || mount.volume.is_some());
    let mounts = mounts.map(|mount| match &mount.volume {
        Some(volume) if !whole && volume.len() > 15 => format!("{}…", &volume[..14]),
        Some(volume) => volume.clone(),
        None => mount.source.display().to_string(),
    });
    let fields = [
        ("ID", if whole { config.id.as_str() } else { record.short_id() }.into()),
        ("Image", config.image.clone().into()),
        ("Command", command(&config.spec.process.args, whole).into()),
        ("CreatedAt", format!("{} {} +0000 UTC", &created[..10], &created[11..19]).into()),
        ("RunningFor", format!("{} ago", output::ago(&config.created)).into()),
        ("Ports", ports(&config.exposed_ports, record.state.status.is_up()).into()),
        ("State", record.state.status.word().into()),
        ("Status", status(record).into()),
        ("Names", config.name.clone().into()),
        ("Mounts", mounts.collect::<Vec<_>>().join(",").into()),
        ("LocalVolumes", config.volumes.len().to_string().into()),
        ("Networks", networks(record).into()),
    ];
    Row::new(fields).labels(&config.labels)
}

/// As Docker: what a running container exposes.
fn ports(exposed: &[String], up: bool) -> String {
    if up { exposed.join(", ") } else { String::new() }
}

/// Quoted and cut to 20 characters, as Docker does.
fn command(args: &[String], whole: bool) -> String {
    let mut text = args.join(" ");
    if !whole && text.chars().count() > 20 {
        text = text.chars().take(19).collect();
        text.push('…');
    }
    // What would break the line, or move the cursor, is shown as what it is.
    let shown: String = text.chars().map(|c| if c.is_control() { c.escape_default().to_string() } else { c.into() }).collect();
    format!("\"{shown}\"")
}

/// A damaged file is nothing to fail a whole list for.
fn health_of(record: &Record) -> Option<health::Status> {
    health::of(record).ok().flatten().map(|health| health.status)
}

fn status(record: &Record) -> String {
    let state = &record.state;
    let since = |time: &Option<String>| time.as_deref().map(output::ago).unwrap_or_default();
    match state.status {
        Status::Created => "Created".into(),
        Status::Running => {
            let health = match health_of(record) {
                None => "",
                Some(health::Status::Starting) => " (health: starting)",
                Some(health::Status::Healthy) => " (healthy)",
                Some(health::Status::Unhealthy) => " (unhealthy)",
            };
            format!("Up {}{health}", since(&state.started_at))
        }
        Status::Paused => format!("Up {} (Paused)", since(&state.started_at)),
        Status::Restarting => format!("Restarting ({}) {} ago", state.exit_code.unwrap_or(0), since(&state.finished_at)),
        Status::Lost => "Lost".into(),
        Status::Exited => match (state.exit_code, &state.finished_at) {
            (Some(code), Some(_)) => format!("Exited ({code}) {} ago", since(&state.finished_at)),
            // Running when the host went down: nobody saw the code.
            _ => "Exited".into(),
        },
    }
}
