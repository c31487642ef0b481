//! `rl port`.

use anyhow::{Result, bail};

use super::{Context, output};
use crate::container::{publish, record};
use crate::network::ports::{self, PortMapping, Protocol, Wish, Wishes};

/// Show the published ports of a container, or change them while it runs
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Args {
    #[command(subcommand)]
    change: Option<Change>,
    /// Name, id, or beginning of an id
    #[arg(value_name = "CONTAINER", required = true)]
    container: Option<String>,
    /// Only what this port of the container is published as
    #[arg(value_name = "PORT[/PROTOCOL]", value_parser = private_port)]
    port: Option<(u16, Protocol)>,
}

#[derive(Debug, clap::Subcommand)]
enum Change {
    /// Publish further ports of a running container
    Add(Ports),
    /// Publish ports of a running container no longer; connections that there are stay
    Rm(Ports),
}

#[derive(Debug, clap::Args)]
struct Ports {
    /// Name, id, or beginning of an id
    #[arg(value_name = "CONTAINER")]
    container: String,
    /// As for rl run --publish
    #[arg(value_name = "[IP:][HOST:]PORT[/udp]", value_parser = ports::parse, required = true)]
    ports: Vec<Wishes>,
}

impl Ports {
    fn wishes(&self) -> Vec<Wish> {
        self.ports.iter().flat_map(|wishes| wishes.0.clone()).collect()
    }
}

fn private_port(text: &str) -> Result<(u16, Protocol), String> {
    let (port, protocol) = match text.split_once('/') {
        None | Some((_, "tcp")) => (text.trim_end_matches("/tcp"), Protocol::Tcp),
        Some((port, "udp")) => (port, Protocol::Udp),
        Some((_, other)) => return Err(format!("unknown protocol \"{other}\"")),
    };
    Ok((port.parse().map_err(|_| format!("\"{port}\" is no port number"))?, protocol))
}

/// As Docker prints it: `80/tcp -> 0.0.0.0:8080`, of one port the host's side alone.
pub fn run(args: &Args, context: &Context) -> Result<u8> {
    match &args.change {
        Some(Change::Add(change)) => {
            let record = record::find(&context.paths, &change.container)?;
            return publish::add(&record, change.wishes())?.iter().try_for_each(tell).map(|()| 0);
        }
        Some(Change::Rm(change)) => {
            let record = record::find(&context.paths, &change.container)?;
            return publish::remove(&record, &change.wishes()).map(|()| 0);
        }
        None => {}
    }
    let record = record::find(&context.paths, args.container.as_deref().unwrap_or_default())?;
    let of_port = |mapping: &&PortMapping| args.port.is_none_or(|port| port == (mapping.container_port, mapping.protocol));
    let mut found: Vec<&PortMapping> = record.config.ports.iter().filter(of_port).collect();
    found.sort();
    if let (Some((port, protocol)), true) = (args.port, found.is_empty()) {
        bail!("no public port {port}/{protocol} published for \"{}\"", record.config.name);
    }
    found.sort_by_key(|mapping| (mapping.container_port, mapping.protocol));
    for mapping in found {
        match args.port {
            Some(_) => output::line(mapping.host().to_string())?,
            None => tell(mapping)?,
        }
    }
    Ok(0)
}

fn tell(mapping: &PortMapping) -> Result<()> {
    output::line(format!("{}/{} -> {}", mapping.container_port, mapping.protocol, mapping.host()))
}
