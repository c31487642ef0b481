//! `rl ps`.

use std::net::IpAddr;
use std::time::SystemTime;

use anyhow::Result;

use super::filters::{Filters, name_fits};
use super::listing::{Listing, Row};
use super::{Context, output, size};
use crate::container::record::{self, Record};
use crate::container::state::Status;
use crate::container::survey::survey;
use crate::container::{health, moment, remove};
use crate::network::ports::PortMapping;

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
    /// Show how much disk each takes: what it has written, and in all
    #[arg(short, long)]
    size: bool,
    /// Only those for which it is so: id, name, label, exited, status, ancestor, before, since, volume, network, health, publish, expose
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
        ("Size", "SIZE"),
    ],
    table: "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}",
    id: "ID",
};

const WITH_SIZES: Listing = Listing {
    table: "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}\t{{.Size}}",
    ..CONTAINERS
};

/// What gives way on a narrow terminal, and to how much. At 80 columns id, image, status and name remain.
const YIELDING: [(&str, usize); 7] =
    [("COMMAND", 12), ("CREATED", 0), ("IMAGE", 16), ("COMMAND", 0), ("PORTS", 12), ("STATUS", 20), ("NAMES", 8)];

/// Prints the list, after clearing away what killed processes left.
pub fn run(args: &Args, context: &Context) -> Result<u8> {
    let listing = if args.size { WITH_SIZES } else { CONTAINERS };
    let layout = listing.layout(args.format.as_deref(), args.quiet)?;
    let newest = if args.latest { 1 } else { usize::try_from(args.last).unwrap_or(0) };
    let mut found = chosen(context, &args.filter, args.all || newest > 0)?;
    found.truncate(if newest > 0 { newest } else { usize::MAX });
    // As Docker: where a template names it; but not all of JSON is meant by who wants some of it.
    let sizes = args.size || (args.format.as_deref().map(str::trim) != Some("json") && layout.shows("Size"));
    let sizes = if sizes { size::written(context, &found)?.into_iter().map(Some).collect() } else { vec![None; found.len()] };
    let rows = found.iter().zip(sizes).map(|(record, written)| {
        let mut row = row(record, args.no_trunc);
        if let Some(written) = written {
            let whole = output::size(written + size::layers(record));
            row.fields.insert("Size".into(), format!("{} (virtual {whole})", output::size(written)).into());
        }
        row
    });
    layout.print_fitted(rows, &YIELDING)?;
    Ok(0)
}

/// The containers that filters choose, newest first; of those that run unless `all`, or a filter asks for others. What killed processes left
/// is cleared away on the way.
pub fn chosen(context: &Context, filters: &[String], all: bool) -> Result<Vec<Record>> {
    let filters = Filters::read(filters, &KEYS)?;
    filters.check("status", &STATES)?;
    filters.check("health", &["starting", "healthy", "unhealthy", "none"])?;
    let all = all || !filters.values("status").is_empty() || !filters.values("exited").is_empty();
    let mut found = survey(&context.paths, all)?;
    if found.leftovers {
        remove::sweep(&context.paths, || context.userns())?;
        found = survey(&context.paths, all)?;
    }
    let bounds = Bounds::find(&filters, context)?;
    let mut records = found.records;
    records.retain(|record| (all || record.state.status.is_up()) && bounds.hold(record) && fits(record, &filters));
    Ok(records)
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
    let network = |wanted: &str| {
        let is_id = |id: &str| wanted.len() >= 4 && id.starts_with(wanted);
        let on = config.networks.iter().any(|place| place.network == wanted || is_id(&place.network_id));
        on || (config.networks.is_empty() && networks(record) == wanted)
    };
    // Docker's meaning: `expose` is the container's side of a port, `publish` the host's.
    let exposed = |wanted: &str| {
        let published = config.ports.iter().map(|port| (port.container_port, port.protocol.to_string()));
        let exposed = config.exposed_ports.iter().filter_map(|port| {
            let (port, protocol) = port.split_once('/')?;
            Some((port.parse().ok()?, protocol.to_string()))
        });
        published.chain(exposed).any(|port| port_fits(wanted, &port))
    };
    let published =
        |wanted: &str| config.ports.iter().any(|port| port_fits(wanted, &(port.host_port, port.protocol.to_string())));
    filters.any("id", |wanted| config.id.starts_with(wanted))
        && filters.any("name", |wanted| name_fits(wanted, &config.name))
        && filters.labels(&config.labels)
        && filters.any("status", |wanted| wanted == state.status.word())
        && filters.any("exited", exited)
        && filters.any("ancestor", |wanted| is_of(record, wanted))
        && filters.any("volume", volume)
        && filters.any("network", network)
        && filters.any("health", |wanted| wanted == health_of(record).map_or("none", |health| health.word()))
        && filters.any("expose", exposed)
        && filters.any("publish", published)
}

/// `PORT`, `FIRST-LAST`, with `/tcp` (the default) or `/udp`.
fn port_fits(wanted: &str, (port, protocol): &(u16, String)) -> bool {
    let (range, kind) = wanted.split_once('/').unwrap_or((wanted, "tcp"));
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let within = || Some((first.parse().ok()?..=last.parse().ok()?).contains(port));
    kind == protocol && within().unwrap_or(false)
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
    if !record.config.networks.is_empty() {
        return record.config.networks.iter().map(|place| place.network.as_str()).collect::<Vec<_>>().join(",");
    }
    serde_json::to_value(&record.config.network).ok().and_then(|v| v.as_str().map(String::from)).unwrap_or_default()
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
        ("Ports", if record.state.status.is_up() { ports(&config.ports, &config.exposed_ports) } else { String::new() }.into()),
        ("State", record.state.status.word().into()),
        ("Status", status(record).into()),
        ("Names", config.name.clone().into()),
        ("Mounts", mounts.collect::<Vec<_>>().join(",").into()),
        ("LocalVolumes", config.volumes.len().to_string().into()),
        ("Networks", networks(record).into()),
    ];
    Row::new(fields).labels(&config.labels)
}

/// As Docker: what a container publishes, then what it only exposes; ports that follow one another are one range.
fn ports(published: &[PortMapping], exposed: &[String]) -> String {
    /// Where the host listens, its first port and the container's, and how many.
    type Run = (Option<IpAddr>, String, u16, u16, u16);
    let mut runs: Vec<Run> = Vec::new();
    let mut mappings: Vec<&PortMapping> = published.iter().collect();
    mappings.sort_by_key(|port| (port.host_ip, port.protocol, port.container_port, port.host_port));
    for port in mappings {
        let protocol = port.protocol.to_string();
        match runs.last_mut() {
            Some((ip, kind, host, container, count))
                if (*ip, &*kind) == (port.host_ip, &protocol)
                    && host.checked_add(*count) == Some(port.host_port)
                    && container.checked_add(*count) == Some(port.container_port) =>
            {
                *count += 1;
            }
            _ => runs.push((port.host_ip, protocol, port.host_port, port.container_port, 1)),
        }
    }
    let range = |first: u16, count: u16| if count == 1 { first.to_string() } else { format!("{first}-{}", first + (count - 1)) };
    let shown = runs.iter().map(|(ip, protocol, host, container, count)| {
        let ip = match ip {
            None => "0.0.0.0".to_string(),
            Some(IpAddr::V6(ip)) => format!("[{ip}]"),
            Some(ip) => ip.to_string(),
        };
        format!("{ip}:{}->{}/{protocol}", range(*host, *count), range(*container, *count))
    });
    let told = |port: &&String| published.iter().any(|p| **port == format!("{}/{}", p.container_port, p.protocol));
    let exposed = exposed.iter().filter(|port| !told(port)).cloned();
    shown.chain(exposed).collect::<Vec<_>>().join(", ")
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::ports::Protocol;

    fn published(text: &str) -> PortMapping {
        let parts: Vec<&str> = text.split(' ').collect();
        let port = |at: usize| parts[at].parse().unwrap();
        let protocol = if parts.get(3).is_some() { Protocol::Udp } else { Protocol::Tcp };
        PortMapping { host_ip: parts[0].parse().ok(), host_port: port(1), container_port: port(2), protocol }
    }

    #[test]
    fn ports_read_as_dockers() {
        let exposed = ["80/tcp".to_string(), "443/tcp".into()];
        for (mappings, wanted) in [
            (&[][..], "80/tcp, 443/tcp"),
            (&["* 8080 80"], "0.0.0.0:8080->80/tcp, 443/tcp"),
            (&["* 8081 81", "* 8080 80", "* 8082 82"], "0.0.0.0:8080-8082->80-82/tcp, 443/tcp"),
            (&["* 8080 80", "* 9000 81"], "0.0.0.0:8080->80/tcp, 0.0.0.0:9000->81/tcp, 443/tcp"),
            (&["127.0.0.1 1 80", "::1 1 443", "* 53 53 udp"], "0.0.0.0:53->53/udp, 127.0.0.1:1->80/tcp, [::1]:1->443/tcp"),
            (&["* 65535 65535"], "0.0.0.0:65535->65535/tcp, 80/tcp, 443/tcp"),
        ] {
            let mappings: Vec<PortMapping> = mappings.iter().map(|text| published(text)).collect();
            assert_eq!(ports(&mappings, &exposed), wanted);
        }
    }

    #[test]
    fn a_port_is_found_alone_or_in_a_range() {
        let port = (80, "tcp".to_string());
        for (wanted, fits) in
            [("80", true), ("80/tcp", true), ("80/udp", false), ("79-81", true), ("81-90/tcp", false), ("x", false)]
        {
            assert_eq!(port_fits(wanted, &port), fits, "{wanted}");
        }
    }
}
